"""Runs of a Google ADK agent over the Gmail tools, with a model that answers from the history alone."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.adk.agents import LlmAgent, LoopAgent, SequentialAgent
from google.adk.apps import App, ResumabilityConfig
from google.adk.events.event import Event
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions.base_session_service import BaseSessionService
from google.adk.sessions.in_memory_session_service import InMemorySessionService
from google.adk.sessions.session import Session
from google.adk.tools.agent_tool import AgentTool
from google.adk.workflow import START, Workflow
from google.genai import types
from pydantic import Field

from deputize.adapters.google_adk import DeputyToolset, answers, requests_in
from deputize.core import Deputy
from tests.support.deferred_conversations import Turn
from tests.support.graphs import SEND

APP: Final = "mail"
_chats: Final = itertools.count()


class Asking(BaseLlm):
    """Requests these calls once after each user message, then repeats the answers."""

    model: str = "played"
    calls: list[dict[str, Any]] = Field(default_factory=list)
    told: list[str] = Field(default_factory=list)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        """See `BaseLlm`."""
        self.told.append(f"{llm_request.config.system_instruction} {llm_request.contents}")
        parts = [part for content in llm_request.contents for part in content.parts or []]
        whose = [content.role for content in llm_request.contents for _ in content.parts or []]
        last = max((i for i, part in enumerate(parts) if part.text and whose[i] == "user"), default=0)
        answered = [said(part.function_response) for part in parts[last:] if part.function_response]
        calls = [types.FunctionCall(id=c["id"], name=c["name"], args=c["args"]) for c in self.calls]
        made = [types.Part(function_call=call) for call in calls]
        text = [types.Part(text=" | ".join(answered) or "done")]
        content = types.Content(role="model", parts=text if answered or not made else made)
        if stream:
            yield LlmResponse(content=content, partial=True)
        yield LlmResponse(content=content)


def said(response: types.FunctionResponse) -> str:
    """Return what a model reads of a call's answer."""
    told = response.response or {}
    return str(told.get("result", told.get("error")))


def agent_of(
    deputy: Deputy, *calls: Mapping[str, Any], told: list[str] | None = None, kit: str = "gmail", **more: Any
) -> LlmAgent:
    """Build an agent over the tools of one toolkit that makes these calls.

    ``named``: the acting user, if not the session's.
    """
    model = Asking(calls=[dict(call) for call in calls])
    model.told = told if told is not None else model.told
    who = {"user": more.pop("named")} if "named" in more else {}
    return LlmAgent(name="mail", model=model, tools=[DeputyToolset(deputy, kit, **who, **more)])


def mailing(deputy: Deputy, mode: Any = None, **more: Any) -> LlmAgent:
    """Build an agent that sends the mail, for use among others."""
    agent = agent_of(deputy, SEND, **more)
    agent.description, agent.mode = "Sends mail.", mode
    return agent


def over(deputy: Deputy, name: str, args: dict[str, Any], mode: Any = None, **more: Any) -> LlmAgent:
    """Return an agent that transfers to the deputy's agent with this call."""
    model = Asking(calls=[{"name": name, "args": args, "id": "hand on"}])
    return LlmAgent(name="over", model=model, sub_agents=[mailing(deputy, mode, **more)])


def last() -> LlmAgent:
    """Build an agent that ends a run."""
    return LlmAgent(name="last", model=Asking())


def graph(deputy: Deputy, **more: Any) -> Any:
    """Build a graph of two agents."""
    ours, then = mailing(deputy, **more), last()
    return Workflow(name="graph", edges=[(START, ours), (ours, then)])


def in_own_session(deputy: Deputy, **more: Any) -> LlmAgent:
    """Build an agent that calls the deputy's agent as a tool, in a session of its own."""
    model = Asking(calls=[{"name": "mail", "args": {"request": "go on"}, "id": "x"}])
    return LlmAgent(name="over", model=model, tools=[AgentTool(mailing(deputy, **more))])


SHAPES: Final[dict[str, Callable[..., Any]]] = {
    "transfer": lambda deputy, **more: over(deputy, "transfer_to_agent", {"agent_name": "mail"}, **more),
    "single_turn": lambda deputy, **more: over(deputy, "mail", {"request": "go on"}, "single_turn", **more),
    "task": lambda deputy, **more: over(deputy, "mail", {"request": "go on"}, "task", **more),
    "sequence": lambda deputy, **more: SequentialAgent(name="over", sub_agents=[mailing(deputy, **more), last()]),
    "loop": lambda deputy, **more: LoopAgent(name="over", max_iterations=1, sub_agents=[mailing(deputy, **more)]),
    "graph": graph,
}
"""How the agent with our tools is among others."""


def runner_of(agent: Any, service: BaseSessionService, resumable: bool = False) -> Runner:
    """Return a runner of an app of this agent."""
    config = ResumabilityConfig(is_resumable=True) if resumable else None
    return Runner(app=App(name=APP, root_agent=agent, resumability_config=config), session_service=service)


def message(text: str) -> types.Content:
    """Return a user message."""
    return types.Content(role="user", parts=[types.Part(text=text)])


async def played(runner: Runner, chat: str, said: types.Content, user: str = "alice", **more: Any) -> list[Event]:
    """Return a run's events."""
    return [e async for e in runner.run_async(user_id=user, session_id=chat, new_message=said, **more)]


async def stored(service: BaseSessionService, chat: str, user: str = "alice") -> Session:
    """Return a session as stored text."""
    found = await service.get_session(app_name=APP, user_id=user, session_id=chat)
    assert found is not None
    return found


async def loaded(saved: str, user: str) -> tuple[BaseSessionService, Session]:
    """Return a session service of this process with the saved session, given to this user."""
    session, service = Session.model_validate_json(saved), InMemorySessionService()
    made = await service.create_session(app_name=APP, user_id=user, session_id=session.id, state=session.state)
    for event in session.events:
        await service.append_event(made, event)
    return service, made


async def turn_of(events: Sequence[Event], service: BaseSessionService, chat: str, user: str) -> Turn:
    """Return how a run ended."""
    session = await stored(service, chat, user)
    asks = requests_in(session.events)
    texts = [part.text for e in events if e.content for part in e.content.parts or [] if part.text and not e.partial]
    return Turn("" if asks else texts[-1] if texts else "", asks, session.model_dump_json())


@dataclass
class Chat:
    """A conversation in one process, with an agent of any shape."""

    agent: Any
    resumable: bool = False
    user: str = "alice"
    service: BaseSessionService = field(default_factory=InMemorySessionService)
    id: str = field(default_factory=lambda: f"chat {next(_chats)}")
    events: list[Event] = field(default_factory=list)

    async def say(self, said: types.Content | str, **more: Any) -> list[Any]:
        """Run with this message; return what is asked now."""
        runner = runner_of(self.agent, self.service, self.resumable)
        if await self.service.get_session(app_name=APP, user_id=self.user, session_id=self.id) is None:
            await self.service.create_session(app_name=APP, user_id=self.user, session_id=self.id)
        given = message(said) if isinstance(said, str) else said
        self.events = await played(runner, self.id, given, self.user, **more)
        return await self.asks()

    async def answer(self, decision: Any = "") -> list[Any]:
        """Continue with this decision about every pending request."""
        waiting = [ask["approval_id"] for ask in await self.asks() if "approval_id" in ask]
        said: Any = dict.fromkeys(waiting, decision) if decision else {}
        return await self.say(answers(await self.session_events(), said))

    async def confirm(self, confirmed: bool = True, payload: Any = None) -> list[Any]:
        """Answer the pending requests as an application would."""
        given = answers(await self.session_events())
        for part in given.parts or []:
            assert part.function_response
            part.function_response.response = {"confirmed": confirmed, "payload": payload}
        return await self.say(given)

    async def session_events(self) -> list[Event]:
        """Return all stored events of this session."""
        return (await stored(self.service, self.id, self.user)).events

    async def asks(self) -> list[Any]:
        """Return the pending requests."""
        return requests_in(await self.session_events())

    @property
    def text(self) -> str:
        """Return what the last run said."""
        parts = [part for event in self.events if event.content for part in event.content.parts or []]
        return " | ".join(part.text for part in parts if part.text)


class Runs:
    """See `tests.support.deferred_conversations.Framework`. ``resumable``: whether ADK stores where an agent was."""

    notes_owner = True

    def __init__(self, resumable: bool = False) -> None:
        self.resumable = resumable

    async def start(
        self, deputy: Deputy, *calls: Mapping[str, Any], user: str = "alice", chat: str = "", **more: Any
    ) -> Turn:
        service, chat = InMemorySessionService(), chat or f"chat {next(_chats)}"
        await service.create_session(app_name=APP, user_id=user, session_id=chat)
        runner = runner_of(agent_of(deputy, *calls, **more), service, self.resumable)
        return await turn_of(await played(runner, chat, message("go on"), user), service, chat, user)

    async def resume(
        self, deputy: Deputy, saved: str, decisions: Mapping[str, Any] | None = None, user: str = "alice", **more: Any
    ) -> Turn:
        session = Session.model_validate_json(saved)
        return await self.answered(deputy, saved, answers(session.events, decisions), user, **more)

    async def bare_yes(self, deputy: Deputy, saved: str, user: str = "alice") -> Turn:
        given = answers(Session.model_validate_json(saved).events)
        for part in given.parts or []:
            assert part.function_response
            part.function_response.response = {"confirmed": True}
        return await self.answered(deputy, saved, given, user)

    async def answered(self, deputy: Deputy, saved: str, said: types.Content, user: str = "alice", **more: Any) -> Turn:
        """Continue with this message."""
        service, session = await loaded(saved, user)
        runner = runner_of(agent_of(deputy, **more), service, self.resumable)
        return await turn_of(await played(runner, session.id, said, user), service, session.id, user)


FRAMEWORK: Final = Runs()
