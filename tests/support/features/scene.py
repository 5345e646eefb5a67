"""A conversation under one feature: Alice consents and approves, everything is resumed again, mails are counted.

A row of the table names a feature and how a conversation goes under it. It is played in each way our acts get into a
graph; `Scene.part` is what differs, a node that answers what the model asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Interrupt

from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import act_node, requests_in
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, Policy, PolicyDenied, allow_all, ask_before_sending
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, asking, config, wired
from tests.support.sandbox_deputy import build, connect, consent
from tests.support.scripted_agents import calling

GATED: Final = ("act_node", "create_agent")
"""The integrations that ask Alice; for a plain ``ToolNode`` everything has to be allowed in advance."""
PLAIN: Final = "ToolNode"
MAX_PAUSES: Final = 8


def mail_to(who: str) -> dict[str, Any]:
    """Return a call that sends a mail to the person of this name."""
    return {**SEND, "args": {**SEND["args"], "to": [f"{who}@example.test"]}, "id": f"send {who}"}


def gates(deputy: Deputy) -> list[Any]:
    """Return what gives ``create_agent`` our tools and makes it ask the user."""
    return [DeputyMiddleware(deputy, "gmail")]


def agent_of(deputy: Deputy, model: Any, *, own: Sequence[Any] = (), gated: Sequence[Any] = (), **more: Any) -> Graph:
    """Build an agent with our tools and the application's; ``gated``: its complete middleware, if ours is not alone."""
    made: Graph = create_agent(
        model,
        [*own],
        middleware=list(gated) or gates(deputy),
        context_schema=Context,
        **more,
    )
    return made


Run = Callable[["Scene", Graph, Any], Awaitable[Any]]
"""A way to run a graph with this input or ``Command``."""


async def invoked(scene: Scene, graph: Graph, given: Any) -> Any:
    """Run a graph with ``ainvoke``."""
    if scene.mode == "sync":
        return await asyncio.to_thread(graph.invoke, given, scene.config, context=scene.context)
    return await graph.ainvoke(given, scene.config, context=scene.context)


@dataclass
class Line(httpx.AsyncBaseTransport):
    """A transport on which something may happen when the mail leaves, and when it has arrived."""

    inner: httpx.AsyncBaseTransport
    leaving: Callable[[], Awaitable[None]] | None = None
    arrived: Callable[[], Awaitable[None]] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        mail = request.method == "POST" and request.url.path.endswith("/send")
        if mail and self.leaving:
            await self.leaving()
        response = await self.inner.handle_async_request(request)
        if mail and self.arrived:
            await response.aread()
            await self.arrived()
        return response


@dataclass
class Scene:
    """The place of a conversation: a deputy, its sandbox, and what Alice was asked, by kind."""

    way: str
    mode: str
    deputy: Deputy
    sandbox: Sandbox
    line: Line
    saver: Any = field(default_factory=InMemorySaver)
    context: Any = field(default_factory=lambda: Context("alice"))
    config: RunnableConfig = field(default_factory=config)
    asked: dict[str, list[str]] = field(default_factory=lambda: {"consent": [], "approval": []})
    resumed: list[Command[Any]] = field(default_factory=list)
    stranger: str = ""
    """Who tries to answer our pauses before Alice; nobody if empty."""
    refused: frozenset[str] = frozenset()
    host_answers: dict[str, Any] = field(default_factory=dict)

    def part(self, *calls: dict[str, Any], own: Sequence[Any] = (), **more: Any) -> Any:
        """Return the node that sends the mail: given a message that requests it, or with a model that does."""
        if self.way == "create_agent":
            return agent_of(self.deputy, calling(*(calls or (SEND,))), own=own, **more)
        if self.way == PLAIN:
            return ToolNode([*tools(self.deputy, "gmail"), *own])
        return act_node(self.deputy, "gmail", tools=own, **more)

    def start(self, *calls: dict[str, Any]) -> dict[str, Any]:
        """Return the input of a graph over `part`."""
        return {"messages": [HumanMessage("go on")]} if self.way == "create_agent" else asking(*(calls or (SEND,)))

    def graph(self, *calls: dict[str, Any], own: Sequence[Any] = ()) -> Graph:
        """Build START -> part -> END."""
        return wired(self.part(*calls, own=own), self.saver)

    async def state(self, graph: Graph) -> Any:
        """Return the thread as a client sees it."""
        if self.mode == "sync":
            return await asyncio.to_thread(graph.get_state, self.config)
        return await graph.aget_state(self.config)

    async def play(self, graph: Graph, start: Any = None, *, run: Run = invoked, again: Run | None = None) -> int:
        """Play from the request to the end, then resume everything again. Return the number of mails that Alice sent.

        Args:
            run: how the graph is run, each time.
            again: how it is run for the resumes that come late; by default as before.
        """
        await run(self, graph, self.start() if start is None else start)
        await self.to_the_end(graph, run)
        for late in list(self.resumed):
            await (again or run)(self, graph, late)
        return self.sent()

    async def to_the_end(self, graph: Graph, run: Run = invoked) -> None:
        """Answer every request, and continue where a run stopped, until nothing is left to do."""
        for _ in range(MAX_PAUSES):
            state = await self.state(graph)
            if not state.interrupts and not state.next:
                return
            if not state.interrupts:
                await run(self, graph, None)
                continue
            if self.stranger:
                await self._as_stranger(graph, run, state.interrupts)
                state = await self.state(graph)
            self.resumed.append(Command(resume=await self.answers(state.interrupts)))
            await run(self, graph, self.resumed[-1])
        raise AssertionError(f"no end after {MAX_PAUSES} pauses: {await self.state(graph)}")

    async def _as_stranger(self, graph: Graph, run: Run, pauses: Sequence[Interrupt]) -> None:
        """Answer our pauses as another user before Alice, once for each kind: refused, and nothing is sent.

        LangGraph hands what they said to Alice's resume, which so answers nothing; she looks, and is asked anew.
        """
        ours = {pause.id: pause for pause in pauses if str(pause.value.get("type")).startswith("deputize.")}
        kinds = {str(pause.value["type"]) for pause in ours.values()}
        if kinds <= self.refused:
            return
        answers = {ident: await self.answer(pause, follow=False) for ident, pause in ours.items()}
        alice, before, self.context = self.context, self.sent(), Context(self.stranger)
        try:
            await run(self, graph, Command(resume=answers))
        except PolicyDenied:
            assert self.sent() == before
        else:
            raise AssertionError(f"{self.stranger} has answered for Alice")
        self.context, self.refused = alice, self.refused | kinds

    async def answers(self, pauses: Sequence[Interrupt]) -> dict[str, Any]:
        """Return Alice's answers by interrupt id: she opens links, approves, and answers the application."""
        return {pause.id: await self.answer(pause) for pause in pauses}

    async def answer(self, pause: Interrupt, *, follow: bool = True) -> Any:
        """Return Alice's answer to this pause. ``follow``: she opens the links."""
        kind = "hitl" if "action_requests" in pause.value else str(pause.value.get("type"))
        if kind not in ("deputize.consent", "deputize.approval"):
            return self.host_answers[kind]
        ids = [ask["approval_id"] for ask in requests_in([pause], "approval")]
        if follow:
            for ask in requests_in([pause], "consent"):
                self.asked["consent"].append(ask["consent_id"])
                await self._follow(ask["consent_id"])
            self.asked["approval"] += ids
        return {"decisions": dict.fromkeys(ids, "approve")} if ids else {"wake": True}

    async def _follow(self, consent_id: str) -> None:
        found = await self.deputy.consents.status(consent_id)
        assert found is not None
        if found.status == "pending":  # one link may be shown in several pauses
            assert (await consent(self.deputy, self.sandbox, found)).status == "granted"

    def sent(self) -> int:
        """Return how many mails Alice has sent; nobody else has sent one."""
        assert self.sandbox.sent("bob@example.test") == []
        return len(self.sandbox.sent("alice@example.test"))

    async def statuses(self, graph: Graph) -> list[str]:
        """Return how our calls were answered in the thread's messages."""
        messages = (await self.state(graph)).values["messages"]
        return [m.status for m in messages if isinstance(m, ToolMessage) and m.name == SEND["name"]]


@asynccontextmanager
async def scene_of(way: str, mode: str, policy: Policy | None = None) -> AsyncIterator[Scene]:
    """Create a scene; for a plain ``ToolNode`` Alice has consented, and the policy asks nothing."""
    sandbox = Sandbox()
    asks = policy or (allow_all if way == PLAIN else ask_before_sending)
    line = Line(sandbox.transport())
    async with await build(sandbox, policy=asks, transport=line) as deputy:
        if way == PLAIN:
            await connect(deputy, sandbox, "send")
        yield Scene(way, mode, deputy, sandbox, line)
        await asyncio.to_thread(lambda: deputy.run(deputy.http.close()))  # what sync graphs used


@dataclass(frozen=True)
class Row:
    """A feature, the course of a conversation under it, and how many mails are sent."""

    feature: str
    play: Callable[[Scene], Awaitable[int]]
    ways: tuple[str, ...] = GATED
    modes: tuple[str, ...] = ("async", "sync")
    mails: int = 1
    usual: bool = False
    """Whether every run plays it, async and in the first of its integrations."""
    lane: str = "sweep"
    by_hand: bool = False
    """Whether it answers step by step instead of in `Scene.to_the_end`, or is never asked."""


def line_of(row: Row, way: str, mode: str, mails: int) -> str:
    """Return a line of the table."""
    return f"{row.feature:48} | {way:12} | {mode:5} | mails: {mails}"
