"""Runs a task: a graph with a model and the toolkits' tools, the user's answers, and the judgement at the end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.types import Command

from deputize.adapters.langgraph import Context, act_node, requests_in, system_prompt
from deputize.core import PROVIDERS, ApprovalPayload, Deputy, User
from deputize.core.web.pages.local_links import me_token
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant, new_browser
from deputize.toolkits._shared.page import tokens
from tests.support.canary import Wiretap, hits
from tests.support.graphs import Graph
from tests.support.sandbox_deputy import PAGES, build
from tests.tasks.changes import changes, kept
from tests.tasks.end import ALICE, End
from tests.tasks.model import Scripted
from tests.tasks.task import Task
from tests.tasks.world import NOW, World

PROVIDER_OF: Final[dict[str, str]] = dict.fromkeys(("gmail", "calendar", "contacts", "drive"), "google")
NARROWING: Final = "https://www.googleapis.com/auth/gmail.metadata"
"""With this scope no text of a mail can be read, whatever else was granted."""
CONFIG: Final[RunnableConfig] = {"configurable": {"thread_id": "task"}, "recursion_limit": 200}
WHO: Final = Context("alice")
PROMPT: Final = "You act for Alice Adams in her accounts. It is Tuesday, 24 November 2026, 14:00 UTC. Use the tools."
MAX_PAUSES: Final = 60


@dataclass
class Played:
    """The result of a task: ``fault`` says what is wrong, and is empty on success."""

    task: Task
    calls: list[str] = field(default_factory=list)
    read: int = 0
    asked: int = 0
    said: str = ""
    conversation: str = ""
    fault: str = ""


async def play(task: Task, model: BaseChatModel | None = None) -> Played:
    """Run the task with a chat model, or with its script. Failures of the script or the final check are raised."""
    assert task.end is not None, f"{task.id} has no end"
    sandbox = Sandbox(clock=lambda: NOW)
    task.start(World(sandbox))
    before, wire = kept(sandbox), Wiretap(sandbox.transport())
    async with await build(sandbox, clock=lambda: NOW, apps=apps(sandbox), transport=wire) as deputy:
        if task.connected:
            _connect(sandbox, deputy, task)
        turn = Turn(task, sandbox, deputy, model or Scripted(task.script()))
        try:
            played = await turn.played()
        except Exception as wrong:
            wrong.add_note(await turn.conversation())
            raise
        changed = list(changes(before, kept(sandbox)))
        end = End(sandbox, changed, played.said, turn.read, turn.shown, played.calls)
        try:
            task.end(end)
            assert not end.open, f"changed, and nobody asked for it: {end.open}"
        except Exception as wrong:
            wrong.add_note(played.conversation)
            raise
        sinks = {"messages": turn.everything, "approvals": "\n".join(turn.shown), "changes": str(changed)}
        assert not (found := hits(wire.secrets, sinks)), found
        return played


def _connect(sandbox: Sandbox, deputy: Deputy, task: Task) -> None:
    for provider in PROVIDERS.keys() & {_provider(product) for product in task.products}:
        scopes = [scope for scope in PROVIDERS[provider].scope_descriptions if scope != NARROWING]
        give_grant(sandbox, deputy, "alice", scopes, provider=provider, email=ALICE)


def _provider(product: str) -> str:
    toolkit = product.partition(":")[0]
    return PROVIDER_OF.get(toolkit, toolkit)


class Turn:
    """A conversation in a graph, from the question to the answer."""

    def __init__(self, task: Task, sandbox: Sandbox, deputy: Deputy, model: BaseChatModel) -> None:
        self.task, self.sandbox, self.deputy = task, sandbox, deputy
        self.graph, self.browser = _graph(deputy, task, model), new_browser(sandbox, deputy)
        self.me = me_token(deputy, User("alice"))
        self.shown: list[str] = []
        self.read = self.everything = ""

    async def played(self) -> Played:
        """Ask, answer each pause of the graph, and send the user's further messages."""
        state: dict[str, Any] = {}
        for words in (self.task.asked, *self.task.person.speaks):
            state = await self._settled(await self._run({"messages": [HumanMessage(words)]}))
        messages = state["messages"]
        results = [str(one.content) for one in messages if isinstance(one, ToolMessage)]
        calls = [call["name"] for one in messages if isinstance(one, AIMessage) for call in one.tool_calls]
        self.read = "\n".join(results)
        self.everything = "\n".join(str(one.model_dump()) for one in messages)
        told = await self.conversation()
        return Played(self.task, calls, sum(tokens(one) for one in results), len(self.shown), messages[-1].text, told)

    async def conversation(self) -> str:
        """Return the conversation so far, as a person reads it."""
        messages = (await self.graph.aget_state(CONFIG)).values.get("messages", [])
        return "\n".join(one.pretty_repr() for one in messages)

    async def _run(self, given: Any) -> dict[str, Any]:
        state: dict[str, Any] = await self.graph.ainvoke(given, CONFIG, context=WHO)
        return state

    async def _settled(self, state: dict[str, Any]) -> dict[str, Any]:
        for _ in range(MAX_PAUSES):
            if not (pauses := state.get("__interrupt__")):
                return state
            for consent in requests_in(pauses, "consent"):
                await self._consent(consent["link"])
            calls = {call["name"]: call["args"] for call in _latest(state).tool_calls}
            asked = requests_in(pauses, "approval")
            if asked and not self.shown:
                self.task.meanwhile(World(self.sandbox))
            decided = {one["approval_id"]: self._decision(one, calls[one["tool"]]) for one in asked}
            state = await self._run(Command(resume=await self._answer(decided)))
        raise AssertionError("the graph pauses without end")

    async def _consent(self, link: str) -> None:
        person = self.task.person
        if not person.allows:
            await self.browser.deny(link)
            return
        try:
            await self.browser.allow(link, as_=ALICE, untick=person.unticked)
        except LookupError:  # a page without that scope
            await self.browser.allow(link, as_=ALICE)

    def _decision(self, ask: ApprovalPayload, arguments: dict[str, Any]) -> Any:
        self.shown.append(json.dumps(ask, ensure_ascii=False))
        decision = self.task.person.decides(ask["preview"], arguments)
        return decision if isinstance(decision, str) else {"decision": "edit", "arguments": decision}

    async def _answer(self, decided: dict[str, Any]) -> Any:
        """Answer a third of all tasks in the resume value, a third by the application, a third on the user's pages."""
        way = crc32(self.task.id.encode()) % 3
        if way == 0:
            return {"decisions": decided}
        for approval, one in decided.items():
            if not isinstance(one, str):
                await self.deputy.decide(approval, "edit", by="alice", arguments=one["arguments"])
            elif way == 1:
                await self.deputy.decide(approval, "approve" if one == "approve" else "reject", by="alice")
            else:
                page = await self.browser.open(f"{PAGES}/me/{self.me}/approve/{approval}")
                await self.browser.submit(page, page.forms[0], decision=one)
        return {"wake": True}


def _latest(state: dict[str, Any]) -> AIMessage:
    """Return the last message of the model."""
    return next(one for one in reversed(state["messages"]) if isinstance(one, AIMessage))


def _graph(deputy: Deputy, task: Task, model: BaseChatModel) -> Graph:
    """Return agent -> act node -> agent."""
    node = act_node(deputy, *task.products)
    bound, prompt = model.bind_tools([*node.tools_by_name.values()]), SystemMessage(system_prompt(PROMPT))

    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke([prompt, *state["messages"]])]}

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("agent", agent)
    builder.add_node("tools", node)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=InMemorySaver())
