"""The stdio transport: a process that a client has started for one user, who is named at its start.

The SDK accepts any number of requests, and keeps each response until its client reads it. If `MAX_UNREAD` messages wait
for a client that does not read, no more requests are accepted: its pipe fills, and it must wait.
"""

from __future__ import annotations

from typing import Any, Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

__all__ = ["serve_stdio"]

MAX_UNREAD: Final = 100
_POLL_INTERVAL_SECONDS: Final = 0.02
"""Seconds between checks whether the client has read."""


async def serve_stdio(server: Server[Any]) -> None:
    """Serve until the client closes its end. Other output goes to stderr, because stdout belongs to the protocol."""
    asked, asking = anyio.create_memory_object_stream[SessionMessage | Exception]()
    say, said = anyio.create_memory_object_stream[SessionMessage]()
    async with stdio_server() as (read, write), anyio.create_task_group() as tasks:
        tasks.start_soon(_hear, read, asked, say)
        tasks.start_soon(_pass_on, said, write)
        await server.run(asking, say, server.create_initialization_options())


async def _hear(
    read: Any, asked: MemoryObjectSendStream[SessionMessage | Exception], say: MemoryObjectSendStream[SessionMessage]
) -> None:
    """Pass on what the client sends, while it reads its responses."""
    async with read, asked:
        async for message in read:
            while say.statistics().tasks_waiting_send >= MAX_UNREAD:  # noqa: ASYNC110
                await anyio.sleep(_POLL_INTERVAL_SECONDS)
            await asked.send(message)


async def _pass_on(said: MemoryObjectReceiveStream[SessionMessage], write: Any) -> None:
    async with said, write:
        async for message in said:
            await write.send(message)
