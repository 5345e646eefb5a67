"""What the LangChain and LangGraph adapters cost, over what the frameworks cost without them.

``python -m tests.bench`` prints it. Behind our tool, and behind the one that does nothing, stands no act: what the core
costs is a figure of its own. The act node and the plain ``ToolNode`` both do the same act, a read with consent present,
in a graph without a checkpointer, and in one that keeps checkpoints in memory. With a write that is approved, the act
node pauses for its user and then acts; the plain graph pauses in a node of its own, as an application that asks by
itself would, and acts under a policy that allows all.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel
from langgraph.types import Command, interrupt

from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import act_node, requests_in
from deputize.core import Audience, Effect, Preview, Request, Steps, allow_all, any_of
from deputize.core.http import FastTransport
from tests.bench.__main__ import KIT, SCOPE, Work, deputy, paired, say, server

CALL = {"type": "tool_call", "name": "gmail_list_emails", "args": {"query": "from:bob"}, "id": "1"}


@dataclass
class Context:
    """What the host hands to a run."""

    user_id: str


@KIT.tool(needs=[any_of(SCOPE, method="gmail.users.messages.send")], effect=Effect.SENDS)
def tell(name: str) -> Steps:
    """Tell everybody."""
    yield Preview("Tell everybody", audience=Audience.PUBLIC, name=name)
    return (yield Request("POST", "/users/me/messages", json={"raw": name}))


async def adapters() -> None:
    """All figures."""
    await tool()
    await node()
    await approved()


async def tool() -> None:
    """Our tool's ``ainvoke`` over that of a `StructuredTool` with the same schema that does nothing."""

    async def nothing(*names: Any, **given: Any) -> Any:
        return []

    async def no_op(*, config: RunnableConfig, **given: Any) -> tuple[Any, Any]:
        return "[]", []

    async with deputy("http://127.0.0.1:1", FastTransport) as one:
        [ours] = tools(one, "gmail_list_emails", user="alice")
        theirs = StructuredTool.from_function(
            coroutine=no_op,
            name=ours.name,
            description=ours.description,
            args_schema=ours.args_schema,
            response_format="content_and_artifact",
            handle_tool_error=True,
        )
        one.act = nothing  # type: ignore[method-assign]
        ratios = await paired([lambda: theirs.ainvoke(CALL), lambda: ours.ainvoke(CALL)], 1)
        say("LangChain adapter over a no-op StructuredTool", ratios[1], 0.90)


def graph(node: Any, saver: Any) -> Pregel[Any, Any, Any, Any]:
    """START -> this node -> END."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=saver)


def asking_first(node: Any) -> Pregel[Any, Any, Any, Any]:
    """START -> a pause -> this node -> END."""

    def ask(state: MessagesState) -> dict[str, Any]:
        interrupt({"calls": [call["name"] for call in state["messages"][-1].tool_calls]})  # type: ignore[union-attr]
        return {}

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("ask", ask)
    builder.add_node("tools", node)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "tools")
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=InMemorySaver())


async def approved() -> None:
    """One write that is approved in the resume, over the same write of a ``ToolNode`` behind a pause of the host's.

    Many users in turn: nobody says yes to thousands of writes in an hour.
    """
    users = [f"user{number}" for number in range(200)]
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(server())
        trusting = await stack.enter_async_context(deputy(base, FastTransport, users, policy=allow_all))
        asking = await stack.enter_async_context(deputy(base, FastTransport, users))
        plain = asking_first(ToolNode(tools(trusting, "gmail_tell")))
        ours = graph(act_node(asking, "gmail_tell"), InMemorySaver())
        numbers = count()

        async def told(made: Pregel[Any, Any, Any, Any]) -> Any:
            thread: RunnableConfig = {"configurable": {"thread_id": str(number := next(numbers))}}
            whose = Context(users[number % len(users)])
            call = {"type": "tool_call", "name": "gmail_tell", "args": {"name": "news"}, "id": str(number)}
            given: Any = {"messages": [AIMessage("", tool_calls=[call])]}
            state = await made.ainvoke(given, thread, context=whose)
            yes = {one["approval_id"]: "approve" for one in requests_in(state["__interrupt__"], "approval")}
            state = await made.ainvoke(Command(resume={"decisions": yes}), thread, context=whose)
            assert state["messages"][-1].status == "success"

        ratios = await paired([lambda: told(plain), lambda: told(ours)], 1)
        say("act node over ToolNode, one approved write", ratios[1], 1.30)


async def node() -> None:
    """The act node over a plain ``ToolNode`` with our tools, for one call and for eight of one message."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(server())
        one = await stack.enter_async_context(deputy(base, FastTransport))
        nodes: list[Any] = [ToolNode(tools(one, "gmail_list_emails")), act_node(one, "gmail_list_emails")]
        for calls, kept in ((1, False), (8, False), (1, True), (8, True)):
            asked = [{**CALL, "id": str(n)} for n in range(calls)]

            def running(node: Any, asked: list[Any] = asked, kept: bool = kept) -> Work:
                made = graph(node, InMemorySaver() if kept else None)
                given = {"messages": [AIMessage("", tool_calls=asked)]}
                threads = count()

                def run() -> Any:
                    thread: RunnableConfig = {"configurable": {"thread_id": str(next(threads))}}
                    return made.ainvoke(given, thread, context=Context("alice"))

                return run

            ratios = await paired([running(node) for node in nodes], 1)
            say("act node over ToolNode, consent present", ratios[1], 1.0, calls=calls, checkpoints=kept)
