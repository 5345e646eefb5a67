"""The pages on LangGraph and LangChain: their snippets run unchanged, against a sandbox."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ToolCallLimitMiddleware
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command
from langgraph.warnings import LangGraphDeprecatedSinceV10

from deputize.adapters.langgraph import Context, requests_in
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Approval, Consent, Deputy, User
from deputize.sandbox import Sandbox
from tests.docs.blocks import block, blocks, run, text
from tests.support.graphs import SEARCH, SEND, config, tool_messages
from tests.support.sandbox_deputy import build, connect, consent
from tests.support.scripted_agents import Scripted

GRAPH: Final = "docs/langgraph.md"
CHAIN: Final = "docs/langchain.md"
COUNTS: Final = {GRAPH: 4, CHAIN: 2}


@pytest.mark.parametrize("page", COUNTS)
def test_every_python_block_of_the_page_is_executed_here(page: str) -> None:
    assert len(blocks(page, "python")) == COUNTS[page]
    assert set(re.findall(r"^```(\w+)$", text(page), re.MULTILINE)) == {"python"}


def model(*calls: dict[str, Any]) -> Scripted:
    """Return a model that makes these calls once after a question, then answers."""

    def respond(messages: list[Any]) -> AIMessage:
        answered = messages[-1].type == "tool"
        return AIMessage("done") if answered else AIMessage("", tool_calls=[dict(call) for call in calls])

    return Scripted(respond=respond)


@dataclass
class Person:
    """Alice: follows the links shown to her, and approves each request."""

    deputy: Deputy
    sandbox: Sandbox
    shown: list[Any] = field(default_factory=list)
    going: list[asyncio.Task[Any]] = field(default_factory=list)

    def show(self, shown: Any) -> None:
        self.shown.append(shown)
        self.going.append(asyncio.create_task(self.visit()))

    async def visit(self) -> None:
        [*_, waiting] = await self.deputy.consents.list_pending(User("alice"))
        await consent(self.deputy, self.sandbox, waiting)

    def ask(self, preview: Any) -> str:
        self.shown.append(preview)
        return "approve"

    @property
    def sent(self) -> int:
        """Return how many mails have been sent as Alice."""
        return len(self.sandbox.sent("alice@example.test"))


@pytest.fixture
async def alice(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Person]:
    """Alice, and a sandbox behind any deputy that a page creates from its settings."""
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        monkeypatch.setattr(Deputy, "from_settings", lambda: deputy)
        yield Person(deputy, sandbox)


# ------------------------------------------------------------- LangGraph


async def test_documented_graph_pauses_twice_and_sends_once(alice: Person, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"model": model(SEARCH, SEND), "config": config(), "question": "go"}
    names = await run(block(GRAPH, "builder = StateGraph"), names)
    graph, context = names["graph"], names["Context"]("alice")
    names = await run(block(GRAPH, "aget_state(config)"), names)
    [asked] = await alice.deputy.consents.list_pending(User("alice"))
    assert asked.link in capsys.readouterr().out
    await consent(alice.deputy, alice.sandbox, asked)
    await graph.ainvoke(Command(resume={}), config(), context=context)
    [approval] = requests_in((await graph.aget_state(config())).interrupts, "approval")
    said = {"decisions": {approval["approval_id"]: "approve"}}
    state = await graph.ainvoke(Command(resume=said), config(), context=context)
    assert {one.status for one in tool_messages(state).values()} == {"success"} and alice.sent == 1


async def test_documented_turn_asks_twice_and_answers(alice: Person) -> None:
    names: dict[str, Any] = {"model": model(SEARCH, SEND), "config": config(), "show": alice.show, "ask": alice.ask}
    names = await run(block(GRAPH, "builder = StateGraph"), names)
    names = await run(block(GRAPH, "async def turn"), names)
    assert await names["turn"]("Tell Bob yes.") == "done"
    sentence, preview = alice.shown
    assert "send email as you" in sentence and preview["subject"] == "Lunch" and alice.sent == 1


async def test_documented_turn_answers_each_pause_with_parallel_calls(alice: Person) -> None:
    two = model({**SEND, "id": "1"}, {**SEND, "id": "2", "args": {**SEND["args"], "subject": "Dinner"}})
    await connect(alice.deputy, alice.sandbox, "send")
    names: dict[str, Any] = {"model": two, "config": config(), "show": alice.show, "ask": alice.ask}
    names = await run(block(GRAPH, "builder = StateGraph"), names)
    names = await run(block(GRAPH, "async def turn"), names)
    with pytest.warns(LangGraphDeprecatedSinceV10):
        names["graph"] = create_react_agent(
            two, names["node"], context_schema=Context, checkpointer=InMemorySaver(), version="v2"
        )
    assert await names["turn"]("Tell Bob yes, twice.") == "done"
    assert sorted(preview["subject"] for preview in alice.shown) == ["Dinner", "Lunch"] and alice.sent == 2


async def test_documented_stream_shows_the_link_and_ends_with_the_answer(alice: Person) -> None:
    written: list[str] = []
    names: dict[str, Any] = {"model": model(SEARCH), "config": config(), "show": alice.show, "write": written.append}
    names |= {"Command": Command, "requests_in": requests_in, "question": "Anything from Bob?"}
    names = await run(block(GRAPH, "builder = StateGraph"), names)
    await run(block(GRAPH, "graph.astream("), names)
    assert len(alice.shown) == 1 and alice.shown[0].startswith("http")
    assert "".join(written) == "done", "no result of a tool is written as an answer"


# ------------------------------------------------------------- LangChain


async def test_documented_agent_asks_for_consent_then_approval(alice: Person) -> None:
    names: dict[str, Any] = {"model": model(SEND), "show": alice.show, "ask": alice.ask}
    names = await run(block(CHAIN, "create_agent("), names)
    [call] = re.findall(r"^`await (turn\(.*\))`", text(CHAIN), re.MULTILINE)
    assert await eval(call, names) == "done"  # noqa: S307  # our own page
    sentence, preview = alice.shown
    assert "send email as you" in sentence and preview["to"] == "bob@example.test" and alice.sent == 1
    await names["turn"]("Tell Bob yes.", "chat-2", Context(""))
    assert (len(alice.shown), alice.sent) == (2, 1), "nobody is not Alice"


class Signed(AgentMiddleware[Any, Any]):
    """An application's middleware: signs each mail."""

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        call = request.tool_call
        args = {**call["args"], "body": f"{call['args']['body']} Sent by a program."}
        return await handler(request.override(tool_call={**call, "args": args}))


async def test_documented_turn_answers_pauses_with_a_call_editing_middleware(alice: Person) -> None:
    two = model({**SEND, "id": "1"}, {**SEND, "id": "2", "args": {**SEND["args"], "subject": "Dinner"}})
    await connect(alice.deputy, alice.sandbox, "send")
    names: dict[str, Any] = {"model": two, "show": alice.show, "ask": alice.ask}
    names = await run(block(CHAIN, "create_agent("), names)
    ours = DeputyMiddleware(alice.deputy, "gmail")
    names["agent"] = create_agent(
        two, middleware=[ours, Signed()], context_schema=Context, checkpointer=InMemorySaver()
    )
    assert await names["turn"]("Tell Bob yes, twice.", "chat-1", Context("alice")) == "done"
    assert alice.sent == 2
    assert all(b"Sent by a program." in mail.raw for mail in alice.sandbox.sent("alice@example.test"))


async def test_documented_call_limit_asks_for_nothing(alice: Person) -> None:
    await connect(alice.deputy, alice.sandbox, "send")
    limit = ToolCallLimitMiddleware[Any, Any](run_limit=0, exit_behavior="end")
    agent: Any = create_agent(
        model(SEND),
        middleware=[DeputyMiddleware(alice.deputy, "gmail"), limit],
        context_schema=Context,
        checkpointer=InMemorySaver(),
    )
    state = await agent.ainvoke({"messages": [("user", "Tell Bob yes.")]}, config(), context=Context("alice"))
    assert "__interrupt__" not in state and await alice.deputy.pending("alice") == [] and alice.sent == 0


async def test_documented_tools_report_consent_and_write_once_per_approval(alice: Person) -> None:
    asked: list[Consent | Approval] = []
    names: dict[str, Any] = {"deputy": alice.deputy, "model": model(SEND)}
    names |= {"on_consent": asked.append, "on_approval": asked.append}
    names = await run(block(CHAIN, "model.bind_tools("), names)
    [refused] = names["answers"]
    assert refused.status == "error" and "http" not in refused.text
    [missing] = asked
    assert isinstance(missing, Consent) and missing.link and missing.scope_descriptions
    await connect(alice.deputy, alice.sandbox, "send")
    tool, call = names["by_name"][SEND["name"]], names["asked"].tool_calls[0]
    await tool.ainvoke(call)
    question = asked[-1]
    assert isinstance(question, Approval) and question.preview
    assert " wants to send this email at Gmail as " in question.summary
    await alice.deputy.decide(question, "approve", by="alice")
    for done in ("success", "error"):  # one approval, one act
        assert ((await tool.ainvoke(call)).status, alice.sent) == (done, 1)
    bundle = re.findall(r"`(DeputyToolkit\(.*?\)\.get_tools\(\))`", text(CHAIN))
    assert bundle == ['DeputyToolkit(deputy=deputy, toolkits=("gmail",), user="alice").get_tools()']
