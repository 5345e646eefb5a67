"""LlamaIndex's own workflow server: one agent registered once, all users at once, answered over HTTP."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.middleware import Middleware
from starlette.requests import Request

from deputize.adapters.llamaindex import EVENTS, UserMiddleware, UserSource, served_user, store_user
from deputize.adapters.llamaindex.server import handler_prefix
from deputize.core import Deputy, User
from deputize.sandbox import Sandbox
from tests.docs.blocks import block, run
from tests.support.counterparts import workflow_server
from tests.support.graphs import SEARCH, SEND
from tests.support.llamaindex_agents import Calling, Model, agent, visit
from tests.support.sandbox_deputy import build, connect

pytestmark = [
    pytest.mark.counterpart,
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
START = {"start_event": {"user_msg": "go on", "chat_history": [], "max_iterations": 20}}
CLAIMED: ContextVar[str] = ContextVar("claimed", default="")


async def session_user(request: Request) -> str | None:
    return request.headers.get("x-user")


class Naming:
    """An application's middleware that names users but does not protect runs of others."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            CLAIMED.set(Request(scope).headers.get("x-user", ""))
        await self.app(scope, receive, send)


GUARDED = Middleware(UserMiddleware, authenticate=session_user)


@dataclass
class Client:
    """A user's browser, and the last run it has begun."""

    http: httpx.AsyncClient
    handler: str = ""

    async def begin(self, **more: Any) -> httpx.Response:
        answer = await self.http.post("/workflows/mail/run-nowait", json={**START, **more})
        if answer.status_code == 200:
            self.handler = answer.json()["handler_id"]
        return answer

    async def hears(self, kind: str) -> dict[str, Any]:
        """Return the first event of this class that the run has streamed, or will stream."""
        path = f"/events/{self.handler}?after_sequence=-1&sse=false"
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(20), self.http.stream("GET", path) as answer:
            lines: Any = answer.aiter_lines()
            async with aclosing(lines):
                async for line in lines:
                    event = json.loads(line)
                    if event["type"] == kind:
                        found.append(event["value"])
                        break
        return found[0]

    async def says(self, kind: str, handler: str = "", **value: Any) -> int:
        event = {"type": kind, "value": value}
        return (await self.http.post(f"/events/{handler or self.handler}", json={"event": event})).status_code

    async def ended(self) -> str:
        """Return the model's final answer."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.http.get(f"/results/{self.handler}")
                if answer.status_code == 200:
                    return str(answer.json()["result"])
                assert answer.status_code == 202, answer.text
                await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(
    one: Any, *, middleware: Middleware = GUARDED, users: tuple[str, ...] = ("alice", "bob"), **more: Any
) -> AsyncIterator[list[Client]]:
    """Run the agent behind a real server, with a client for each user."""
    server = workflow_server().WorkflowServer(middleware=[middleware], **more)
    server.add_workflow("mail", one, additional_events=EVENTS)
    async with clients_of(server, users) as clients:
        yield clients


@asynccontextmanager
async def clients_of(server: Any, users: tuple[str, ...]) -> AsyncIterator[list[Client]]:
    """Return a client for each user, while the server runs."""
    web = uvicorn.Server(uvicorn.Config(server.app, port=0, log_level="error"))
    task = asyncio.create_task(web.serve())
    try:
        for _ in range(500):
            if web.started:
                break
            await asyncio.sleep(0.02)
        url = f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}"
        clients = [Client(httpx.AsyncClient(base_url=url, headers={"x-user": user}, timeout=20)) for user in users]
        yield clients
        for client in clients:
            await client.http.aclose()
    finally:
        web.should_exit = True
        await task


@pytest.fixture
async def deputy(sandbox: Sandbox) -> Any:
    async with await build(sandbox) as deputy:
        yield deputy


def mails(sandbox: Sandbox) -> dict[str, int]:
    return {user: len(sandbox.sent(f"{user}@example.test")) for user in ("alice", "bob")}


# 60: nothing happens to a run that waits. 0.2: it is taken out of memory, and the next event brings it back
@pytest.mark.parametrize("idle_timeout", [60, 0.2])
async def test_two_users_consent_and_approve_over_http(deputy: Deputy, sandbox: Sandbox, idle_timeout: float) -> None:
    one = agent("FunctionAgent", deputy, SEND, user=served_user)
    async with serving(one, idle_timeout=idle_timeout) as (alice, bob):
        for client in (alice, bob):
            assert (await client.begin()).status_code == 200
        asks = [await client.hears("ConsentRequest") for client in (alice, bob)]
        for user, ask in zip(("alice", "bob"), asks, strict=True):
            assert [c.id for c in await deputy.consents.list_pending(User(user))] == [ask["consent_id"]]
        await connect(deputy, sandbox, "send")
        await connect(deputy, sandbox, "send", user="bob", as_="bob@example.test")
        await asyncio.sleep(0.5)
        for client, ask in zip((alice, bob), asks, strict=True):
            assert await client.says("ConsentResponse", consent_id=ask["consent_id"]) == 200
        hers, his = [await client.hears("ApprovalRequest") for client in (alice, bob)]
        assert hers["account"] == "alice@example.test" and his["account"] == "bob@example.test"
        await asyncio.sleep(0.5)
        yes = {"approval_id": hers["approval_id"], "by": "alice", "decision": "approve"}
        assert await bob.says("ApprovalResponse", alice.handler, **yes) == 404, "her run is not there for him"
        assert await bob.says("ApprovalResponse", **yes) == 200, "nor is her approval in his own"
        await asyncio.sleep(0.2)
        assert mails(sandbox) == {"alice": 0, "bob": 0}
        assert await bob.says("ApprovalResponse", approval_id=his["approval_id"], by="bob", decision="approve") == 200
        assert "Sent." in await bob.ended() and mails(sandbox) == {"alice": 0, "bob": 1}
        assert await alice.says("ApprovalResponse", **yes) == 200
        assert "Sent." in await alice.ended() and mails(sandbox) == {"alice": 1, "bob": 1}


async def test_other_user_cannot_read_answer_continue_or_end_a_run(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    one = agent("FunctionAgent", deputy, SEARCH, user=served_user)
    async with serving(one, accept_context_api=True, users=("alice", "bob", "")) as (alice, bob, nobody):
        await alice.begin()
        assert "Bob Brown" in await alice.ended()
        hers = alice.handler
        for stranger, status in ((bob, 404), (nobody, 401)):
            for method, path in (
                ("GET", f"/results/{hers}"),
                ("GET", f"/events/{hers}?after_sequence=-1"),
                ("GET", f"/handlers/{hers}"),
                ("POST", f"/handlers/{hers}/cancel?purge=true"),
            ):
                assert (await stranger.http.request(method, path)).status_code == status
            assert (await stranger.begin(handler_id=hers)).status_code == status
        assert (await bob.http.get("/handlers")).status_code == 403
        assert (await bob.begin(context={"version": 1, "state": {}})).status_code == 403
        assert hers.startswith(handler_prefix("alice")) and (await alice.begin(handler_id=hers)).status_code == 200
        assert "Bob Brown" in await alice.ended(), "she goes on with her own"
        for path in ("/workflows", "/workflows/mail/schema", "/workflows/mail/events"):
            assert (await bob.http.get(path)).status_code == 200
    assert {seen.who for seen in sandbox.requests if seen.host == "gmail.googleapis.com"} == {"alice@example.test"}


async def test_client_of_an_unguarded_server_neither_decides_nor_takes_over_a_run(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    """The application names each request's user, and forgets that anyone may then answer any run."""
    await connect(deputy, sandbox, "send")
    await connect(deputy, sandbox, "send", user="bob", as_="bob@example.test")
    one = agent("FunctionAgent", deputy, SEND, user=lambda ctx: CLAIMED.get())
    async with serving(one, middleware=Middleware(Naming), idle_timeout=0.2) as (alice, bob):
        await alice.begin()
        ask = await alice.hears("ApprovalRequest")
        await asyncio.sleep(0.6)  # the run is out of memory: his request brings it back
        yes = {"approval_id": ask["approval_id"], "by": "alice", "decision": "approve"}
        assert await bob.says("ApprovalResponse", alice.handler, **yes) == 200
        assert "another user" in await alice.ended() and mails(sandbox) == {"alice": 0, "bob": 0}
        await alice.begin()
        ask = await alice.hears("ApprovalRequest")
        yes["approval_id"] = ask["approval_id"]
        assert await bob.says("ApprovalResponse", alice.handler, **yes) == 200
        assert "waits for the user's approval" in await alice.ended() and mails(sandbox) == {"alice": 0, "bob": 0}


async def test_context_store_of_another_users_ended_run_names_no_user(deputy: Deputy, sandbox: Sandbox) -> None:
    """By its handler's id a client continues any ended run, with everything in its store."""
    await connect(deputy, sandbox, "readonly")

    async def and_into_the_store(ctx: Any) -> str | None:
        if CLAIMED.get() == "alice":
            await ctx.store.set("user_id", "alice")
            return "alice"
        return (await store_user()(ctx)).id

    source: UserSource = and_into_the_store
    one = agent("FunctionAgent", deputy, SEARCH, user=source)
    async with serving(one, middleware=Middleware(Naming)) as (alice, bob):
        await alice.begin()
        assert "Bob Brown" in await alice.ended()
        before = len(sandbox.requests)
        assert (await bob.begin(handler_id=alice.handler)).status_code == 200
        assert "does not say who acts" in await bob.ended() and len(sandbox.requests) == before


async def test_consent_finished_in_the_browser_needs_only_a_resume(deputy: Deputy, sandbox: Sandbox) -> None:
    one = agent("FunctionAgent", deputy, SEARCH, user=served_user)
    async with serving(one) as (alice, _):
        await alice.begin()
        ask = await alice.hears("ConsentRequest")
        await visit(deputy, sandbox, ask["consent_id"])
        assert await alice.says("ConsentResponse", consent_id=ask["consent_id"]) == 200
        assert "Bob Brown" in await alice.ended()


async def test_documented_server_gives_each_user_their_own_mail(deputy: Deputy, sandbox: Sandbox) -> None:
    workflow_server()
    names: dict[str, Any] = {
        "deputy": deputy,
        "llm": Calling(respond=Model([SEND])),
        "session_user": session_user,
    }
    names = await run(block("docs/llamaindex.md", "WorkflowServer"), names)
    names["agent"].streaming = False
    async with clients_of(names["server"], ("alice",)) as (alice,):
        await alice.begin()
        ask = await alice.hears("ConsentRequest")
        await visit(deputy, sandbox, ask["consent_id"])
        gc.collect()  # ends a run without a timeout, which the server does not hold while it waits
        assert await alice.says("ConsentResponse", consent_id=ask["consent_id"]) == 200
        ask = await alice.hears("ApprovalRequest")
        gc.collect()
        yes = {"approval_id": ask["approval_id"], "by": "alice", "decision": "approve"}
        assert await alice.says("ApprovalResponse", **yes) == 200
        assert "Sent." in await alice.ended() and mails(sandbox) == {"alice": 1, "bob": 0}
