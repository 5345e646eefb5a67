"""stdin that ends where the process is told to end, as if the client had closed it.

A thread that waits for a line cannot be interrupted: a server over stdio that is sent SIGTERM would wait until its
client hangs up, and cut off what it is at. Here the server reads a pipe: what the client says is passed on, and SIGTERM
ends it. So the calls that are under way come to their ends first.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from deputize.core.in_flight import TERMINATED

_AT_ONCE: Final = 65536


@contextmanager
def ending_stdin() -> Iterator[None]:
    """The block's stdin, for the main thread. Raises SystemExit (143) at its end where the process was told to end.

    Systems without POSIX signals keep theirs as it is.
    """
    if os.name != "posix":
        yield
        return
    client, wake, (ours, theirs) = os.dup(0), os.pipe(), os.pipe()
    os.dup2(ours, 0)
    os.close(ours)
    told = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        told.set()
        os.write(wake[1], b"\0")

    before = signal.signal(signal.SIGTERM, end)
    thread = threading.Thread(target=_passed_on, args=(client, theirs, wake[0]), name="stdin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        os.dup2(client, 0)  # which ends what the thread may wait for
        os.write(wake[1], b"\0")
        thread.join()
        for one in (client, *wake):
            os.close(one)
    if told.is_set():
        raise SystemExit(TERMINATED)


def _passed_on(client: int, to: int, wake: int) -> None:
    """Pass on what the client says until it hangs up, or somebody wakes this."""
    with suppress(OSError):  # the server reads no more
        while True:
            ready, _, _ = select.select([client, wake], [], [])
            data = os.read(client, _AT_ONCE) if wake not in ready else b""
            if not data:
                break
            while data:
                data = data[os.write(to, data) :]
    os.close(to)
