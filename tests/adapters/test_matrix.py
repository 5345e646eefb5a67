"""How many mails go out: every way into a graph, sync and async, in memory and from disk, however it is resumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send

from deputize.adapters.langgraph import act_node, asked_of
from deputize.core import Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.created import agent
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, config, plain, sqlite_saver, wired
from tests.support.house import build, connect, consent, new_vault

KEY = bytes(range(11, 250, 7))[:32]
CALLS = (SEND, SEARCH)
MAILS = {"granted": 1, "denied": 0, "early": 1, "double": 1, "parallel": 1, "another user": 1}


def fan_out(deputy: Deputy, saver: Any) -> Graph:
    """Each call of the model's message sent to an act node of its own."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", act_node(deputy, "gmail"))

    def each(state: Any) -> list[Send]:
        asked = state["messages"][-1]
        alone = [AIMessage("", id=f"{asked.id}-{c['id']}", tool_calls=[c]) for c in asked.tool_calls]
        return [Send("tools", {"messages": [message]}) for message in alone]

    builder.add_conditional_edges(START, each, ["tools"])
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=saver)


def graph_of(way: str, deputy: Deputy, saver: Any) -> tuple[Graph, dict[str, Any]]:
    """The graph, and what starts it."""
    if way == "create_agent":
        return agent(deputy, *CALLS, saver=saver), {"messages": [HumanMessage("go on")]}
    if way == "fan-out":
        return fan_out(deputy, saver), asking(*CALLS)
    if way == "subgraph":
        inner = StateGraph(MessagesState, context_schema=Context)
        inner.add_node("tools", act_node(deputy, "gmail"))
        inner.add_edge(START, "tools")
        return wired(inner.compile(), saver), asking(*CALLS)
    return plain(deputy, saver=saver), asking(*CALLS)


class Play:
    """One conversation. From disk, every step has a deputy, a graph and a checkpointer of its own."""

    def __init__(self, way: str, mode: str, folder: Path | None) -> None:
        self.way, self.mode, self.folder, self.sandbox = way, mode, folder, Sandbox()
        self.saver = InMemorySaver()
        self.kept: Deputy | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Deputy, Graph]]:
        if self.folder is None:
            self.kept = self.kept or await build(self.sandbox)
            yield self.kept, graph_of(self.way, self.kept, self.saver)[0]
            return
        async with await build(self.sandbox, vault=await new_vault(self.folder / "vault", KEY)) as deputy:
            if self.mode == "sync":
                with sqlite_saver(self.folder / "checkpoints") as saver:
                    yield deputy, graph_of(self.way, deputy, saver)[0]
            else:
                async with AsyncSqliteSaver.from_conn_string(str(self.folder / "checkpoints")) as saver:
                    yield deputy, graph_of(self.way, deputy, saver)[0]

    async def run(self, graph: Graph, given: Any, user: str = "alice") -> Any:
        if self.mode == "sync":
            return await asyncio.to_thread(graph.invoke, given, config(), context=Context(user))
        return await graph.ainvoke(given, config(), context=Context(user))

    async def pauses(self, graph: Graph) -> Any:
        state = await (
            asyncio.to_thread(graph.get_state, config()) if self.mode == "sync" else graph.aget_state(config())
        )
        return state.interrupts

    async def begin(self) -> None:
        async with self.open() as (deputy, graph):
            await connect(deputy, self.sandbox, "readonly", "send", user="bob", as_="bob@example.test")
            await self.run(graph, graph_of(self.way, deputy, None)[1])

    async def visit(self, *, deny: bool = False) -> None:
        """The user follows every link."""
        async with self.open() as (deputy, graph):
            for ask in {ask["consent_id"]: ask for ask in asked_of(await self.pauses(graph), "consent")}.values():
                found = await deputy.consents.status(ask["consent_id"])
                assert found is not None
                await consent(deputy, self.sandbox, found, deny=deny)

    async def resume(self, *, times: int = 1, user: str = "alice", empty: bool = False) -> list[Any]:
        """Answer all open pauses, so many times at once."""
        async with self.open() as (_, graph):
            answers: dict[str, Any] = {}
            for pause in await self.pauses(graph):
                chosen = {ask["approval_id"]: "approve" for ask in asked_of([pause], "approval")}
                answers[pause.id] = {"decisions": chosen} if chosen and not empty else {"wake": True}
            wake: dict[str, Any] = answers or {"wake": True}
            resumes = [self.run(graph, Command(resume=wake), user) for _ in range(times)]
            return await asyncio.gather(*resumes, return_exceptions=True)

    async def open_kinds(self) -> set[str]:
        async with self.open() as (_, graph):
            return {pause.value["type"] for pause in await self.pauses(graph)}

    async def close(self) -> None:
        if self.kept:
            await self.kept.close()


async def mails(play: Play, how: str) -> int:
    """Play this to its end; the number of mails Alice has sent."""
    await play.begin()
    assert await play.open_kinds() == {"deputize.consent"}
    if how == "early":
        await play.resume()
        assert await play.open_kinds() == {"deputize.consent"}
    if how == "another user":
        assert {type(outcome) for outcome in await play.resume(user="bob")} == {PolicyDenied}
    await play.visit(deny=how == "denied")
    times = 3 if how == "parallel" else 1
    await play.resume(times=times)
    if how == "denied":
        assert await play.open_kinds() == set()
    else:
        assert await play.open_kinds() == {"deputize.approval"} and play.sandbox.sent("alice@example.test") == []
    if how == "early":
        await play.resume(empty=True)
        assert await play.open_kinds() == {"deputize.approval"}
    if how == "another user":
        assert {type(outcome) for outcome in await play.resume(user="bob")} == {PolicyDenied}
        await play.resume(empty=True)  # LangGraph hands on what Bob said
        assert await play.open_kinds() == {"deputize.approval"} and play.sandbox.sent("alice@example.test") == []
    await play.resume(times=times)
    for _ in range(2 if how in ("double", "parallel") else 0):
        await play.resume()  # of parallel ones, the last to write its checkpoint may have seen the least
    assert await play.open_kinds() == set(), how
    assert play.sandbox.sent("bob@example.test") == []
    return len(play.sandbox.sent("alice@example.test"))


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("way", ["act_node", "fan-out", "create_agent", "subgraph"])
async def test_each_mail_goes_out_once_or_not_at_all(way: str, mode: str, store: str, tmp_path: Path) -> None:
    counted: dict[str, int] = {}
    for how in MAILS:
        folder = tmp_path / how if store == "disk" else None
        if folder:
            folder.mkdir(0o700)
        play = Play(way, mode, folder)
        try:
            counted[how] = await mails(play, how)
        finally:
            await play.close()
    print(f"{way:12} {mode:5} {store:6}", *(f"{how}: {n}" for how, n in counted.items()), sep=" | ")
    assert counted == MAILS
