"""A user id is a string, an integer or a UUID, from any source: another object's text may be another user's id."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from typing import Any, Final
from uuid import UUID

import pytest
from agents import FunctionTool
from agents.tool_context import ToolContext
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from deputize.adapters import openai_agents, operator_warnings
from deputize.adapters.acting_user import UserPolicy, server_user
from deputize.core import Deputy, PolicyDenied, User, UserRequired
from deputize.sandbox import Sandbox
from tests.adapters.test_identity import (
    PLAIN,
    Entry,
    Verified,
    by_act_node,
    by_middleware,
    by_tools,
    each_entry,
    on_server,
)
from tests.support.google_adk_runs import Runs as AdkRuns
from tests.support.graphs import SEARCH, SEND, Context, approvals_of, tool_messages
from tests.support.llamaindex_agents import agent, ended
from tests.support.pydantic_ai_runs import Runs as PydanticRuns
from tests.support.sandbox_deputy import build, connect

UUID_OF_ALICE: Final = UUID("6f1c2a3e-0000-4000-8000-00000000a11c")


class Row:
    """An ORM row: its text is the name of a person, which two persons may share."""

    def __init__(self, key: int, name: str = "alice") -> None:
        self.key, self.name = key, name

    def __str__(self) -> str:
        return self.name


class Login(str):
    """A string subclass whose text is another user's id, and which claims to be equal to it."""

    def __str__(self) -> str:
        return "alice"

    def __eq__(self, other: object) -> bool:
        return other == "alice"

    __hash__ = str.__hash__


class Person(str, Enum):  # noqa: UP042
    """An object whose text is its name."""

    BOB = "bob"


class Key(UUID):
    """A UUID subclass whose text is another user's id."""

    def __str__(self) -> str:
        return "alice"


NO_IDS: Final[list[Any]] = [Row(2), ["alice"], b"alice", {"id": "alice"}, True, False, 0, -1, 7.0, object()]
IDS: Final[list[tuple[Any, str]]] = [(42, "42"), (UUID_OF_ALICE, str(UUID_OF_ALICE)), ("alice", "alice")]
SOURCES: Final[dict[str, Callable[[Any, Any], User]]] = {
    "the run's context": lambda id, tenant: UserPolicy().acting_user(PLAIN, _runtime(Context(id, tenant))),
    "the run's configurable": lambda id, tenant: UserPolicy(user_from_configurable=True).acting_user(
        {"configurable": {"user_id": id, "tenant_id": tenant}}
    ),
    "the server's authentication": lambda id, tenant: UserPolicy(server_user("org")).acting_user(
        PLAIN, _runtime(server=Verified(id, org=tenant))
    ),
    "the application's function user=": lambda id, tenant: UserPolicy(lambda run: User(id, tenant)).acting_user(PLAIN),
}


def _runtime(context: Any = None, server: Any = None) -> Any:
    info = type("Server", (), {"user": server}) if server else None
    return type("Runtime", (), {"context": context, "server_info": info})()


@pytest.fixture
async def deputy(sandbox: Sandbox) -> Any:
    async with await build(sandbox) as deputy:
        for one in (User("alice"), User("<alice>"), *(User(id) for _, id in IDS[:2])):
            await connect(deputy, sandbox, "readonly", user=one)
        yield deputy


def reads_mail(sandbox: Sandbox) -> bool:
    return any(seen.host == "gmail.googleapis.com" and "/messages" in seen.path for seen in sandbox.requests)


@each_entry
@pytest.mark.parametrize("place", ["context", "configurable", "function"])
async def test_lookalike_user_id_is_refused(deputy: Deputy, sandbox: Sandbox, entry: Entry, place: str) -> None:
    for said in (Row(2), ["alice"], b"alice"):
        who: dict[str, Any] = {"user": lambda run, said=said: said} if place == "function" else {}
        graph, given = entry(deputy, **who, **({"user_from_configurable": True} if place == "configurable" else {}))
        named = {"user_id": said} if place == "configurable" else {}
        config: RunnableConfig = {"configurable": {"thread_id": "1", **named}}
        context = Context(said) if place == "context" else None  # type: ignore[arg-type]
        try:
            [answer] = tool_messages(await graph.ainvoke(given, config, context=context)).values()
            told = str(answer.content)
        except UserRequired as refused:  # where there is a gate; the run is the operator's to mend
            told = str(refused)
        assert f"type {type(said).__name__}" in told and "alice" not in told and not reads_mail(sandbox)


@pytest.mark.parametrize(
    ("said", "id"),
    [(Login("bob"), "bob"), (Person.BOB, "bob"), (Key(int=7), "00000000-0000-0000-0000-000000000007")],
    ids=["text", "enumeration", "uuid"],
)
def test_user_id_is_its_stored_value_not_its_repr_or_equality(said: Any, id: str) -> None:
    for who in (User.of(said), User.of(User(said)), *(named(said, said) for named in SOURCES.values())):
        assert type(who.id) is type(who.tenant) is str and f"{who.id}" == id and who != User("alice", who.tenant)
    with pytest.raises(PolicyDenied):
        UserPolicy("alice").acting_user(PLAIN, _runtime(Context(said)))


def test_number_that_cannot_be_written_is_not_a_user_id() -> None:
    for beyond in (2**128, 10**5000):
        with pytest.raises(UserRequired):
            User.of(beyond)


@pytest.mark.parametrize("source", SOURCES)
def test_user_source_gives_an_id_or_is_refused(source: str) -> None:
    named = SOURCES[source]
    for said in NO_IDS:
        with pytest.raises(
            UserRequired, match=rf"(?i)^{source} names its user by a value of type {type(said).__name__}"
        ):
            named(said, "acme")
        with pytest.raises((UserRequired, PolicyDenied)) as refused:
            named("bob", said)
        assert "alice" not in f"{refused.value} {refused.value.hint}"
    for said, id in IDS:
        assert named(said, said) == User(id, id)


def test_verified_user_without_an_id_is_not_replaced_by_the_client() -> None:
    trusting = UserPolicy(trust_client_context=True, user_from_configurable=True)
    for said in (Row(2), ["alice"]):
        server = _runtime(Context("bob"), Verified(said))  # type: ignore[arg-type]
        with pytest.raises(UserRequired, match="server's authentication"):
            trusting.acting_user(on_server(user_id="bob"), server)


def test_run_with_an_invalid_user_id_beside_a_bound_user_is_refused() -> None:
    for context in (Context(["alice"]), Context("alice", b"")):  # type: ignore[arg-type]
        with pytest.raises(UserRequired, match="The run's context"):
            UserPolicy("alice").acting_user(PLAIN, _runtime(context))


@pytest.mark.parametrize("entry", [by_act_node, by_middleware], ids=["act_node", "middleware"])
async def test_refused_user_id_at_anothers_pause_leaves_no_resume_value(sandbox: Sandbox, entry: Entry) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly", "send")
        made, given = entry(deputy, SEND)
        await made.ainvoke(given, PLAIN, context=Context("alice"))
        [asked] = await approvals_of(made, PLAIN)
        yes: Command[Any] = Command(resume={"decisions": {asked["approval_id"]: "approve"}})
        with pytest.raises((PolicyDenied, UserRequired)):
            await made.ainvoke(yes, PLAIN, context=Context(Row(2)))  # type: ignore[arg-type]
        await made.ainvoke(Command(resume={"wake": True}), PLAIN, context=Context("alice"))
        assert sandbox.sent("alice@example.test") == [] and await approvals_of(made, PLAIN)


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("framework", ["llamaindex", "pydantic-ai", "openai-agents", "google-adk"])
async def test_other_frameworks_accept_and_refuse_the_same_user_ids(
    deputy: Deputy, sandbox: Sandbox, framework: str
) -> None:
    async def answer(said: Any) -> str:
        if framework == "llamaindex":
            return await ended(agent("FunctionAgent", deputy, SEARCH, user=lambda ctx: said).run("go on"))
        if framework == "pydantic-ai":
            return (await PydanticRuns().start(deputy, SEARCH, user=said)).text
        if framework == "google-adk":
            return (await AdkRuns().start(deputy, SEARCH, named=lambda ctx: said)).text
        [search] = openai_agents.tools(deputy, SEARCH["name"], user=lambda ctx: said, thread="1")
        assert isinstance(search, FunctionTool)
        ctx = ToolContext(None, tool_name=search.name, tool_call_id="1", tool_arguments="{}")
        return str(await search.on_invoke_tool(ctx, '{"query": "from:bob"}'))

    for said in NO_IDS:
        assert f"type {type(said).__name__}" in await answer(said), said
    assert not reads_mail(sandbox)
    for said, _ in IDS:
        assert "Bob Brown" in await answer(said), said


async def test_audit_contains_nothing_of_an_invalid_user_id(deputy: Deputy) -> None:
    for said in (Row(2, "Alex Smith"), User(Row(2, "Alex Smith"))):  # type: ignore[arg-type]
        with pytest.raises(UserRequired, match="type Row"):
            await deputy.act("gmail_whoami", {}, user=said)  # type: ignore[arg-type]
        last = deputy.audit.rows()[-1]
        assert last["decision"] == "user_required" and "Alex" not in str(last)


async def test_log_names_the_source_and_type_of_an_invalid_user_id(
    deputy: Deputy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_warnings, "_logged", set())
    graph, given = by_tools(deputy)
    with caplog.at_level(logging.WARNING, "deputize"):
        await graph.ainvoke(given, PLAIN, context=Context(Row(2)))  # type: ignore[arg-type]
    assert "context names its user by a value of type Row" in caplog.text and "primary key" in caplog.text
