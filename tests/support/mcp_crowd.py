"""Many clients at our MCP servers: a provider that reports whose token it received, and a toolkit that calls it.

Each in a process of its own, so that none waits for another's: ``python -m tests.support.mcp_crowd FOLDER BASE PORT``
is a server over the vault in FOLDER, and ``python -m tests.support.mcp_crowd PORT`` the provider.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import httpx
import uvicorn
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from deputize.adapters.mcp import DeputyServer
from deputize.core import PROVIDERS, Account, Effect, Request, Secret, Steps, Toolkit, User, allow_all, any_of
from deputize.core.oauth.provider import Provider
from deputize.core.providers.origin import origin_of
from deputize.core.vault.grant import Grant
from deputize.core.vault.vault import Vault
from tests.support.mcp_clients import by_bearer
from tests.support.mcp_process import KEY
from tests.support.sandbox_deputy import build, google_app, new_vault

WRITTEN: Final = "/written"
"""Where the provider reports what was written: user, number, how often."""
SCOPE: Final = "https://www.googleapis.com/auth/gmail.send"

kit = Toolkit("gmail", "google")


@kit.tool(needs=[any_of(SCOPE)])
def who(number: int) -> Steps:
    """Who am I?"""
    return (yield Request("GET", "/users/me/messages", params={"q": str(number)}))


@kit.tool(needs=[any_of(SCOPE)], effect=Effect.WRITES, shows=False)
def count(number: int) -> Steps:
    """Count this."""
    return (yield Request("POST", "/users/me/messages/send", json={"q": str(number)}))


class Echo:
    """A provider as an application, which counts what was written, and by whom."""

    def __init__(self) -> None:
        self.written = Counter[tuple[str, str]]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = WebRequest(scope, receive)
        if request.url.path == WRITTEN:
            await JSONResponse([[user, number, times] for (user, number), times in self.written.items()])(
                scope, receive, send
            )
            return
        user = request.headers["authorization"].removeprefix("Bearer token of ")
        await asyncio.sleep(0.01)
        if request.method == "GET":
            number = request.query_params["q"]
        else:
            number = json.loads(await request.body())["q"]
            self.written[user, number] += 1
        await JSONResponse({"who": user, "number": number})(scope, receive, send)


async def connected(vault: Vault, names: Iterable[str], provider: Provider = PROVIDERS["google"]) -> None:
    """Give each of these users a grant whose token names them."""
    app, now = google_app(), time.time()
    for name in names:
        await vault.add(
            Grant(User(name), "google", "google", Account(name, f"{name}@example.test"), frozenset({SCOPE}),
                  Secret(f"token of {name}"), None, now + 9999, now, origin=origin_of(provider, app))
        )  # fmt: skip


def memory_of(pid: int) -> float:
    """Return the memory of a process in MB."""
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def main(folder: Path, base: str, port: int) -> None:
    async with await build(
        vault=await new_vault(folder / "vault", KEY),
        providers={"google": PROVIDERS["google"].moved_to(base)},
        transport=lambda: httpx.AsyncHTTPTransport(trust_env=False),
        toolkits=[kit],
        policy=allow_all,
    ) as deputy:
        app = DeputyServer(deputy).app(by_bearer)
        await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error")).serve()


async def provide(port: int) -> None:
    await uvicorn.Server(uvicorn.Config(Echo(), port=port, log_level="error", lifespan="off")).serve()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        asyncio.run(provide(int(sys.argv[1])))
    else:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
