"""Alice's Slack, simulated by the sandbox, and tools that run through the whole deputy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx

from deputize.core import PROVIDERS, Call, Deputy, File, allow_all
from deputize.core.vault.grant import User
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.toolkits.slack import TOOLKIT
from tests.support.sandbox_deputy import build
from tests.toolkits.tool_driver import NOW

ENG, GENERAL, LEADS, ATTIC = "C0ENG000001", "C0GENERAL01", "G0LEADS0001", "C0ATTIC0001"
ALICE, BOB, DECOY = "U0ALICE0000", "U0BOB000000", "U0DECOY0000"
EVERYTHING: Final = frozenset(scope for scope in PROVIDERS["slack"].scope_descriptions if scope != "search:read")


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """A transport that records requests, and answers instead of Slack on demand.

    ``say``: responses by method, one use each: a body, or a whole response; an exception is raised after the sandbox
    has acted.
    """

    inner: httpx.AsyncBaseTransport
    seen: list[httpx.Request] = field(default_factory=list)
    say: dict[str, list[Any]] = field(default_factory=dict)
    answers: list[tuple[str, Any]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        waiting = self.say.get(method_of(request), [])
        if not waiting:
            answer = await self.inner.handle_async_request(request)
            if "json" in answer.headers.get("content-type", ""):
                self.answers.append((method_of(request), json.loads(await answer.aread())))
            return answer
        said = waiting.pop(0)
        if isinstance(said, Exception):
            await self.inner.handle_async_request(request)
            raise said
        if isinstance(said, httpx.Response):
            said.request = request
            return said
        return httpx.Response(200, json=said, request=request)

    def methods(self) -> list[str]:
        """Return the called methods, in order."""
        return [method_of(request) for request in self.seen]

    def sent(self, method: str) -> list[dict[str, str]]:
        """Return the arguments of every call of a method."""
        return [arguments_of(one) for one in self.seen if method_of(one) == method]


def method_of(request: httpx.Request) -> str:
    """Return a request's method at Slack; for the file host, its path."""
    path = request.url.path
    return path.removeprefix("/api/") if request.url.host == "slack.com" else path


def arguments_of(request: httpx.Request) -> dict[str, str]:
    """Return the form of a request."""
    return dict(parse_qsl(request.content.decode(), keep_blank_values=True))


@dataclass
class World:
    """A sandbox, a deputy over it, and Alice's consent to some scopes."""

    sandbox: Sandbox
    deputy: Deputy
    wire: Wire
    count: int = 0

    async def act(self, tool: str, call_: Any = None, as_: Any = "alice", **arguments: Any) -> Any:
        """Make one call of a Slack tool; ``from_`` stands for from."""
        self.count += 1
        given = {name.rstrip("_"): value for name, value in arguments.items()}
        call = call_ or Call("thread", f"message-{self.count}", "call")
        return await self.deputy.act(f"slack_{tool}", given, user=as_, call=call)

    @property
    def channels(self) -> Any:
        """Return the conversations as the sandbox stores them."""
        return self.sandbox.service("slack")["channels"]

    def texts(self, channel: str) -> list[str]:
        """Return the messages of a conversation."""
        return [row["text"] for row in self.channels[channel]["messages"]]

    def put(self, channel: str, text: str, user: str = BOB, **more: Any) -> str:
        """Insert a message; return its timestamp."""
        store = self.sandbox._world.services["slack"]
        store["posted"] += 1
        ts = f"{int(NOW)}.{store['posted']:06d}"
        store["channels"][channel]["messages"].append({"type": "message", "user": user, "text": text, "ts": ts} | more)
        return ts

    async def file(self, name: str, content: bytes, mime: str = "text/plain") -> str:
        """Store a file of Alice's; return its handle."""
        return str((await self.deputy.files.keep(User.of("alice"), File(name, mime, content)))["file"])

    def give(self, scopes: Iterable[str], user: str = "alice") -> None:
        """Consent to these scopes, in addition to those granted before."""
        give_grant(self.sandbox, self.deputy, user, list(scopes), provider="slack", email=f"{user}@example.test")


@asynccontextmanager
async def world(*scopes: str, trusted_authors: str = "") -> AsyncIterator[World]:
    """Return a world in which Alice consented to these scopes, by default to all."""
    sandbox = Sandbox(clock=lambda: NOW)
    wire = Wire(sandbox.transport())
    ours = [app for app in apps() if app.provider == "slack"]
    words = {"slack": trusted_authors} if trusted_authors else None
    deputy = await build(
        sandbox,
        apps=ours,
        toolkits=[TOOLKIT],
        transport=wire,
        policy=allow_all,
        clock=lambda: NOW,
        trusted_authors=words,
    )
    made = World(sandbox, deputy, wire)
    made.give(scopes or EVERYTHING)
    try:
        yield made
    finally:
        await deputy.close()
