"""The functional API: an entrypoint reruns from its start at every resume, and completed acts are not repeated."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.types import Command

from deputize.adapters.langgraph import act_node
from deputize.core import Deputy, allow_all
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, config, grant_all
from tests.support.sandbox_deputy import build, connect
from tests.support.scripted_agents import Scripted

ALICE = Context("alice")


def in_turn(*calls: dict[str, Any]) -> Scripted:
    """Return a model that makes these calls one after the other, each in its own message."""

    def respond(messages: list[Any]) -> AIMessage:
        made = sum(message.type == "tool" for message in messages)
        return AIMessage("", tool_calls=[dict(calls[made])]) if made < len(calls) else AIMessage("all done")

    return Scripted(respond=respond)


def conversation(deputy: Deputy, mode: str, saver: Any) -> Graph:
    """Return an entrypoint that alternates between model and tools."""
    model, acting = in_turn(SEND, SEARCH), act_node(deputy, "gmail")

    @task
    def think(messages: list[AnyMessage]) -> AIMessage:
        return model.invoke(messages)

    @task
    async def athink(messages: list[AnyMessage]) -> AIMessage:
        return await model.ainvoke(messages)

    @entrypoint(checkpointer=saver, context_schema=Context)
    def chat(line: str) -> str:
        messages: list[Any] = [HumanMessage(line)]
        messages.append(think(messages).result())
        while messages[-1].tool_calls:
            messages += acting.invoke({"messages": messages})["messages"]
            messages.append(think(messages).result())
        return str(messages[-1].text)

    @entrypoint(checkpointer=saver, context_schema=Context)
    async def achat(line: str) -> str:
        messages: list[Any] = [HumanMessage(line)]
        messages.append(await athink(messages))
        while messages[-1].tool_calls:
            messages += (await acting.ainvoke({"messages": messages}))["messages"]
            messages.append(await athink(messages))
        return str(messages[-1].text)

    return cast("Graph", chat if mode == "sync" else achat)


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_mail_sent_before_a_later_pause_is_sent_once(mode: str) -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        graph = conversation(deputy, mode, InMemorySaver())

        async def run(given: Any) -> Any:
            if mode == "sync":
                return await asyncio.to_thread(graph.invoke, given, config(), context=ALICE)
            return await graph.ainvoke(given, config(), context=ALICE)

        await run("answer Bob, then look")
        for _ in range(2):
            await run(Command(resume={"wake": True}))
        assert len(sandbox.sent("alice@example.test")) == 1
        await grant_all(deputy, sandbox, graph, config())
        assert await run(Command(resume={"wake": True})) == "all done"
        assert len(sandbox.sent("alice@example.test")) == 1
