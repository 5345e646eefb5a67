"""The pages on migrations: "after" blocks run unchanged; "before" blocks are only parsed."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from typing import Any, Final, TypedDict

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from llama_index.core.llms.mock import MockFunctionCallingLLM

from deputize.adapters.langgraph import ActNode, Context, requests_in
from deputize.core import ApprovalRequired, Deputy, User
from deputize.core.tools.catalog import Catalog
from deputize.sandbox import Sandbox
from tests.docs.blocks import ROOT, blocks, run, text
from tests.support.graphs import SEARCH, SEND, asking, config, tool_messages
from tests.support.llamaindex_agents import Model
from tests.support.sandbox_deputy import build, connect, consent
from tests.support.scripted_agents import calling

OWN, TOKENS, ARCADE, AUTH0 = [
    f"docs/migrating/{page}.md" for page in ("toolnode", "google-tokens", "arcade", "auth0-ai")
]
COUNTS: Final = {OWN: 3, TOKENS: 2, ARCADE: 3, AUTH0: 4}
"""How many "after" blocks each page has; each is run below."""


@tool
def look_up_order(number: str) -> str:
    """A tool of the application's."""
    return f"{number} is on its way"


OURS: Final[dict[str, Any]] = {"look_up_order": look_up_order, "checkpointer": InMemorySaver(), "question": "go"}


@pytest.mark.parametrize("page", COUNTS)
def test_each_block_is_before_or_after_and_every_page_has_both(page: str) -> None:
    kinds = [code.partition("\n")[0] for code in blocks(page, "python")]
    assert kinds.count("# after") == COUNTS[page] and set(kinds) == {"# before", "# after"}
    for one in blocks(page, "python"):
        compile(one, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert {f"docs/migrating/{one.name}" for one in (ROOT / "docs/migrating").glob("*.md")} == {*COUNTS}


def after(page: str, word: str) -> str:
    """Return the only "after" block that contains this word."""
    [found] = [code for code in blocks(page, "python") if code.startswith("# after") and word in code]
    return found


class House:
    """A sandbox, and one deputy over it, whatever settings a page reads it from."""

    deputy: Deputy

    def __init__(self) -> None:
        self.sandbox, self.shown, self.more = Sandbox(), list[str](), dict[str, Any]()

    def from_settings(self, **given: Any) -> Deputy:
        self.more |= given
        return self.deputy

    @property
    def sent(self) -> int:
        return len(self.sandbox.sent("alice@example.test"))

    async def visit(self, user: str = "alice") -> None:
        """Follow the waiting link as the user."""
        for waiting in await self.deputy.consents.list_pending(User(user)):
            await consent(self.deputy, self.sandbox, waiting)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    made = House()
    async with await build(made.sandbox) as made.deputy:
        monkeypatch.setattr(Deputy, "from_settings", made.from_settings)
        yield made


async def searched_by(node: Any, user: str = "alice") -> tuple[Any, Any]:
    """Return a graph of this node that was asked to search and to look up an order, and its pause."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    own = {"name": "look_up_order", "args": {"number": "7"}, "id": "own"}
    state = await graph.ainvoke(asking(SEARCH, own), config(), context=Context(user))
    return graph, requests_in(state["__interrupt__"], "consent")


# ------------------------------------------------------------- from ToolNode and create_agent


async def test_migrated_tool_node_graph_keeps_its_own_tools(house: House) -> None:
    names = await run(after(OWN, "node = act_node"), OURS | {"model": calling()})
    node = names["node"]
    assert isinstance(node, ActNode) and {"look_up_order", "gmail_search_emails"} <= node.tools_by_name.keys()
    graph, [missing] = await searched_by(node)
    assert missing["scopes"] == ["https://www.googleapis.com/auth/gmail.readonly"]
    await house.visit()
    answers = tool_messages(await graph.ainvoke(Command(resume="look"), config(), context=Context("alice")))
    assert answers["own"].text == "7 is on its way" and answers["search"].status == "success"


async def test_migrated_agent_keeps_its_inbox(house: House) -> None:
    await connect(house.deputy, house.sandbox, "send")
    names = await run(after(OWN, "create_agent("), OURS | {"deputy": house.deputy, "model": calling(SEND)})
    paused = await names["agent"].ainvoke({"messages": [("user", "go")]}, config("hitl"), context=Context("alice"))
    [pause] = paused["__interrupt__"]
    assert [one["name"] for one in pause.value["action_requests"]] == ["gmail_send_email"]
    answer: Command[Any] = Command(resume={"decisions": [{"type": "approve"}]})
    await names["agent"].ainvoke(answer, config("hitl"), context=Context("alice"))
    assert house.sent == 1


async def test_migrated_own_tool_becomes_a_toolkit(house: House) -> None:
    names = await run(after(OWN, "KIT = Toolkit"), {})
    assert {"gmail", "counting"} <= {kit.name for kit in house.more["toolkits"]}
    async with await build(house.sandbox, toolkits=house.more["toolkits"]) as deputy:
        await connect(deputy, house.sandbox, "readonly")
        assert await deputy.act("counting_mails", {}, user="alice") > 0
    assert "`counting_mails`" in text(OWN) and names["KIT"].name == "counting"


# ------------------------------------------------------------- from raw tokens


async def test_migrated_google_toolkit_agent_uses_the_middleware(house: House) -> None:
    await connect(house.deputy, house.sandbox, "readonly")
    code = after(TOKENS, "create_agent(").replace("agent.invoke", "said = await agent.ainvoke")  # this test has a loop
    names = await run(code, OURS | {"model": calling(SEARCH)})
    assert names["said"]["messages"][-1].text == "1 answers"
    assert tool_messages(names["said"])["search"].status == "success"


class State(TypedDict):
    query: str
    found: Any


async def test_migrated_token_node_acts_as_the_runs_user(house: House) -> None:
    await connect(house.deputy, house.sandbox, "readonly")
    names = await run(after(TOKENS, "def read_mail"), {"deputy": house.deputy, "State": State})
    builder = StateGraph(State, context_schema=Context)
    builder.add_node("read", names["read_mail"])
    builder.add_edge(START, "read")
    graph: Any = builder.compile()
    state = await graph.ainvoke({"query": "from:bob"}, context=Context("alice"))
    assert state["found"]["items"]


def test_replacement_tools_of_googles_toolkit_exist() -> None:
    rows = re.findall(r"^\| `\w+` \| `(\w+)`", text(TOKENS), re.MULTILINE)
    assert len(rows) == 11 and all(Catalog().tool(name).name == name for name in rows)


# ------------------------------------------------------------- from Arcade


async def test_migrated_tool_manager_graph_pauses_instead_of_waiting(house: House) -> None:
    builder = StateGraph(MessagesState, context_schema=Context)
    names = await run(after(ARCADE, "act_node(deputy"), {"builder": builder, "model": calling()})
    assert {*builder.nodes} == {"tools"} and "gmail_send_email" in names["node"].tools_by_name


async def test_migrated_wrapped_tools_continue_after_the_old_resume_value(house: House) -> None:
    names = {"deputy": house.deputy, "model": calling(SEARCH), "checkpointer": InMemorySaver()}
    agent = (await run(after(ARCADE, "create_agent("), names))["agent"]
    paused = await agent.ainvoke({"messages": [("user", "go")]}, config(), context=Context("alice"))
    assert len(paused["__interrupt__"][0].value["consents"]) == 1
    await house.visit()
    assert '`{"authorized": True}`' in text(ARCADE)
    state = await agent.ainvoke(Command(resume={"authorized": True}), config(), context=Context("alice"))
    assert tool_messages(state)["search"].status == "success"


async def test_migrated_arcade_call_acts_by_the_same_name(house: House) -> None:
    async def wait(consents: Any) -> None:
        await house.visit()

    house.deputy.wait_for_consents = wait  # type: ignore[assignment]
    names = await run(after(ARCADE, "async def execute"), {"deputy": house.deputy, "show": house.shown.append})
    assert len(names["found"]["items"]) == 5 and house.shown[0].startswith("http")


# ------------------------------------------------------------- from auth0-ai


async def test_migrated_token_vault_graph_has_no_token_in_its_configuration(house: House) -> None:
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_edge(START, "tools")
    session = {"userinfo": {"sub": "alice"}}
    names = await run(after(AUTH0, "act_node(deputy"), OURS | {"builder": builder, "session": session})
    assert "token" not in str(names["config"])
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    await graph.ainvoke(asking(SEARCH), names["config"], context=names["context"])

    async def wait(consents: Any) -> None:
        await house.visit()

    house.deputy.wait_for_consents = wait  # type: ignore[assignment]
    names |= {"graph": graph, "show": house.shown.append}
    await run(after(AUTH0, "Command(resume=RESUME)"), names)
    assert tool_messages((await graph.aget_state(names["config"])).values)["search"].status == "success"
    assert house.shown[0].startswith("http")


async def test_migrated_rule_asks_before_sending(house: House) -> None:
    await run(after(AUTH0, "def policy"), {})
    async with await build(house.sandbox, policy=house.more["policy"]) as deputy:
        await connect(deputy, house.sandbox, "send", "readonly")
        assert (await deputy.act("gmail_search_emails", {"query": "from:bob"}, user="alice"))["items"]
        with pytest.raises(ApprovalRequired):
            await deputy.act("gmail_send_email", SEND["args"], user="alice")


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_migrated_llamaindex_agent_searches_as_alice(house: House) -> None:
    await connect(house.deputy, house.sandbox, "readonly")
    llm = MockFunctionCallingLLM(response_generator=Model([SEARCH]))
    names = await run(after(AUTH0, "GmailToolSpec"), {"deputy": house.deputy, "llm": llm})
    assert str(await names["agent"].run("Anything from Bob?"))
