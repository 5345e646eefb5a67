"""stdio: one process that a client has started, for one user, who is named when it starts.

The SDK takes requests for as long as any come, and keeps each answer until its client reads it. Of a client that asks
and never reads, nothing more is taken here once `MAX_UNREAD` messages wait for it: its pipe fills, and it waits too.
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
_LOOK: Final = 0.02
"""Seconds between looks whether the client has read."""


async def serve_stdio(server: Server[Any]) -> None:
    """Until the client closes its end. What else is printed meanwhile goes to stderr: stdout is the protocol's."""
    asked, asking = anyio.create_memory_object_stream[SessionMessage | Exception]()
    say, said = anyio.create_memory_object_stream[SessionMessage]()
    async with stdio_server() as (read, write), anyio.create_task_group() as tasks:
        tasks.start_soon(_hear, read, asked, say)
        tasks.start_soon(_pass_on, said, write)
        await server.run(asking, say, server.create_initialization_options())


async def _hear(
    read: Any, asked: MemoryObjectSendStream[SessionMessage | Exception], say: MemoryObjectSendStream[SessionMessage]
) -> None:
    """What the client says, until it has too much to read."""
    async with read, asked:
        async for message in read:
            while say.statistics().tasks_waiting_send >= MAX_UNREAD:  # noqa: ASYNC110
                await anyio.sleep(_LOOK)
            await asked.send(message)


async def _pass_on(said: MemoryObjectReceiveStream[SessionMessage], write: Any) -> None:
    async with said, write:
        async for message in said:
            await write.send(message)
