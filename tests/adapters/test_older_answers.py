"""A resume value that LangGraph received before a deputize pause was created does not answer it, in any form."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from deputize.adapters.langgraph import act_node
from deputize.core import Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, approvals_of, asking, config, grant_all, plain, tool_messages, wired
from tests.support.sandbox_deputy import connect

pytestmark = pytest.mark.usefixtures("whoever_resumes")
ALICE, BOB = Context("alice"), Context("bob")
MINE = "alice@example.test"
SECOND = {**SEND, "id": "second", "args": {**SEND["args"], "subject": "Dinner"}}
of_calls = pytest.mark.parametrize("calls", [[SEND], [SEND, SECOND]], ids=["one", "two"])
in_words = pytest.mark.parametrize("words", ["yes", True, ["yes"], {"decisions": [{"type": "approve"}]}], ids=str)


async def run(graph: Any, given: Any, who: Context = ALICE, *, blocking: bool = False) -> Any:
    if blocking:
        return await asyncio.to_thread(graph.invoke, given, config(), context=who)
    return await graph.ainvoke(given, config(), context=who)


def resumed(words: Any) -> Command[Any] | None:
    return Command(resume=words)


async def shown(graph: Any) -> list[Any]:
    pauses = (await graph.aget_state(config())).interrupts
    return [one.value["type"] if isinstance(one.value, dict) else one.value for one in pauses]


async def approved(graph: Any, sandbox: Sandbox, calls: Any) -> None:
    """Check that an approval in the same form is accepted, and that everything is sent once."""
    assert not sandbox.sent(MINE)
    yes = {"decisions": {one["approval_id"]: "approve" for one in await approvals_of(graph, config())}}
    state = await run(graph, Command(resume=yes))
    assert {one.status for one in tool_messages(state).values()} == {"success"}
    assert len(sandbox.sent(MINE)) == len(calls)


@pytest.mark.parametrize("blocking", [False, True], ids=["", "in a blocking graph"])
@in_words
@of_calls
async def test_resume_value_of_an_application_interrupt_does_not_answer_ours(
    calls: Any, words: Any, blocking: bool, deputy: Deputy, sandbox: Sandbox
) -> None:
    await connect(deputy, sandbox, "send")
    acting = act_node(deputy, "gmail")

    async def anode(state: MessagesState, config: RunnableConfig) -> Any:
        assert interrupt("sure?") == words
        return await acting.ainvoke(state, config)

    def node(state: MessagesState, config: RunnableConfig) -> Any:
        assert interrupt("sure?") == words
        return acting.invoke(state, config)

    graph = wired(node if blocking else anode)
    await run(graph, asking(*calls), blocking=blocking)
    for given in (resumed(words), None, None):
        await run(graph, given, blocking=blocking)
        assert await shown(graph) == ["deputize.approval"]
    if not blocking:
        await approved(graph, sandbox, calls)


@of_calls
async def test_resume_value_of_a_failed_run_does_not_answer_ours(
    calls: Any, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "send")
    acting, cut = act_node(deputy, "gmail"), [True]

    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        assert interrupt("sure?") == "yes"
        if cut:
            raise ConnectionError(cut.pop())
        return await acting.ainvoke(state, config)

    graph = wired(node)
    await run(graph, asking(*calls))
    with pytest.raises(ConnectionError):
        await run(graph, Command(resume="yes"))
    for _ in range(2):
        await run(graph, None)
        assert await shown(graph) == ["deputize.approval"]
    with pytest.raises(PolicyDenied):
        await run(graph, None, BOB)
    await run(graph, None)
    await approved(graph, sandbox, calls)


@pytest.mark.parametrize("keeps", [None, True], ids=["", "own checkpoints"])
@of_calls
async def test_resume_value_of_an_earlier_step_does_not_answer_ours(
    calls: Any, keeps: Any, deputy: Deputy, sandbox: Sandbox
) -> None:
    await connect(deputy, sandbox, "send")

    def host(state: MessagesState) -> None:
        assert interrupt("sure?") == "yes"

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("host", host)
    builder.add_node("tools", act_node(deputy, "gmail"))
    builder.add_edge(START, "host")
    builder.add_edge("host", "tools")
    builder.add_edge("tools", END)
    graph = wired(builder.compile(checkpointer=keeps))
    await run(graph, asking(*calls))
    for given in (resumed("yes"), None, None):
        await run(graph, given)
        assert await shown(graph) == ["deputize.approval"]
    with pytest.raises(PolicyDenied):
        await run(graph, None, BOB)
    await run(graph, None)
    await approved(graph, sandbox, calls)


@in_words
@of_calls
async def test_resume_after_a_consent_does_not_answer_the_approval(
    calls: Any, words: Any, deputy: Deputy, sandbox: Sandbox
) -> None:
    graph = plain(deputy)
    await run(graph, asking(*calls))
    await grant_all(deputy, sandbox, graph, config())
    for given in (resumed(words), None, None):
        await run(graph, given)
        assert await shown(graph) == ["deputize.approval"]
    await approved(graph, sandbox, calls)


@of_calls
async def test_resume_value_of_a_parallel_interrupt_is_left_to_it(
    calls: Any, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deputize pause was not created yet, since its node failed."""
    await connect(deputy, sandbox, "send")
    acting, heard, cut = act_node(deputy, "gmail"), list[Any](), [True]

    async def beside(state: MessagesState) -> Any:
        await asyncio.sleep(0 if cut else 0.2)  # ours comes first
        heard.append(interrupt("beside?"))

    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        if cut:
            await asyncio.sleep(0.1)
            raise ConnectionError(cut.pop())
        return await acting.ainvoke(state, config)

    builder = StateGraph(MessagesState, context_schema=Context)
    for name, one in (("tools", node), ("beside", beside)):
        builder.add_node(name, one)
        builder.add_edge(START, name)
        builder.add_edge(name, END)
    graph = builder.compile(checkpointer=InMemorySaver())
    with pytest.raises(ConnectionError):
        await run(graph, asking(*calls))
    await run(graph, Command(resume="yes"))
    assert heard == ["yes"] and await shown(graph) == ["deputize.approval"]
    await run(graph, None)
    await approved(graph, sandbox, calls)


@in_words
@of_calls
async def test_mismatched_resume_value_decides_nothing(
    calls: Any, words: Any, deputy: Deputy, sandbox: Sandbox
) -> None:
    graph = plain(deputy)
    await run(graph, asking(*calls))
    await grant_all(deputy, sandbox, graph, config())
    await run(graph, Command(resume="look again"))
    await run(graph, Command(resume=words))
    assert await shown(graph) == ["deputize.approval"]
    await approved(graph, sandbox, calls)


@pytest.mark.parametrize("kind", ["", "in a blocking graph", "in a graph inside", "with a timeout"])
@in_words
@of_calls
async def test_equal_resume_value_decides_nothing(
    calls: Any, words: Any, kind: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    blocking = kind == "in a blocking graph"
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", act_node(deputy, "gmail"), timeout=60.0 if kind == "with a timeout" else None)
    builder.add_edge(START, "tools")
    graph = wired(builder.compile()) if kind == "in a graph inside" else builder.compile(checkpointer=InMemorySaver())
    await run(graph, asking(*calls), blocking=blocking)
    await grant_all(deputy, sandbox, graph, config())
    await run(graph, Command(resume=words), blocking=blocking)
    for _ in range(2):
        assert await shown(graph) == ["deputize.approval"]
        await run(graph, Command(resume=words), blocking=blocking)
        await run(graph, None, blocking=blocking)
    assert await shown(graph) == ["deputize.approval"]
    if not blocking:
        await approved(graph, sandbox, calls)
