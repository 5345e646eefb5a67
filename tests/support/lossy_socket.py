"""A socket to a server in a folder, on which a test can lose one answer: both ends are disconnected when it arrives, so
that the request was executed without an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class LossySocket:
    """Such a socket. ``lose``: how many answers to lose; ``lost``: how many were lost."""

    def __init__(self, real: Path, ours: Path) -> None:
        self._real, self.lose, self.lost = real, 0, 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(ours))
        self._listening.listen(20)
        self._open = list[socket.socket]()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._real))
                self._open += [client, server]
                for start, to in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(start, to, start is server), daemon=True).start()

    def _pump(self, start: socket.socket, to: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := start.recv(65536):
                if answers and self.lose:
                    self.lose -= 1
                    self.lost += 1
                    break
                to.sendall(data)
        for one in (start, to):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Disconnect everybody."""
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def lossy(real: Path, ours: Path) -> Iterator[LossySocket]:
    """Open such a socket from ``ours`` to ``real`` for the block."""
    made = LossySocket(real, ours)
    try:
        yield made
    finally:
        made.close()
