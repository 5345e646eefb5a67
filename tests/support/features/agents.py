"""Supervisors, swarms, and LangChain's own middleware before and after ours in the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.types import Command
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm
from langgraph_swarm.swarm import SwarmState

from deputize.adapters.langgraph import act_node
from tests.support.features.scene import Row, Scene, agent_of, gates, invoked
from tests.support.graphs import SEND, Context, Graph, wired
from tests.support.scripted_agents import Scripted, calling

AGENT: Final = ("create_agent",)
GO_ON: Final = {"messages": [HumanMessage("write to bob@example.test, my mail is alice@example.test")]}
CLEAR: Final = {"name": "clear_desk", "args": {}, "id": "clear"}
HAND_OVER: Final = {"name": "transfer_to_mailer", "args": {}, "id": "hand over"}


@tool
def clear_desk() -> str:
    """Clear the desk."""
    return "cleared"


def mailer(scene: Scene, *own: Any, state: type[Any] = MessagesState) -> Graph:
    """Return an agent of this name that sends the mail."""
    if scene.way == "create_agent":
        return agent_of(scene.deputy, once(SEND), own=own, name="mailer")
    return by_hand(scene, once(SEND), "mailer", *own, state=state)


def by_hand(scene: Scene, model: Scripted, name: str, *own: Any, state: type[Any] = MessagesState) -> Graph:
    """Build model -> act node -> model."""

    def ask(state: Any) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(state, context_schema=Context)
    builder.add_node("model", ask)
    builder.add_node("tools", act_node(scene.deputy, "gmail", tools=own))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile(name=name)


def once(call: dict[str, Any]) -> Scripted:
    """Return a model that makes this call once in a conversation."""

    def respond(messages: list[BaseMessage]) -> AIMessage:
        done = any(isinstance(m, ToolMessage) and m.tool_call_id == call["id"] for m in messages)
        return AIMessage("all done") if done else AIMessage("", tool_calls=[dict(call)])

    return Scripted(respond=respond)


def supervisor(scene: Scene) -> Graph:
    """Build a supervisor that hands over to the mailer."""
    made = create_supervisor([mailer(scene)], model=once(HAND_OVER), context_schema=Context)
    return made.compile(checkpointer=scene.saver)


async def supervised(scene: Scene) -> int:
    """A supervisor hands over to the mailer."""
    return await scene.play(supervisor(scene), GO_ON)


def swarm(scene: Scene, planner: Graph | None = None) -> Graph:
    """Build a planner that hands over to the mailer, which is the active agent from then on."""
    own = [create_handoff_tool(agent_name="mailer")]
    first = planner or agent_of(scene.deputy, once(HAND_OVER), own=own, name="planner")
    agents: list[Any] = [first, mailer(scene, create_handoff_tool(agent_name="planner"), state=SwarmState)]
    made = create_swarm(agents, default_active_agent="planner", context_schema=Context)
    return made.compile(checkpointer=scene.saver)


async def swarming(scene: Scene) -> int:
    """A planner hands over to the mailer, which is the active agent from then on."""
    return await swarm_of(scene)


async def swarming_from_the_act_node(scene: Scene) -> int:
    """The planner's handover tool is in an act node."""
    to_mailer = create_handoff_tool(agent_name="mailer")
    return await swarm_of(scene, by_hand(scene, once(HAND_OVER), "planner", to_mailer, state=SwarmState))


async def swarm_of(scene: Scene, planner: Graph | None = None) -> int:
    """Play a swarm that begins with this planner; return the number of mails."""
    graph = swarm(scene, planner)
    mails = await scene.play(graph, GO_ON)
    assert (await scene.state(graph)).values["active_agent"] == "mailer"
    return mails


async def never_mind(scene: Scene) -> int:
    """Alice writes another message at the pause for approval: nothing is asked any more, and a late approval sends
    nothing."""

    def respond(messages: list[BaseMessage]) -> AIMessage:
        dropped = any(m.text == "never mind" for m in messages)
        return AIMessage("all right") if dropped else AIMessage("", tool_calls=[dict(SEND)])

    model = Scripted(respond=respond)
    made = agent_of(scene.deputy, model) if scene.way in AGENT else by_hand(scene, model, "mailer")
    graph = wired(made, scene.saver)
    await invoked(scene, graph, GO_ON)
    consents = await scene.answers((await scene.state(graph)).interrupts)
    await invoked(scene, graph, Command(resume=consents))
    yes = await scene.answers((await scene.state(graph)).interrupts)
    await invoked(scene, graph, {"messages": [HumanMessage("never mind")]})
    assert (await scene.state(graph)).next == ()
    await invoked(scene, graph, Command(resume=yes))
    return scene.sent()


def five() -> list[Any]:
    """Five of LangChain's middlewares, each with something to do here."""
    return [
        SummarizationMiddleware(saying("a summary"), trigger=("messages", 3), keep=("messages", 2)),
        ToolRetryMiddleware(max_retries=2, initial_delay=0.01, jitter=False),
        ModelCallLimitMiddleware(run_limit=5),
        PIIMiddleware(
            "email", strategy="redact", apply_to_input=True, apply_to_output=True, apply_to_tool_results=True
        ),
        TodoListMiddleware(),
    ]


def saying(words: str) -> Scripted:
    """Return a model that says this."""
    return Scripted(respond=lambda messages: AIMessage(words))


def beside(feature: str, theirs: Callable[[], list[Any]], *calls: dict[str, Any]) -> list[Row]:
    """Place these middlewares before and after ours in the list."""

    def row(order: str) -> Row:
        async def played(scene: Scene) -> int:
            ours = gates(scene.deputy)
            gated = [*theirs(), *ours] if order == "before" else [*ours, *theirs()]
            model = calling(*(calls or (SEND,)))
            graph = agent_of(scene.deputy, model, own=[clear_desk], gated=gated, checkpointer=scene.saver)
            scene.host_answers["hitl"] = {"decisions": [{"type": "approve"}]}
            mails = await scene.play(graph, GO_ON)
            cleared = [m.text for m in (await scene.state(graph)).values["messages"] if m.text == "cleared"]
            assert len(cleared) == (CLEAR in calls)
            return mails

        return Row(f"{feature}, {order} ours", played, ways=AGENT)

    return [row("before"), row("after")]


def retried(error: type[httpx.TransportError], status: str, mails: int) -> Row:
    """``ToolRetryMiddleware``, and a network that fails once."""

    async def played(scene: Scene) -> int:
        async def broken() -> None:
            setattr(scene.line, status, None)
            raise error("the connection broke")

        setattr(scene.line, status, broken)
        retry = ToolRetryMiddleware(max_retries=3, initial_delay=0.01, jitter=False)
        graph = agent_of(scene.deputy, calling(SEND), gated=[retry, *gates(scene.deputy)], checkpointer=scene.saver)
        return await scene.play(graph, GO_ON)

    return Row(f"tool retry, {error.__name__}, {status}", played, ways=AGENT, mails=mails)


ROWS: Final = (
    Row("supervisor", supervised, usual=True),
    Row("swarm", swarming),
    Row("a new message at the pause", never_mind, mails=0, by_hand=True),
    Row("swarm, handing over in the act node", swarming_from_the_act_node, ways=("act_node",)),
    *beside("five middlewares", five),
    *beside("context editing", lambda: [ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=1, keep=0)])]),
    *beside("tool call limit", lambda: [ToolCallLimitMiddleware(run_limit=1)]),
    *beside("HITL on a host's tool", lambda: [HumanInTheLoopMiddleware({"clear_desk": True})], SEND, CLEAR),
    *beside(
        "HITL and five middlewares", lambda: [*five(), HumanInTheLoopMiddleware({"clear_desk": True})], SEND, CLEAR
    ),
    retried(httpx.ReadError, "arrived", 1),
    retried(httpx.ReadError, "leaving", 0),
    retried(httpx.ConnectError, "leaving", 1),
)
