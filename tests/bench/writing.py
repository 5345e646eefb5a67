"""What an act costs that shows what it will do before it writes: one read, one write, the ledger's two records."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import httpx

from deputize.core import Audience, Call, Change, Effect, Request, Show, Steps, Undo, any_of
from tests.bench.__main__ import KIT, SCOPE, TOKEN, deputy, paired, say, server

PATH = "/users/me/messages"


@KIT.tool(needs=[any_of(SCOPE, method="gmail.users.messages.modify")], effect=Effect.WRITES)
def star(name: str) -> Steps:
    """Star what a search finds, for the user alone: nobody is asked."""
    found = yield Request("GET", PATH, params={"q": name})
    ids = [one["id"] for one in found["messages"]]
    yield Show("Star these mails", audience=Audience.SELF, name=name, starred=Change([], ids), pins={"ids": ids})
    yield Request("POST", PATH, json={"ids": ids, "addLabelIds": ["STARRED"]})
    yield Undo("gmail_star", {"name": name}, holds={"starred": ids})
    return {"starred": len(ids)}


async def writes() -> None:
    """A writing act over the same two requests of a bare httpx client; both on httpx's own transport."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(server())
        url, numbers = f"{base}/gmail.googleapis.com/gmail/v1{PATH}", count()
        client = await stack.enter_async_context(httpx.AsyncClient())
        one = await stack.enter_async_context(deputy(base, lambda: httpx.AsyncHTTPTransport(trust_env=False)))

        async def bare() -> Any:
            headers = {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
            found = (await client.get(url, params={"q": "news"}, headers=headers)).json()
            change = {"ids": [mail["id"] for mail in found["messages"]], "addLabelIds": ["STARRED"]}
            return (await client.post(url, json=change, headers=headers)).json()

        async def governed() -> Any:
            call = Call("thread", "message", str(next(numbers)))
            return await one.act("gmail_star", {"name": "news"}, user="alice", call=call)

        for concurrency in (1, 32):
            ratios = await paired([bare, governed], concurrency)
            say("writing act that shows over bare httpx", ratios[1], None, concurrency=concurrency)
