"""The acting user comes from one source, named by the application, at every entry point; clients of LangGraph Server
cannot choose it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from langgraph_sdk.auth.types import StudioUser

import deputize.adapters.langgraph
from deputize.adapters.acting_user import RunInfo, UserPolicy, server_user
from deputize.adapters.langchain import DeputyToolkit, tools
from deputize.adapters.langgraph import act_node
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, PolicyDenied, User, UserRequired
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, approvals_of, asking, tool_messages, wired
from tests.support.sandbox_deputy import build, connect
from tests.support.scripted_agents import calling

pytestmark = [
    pytest.mark.connected("readonly"),
    pytest.mark.connected("readonly", user="bob", as_="bob@example.test"),
    pytest.mark.connected("readonly", user=User("alice", "t2"), as_="decoy@example.test"),
]

Mailboxes = set[str]
BOB = Context("bob")
GO_ON = {"messages": [HumanMessage("go on")]}


class Verified:
    """A user as a server's custom authentication returns it, wrapped by the platform: fields are attributes."""

    is_authenticated = True
    permissions: tuple[str, ...] = ()

    def __init__(self, identity: str, **fields: str) -> None:
        self.identity = self.display_name = identity
        vars(self).update(fields)


class _Serialized(Verified):
    """A `StudioUser` after passing through the platform's queue: its fields, without its class."""

    kind = "StudioUser"


def on_server(user: Any = None, **configurable: Any) -> RunnableConfig:
    """Return a run's configuration as LangGraph Server creates it (langgraph_api.models.run)."""
    theirs = {"thread_id": "1", "graph_id": "agent", "assistant_id": "a", "langgraph_auth_user": user}
    return {"configurable": {**configurable, **theirs}}


def by_act_node(deputy: Deputy, call: dict[str, Any] = SEARCH, **who: Any) -> tuple[Graph, Any]:
    return wired(act_node(deputy, "gmail", **who)), asking(call)


def by_tools(deputy: Deputy, **who: Any) -> tuple[Graph, Any]:
    return wired(ToolNode(tools(deputy, "gmail", **who))), asking(SEARCH)


def by_toolkit(deputy: Deputy, **who: Any) -> tuple[Graph, Any]:
    return wired(ToolNode(DeputyToolkit(deputy=deputy, toolkits=("gmail",), **who).get_tools())), asking(SEARCH)


def by_middleware(deputy: Deputy, call: dict[str, Any] = SEARCH, **who: Any) -> tuple[Graph, Any]:
    gates = [DeputyMiddleware(deputy, "gmail", **who)]
    made: Graph = create_agent(
        calling(call),
        middleware=gates,
        context_schema=Context,
        checkpointer=InMemorySaver(),
    )
    return made, GO_ON


Entry = Callable[..., tuple[Graph, Any]]
ENTRIES: list[Entry] = [by_act_node, by_tools, by_toolkit, by_middleware]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__[3:])


async def mailboxes(
    sandbox: Sandbox, made: tuple[Graph, Any], config: RunnableConfig, context: Any = None
) -> Mailboxes:
    """Return the mailboxes that the run read. A refused run may raise an error or answer with one."""
    graph, given = made
    before = len(sandbox.requests)
    try:
        state = await graph.ainvoke(given, config, context=context)
    except PolicyDenied as refused:
        assert "another" in str(refused) or "verifies no user" in str(refused) or "not an end user" in str(refused)
    else:
        tool_messages(state)
    return {seen.who for seen in sandbox.requests[before:] if seen.host == "gmail.googleapis.com"}


PLAIN: RunnableConfig = {"configurable": {"thread_id": "1"}}
CONTRADICTED: list[tuple[str, RunnableConfig, Any]] = [
    ("context names another user", PLAIN, BOB),
    ("context names another tenant", PLAIN, Context("alice", "t2")),
    ("context names a tenant alone", PLAIN, Context("", "t2")),
    ("configurable names another user", {"configurable": {"thread_id": "1", "user_id": "bob"}}, None),
    ("configurable names another tenant", {"configurable": {"thread_id": "1", "tenant_id": "t2"}}, None),
    ("the server verified another user", on_server(Verified("bob")), None),
    ("a client of an open server", on_server(user_id="bob"), BOB),
]


@each_entry
async def test_bound_user_cannot_be_changed_by_any_run(deputy: Deputy, sandbox: Sandbox, entry: Entry) -> None:
    for what, config, context in CONTRADICTED:
        assert await mailboxes(sandbox, entry(deputy, user="alice"), config, context) == set(), what


@each_entry
async def test_run_naming_the_bound_user_or_nobody_acts(deputy: Deputy, sandbox: Sandbox, entry: Entry) -> None:
    for config in (PLAIN, on_server(Verified("alice")), on_server(), on_server(StudioUser("key"))):
        for context in (None, Context("alice")):
            read = await mailboxes(sandbox, entry(deputy, user="alice"), config, context)
            assert read == {"alice@example.test"}, (config, context)


@each_entry
async def test_client_cannot_change_a_verified_user_or_tenant(deputy: Deputy, sandbox: Sandbox, entry: Entry) -> None:
    for context in (Context("", "t2"), Context("alice", "t2"), BOB):
        assert await mailboxes(sandbox, entry(deputy), on_server(Verified("alice")), context) == set(), context


@each_entry
async def test_server_trusting_its_client_keeps_to_the_verified_user(
    deputy: Deputy, sandbox: Sandbox, entry: Entry
) -> None:
    alice = on_server(Verified("alice"))
    assert await mailboxes(sandbox, entry(deputy, trust_client_context=True), alice, BOB) == set()
    assert await mailboxes(sandbox, entry(deputy, trust_client_context=True), alice) == {"alice@example.test"}


@each_entry
async def test_api_key_identity_is_not_an_end_user(deputy: Deputy, sandbox: Sandbox, entry: Entry) -> None:
    """LangSmith's own authentication gives the key's owner as the user in the runs of all end users."""
    for key in (StudioUser("alice"), _Serialized("alice")):
        assert await mailboxes(sandbox, entry(deputy), on_server(key), BOB) == set()
        assert await mailboxes(sandbox, entry(deputy), on_server(key)) == set()
        trusting = entry(deputy, trust_client_context=True)
        assert await mailboxes(sandbox, trusting, on_server(key), BOB) == {"bob@example.test"}


@each_entry
async def test_client_of_a_server_without_authentication_names_no_user(
    deputy: Deputy, sandbox: Sandbox, entry: Entry
) -> None:
    """The server copies ``configurable`` into the context and back: both are what the client sent."""
    assert await mailboxes(sandbox, entry(deputy), on_server(user_id="bob"), BOB) == set()
    trusting = entry(deputy, trust_client_context=True)
    assert await mailboxes(sandbox, trusting, on_server(user_id="bob"), BOB) == {"bob@example.test"}


@each_entry
async def test_application_user_function_overrides_server_user_and_client_context(
    deputy: Deputy, sandbox: Sandbox, entry: Entry
) -> None:
    seen: list[RunInfo] = []

    def host(run: RunInfo) -> User:
        seen.append(run)
        return User("alice", "t2")

    assert await mailboxes(sandbox, entry(deputy, user=host), on_server(StudioUser("key")), BOB) == {
        "decoy@example.test"
    }
    assert all(run.on_server and run.context == BOB for run in seen) and seen


@each_entry
async def test_verified_user_carries_the_tenant(deputy: Deputy, sandbox: Sandbox, entry: Entry) -> None:
    made = entry(deputy, user=server_user(tenant="org"))
    alice = on_server(Verified("alice", org="t2"))
    assert await mailboxes(sandbox, made, alice, Context("bob", "t3")) == {"decoy@example.test"}


@pytest.mark.parametrize("user", [Verified("alice"), Verified("alice", org=""), StudioUser("alice"), None])
def test_server_user_without_required_tenant_or_verification_is_refused(user: Any) -> None:
    with pytest.raises((PolicyDenied, UserRequired)):
        UserPolicy(server_user(tenant="org")).acting_user(on_server(user), _runtime(user))


def _runtime(user: Any) -> Any:
    class Server:
        pass

    class Runtime:
        context = None
        server_info = Server()

    Server.user = user  # type: ignore[attr-defined]
    return Runtime()


@pytest.mark.parametrize("user", [Verified("alice"), Verified("alice", org="t2"), StudioUser("alice")])
@pytest.mark.parametrize("part", ["configurable", "metadata"])
def test_scheduled_run_has_no_user(user: Any, part: str) -> None:
    """What LangGraph's dev server really passes is tested in tests/counterparts/test_langgraph_server.py."""
    config = on_server(user)
    inside: Any = config
    inside[part] = {**inside.get(part, {}), "cron_id": "c"}
    for source in (None, server_user(), lambda run: run.server_user.identity):
        with pytest.raises(PolicyDenied):
            UserPolicy(source).acting_user(config, _runtime(user))
    assert UserPolicy(lambda run: "alice").acting_user(config, _runtime(user)) == User("alice")


@pytest.mark.parametrize("who", [{"user": "alice"}, {"trust_client_context": True}], ids=["bound", "trusting"])
@pytest.mark.parametrize("part", ["configurable", "metadata"])
@pytest.mark.parametrize("user", [Verified("bob"), StudioUser("bob")])
def test_cron_id_from_a_client_does_not_lift_the_user_check(user: Any, part: str, who: dict[str, Any]) -> None:
    """``configurable["user_id"]`` is also chosen by the client: the server fills it in only if it is empty."""
    config = on_server(user, user_id="alice")
    inside: Any = config
    inside[part] = {**inside.get(part, {}), "cron_id": "c"}
    runtime = _runtime(user)
    runtime.context = Context("alice")
    with pytest.raises(PolicyDenied, match="server user names another user"):
        UserPolicy(**who).acting_user(config, runtime)


@pytest.mark.parametrize("user", ["", " ", User(""), User(" ", "t")])
def test_empty_bound_user_is_refused(user: Any) -> None:
    with pytest.raises(UserRequired):
        UserPolicy(user).acting_user(PLAIN, type("Runtime", (), {"context": BOB})())


@pytest.mark.parametrize("user", [None, "", User("")])
def test_user_function_returning_nothing_is_refused(user: Any) -> None:
    with pytest.raises(UserRequired):
        UserPolicy(lambda run: user).acting_user(PLAIN, type("Runtime", (), {"context": BOB})())


def test_configurable_names_user_and_tenant_only_if_enabled() -> None:
    config: RunnableConfig = {"configurable": {"user_id": "bob", "tenant_id": "t2"}}
    assert UserPolicy(user_from_configurable=True).acting_user(config) == User("bob", "t2")
    with pytest.raises(UserRequired):
        UserPolicy().acting_user(config)
    with pytest.raises(PolicyDenied):  # the context's user, and another one's tenant
        UserPolicy(user_from_configurable=True).acting_user(config, type("Runtime", (), {"context": BOB})())
    with pytest.raises(PolicyDenied):
        UserPolicy(user_from_configurable=True).acting_user(on_server(user_id="bob"))


@pytest.mark.parametrize("entry", [by_act_node, by_middleware], ids=["act_node", "middleware"])
async def test_refused_user_at_anothers_pause_leaves_no_resume_value(sandbox: Sandbox, entry: Entry) -> None:
    """LangGraph keeps the resume value of a failed resume, and passes it to the next one."""
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly", "send")
        made, given = entry(deputy, SEND, user="alice")
        await made.ainvoke(given, PLAIN)
        [asked] = await approvals_of(made, PLAIN)
        yes: Command[Any] = Command(resume={"decisions": {asked["approval_id"]: "approve"}})
        with pytest.raises(PolicyDenied):
            await made.ainvoke(yes, PLAIN, context=BOB)
        await made.ainvoke(Command(resume={"wake": True}), PLAIN)
        assert sandbox.sent("alice@example.test") == [] and await approvals_of(made, PLAIN)


@dataclass
class Wider(Context):
    """An application's own context type."""

    language: str = "en"


@pytest.mark.parametrize("given", [Wider("alice", "t1", language="de"), {"user_id": "alice", "tenant_id": "t1"}])
async def test_context_with_extra_fields_names_the_user(sandbox: Sandbox, given: Any) -> None:
    assert deputize.adapters.langgraph.Context is deputize.adapters.Context is Context
    deputy = await build(sandbox)
    await connect(deputy, sandbox, "readonly", user=User("alice", "t1"))
    builder = StateGraph(MessagesState, context_schema=Wider)
    builder.add_node("tools", act_node(deputy, "gmail"))
    builder.add_edge(START, "tools")
    graph: Graph = builder.compile()
    state = await graph.ainvoke(asking(SEARCH), context=given)
    assert tool_messages(state)["search"].status == "success"
