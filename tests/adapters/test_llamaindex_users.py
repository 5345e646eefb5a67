"""LlamaIndex: one agent serves all users at once; each run acts as the user the application names for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from workflows.context.state_store import InMemoryStateStore

from deputize.adapters.llamaindex import (
    ApprovalRequest,
    ApprovalResponse,
    ConsentResponse,
    GmailToolSpec,
    UserSource,
    resume_paused,
    save_paused,
    served_user,
    store_user,
)
from deputize.core import Deputy, PolicyDenied, User, UserRequired
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND
from tests.support.llamaindex_agents import KINDS, agent, asked, ended
from tests.support.sandbox_deputy import connect

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
WHO: ContextVar[User | str | None] = ContextVar("who", default=None)


async def looked_up(ctx: Context) -> str:
    """Return the user asynchronously from the run's own store, as from a session table."""
    await asyncio.sleep(0.001)
    return str(await ctx.store.get("session", default=""))


SOURCES: dict[str, UserSource] = {
    "a ContextVar": lambda ctx: WHO.get(),
    "an async function of the run": looked_up,
    "the run's store": store_user("session"),
}


async def begin(one: Any, user: str, **more: Any) -> Any:
    """Begin a run of this user, with its own context."""
    WHO.set(user)
    ctx: Context[Any] = Context(one)
    await ctx.store.set("session", user)
    return one.run("go on", ctx=ctx, **more)


def senders(sandbox: Sandbox) -> dict[str, int]:
    return {user: len(sandbox.sent(f"{user}@example.test")) for user in ("alice", "bob")}


async def connect_both(deputy: Deputy, sandbox: Sandbox, *scopes: str) -> None:
    await connect(deputy, sandbox, *scopes)
    await connect(deputy, sandbox, *scopes, user="bob", as_="bob@example.test")


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("kind", KINDS)
async def test_agent_acts_for_two_users_concurrently(
    deputy: Deputy, sandbox: Sandbox, kind: str, source: UserSource
) -> None:
    one = agent(kind, deputy, SEND, user=source)
    runs = {}
    for user in ("alice", "bob"):
        runs[user] = await asyncio.create_task(begin(one, user))
    asks = {user: (await asked(run))[0] for user, run in runs.items()}
    assert asks["alice"].consent_id != asks["bob"].consent_id
    for user, request in asks.items():
        assert [c.id for c in await deputy.consents.list_pending(User(user))] == [request.consent_id]
    await connect_both(deputy, sandbox, "send")
    for user, run in runs.items():
        run.ctx.send_event(ConsentResponse(consent_id=asks[user].consent_id))
    asks = {user: (await asked(run))[0] for user, run in runs.items()}
    assert all(isinstance(request, ApprovalRequest) and request.account.startswith(u) for u, request in asks.items())
    for user, run in runs.items():  # an answer by the other one, and one meant for the other run
        other = "bob" if user == "alice" else "alice"
        run.ctx.send_event(ApprovalResponse(approval_id=asks[user].approval_id, by=other, decision="approve"))
        run.ctx.send_event(ApprovalResponse(approval_id=asks[other].approval_id, by=other, decision="approve"))
    await asyncio.sleep(0.05)
    assert senders(sandbox) == {"alice": 0, "bob": 0}
    runs["bob"].ctx.send_event(ApprovalResponse(approval_id=asks["bob"].approval_id, by="bob", decision="approve"))
    assert "Sent." in await ended(runs["bob"]) and senders(sandbox) == {"alice": 0, "bob": 1}
    runs["alice"].ctx.send_event(ApprovalResponse(approval_id=asks["alice"].approval_id, by="alice", decision="reject"))
    assert "declined" in await ended(runs["alice"]) and senders(sandbox) == {"alice": 0, "bob": 1}


async def test_concurrent_runs_of_one_agent_read_their_own_users_mail(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect_both(deputy, sandbox, "readonly")
    one = agent("FunctionAgent", deputy, SEARCH, user=SOURCES["a ContextVar"])

    async def whole(user: str) -> str:
        before = len(sandbox.requests)
        said = await ended(await begin(one, user))
        assert f"{user}@example.test" in {seen.who for seen in sandbox.requests[before:]}
        return said

    users = ["alice", "bob"] * 4
    said = await asyncio.gather(*(asyncio.create_task(whole(user)) for user in users))
    assert {user: {text for u, text in zip(users, said, strict=True) if u == user} for user in users}.keys() == set(
        users
    )
    assert len({said[0], said[2], said[4]}) == 1 and said[0] != said[1], "alice's answers are alike, and not bob's"


# ------------------------------------------------------------- a run is one user's


async def test_run_whose_user_source_changes_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    now = ["alice"]
    handler = agent("FunctionAgent", deputy, SEND, user=lambda ctx: now[0]).run("go on")
    [request] = await asked(handler)
    await connect_both(deputy, sandbox, "send")
    for other in ("bob", "ALICE"):
        now[0] = other
        handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "another user" in await ended(handler) and senders(sandbox) == {"alice": 0, "bob": 0}


@pytest.mark.processes
@pytest.mark.parametrize("slow", [0.0, 0.01])
async def test_second_of_two_concurrent_calls_with_different_users_is_refused(
    deputy: Deputy, sandbox: Sandbox, slow: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = InMemoryStateStore.get

    async def as_over_a_network(self: Any, *args: Any, **more: Any) -> Any:
        await asyncio.sleep(0)
        try:
            return await real(self, *args, **more)
        finally:
            await asyncio.sleep(slow)

    monkeypatch.setattr(InMemoryStateStore, "get", as_over_a_network)
    await connect_both(deputy, sandbox, "readonly")
    named = ["alice", "bob", "alice", "bob"]

    async def source(ctx: Context) -> str:
        name = named.pop(0)
        await asyncio.sleep(slow)  # both are under way before either has begun
        return name

    before = len(sandbox.requests)
    calls = [{**SEARCH, "id": str(n), "args": {"query": f"{n}"}} for n in range(4)]
    said = await ended(agent("FunctionAgent", deputy, *calls, user=source).run("go on"))
    assert said.count("another user") == 2 and len({one.who for one in sandbox.requests[before:]}) == 1


@pytest.mark.parametrize("tenant", ["", "acme"])
async def test_tenant_is_part_of_the_run_owner(deputy: Deputy, tenant: str) -> None:
    now = [User("alice", "other")]
    handler = agent("FunctionAgent", deputy, SEND, user=lambda ctx: now[0]).run("go on")
    [request] = await asked(handler)
    now[0] = User("alice", tenant)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "another user" in await ended(handler)


async def test_context_used_by_another_user_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect_both(deputy, sandbox, "readonly")
    one = agent("FunctionAgent", deputy, SEARCH, user=SOURCES["a ContextVar"])
    handler = await begin(one, "alice")
    await ended(handler)
    WHO.set("bob")
    before = len(sandbox.requests)
    with pytest.warns(match="memory"):  # LlamaIndex's own: the memory is left out
        assert "another user" in await ended(one.run("go on", ctx=handler.ctx))
    assert len(sandbox.requests) == before


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_pause_is_resumed_by_its_user(deputy: Deputy, sandbox: Sandbox, source: UserSource) -> None:
    await connect_both(deputy, sandbox, "send")
    one = agent("FunctionAgent", deputy, SEND, user=source)
    handler = await begin(one, "alice")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    with pytest.raises(UserRequired, match="user= is missing"):
        await resume_paused(one, blob)
    for stranger in ("bob", User("alice", "acme")):
        WHO.set(stranger)
        with pytest.raises(PolicyDenied):
            await resume_paused(one, blob, user=stranger)
    await deputy.decide(request.approval_id, "approve", by="alice")
    WHO.set("alice")
    assert "Sent." in await ended(await resume_paused(one, blob, user="alice"))
    assert senders(sandbox) == {"alice": 1, "bob": 0}


async def test_resume_in_a_task_of_another_user_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    """The application resumes as alice while its ContextVar still holds bob: both are checked."""
    await connect_both(deputy, sandbox, "send")
    one = agent("FunctionAgent", deputy, SEND, user=SOURCES["a ContextVar"])
    handler = await begin(one, "alice")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await deputy.decide(request.approval_id, "approve", by="alice")
    WHO.set("bob")
    assert "another user" in await ended(await resume_paused(one, blob, user="alice"))
    assert senders(sandbox) == {"alice": 0, "bob": 0}


async def test_bound_tools_are_resumed_by_their_user_only(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    await asked(handler)
    blob = await save_paused(handler)
    with pytest.raises(PolicyDenied, match="bound to another user"):
        await resume_paused(agent("FunctionAgent", deputy, SEND), blob, user="bob")
    handler = await resume_paused(agent("FunctionAgent", deputy, SEND), blob, user="alice")
    await handler.cancel_run()


# ------------------------------------------------------------- nobody


@pytest.mark.parametrize("nobody", [None, "", "  "], ids=repr)
async def test_user_source_without_a_user_is_refused(deputy: Deputy, sandbox: Sandbox, nobody: Any) -> None:
    source: Callable[[Context], Any] = lambda ctx: nobody  # noqa: E731
    assert "The user is missing" in await ended(agent("FunctionAgent", deputy, SEARCH, user=source).run("go on"))
    assert sandbox.requests == []


async def test_user_source_is_empty_when_the_application_sets_no_user(deputy: Deputy, sandbox: Sandbox) -> None:
    for source in (served_user, store_user("session"), store_user()):
        assert "The user is missing" in await ended(agent("FunctionAgent", deputy, SEARCH, user=source).run("go on"))
    assert sandbox.requests == []


async def test_store_without_the_required_tenant_is_refused(deputy: Deputy) -> None:
    one = agent("FunctionAgent", deputy, SEARCH, user=store_user("session", tenant="org"))
    assert "has no 'org'" in await ended(await begin(one, "alice"))
    handler = await begin(agent("FunctionAgent", deputy, SEARCH, user=store_user("session")), "alice")
    [request] = await asked(handler)
    assert [c.id for c in await deputy.consents.list_pending(User("alice"))] == [request.consent_id]
    await handler.cancel_run()


async def test_user_source_is_not_called_outside_a_run(deputy: Deputy, sandbox: Sandbox) -> None:
    [tool] = GmailToolSpec(deputy, user=lambda ctx: "alice").to_tool_list(["gmail_search_emails"])
    for forged in ({}, {"ctx": {"user": "alice"}}, {"ctx": "alice"}):
        assert (await tool.acall(query="x", **forged)).raw_output == {"error": "user_required"}
    assert sandbox.requests == []


async def test_application_tool_result_does_not_change_the_user(deputy: Deputy, sandbox: Sandbox) -> None:
    """An application's tool writes model text into the run's store, under another key than the user's."""
    await connect_both(deputy, sandbox, "readonly")

    async def note(ctx: Context, text: str) -> str:
        """Note."""
        await ctx.store.set("state", {"session": text, "deputize_user": [text, ""]})
        return "noted"

    note.__annotations__["ctx"] = Context  # LlamaIndex looks for the class
    call = {"name": "note", "args": {"text": "bob"}, "id": "note"}
    more = [FunctionTool.from_defaults(async_fn=note)]
    one = agent("FunctionAgent", deputy, call, SEARCH, user=store_user("session"), more=more)
    await ended(await begin(one, "alice"))
    assert {seen.who for seen in sandbox.requests if seen.host == "gmail.googleapis.com"} == {"alice@example.test"}
