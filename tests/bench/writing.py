"""What an act costs that writes: the ledger's two records, the audit's three rows, and their syncs.

The first shows what it will do after one read; the second writes a single request, under both modes of the audit. The
last figures are of time, not of CPU: acts, and records of the store, a second on a disk whose sync takes 4 ms, as those
of clouds do, over the same with a sync for each record. That sync is simulated, by a sleep before each transaction and
each sync of the audit.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from typing import Any, Final
from unittest.mock import patch

import httpx

from deputize.core import Audience, Call, Change, Effect, Preview, Request, Steps, Undo, any_of
from deputize.core.http import FastTransport
from deputize.core.vault.stores.sqlite import writer
from deputize.core.vault.stores.sqlite.writer import Writer
from tests.bench.__main__ import KIT, SCOPE, TOKEN, Work, deputy, paired, say, server

PATH = "/users/me/messages"
HEADERS = {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
SYNC: Final = 0.004
"""Seconds that a disk of a cloud takes to sync."""
SECONDS: Final = 1.5


@KIT.tool(needs=[any_of(SCOPE, method="gmail.users.messages.modify")], effect=Effect.WRITES)
def star(name: str) -> Steps:
    """Star what a search finds, for the user alone: nobody is asked."""
    found = yield Request("GET", PATH, params={"q": name})
    ids = [one["id"] for one in found["messages"]]
    yield Preview("Star these mails", audience=Audience.SELF, name=name, starred=Change([], ids), pins={"ids": ids})
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
            found = (await client.get(url, params={"q": "news"}, headers=HEADERS)).json()
            change = {"ids": [mail["id"] for mail in found["messages"]], "addLabelIds": ["STARRED"]}
            return (await client.post(url, json=change, headers=HEADERS)).json()

        async def governed() -> Any:
            call = Call("thread", "message", str(next(numbers)))
            return await one.act("gmail_star", {"name": "news"}, user="alice", call=call)

        for concurrency in (1, 32):
            ratios = await paired([bare, governed], concurrency)
            say("writing act that shows over bare httpx", ratios[1], None, concurrency=concurrency)


@KIT.tool(needs=[any_of(SCOPE, method="gmail.users.messages.send")], effect=Effect.WRITES)
def note(text: str) -> Steps:
    """Write a note for the user alone: nobody is asked."""
    yield Preview("Write a note", audience=Audience.SELF, text=text)
    return (yield Request("POST", PATH, json={"raw": text}))


async def single() -> None:
    """An act of one request that writes, over a bare POST; the act on aiohttp's transport, as in production."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(server())
        url, numbers = f"{base}/gmail.googleapis.com/gmail/v1{PATH}", count()
        client = await stack.enter_async_context(httpx.AsyncClient())
        standard = await stack.enter_async_context(deputy(base, FastTransport))
        strict = await stack.enter_async_context(deputy(base, FastTransport))
        strict.audit.mode = "strict"

        async def bare() -> Any:
            return (await client.post(url, json={"raw": "news"}, headers=HEADERS)).json()

        def governed(one: Any) -> Work:
            def act() -> Any:
                call = Call("thread", "message", str(next(numbers)))
                return one.act("gmail_note", {"text": "news"}, user="alice", call=call)

            return act

        for concurrency, goal in ((1, 1.5), (32, 0.8)):
            ratios = await paired([bare, governed(standard), governed(strict)], concurrency)
            for mode, found in (("standard", ratios[1]), ("strict", ratios[2])):
                say("writing act over bare httpx POST", found, goal, concurrency=concurrency, audit=mode)

        for mode, one in (("standard", standard), ("strict", strict)):
            pairs = [await _grouped_over_single(governed(one)) for _ in range(4)]
            rates = {"per_second": round(max(rate for rate, _ in pairs))}
            say("acts a second, 4 ms sync", [many / few for many, few in pairs], None, audit=mode, **rates)

        async def written() -> None:
            assert await standard.vault.store.insert("act", f"bench{next(numbers)}", bytes(400))

        pairs = [await _grouped_over_single(written) for _ in range(4)]
        rates = {"per_second": round(max(rate for rate, _ in pairs))}
        say("records a second, 4 ms sync", [many / few for many, few in pairs], 10.0, **rates)


async def _grouped_over_single(work: Work) -> tuple[float, float]:
    """Works a second of 32 tasks on a slow disk: as it is, and with a sync for each record."""
    with _slow_disk():
        many = await _rate(work)
        with patch.object(writer, "GROUP", 1):
            return many, await _rate(work)


@contextmanager
def _slow_disk() -> Iterator[None]:
    commit, sync = Writer.commit, os.fsync

    def slow_commit(self: Writer, writes: Any) -> Any:
        time.sleep(SYNC)
        return commit(self, writes)

    def slow_sync(file: int) -> None:
        time.sleep(SYNC)
        sync(file)

    with patch.object(Writer, "commit", slow_commit), patch.object(os, "fsync", slow_sync):
        yield


async def _rate(work: Work) -> float:
    began, done = time.perf_counter(), 0

    async def some() -> None:
        nonlocal done
        while time.perf_counter() - began < SECONDS:
            await work()
            done += 1

    await asyncio.gather(*(some() for _ in range(32)))
    return done / (time.perf_counter() - began)
