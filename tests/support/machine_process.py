"""One of several machines with one vault in Postgres, as a program: it serves the pages, and obeys stdin.

python -m tests.support.machine_process VAULT PROVIDERS      a line of JSON in, a line of JSON out
python -m tests.support.machine_process VAULT PROVIDERS 5    where a token request may take five seconds
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

import httpx

from deputize.core import PROVIDERS, Call, DeputizeError, Deputy, allow_all
from deputize.core.audit import Audit
from deputize.core.grants import refresh
from deputize.core.grants import refresh_intent as intent
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.core.web.app import pages_app
from deputize.core.web.local.server import serve
from tests.support.gmail_toolkit import MAIL, READ, SEND, gmail
from tests.support.sandbox_deputy import build

SIGNED_IN: Final = "who"
"""Cookie that says who the browser's person is."""


class Machine:
    """The program, with a method for each command. ``ahead``: seconds by which its clock is ahead of this machine's."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.deputy: Deputy

    def clock(self) -> float:
        return time.time() + self.ahead

    async def begin(self, vault: str, providers: str) -> None:
        store = await asyncio.to_thread(open_store, vault, create=True)
        self.deputy = await build(
            vault=await Vault.open(store, [b"k" * 32]),
            audit=Audit(None, b"a" * 32),
            toolkits=[gmail],
            transport=lambda: httpx.AsyncHTTPTransport(trust_env=False),
            providers={"google": PROVIDERS["google"].moved_to(providers)},
            clock=self.clock,
            policy=allow_all,
        )

    async def connect(self) -> Any:
        asked = await self.deputy.connect("alice", "google", scopes=[READ, SEND])
        return [asked[0].id, asked[0].link]

    async def wait(self, id: str) -> Any:
        return (await self.deputy.wait_for_consents([id], timeout=20))[0].status

    async def act(self, call: str, tool: str = "send") -> Any:
        arguments = MAIL if tool == "send" else {}
        return await self.deputy.act(f"gmail_{tool}", arguments, user="alice", call=Call("t", call, "c"))

    async def herd(self, count: int, ahead: float) -> Any:
        self.ahead = ahead
        ended = await asyncio.gather(*(self.act(f"{n}", "search") for n in range(count)), return_exceptions=True)
        return [type(one).__name__ for one in ended]

    async def same(self, count: int, call: str) -> Any:
        return [one["id"] for one in await asyncio.gather(*(self.act(call) for _ in range(count)))]

    async def revoke(self) -> Any:
        await self.deputy.revoke("alice", "google")


async def main(vault: str, providers: str, request_timeout: str = "") -> None:
    if request_timeout:
        refresh.REQUEST_TIMEOUT_SECONDS, intent.LEASE_MARGIN_SECONDS = float(request_timeout), 1.0  # type: ignore[misc]
    machine = Machine()
    await machine.begin(vault, providers)
    app = pages_app(machine.deputy, verifier=lambda request: request.cookies.get(SIGNED_IN))
    async with serve(app) as url:
        print(json.dumps(url), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            word, *arguments = json.loads(line)
            try:
                said = await getattr(machine, word)(*arguments)
            except DeputizeError as error:
                said = {"error": type(error).__name__, "message": f"{error} {error.hint}"}
            print(json.dumps(said), flush=True)
    await machine.deputy.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
