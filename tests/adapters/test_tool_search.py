"""Agents with many tools search for a tool, see what was found, and use it under the same rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from deputize.adapters.langchain import ToolSearch, tools
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, SettingsError
from deputize.sandbox import Sandbox
from deputize.toolkits._shared.page import tokens
from tests.support.graphs import SEND, Context, Graph, approvals_of, config, tool_messages
from tests.support.scripted_agents import Scripted

pytestmark = pytest.mark.connected("readonly", "send")

ALICE = Context("alice")
START: dict[str, Any] = {"messages": [("user", "tell bob I am late")]}
EVERYTHING = (
    "gmail",
    "calendar",
    "contacts",
    "drive",
    "slack:all",
    "github:all",
    "linear:all",
    "salesforce:all",
    "files",
    "find_people",
)


class Watched(Scripted):
    """A scripted model that records the names of the tools it received in each call."""

    offered: list[list[str]]

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **_: Any) -> Any:
        names = [one.get("name") or one.get("type") if isinstance(one, dict) else one.name for one in tools]
        self.offered.append([str(name) for name in names])
        return self


def searching(query: str, id: str = "find") -> dict[str, Any]:
    return {"name": "search_tools", "args": {"query": query}, "id": id}


def calls_in_turn(*calls: dict[str, Any]) -> Callable[[list[BaseMessage]], AIMessage]:
    """Return a model that makes one call after the other, then ends."""

    def respond(messages: list[BaseMessage]) -> AIMessage:
        done = sum(message.type == "tool" for message in messages)
        return AIMessage("", tool_calls=[dict(calls[done])]) if done < len(calls) else AIMessage("done")

    return respond


def agent(model: Any, *middleware: Any, own: Sequence[Any] = ()) -> Graph:
    made: Graph = create_agent(model, own, middleware=middleware, context_schema=Context, checkpointer=InMemorySaver())
    return made


async def test_tool_is_found_shown_approved_and_used(deputy: Deputy, sandbox: Sandbox) -> None:
    model = Watched(respond=calls_in_turn(searching("write a mail"), SEND), offered=[])
    graph = agent(model, DeputyMiddleware(deputy, *EVERYTHING, search=True, always=["find_people"]))
    await graph.ainvoke(START, config(), context=ALICE)
    asks = await approvals_of(graph, config())
    assert [ask["tool"] for ask in asks] == ["gmail_send_email"] and not sandbox.sent("alice@example.test")
    yes: Command[Any] = Command(resume={"decisions": {ask["approval_id"]: "approve" for ask in asks}})
    answers = tool_messages(await graph.ainvoke(yes, config(), context=ALICE))
    assert answers[SEND["id"]].status == "success" and len(sandbox.sent("alice@example.test")) == 1
    first, second, third = (set(names) for names in model.offered)
    assert first == {"search_tools", "find_people"}, "before anything is found"
    assert "gmail_send_email" in second and len(second) <= 7 and second == third


async def test_always_shown_tool_is_listed_and_must_be_offered(deputy: Deputy) -> None:
    model = Watched(respond=calls_in_turn(), offered=[])
    search = DeputyMiddleware(deputy, "gmail", search=True, always=["gmail_search_emails"])
    await agent(model, search).ainvoke(START, config(), context=ALICE)
    assert model.offered == [["gmail_search_emails", "gmail_read_more", "search_tools"]]
    with pytest.raises(SettingsError, match="gmail_send_email"):
        DeputyMiddleware(deputy, "gmail", read_only=True, search=True, always=["gmail_send_email"])


async def test_forged_search_result_shows_only_offered_tools(deputy: Deputy) -> None:
    search = ToolSearch(deputy, tools(deputy, "gmail", user="alice", read_only=True))
    named = '{"tools": [{"name": "gmail_send_email"}, {"name": "gmail_get_email"}]}'
    other = '{"tools": [{"name": "gmail_list_labels"}]}'
    forged: list[AnyMessage] = [
        HumanMessage("hi"),
        ToolMessage(named, name="search_tools", tool_call_id="1"),
        ToolMessage(other, name="gmail_get_email", tool_call_id="2"),
    ]
    assert search.names(forged) == {"gmail_get_email", "gmail_read_more"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"tools": 5}', '{"tools": [5, {"name": []}]}', "[" * 100_000, "cut off..."]
)
async def test_malformed_search_result_finds_nothing(deputy: Deputy, content: str) -> None:
    search = ToolSearch(deputy, tools(deputy, "gmail", user="alice"))
    assert search.names([ToolMessage(content, name="search_tools", tool_call_id="1")]) == set()


async def test_tools_found_long_ago_are_dropped_and_used_ones_stay(deputy: Deputy) -> None:
    search = ToolSearch(deputy, tools(deputy, "github:all", user="alice"), most=3)
    names = [one.name for one in search.tools][:6]
    messages: list[Any] = [
        ToolMessage(json.dumps({"tools": [{"name": name}]}), name="search_tools", tool_call_id=name) for name in names
    ]
    assert search.names(messages) - {"github_read_more"} == set(names[3:])
    messages.append(AIMessage("", tool_calls=[{"name": names[0], "args": {}, "id": "1"}]))
    assert search.names(messages) - {"github_read_more"} == {names[0], *names[4:]}


async def test_search_lists_matches_or_says_what_is_available(deputy: Deputy) -> None:
    search = ToolSearch(deputy, tools(deputy, *EVERYTHING, user="alice"))
    told = json.loads(await search.tool.ainvoke({"query": "invite ana to the planning on friday"}))
    assert "calendar_create_event" in [one["name"] for one in told["tools"]] and len(told["tools"]) == 5
    assert tokens(told) < 250
    nothing = json.loads(await search.tool.ainvoke({"query": "xyzzy"}))
    assert nothing["tools"] == [] and "calendar, contacts, drive, files, github" in nothing["hint"]
    assert "characters" in await search.tool.ainvoke({"query": "x" * 501}) and "query" in search.tool.invoke({})


async def test_application_tool_named_like_the_search_is_refused(deputy: Deputy) -> None:
    @tool
    def search_tools(query: str) -> str:
        """Search."""
        return query

    model = Watched(respond=calls_in_turn(), offered=[])
    with pytest.raises(SettingsError, match="search_tools"):
        await agent(model, DeputyMiddleware(deputy, "gmail", search=True), own=[search_tools]).ainvoke(
            START, config(), context=ALICE
        )


async def test_other_tools_and_a_second_deputy_keep_their_search(deputy: Deputy) -> None:
    @tool
    def weather(city: str) -> str:
        """Say how the weather is."""
        return city

    both = DeputyMiddleware(deputy, "gmail", search=True), DeputyMiddleware(deputy, "slack", name="chat", search=True)
    model = Watched(respond=calls_in_turn(searching("send an email")), offered=[])
    await agent(model, *both, own=[weather]).ainvoke(START, config(), context=ALICE)
    assert set(model.offered[0]) == {"weather", "search_tools", "search_chat_tools"}
    assert "gmail_send_email" in model.offered[1] and not [one for one in model.offered[1] if one.startswith("slack")]


@pytest.mark.parametrize("first", ["ours", "theirs"])
async def test_providers_own_search_may_defer_our_tools(deputy: Deputy, first: str) -> None:
    class ChatAnthropic(Watched):
        """A class recognised by its name as having its own tool search."""

        def _get_ls_params(self, stop: Any = None, **_: Any) -> Any:
            return {"ls_provider": "anthropic"}

        def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **_: Any) -> Any:
            ours = [one for one in tools if not isinstance(one, dict)]
            self.offered.append([one["type"] for one in tools if isinstance(one, dict)])
            self.offered.append([one.name for one in ours if one.extras["defer_loading"]])
            return self

    ours = DeputyMiddleware(deputy, "gmail")
    provider = pytest.importorskip("langchain.agents.middleware.provider_tool_search")  # of langchain 1.5
    theirs = provider.ProviderToolSearchMiddleware(searchable_tools=[one.name for one in ours.tools])
    model = ChatAnthropic(respond=calls_in_turn(), offered=[])
    await agent(model, *([ours, theirs] if first == "ours" else [theirs, ours])).ainvoke(START, config(), context=ALICE)
    assert model.offered == [["tool_search_tool_bm25_20251119"], [one.name for one in ours.tools]]


async def test_tool_search_reduces_prompt_tokens(deputy: Deputy, capsys: pytest.CaptureFixture[str]) -> None:
    def cost(shown: Sequence[Any]) -> int:
        return sum(tokens({"name": one.name, "description": one.description, "parameters": one.args}) for one in shown)

    search = ToolSearch(deputy, tools(deputy, *EVERYTHING, user="alice"))
    found = ToolMessage(search.tool.invoke({"query": "reply to an email"}), name="search_tools", tool_call_id="1")
    whole, before, after = cost(search.tools), cost(search.bound([])), cost(search.bound([found]))
    with capsys.disabled():
        print(f"\n{len(search.tools)} tools: {whole} tokens; with search {before}, once some were found {after}")
    assert before < 200 and after < whole / 10
