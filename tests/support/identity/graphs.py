"""Runs of graphs, in the application's own process: ``create_agent`` agents and act nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from langgraph_sdk.auth.types import StudioUser

from deputize.adapters.acting_user import UserSource
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, User
from deputize.sandbox import Sandbox
from tests.adapters.test_identity import Verified, on_server
from tests.docs.blocks import block
from tests.support.features.agents import GO_ON, supervisor, swarm
from tests.support.features.nesting import inside
from tests.support.features.scene import Line, Scene, agent_of
from tests.support.graphs import SEND, Context, Graph, asking, wired
from tests.support.identity.table import OWN, OWNER, in_turn
from tests.support.scripted_agents import calling

HELP: Final = {"name": "helper", "args": {"what": "send it"}, "id": "help"}
START: Final = object()
"""Stands for the input of a new run."""
CRON: Final = "a cron"


def flat(scene: Scene, user: UserSource = None) -> tuple[Graph, Any]:
    """Build an act node in a graph, or an agent."""
    if scene.way == "create_agent":
        gated = [DeputyMiddleware(scene.deputy, "gmail", user=user)]
        return agent_of(scene.deputy, calling(SEND), gated=gated, checkpointer=scene.saver), scene.start()
    return wired(scene.part(user=user), scene.saver), scene.start()


def as_a_tool(scene: Scene) -> tuple[Graph, Any]:
    """Build an agent whose tool runs our part."""
    inner = inside(scene.part()) if scene.way == "act_node" else scene.part()

    @tool
    async def helper(what: str) -> str:
        """Let a helper do this."""
        done = await inner.ainvoke(scene.start())
        return str(done["messages"][-1].text)

    if scene.way == "act_node":
        return wired(ToolNode([helper]), scene.saver), asking(HELP)
    made: Graph = create_agent(calling(HELP), [helper], context_schema=Context, checkpointer=scene.saver)
    return made, {"messages": [HumanMessage("go on")]}


def in_a_gated_tool(scene: Scene) -> tuple[Graph, Any]:
    """Build an agent with our tools, one of whose own tools runs another such agent."""
    inner = inside(scene.part()) if scene.way == "act_node" else scene.part()

    @tool
    async def helper(what: str) -> str:
        """Let a helper do this."""
        done = await inner.ainvoke(scene.start())
        return str(done["messages"][-1].text)

    if scene.way == "act_node":
        return wired(scene.part(own=[helper]), scene.saver), asking(HELP)
    return agent_of(scene.deputy, calling(HELP), own=[helper], checkpointer=scene.saver), scene.start()


SHAPES: Final[dict[str, Callable[[Scene], tuple[Graph, Any]]]] = {
    "flat": flat,
    "nested": lambda scene: (supervisor(scene), GO_ON),
    "agent as tool": as_a_tool,
    "agent as tool, both gated": in_a_gated_tool,
    "handoff": lambda scene: (swarm(scene), GO_ON),
    "subgraph": lambda scene: (wired(inside(inside(scene.part())), scene.saver), scene.start()),
}


Claim = tuple[RunnableConfig, Any]
"""The configuration and the context of a run."""


def inside_of(claim: Claim) -> dict[str, Any]:
    """Return the ``configurable`` of a run."""
    return claim[0].get("configurable") or {}


def claims(who: str) -> list[Claim]:
    """Return the runs that this identity can make: by the application's context, and as a client of a server.

    A client of LangGraph Server writes the context itself, and claims to be Alice.
    """
    alice = Context(OWNER)
    if who == "key":
        keys = StudioUser("key"), StudioUser(OWNER)
        return [(on_server(key), context) for key in keys for context in (None, alice)]
    own: Claim = ({"configurable": {}}, Context(who))
    if who == OWNER:
        return [own]
    server = on_server(Verified(who) if who else None)
    return [own, ({"configurable": {}}, None), (server, None), (server, alice), (on_server(user_id=OWNER), alice)]


def served(who: str) -> list[Claim]:
    """Return the runs of this identity as a client of a server."""
    found: list[Claim] = [one for one in claims(who) if "graph_id" in inside_of(one)]
    return found or [(on_server(Verified(who)), None)]


def scheduled(claim: Claim) -> Claim:
    """Return the same run as the server's scheduler starts it, or as a client forges it."""
    config, context = claim
    cron = {"cron_id": CRON}
    return {**config, "configurable": {**inside_of(claim), **cron}, "metadata": cron}, context


@dataclass
class GraphRun:
    """A thread of one graph. ``user``: names who acts, in a flat one. ``starts``, ``answers``: an identity's runs."""

    deputy: Deputy
    sandbox: Sandbox
    folder: Path | None
    way: str
    shape: str = "flat"
    user: UserSource = None
    starts: Callable[[str], list[Claim]] = claims
    answers: Callable[[str], list[Claim]] = claims
    lacks: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = OWN
    graph: tuple[Graph, Any] | None = None
    threads: int = 0

    async def begin(self, who: str) -> None:
        """See `Run`: a stranger in every way, each in a thread of its own."""
        ways = list[Awaitable[None]]()
        for claim in self.starts(who):
            self.threads += 1
            ways.append(self._run(claim, START, "1" if who == OWNER else f"of others {self.threads}"))
        await in_turn(*ways)

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """See `Run`: as each client that this identity could be, with an answer and with none."""
        yes: Command[Any] = Command(resume={"decisions": dict.fromkeys(approvals, "approve")})
        each = [(claim, given) for claim in self.answers(who) for given in ((yes,) if who == OWNER else (yes, None))]
        await in_turn(*(self._run(claim, given, "1") for claim, given in each))

    async def _run(self, claim: Claim, given: Any, thread: str) -> None:
        where, context = claim
        at: RunnableConfig = {**where, "configurable": {**inside_of(claim), "thread_id": thread}}
        async with self._built() as (graph, start):
            await graph.ainvoke(start if given is START else given, at, context=context)

    @asynccontextmanager
    async def _built(self) -> AsyncIterator[tuple[Graph, Any]]:
        """Build the graph once, or each time with what is on disk."""
        if self.folder is None:
            self.graph = self.graph or self._shaped(InMemorySaver())
            yield self.graph
            return
        async with AsyncSqliteSaver.from_conn_string(str(self.folder / "checkpoints")) as saver:
            yield self._shaped(saver)

    def _shaped(self, saver: Any) -> tuple[Graph, Any]:
        line = Line(self.sandbox.transport())
        scene = Scene(self.way, "async", self.deputy, self.sandbox, line, saver)
        return flat(scene, self.user) if self.user else SHAPES[self.shape](scene)


def run_of(way: str, deputy: Deputy, sandbox: Sandbox, folder: Path | None) -> GraphRun:
    """Build a flat run of this integration."""
    return GraphRun(deputy, sandbox, folder, way)


def cron_of(way: str, deputy: Deputy, sandbox: Sandbox, folder: Path | None) -> GraphRun:
    """Build a run that LangGraph Server's scheduler starts for an identity, where no function names the user."""
    starts = lambda who: [scheduled(one) for one in served(who)]  # noqa: E731
    return GraphRun(deputy, sandbox, folder, way, starts=starts, own=frozenset({OWNER}))


def documented_cron_of(way: str, deputy: Deputy, sandbox: Sandbox, folder: Path | None) -> GraphRun:
    """Build such a run that acts for Alice by the function in our documentation; a backend's key has scheduled it."""
    names: dict[str, Any] = {}
    exec(block("docs/langgraph-server.md", "def acting"), names)  # noqa: S102 - our own page
    names["crons"][CRON] = ("backend", User(OWNER))

    def starts(who: str) -> list[Claim]:
        return [scheduled(one) for one in ([(on_server(StudioUser("backend")), None)] if who == OWNER else served(who))]

    def answers(who: str) -> list[Claim]:
        return served(who) + ([] if who == OWNER else [scheduled(one) for one in served(who)])

    return GraphRun(
        deputy, sandbox, folder, way, user=names["acting"], starts=starts, answers=answers, own=frozenset({OWNER})
    )
