"""stdout of a stdio server whose client may have stopped reading.

A thread that writes to a full pipe cannot be interrupted. A server that is told to end, or whose client has
disconnected, would wait for ever. So the server writes to a pipe that is copied to the client. Its content is dropped
if the client reads nothing for some time after the server's stdin has ended.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

READ_TIMEOUT_SECONDS: Final = 5.0
"""Seconds within which a client must read something after its server's stdin has ended."""
_CHUNK_BYTES: Final = 65536
_POLL_INTERVAL_SECONDS: Final = 0.2


@contextmanager
def unread_stdout(ended: threading.Event) -> Iterator[None]:
    """Replace stdout in the block, in the main thread. ``ended``: the event of `ending_stdin`."""
    if os.name != "posix":
        yield
        return
    client, wake, (ours, theirs) = os.dup(1), os.pipe(), os.pipe()
    os.dup2(theirs, 1)
    os.close(theirs)
    thread = threading.Thread(target=_copy, args=(ours, client, wake[0], ended), name="stdout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        sys.stdout.flush()
        os.dup2(client, 1)
        os.write(wake[1], b"\0")  # child processes may hold a copy of the pipe's end, so it never closes
        thread.join()
        for one in (client, *wake):
            os.close(one)


def _copy(said: int, client: int, wake: int, ended: threading.Event) -> None:
    """Copy the server's output until ``wake`` is written to and all is copied, or the client has disconnected."""
    reads = True
    with suppress(OSError):
        while said in select.select([said, wake], [], [])[0] and (data := os.read(said, _CHUNK_BYTES)):
            while reads and data:
                if reads := _takes(client, ended):
                    data = data[os.write(client, data[: select.PIPE_BUF]) :]
    os.close(said)


def _takes(client: int, ended: threading.Event) -> bool:
    """Wait until the client reads, without limit while the server runs. Return False after the timeout."""
    since = time.monotonic()
    while not select.select([], [client], [], _POLL_INTERVAL_SECONDS)[1]:
        if not ended.is_set():
            since = time.monotonic()
        elif time.monotonic() - since > READ_TIMEOUT_SECONDS:
            return False
    return True
