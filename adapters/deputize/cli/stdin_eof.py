"""stdin that ends when the process is told to end, as if the client had closed it.

A thread that waits for a line cannot be interrupted: after SIGTERM, a stdio server would wait until its client
disconnects, and then cut off its calls. So the server reads a pipe to which the client's input is copied, and signals
close the pipe: SIGTERM, SIGHUP of a closed terminal, Ctrl-C. Calls in progress then finish first.
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

_CHUNK_BYTES: Final = 65536


@contextmanager
def ending_stdin() -> Iterator[threading.Event]:
    """Replace stdin in the block, in the main thread. Yields an event that is set when stdin has ended.

    At its end, the block raises SystemExit (128 plus the signal's number) if a signal came; a second Ctrl-C is
    KeyboardInterrupt. Signals that the process was started to ignore, as by nohup, stay ignored. Without POSIX signals
    nothing changes.
    """
    ended = threading.Event()
    if os.name != "posix":
        yield ended
        return
    client, wake, (ours, theirs) = os.dup(0), os.pipe(), os.pipe()
    os.dup2(ours, 0)
    os.close(ours)
    told = list[int]()

    def end(number: int, frame: FrameType | None) -> None:
        told.append(number)
        os.write(wake[1], b"\0")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    before = {number: handler for number, handler in signals.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    thread = threading.Thread(target=_copy, args=(client, theirs, wake[0], ended), name="stdin", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.dup2(client, 0)  # this ends a write that the thread may wait for
        os.write(wake[1], b"\0")
        thread.join()
        for one in (client, *wake):
            os.close(one)
    if told:
        raise SystemExit(128 + told[0])


def _copy(client: int, to: int, wake: int, ended: threading.Event) -> None:
    """Copy the client's input until the client disconnects or ``wake`` is written to."""
    with suppress(OSError):  # the server has stopped reading
        while True:
            ready, _, _ = select.select([client, wake], [], [])
            data = os.read(client, _CHUNK_BYTES) if wake not in ready else b""
            if not data:
                break
            while data:
                data = data[_written(to, data, wake) :]
    ended.set()
    os.close(to)


def _written(to: int, data: bytes, wake: int) -> int:
    """Return the number of bytes that the server read. Raises `OSError` if ``wake`` is written to first."""
    if wake in select.select([wake], [to], [])[0]:
        raise BrokenPipeError
    return os.write(to, data[: select.PIPE_BUF])
