"""Faults around a deputy on command: stores that refuse, requests that hang, concurrent actors."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.protocol import HeldLock, Store

TOKEN = ("oauth2.googleapis.com", "/token")
REVOKE = ("oauth2.googleapis.com", "/revoke")
USERINFO = ("openidconnect.googleapis.com", "/v1/userinfo")
GMAIL_API = ("gmail.googleapis.com", "/gmail")


@dataclass
class Meddler:
    """An actor that acts once in the middle of something else, at its ``at``-th step."""

    at: int
    action: Callable[[], Awaitable[object]]
    steps: int = 0
    acted: bool = False

    async def point(self) -> None:
        """Count a step of the others."""
        if self.acted:
            return
        self.steps += 1
        if self.steps == self.at:
            self.acted = True
            await self.action()


class FaultyStore:
    """Any store, with refusals and a `Meddler`. ``failing``: how often a method refuses records of a kind."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.failing: Counter[tuple[str, str]] = Counter()
        self.meddler: Meddler | None = None
        self.pause = 0.0
        self.local_reads, self.in_order = inner.local_reads, inner.in_order
        self.backup = inner.backup

    async def _before(self, method: str, kind: str) -> None:
        if self.meddler:
            await self.meddler.point()
        if self.pause:
            await asyncio.sleep(self.pause)
        if self.failing[method, kind] > 0:
            self.failing[method, kind] -= 1
            raise StoreUnavailable("The vault is locked by another program.")

    async def get(self, kind: str, key: str) -> bytes | None:
        await self._before("get", kind)
        return await self.inner.get(kind, key)

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        await self._before("insert", kind)
        return await self.inner.insert(kind, key, value)

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        await self._before("swap", kind)
        return await self.inner.swap(kind, key, old, new)

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        await self._before("delete", kind)
        return await self.inner.delete(kind, key, old)

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        await self._before("scan", kind)
        return await self.inner.scan(kind, prefix, after=after, most=most)

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[HeldLock | None]:
        return self.inner.lock(name, timeout)

    async def close(self) -> None:
        await self.inner.close()


@dataclass
class Line(httpx.AsyncBaseTransport):
    """A transport to the providers. ``answers``: replaces an answer; ``held``: where requests wait until `release`.

    Works from any event loop. ``seen`` are the requests that went by, as (method, host, path).
    """

    inner: httpx.AsyncBaseTransport
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    sent: list[httpx.Request] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Callable[[httpx.Request], httpx.Response]]] = field(default_factory=dict)
    held: tuple[str, str] | None = None
    held_after: bool = False
    waiting: int = 0
    meddler: Meddler | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        self.seen.append((request.method, host, path))
        self.sent.append(request)
        if self.meddler:
            await self.meddler.point()
        if not self.held_after:
            await self._hold(host, path)
        for (at, prefix), answers in self.answers.items():
            if at == host and path.startswith(prefix) and answers:
                return answers.pop(0)(request)
        answer = await self.inner.handle_async_request(request)
        if self.held_after:
            await self._hold(host, path)
        return answer

    async def _hold(self, host: str, path: str) -> None:
        if (held := self.held) and held[0] == host and path.startswith(held[1]):
            self.waiting += 1
            deadline = time.monotonic() + 20
            while self.held == held and time.monotonic() < deadline:  # noqa: ASYNC110  (an Event belongs to one loop)
                await asyncio.sleep(0.002)

    def count(self, place: tuple[str, str], method: str = "") -> int:
        """Return how many requests went to a host below a path."""
        return sum(h == place[0] and p.startswith(place[1]) and method in ("", m) for m, h, p in self.seen)

    async def until_held(self, number: int = 1) -> None:
        """Wait until this many requests hang."""
        deadline = time.monotonic() + 10
        while self.waiting < number:
            assert time.monotonic() < deadline, "no request came"
            await asyncio.sleep(0.002)

    def release(self) -> None:
        """Release all requests."""
        self.held = None


def answer(status: int, body: Any = None, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """Return a JSON answer."""
    return lambda request: httpx.Response(
        status, json=body or {}, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def broken(kind: type[httpx.TransportError] = httpx.ReadError) -> Callable[[httpx.Request], httpx.Response]:
    """Return no answer: the request is lost before it was executed."""

    def lose(request: httpx.Request) -> httpx.Response:
        raise kind("lost")

    return lose


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error with all its causes and contexts."""
    todo, met = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) not in met:
            met.add(id(one))
            yield one
            todo += [e for e in (one.__cause__, one.__context__) if e is not None]


def shown(error: BaseException) -> str:
    """Return all that a reporter could print of an error: texts, attributes, and the locals of its frames in our
    code."""
    parts = []
    for one in chain(error):
        parts += [str(one), repr(one), *(_deep(value) for value in vars(one).values())]
        parts += [_printed(value) for value in _locals(one.__traceback__)]
    return "\n".join(parts)


def _locals(trace: TracebackType | None) -> Iterator[object]:
    while trace is not None:
        if "/deputize/core/" in trace.tb_frame.f_code.co_filename:
            yield from trace.tb_frame.f_locals.values()
        trace = trace.tb_next


def _printed(value: object) -> str:
    try:
        return repr(value)
    except Exception as e:  # an object that is not finished yet
        return type(e).__name__


def _deep(value: object) -> str:
    """Return what an attribute of an error holds: its repr, and the fields that a repr leaves out."""
    fields = (getattr(value, name, None) for name in getattr(value, "__slots__", ()))
    return "\n".join(map(_printed, (value, *fields)))
