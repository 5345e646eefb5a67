"""A second port of a server, on the same event loop, for operators only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from deputize.core.errors import SettingsError


class _AdminServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the first server handles signals


@asynccontextmanager
async def serve_admin_port(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve ``app`` on this port inside the block. Raises `SettingsError` if the port cannot be used."""
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, server_header=False, lifespan="off",
        proxy_headers=False, ws="none", http="h11", timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _AdminServer(config)
    serving = asyncio.create_task(_served(server))
    while not server.started and not serving.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if serving.done():
        raise SettingsError(
            f"Port {port} on {host} cannot be used.", hint="Set DEPUTIZE_SERVE__METRICS to another port."
        )
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _served(server: uvicorn.Server) -> None:
    try:
        await server.serve()
    except SystemExit:  # in a task, this would end the program
        return
