"""A small server that ends as `deputize serve` does: python -m tests.support.shutdown_child PORT DRAIN.

POST /call answers after a moment, and prints what it was asked, a line each.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deputize.cli.graceful_shutdown import CALLS_TIMEOUT_SECONDS, Leaving, LeavingServer
from deputize.cli.idle_timeout import BoundedConnection


async def call(request: Request) -> Response:
    """Start an act, and finish it a moment later."""
    asked = (await request.body()).decode()
    print(asked, flush=True)
    await asyncio.sleep(0.1)
    return PlainTextResponse(asked)


def main(port: str, drain: str) -> None:
    """Run as described at the top of this module."""
    leaving = Leaving(lambda: None, lambda: None)
    app = leaving.closing_streams(Starlette(routes=[Route("/call", call, methods=["POST"])]))
    config = uvicorn.Config(
        app,
        port=int(port),
        log_config=None,
        access_log=False,
        lifespan="off",
        http=BoundedConnection,
        timeout_graceful_shutdown=CALLS_TIMEOUT_SECONDS,
    )
    LeavingServer(config, leaving, float(drain)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
