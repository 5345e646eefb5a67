"""The smallest HTTP server that keeps connections alive and answers every request with the same JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys

BODY = json.dumps({"messages": [{"id": f"{n:016x}", "threadId": f"{n:016x}"} for n in range(20)]}).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length: %d\r\n"
    b"date: Tue, 24 Nov 2026 14:00:00 GMT\r\nvary: Origin\r\n\r\n" % len(BODY)
) + BODY


class Answering(asyncio.Protocol):
    """One connection. Requests without a body end at the first empty line."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.rest = transport, b""

    def data_received(self, data: bytes) -> None:
        *whole, self.rest = (self.rest + data).split(b"\r\n\r\n")
        for _ in whole:
            self.transport.write(ANSWER)


async def main() -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    asyncio.run(main())
