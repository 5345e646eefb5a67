"""stdout of a server over stdio whose client may have stopped reading.

A thread that writes into a full pipe cannot be interrupted either: a server that is told to end, or whose client has
hung up, would wait for ever for somebody to read its last words. Here the server writes into a pipe: what it says is
passed on, and let go where, after its stdin has ended, its client reads nothing for a while.
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

UNREAD: Final = 5.0
"""Seconds in which a client has to read something once its server's stdin has ended."""
_AT_ONCE: Final = 65536
_LOOK: Final = 0.2


@contextmanager
def unread_stdout(ended: threading.Event) -> Iterator[None]:
    """The block's stdout, for the main thread. ``ended``: that of `ending_stdin`."""
    if os.name != "posix":
        yield
        return
    client, wake, (ours, theirs) = os.dup(1), os.pipe(), os.pipe()
    os.dup2(theirs, 1)
    os.close(theirs)
    thread = threading.Thread(target=_passed_on, args=(ours, client, wake[0], ended), name="stdout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        sys.stdout.flush()
        os.dup2(client, 1)
        os.write(wake[1], b"\0")  # others may hold a copy of the pipe's end, so that it has none
        thread.join()
        for one in (client, *wake):
            os.close(one)


def _passed_on(said: int, client: int, wake: int, ended: threading.Event) -> None:
    """Until all is passed on that was said before somebody woke this, or the client has closed its end, which the
    server is to find out as ever."""
    reads = True
    with suppress(OSError):
        while said in select.select([said, wake], [], [])[0] and (data := os.read(said, _AT_ONCE)):
            while reads and data:
                if reads := _takes(client, ended):
                    data = data[os.write(client, data[: select.PIPE_BUF]) :]
    os.close(said)


def _takes(client: int, ended: threading.Event) -> bool:
    """Whether there is room at the client's; waits for it, without end as long as the server is to go on."""
    since = time.monotonic()
    while not select.select([], [client], [], _LOOK)[1]:
        if not ended.is_set():
            since = time.monotonic()
        elif time.monotonic() - since > UNREAD:
            return False
    return True
