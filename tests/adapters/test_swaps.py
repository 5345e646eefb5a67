"""Attacks that change what a person approves, on every surface: nothing is written, and the person is told.

Each surface leads one call to its approval request, and returns the outcome after the approval: another request, or
what the agent receives.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from llama_index.core.agent.workflow import FunctionAgent

from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import ApprovalResponse, DeputyToolSpec
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import ApprovalRequired, Call, DeputizeError, Deputy, User, Verdict, ask_before_sending
from deputize.core.web.app import pages_app
from deputize.sandbox import Browser
from tests.support import llamaindex_agents
from tests.support.graphs import Context, Graph, approvals_of, asking, config, tool_messages, wired
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.support.provider_state import everything
from tests.support.sandbox_deputy import Clock
from tests.support.scripted_agents import calling
from tests.support.swap_attacks import HIDING, SWAPS, Given, Swap
from tests.toolkits.tool_driver import NOW
from tests.toolkits.undo_calls import SCOPES

Asked = Any
ALICE: Final = Context("alice")
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecationWarning",
    "ignore:is_running called from within a step:DeprecationWarning",
)


@dataclass
class Plain:
    """A plain Python loop without a framework."""

    deputy: Deputy
    tool: str
    arguments: Given

    @property
    def call(self) -> Call:
        return Call("thread", "message", "call")

    async def begin(self) -> Asked:
        """Return what the person is asked."""
        [way] = await self.deputy.check_calls([(self.tool, self.arguments, self.call)], user="alice")
        assert isinstance(way, ApprovalRequired), way
        return way.approval.payload()

    async def answer(self, ask: Asked, decision: Any) -> None:
        """Give the person's answer on this surface."""
        await self.deputy.decide(ask["approval_id"], decision, by="alice")

    async def go_on(self, ask: Asked) -> Asked | str:
        """Return the outcome: another request, or what the agent receives."""
        try:
            return str(await self.deputy.act(self.tool, self.arguments, user="alice", call=self.call))
        except ApprovalRequired as needed:
            return needed.approval.payload()
        except DeputizeError as e:
            return str(e)


class Page(Plain):
    """The plain loop, with the person answering on the deputy's page."""

    async def begin(self) -> Asked:
        return await self._read(await super().begin())

    async def _read(self, ask: Asked) -> Asked:
        text = html.unescape((await self._open(ask))[1].text)
        assert ("has changed since you were asked" in text) == bool(ask["changed_fields"])
        return ask | {"preview": dict.fromkeys(ask["preview"], text)}

    async def _open(self, ask: Asked) -> Any:
        app = pages_app(self.deputy, verifier=lambda request: User("alice"))
        browser = Browser(httpx.ASGITransport(app))
        return browser, await browser.open(ask["link"])

    async def answer(self, ask: Asked, decision: Any) -> None:
        browser, page = await self._open(ask)
        [form] = [one for one in page.forms if decision in one.offers("decision")]
        await browser.submit(page, form, decision=decision)

    async def go_on(self, ask: Asked) -> Asked | str:
        found = await super().go_on(ask)
        return found if isinstance(found, str) else await self._read(found)


@dataclass
class Nodes(Plain):
    """LangGraph with the act node."""

    graph: Graph | None = None

    def made(self) -> tuple[Graph, Any]:
        """Return the graph, and its input."""
        return wired(act_node(self.deputy, self.tool)), asking(self.calls)

    @property
    def calls(self) -> dict[str, Any]:
        return {"name": self.tool, "args": dict(self.arguments), "id": "call"}

    async def begin(self) -> Asked:
        self.graph, first = self.made()
        await self.graph.ainvoke(first, config(), context=ALICE)
        [ask] = await approvals_of(self.graph, config())
        return ask

    async def go_on(self, ask: Asked) -> Asked | str:
        assert self.graph is not None
        state = await self.graph.ainvoke(Command(resume={"wake": True}), config(), context=ALICE)
        asks = await approvals_of(self.graph, config())
        return asks[0] if asks else str(tool_messages(state)["call"].content)


class Created(Nodes):
    """LangChain's ``create_agent`` with the middleware."""

    def made(self) -> tuple[Graph, Any]:
        gates = [DeputyMiddleware(self.deputy, self.tool)]
        more: dict[str, Any] = {"middleware": gates, "context_schema": Context, "checkpointer": InMemorySaver()}
        made: Graph = create_agent(calling(self.calls), **more)
        return made, {"messages": [("user", "go on")]}


def as_asked(event: Any) -> Asked:
    """Return an event as the payload it carries."""
    return {name: getattr(event, name) for name in ("approval_id", "preview", "changed_fields")}


@dataclass
class Workflow(Nodes):
    """A LlamaIndex agent."""

    handler: Any = None

    async def begin(self) -> Asked:
        spec = DeputyToolSpec(self.deputy, self.tool, user="alice")
        llm = llamaindex_agents.Calling(respond=llamaindex_agents.Model([self.calls]))
        agent = FunctionAgent(name="one", tools=[*spec.to_tool_list()], llm=llm, timeout=30, streaming=False)
        self.handler = agent.run("go on")
        [ask] = await llamaindex_agents.asked(self.handler)
        return as_asked(ask)

    async def go_on(self, ask: Asked) -> Asked | str:
        self.handler.ctx.send_event(ApprovalResponse(approval_id=ask["approval_id"], by="alice"))
        asks = await llamaindex_agents.asked(self.handler)
        return as_asked(asks[0]) if asks else await llamaindex_agents.ended(self.handler)


SURFACES: Final = (Plain, Page, Nodes, Created, Workflow)
every_surface: Final = pytest.mark.parametrize("surface", SURFACES, ids=lambda kind: kind.__name__)


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world(SCOPES, clock=Clock(NOW)) as world:
        yield world


async def quietly(world: ShownWorld, work: Any) -> Any:
    """Do something where no approval is asked: by the user, or by another program."""
    world.deputy.policy = lambda act: Verdict.ALLOW
    done = await work
    world.deputy.policy = ask_before_sending
    return done


def reads(ask: Asked, parts: Given) -> None:
    """The person reads these parts of these rows."""
    shown = ask["preview"]
    missing = {name: shown.get(name) for name, part in parts.items() if part not in shown.get(name, "")}
    assert missing == {}


@every_surface
@pytest.mark.parametrize("swap", SWAPS, ids=str)
async def test_object_changed_after_approval_is_not_acted_on(
    world: ShownWorld, surface: type[Plain], swap: Swap
) -> None:
    arguments = await quietly(world, swap.arguments(world))
    agent = surface(world.deputy, swap.tool, arguments)
    first = await agent.begin()
    reads(first, swap.shows)
    await agent.answer(first, "approve")
    assert swap.change is not None
    await quietly(world, swap.change(world, arguments))
    before = everything(world.sandbox)
    second = await agent.go_on(first)
    assert everything(world.sandbox) == before
    if swap.refused:
        assert isinstance(second, str) and swap.refused in second
        return
    assert isinstance(second, dict) and second["approval_id"] != first["approval_id"]
    assert set(swap.changed) <= set(second["changed_fields"])
    reads(second, swap.then)
    await agent.answer(second, "reject")
    assert "declined" in str(await agent.go_on(second)) and everything(world.sandbox) == before


@every_surface
@pytest.mark.parametrize("swap", HIDING, ids=str)
async def test_hidden_text_is_shown_before_approval(world: ShownWorld, surface: type[Plain], swap: Swap) -> None:
    arguments = await quietly(world, swap.arguments(world))
    before = everything(world.sandbox)
    agent = surface(world.deputy, swap.tool, arguments)
    ask = await agent.begin()
    reads(ask, swap.shows)
    await agent.answer(ask, "reject")
    assert "declined" in str(await agent.go_on(ask)) and everything(world.sandbox) == before
