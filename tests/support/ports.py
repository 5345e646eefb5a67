"""Ports for servers that a test starts later."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port that is free now, and stays so: below those that systems give to outgoing connections."""
    while True:
        port = random.randrange(20000, 32768)  # noqa: S311
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
