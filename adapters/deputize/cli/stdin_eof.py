"""stdin that ends where the process is told to end, as if the client had closed it.

A thread that waits for a line cannot be interrupted: a server over stdio that is sent SIGTERM would wait until its
client hangs up, and cut off what it is at. Here the server reads a pipe: what the client says is passed on, and signals
end it: SIGTERM, SIGHUP of a terminal that is closed, Ctrl-C. So calls that are under way come to their ends first.
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

_AT_ONCE: Final = 65536


@contextmanager
def ending_stdin() -> Iterator[threading.Event]:
    """The block's stdin, for the main thread; yields what is set once it has ended. Raises SystemExit (128 and the
    signal's number) at its end where the process was told to end; a second Ctrl-C is KeyboardInterrupt, as ever.

    What the process was started to ignore, as by nohup, it ignores. Systems without POSIX signals keep theirs as it is.
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
    thread = threading.Thread(target=_passed_on, args=(client, theirs, wake[0], ended), name="stdin", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.dup2(client, 0)  # which ends what the thread may wait for
        os.write(wake[1], b"\0")
        thread.join()
        for one in (client, *wake):
            os.close(one)
    if told:
        raise SystemExit(128 + told[0])


def _passed_on(client: int, to: int, wake: int, ended: threading.Event) -> None:
    """Pass on what the client says until it hangs up, or somebody wakes this."""
    with suppress(OSError):  # the server reads no more
        while True:
            ready, _, _ = select.select([client, wake], [], [])
            data = os.read(client, _AT_ONCE) if wake not in ready else b""
            if not data:
                break
            while data:
                data = data[_written(to, data, wake) :]
    ended.set()
    os.close(to)


def _written(to: int, data: bytes, wake: int) -> int:
    """How much the server took; raises OSError where it is to end before it takes any."""
    if wake in select.select([wake], [to], [])[0]:
        raise BrokenPipeError
    return os.write(to, data[: select.PIPE_BUF])
