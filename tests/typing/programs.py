"""Small programs of users. A line that ends in ``# wrong`` has a mistake that type checkers must find; no other has."""

from __future__ import annotations

from typing import Final

CORE: Final = """
from deputize.core import Approval, Consent, Decisions, Edit, QuestionChange, RequestPayload


def link_of(ask: RequestPayload) -> str:
    if ask["type"] == "deputize.consent":
        print(ask["scope_descriptions"], ask["approval_id"])  # wrong
        return ask["link"]
    print(ask["preview"], ask.get("fault", ""), ask["consent_id"])  # wrong
    return ask["lnik"]  # wrong


def shown(consent: Consent, approval: Approval) -> list[RequestPayload]:
    print(approval.payload()["truncated"], consent.payload()["summary"])  # wrong
    return [consent.payload(), approval.payload()]


def notified(told: QuestionChange) -> str:
    payload = told.payload()
    if payload["type"] == "deputize.consent":
        return payload["status"] + payload["change"] + payload["provider"]
    return payload["tool"] + payload["user"] + payload["provider"]  # wrong


edit: Edit = {"decision": "edit", "arguments": {"to": ["bob@example.com"]}}
decisions: Decisions = {"1": "approve", "2": "reject", "3": edit}
misspelt: Decisions = {"1": "aprove"}  # wrong
incomplete: Decisions = {"1": {"decision": "edit"}}  # wrong
"""

PYDANTIC_AI: Final = """
from dataclasses import dataclass

from pydantic_ai import Agent, DeferredToolRequests

from deputize.adapters.pydantic_ai import DeputyToolset, answers, requests_in
from deputize.core import Deputy


@dataclass
class Deps:
    user_id: str


def agent_of(deputy: Deputy) -> Agent[Deps, str | DeferredToolRequests]:
    gmail = DeputyToolset[Deps](deputy, "gmail", user=lambda ctx: ctx.deps.user_id)
    slack = DeputyToolset[Deps](deputy, "slack", user=lambda ctx: ctx.deps.user_idd)  # wrong
    files = DeputyToolset[Deps](deputy, "files", user="alice", user_message=lambda ctx: ctx.deps.message)  # wrong
    number = DeputyToolset[Deps](deputy, "linear", user=lambda ctx: 1.5)  # wrong
    bare = DeputyToolset(deputy, "github", user=lambda ctx: ctx.deps.anything)
    toolsets = [gmail, slack, files, number, bare]
    return Agent("test", deps_type=Deps, toolsets=toolsets, output_type=[str, DeferredToolRequests])


async def played(deputy: Deputy) -> str:
    agent = agent_of(deputy)
    result = await agent.run("Tell Bob yes.", deps=Deps("alice"))
    while isinstance(result.output, DeferredToolRequests):
        requests = result.output
        for consent in requests_in(requests, "consent"):
            print(consent["link"])
            print(consent["lnik"])  # wrong
        for ask in requests_in(requests):
            if ask["type"] == "deputize.approval":
                print(ask["preview"])
                print(ask["scopes"])  # wrong
        requests_in(requests, "mandate")  # wrong
        answers(requests, {"1": "yes"})  # wrong
        answers(requests, {"1": {"decision": "edit", "argumnets": {}}})  # wrong
        result = await agent.run(
            message_history=result.all_messages(),
            deferred_tool_results=answers(
                requests, {one["approval_id"]: "approve" for one in requests_in(requests, "approval")}
            ),
            deps=Deps("alice"),
        )
    return result.output
"""

OPENAI_AGENTS: Final = """
from dataclasses import dataclass

from agents import Agent, RunContextWrapper, Runner

from deputize.adapters.openai_agents import requests_in, settle, tools
from deputize.core import Deputy


@dataclass
class Chat:
    user_id: str
    chat_id: str


def user_of(ctx: RunContextWrapper[Chat]) -> str:
    return ctx.context.user_id


def agent_of(deputy: Deputy) -> Agent[Chat]:
    gmail = tools[Chat](deputy, "gmail", user=lambda ctx: ctx.context.user_id, thread=lambda ctx: ctx.context.chat_id)
    slack = tools[Chat](deputy, "slack", user=lambda ctx: ctx.context.user_idd, thread="1")  # wrong
    files = tools[Chat](deputy, "files", user="alice", thread=lambda ctx: ctx.context.chat)  # wrong
    named = tools(deputy, "github", user=user_of, thread="1")
    untyped = tools(deputy, "linear", user=lambda ctx: ctx.context.anything, thread="1")
    return Agent[Chat](name="mail", tools=[*gmail, *slack, *files, *named, *untyped])


async def played(deputy: Deputy, chat: Chat) -> None:
    agent = agent_of(deputy)
    result = await Runner.run(agent, "Tell Bob yes.", context=chat)
    state = result.to_state()
    for ask in await requests_in(state):
        if ask["type"] == "deputize.consent":
            print(ask["link"], ask["preview"])  # wrong
        elif ask["type"] == "deputize.aproval":  # wrong: mypy
            pass
    for approval in await requests_in(state, "approval"):
        print(approval["preview"], approval["link"])
        left = await settle(state, {approval["approval_id"]: "reject"}, reason="Not now.")
        print(left[0]["link"])
        await settle(state, {approval["approval_id"]: "no"})  # wrong
"""

GOOGLE_ADK: Final = """
from google.adk.events.event import Event

from deputize.adapters.google_adk import DeputyToolset, answers, requests_in
from deputize.core import Deputy, User


def toolsets(deputy: Deputy) -> list[DeputyToolset]:
    return [
        DeputyToolset(deputy, "gmail"),
        DeputyToolset(deputy, "slack", user=lambda ctx: User(ctx.user_id, "acme")),
        DeputyToolset(deputy, "files", user=lambda ctx: User(ctx.user_idd, "acme")),  # wrong
    ]


def decided(events: list[Event]) -> None:
    for consent in requests_in(events, "consent"):
        print(consent["link"], consent["owner"])  # wrong
    for approval in requests_in(events, "approval"):
        print(approval["preview"].items(), approval["dangers"])
        answers(events, {approval["approval_id"]: {"decision": "edit", "arguments": {"body": "No."}}}, reason="")
        answers(events, {approval["approval_id"]: "edit"})  # wrong
    for ask in requests_in(events):
        print(ask["type"], ask["expires_at"], ask["tool"])  # wrong
"""

LANGGRAPH: Final = """
from typing import Any

from langgraph.types import Command, Interrupt

from deputize.adapters.acting_user import RunInfo
from deputize.adapters.langgraph import (
    RESUME,
    Answers,
    ApprovalPause,
    ConsentPause,
    Context,
    act_node,
    decisions_by_id,
    requests_in,
)
from deputize.core import Deputy


def user_of(run: RunInfo[Context]) -> str:
    return run.context.user_id


def misspelt(run: RunInfo[Context]) -> str:
    return run.context.user_idd  # wrong


def nodes(deputy: Deputy) -> list[Any]:
    return [
        act_node(deputy, "gmail", user=user_of),
        act_node(deputy, "slack", user=lambda run: run.context.anything),
        act_node(deputy, "files", user=lambda run: run.contxt.user_id),  # wrong
    ]


def resumed(pauses: list[Interrupt]) -> Command[Any]:
    for consent in requests_in(pauses, "consent"):
        print(consent["link"], consent["reason_code"])
    for approval in requests_in(pauses, "approval"):
        print(approval["preview"], approval["reason_code"])  # wrong
    said: Answers = {"decisions": {ask["approval_id"]: "approve" for ask in requests_in(pauses, "approval")}}
    wrong: Answers = {"decision": {}}  # wrong
    other: Answers = {"decisions": {"1": "accept"}}  # wrong
    print(RESUME, wrong, other, decisions_by_id(pauses, {"decisions": []}).get("decisions"))
    return Command(resume=said)


def streamed(pause: ConsentPause | ApprovalPause) -> int:
    if pause["type"] == "deputize.consent":
        return len(pause["consents"])
    return len(pause["approvals"]) + len(pause["consents"])  # wrong
"""

LANGCHAIN: Final = """
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent

from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy


@dataclass
class Ours:
    user_id: str


def agents(deputy: Deputy) -> list[Any]:
    mine = DeputyMiddleware[Ours](deputy, "gmail", user=lambda run: run.context.user_id)
    wrong = DeputyMiddleware[Ours](deputy, "gmail", user=lambda run: run.context.user_idd)  # wrong
    bare = DeputyMiddleware(deputy, "gmail", user=lambda run: run.context.anything)
    return [
        create_agent("openai:gpt-5", middleware=[mine], context_schema=Ours),
        create_agent("openai:gpt-5", middleware=[bare], context_schema=Ours),
        wrong,
    ]
"""

LLAMAINDEX: Final = """
from llama_index.core.workflow import Context

from deputize.adapters.llamaindex import ApprovalRequest, ApprovalResponse, ConsentRequest, GmailToolSpec, served_user
from deputize.core import Deputy


def tools(deputy: Deputy) -> list[object]:
    return [
        GmailToolSpec(deputy, user=served_user),
        GmailToolSpec(deputy, user=lambda ctx: ctx.storr),  # wrong
    ]


def answered(ctx: Context, event: ConsentRequest | ApprovalRequest) -> None:
    if event.type == "deputize.consent":
        print(event.link, event.scopes)
    elif isinstance(event, ApprovalRequest):
        print(event.preview, event.dangers)
        ctx.send_event(ApprovalResponse(approval_id=event.approval_id, by="alice", decision="approve"))
        ctx.send_event(ApprovalResponse(approval_id=event.approval_id, by="alice", decision="yes"))  # wrong
"""

PROGRAMS: Final = {
    "core": CORE,
    "pydantic_ai": PYDANTIC_AI,
    "openai_agents": OPENAI_AGENTS,
    "google_adk": GOOGLE_ADK,
    "langgraph": LANGGRAPH,
    "langchain": LANGCHAIN,
    "llamaindex": LLAMAINDEX,
}
