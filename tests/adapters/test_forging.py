"""A model may write anything into a call's arguments; it does not change which user's call it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langgraph.prebuilt import ToolNode
from pydantic import ValidationError

from deputize.adapters.langchain import DeputyToolkit, tools
from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.core import Alias, Deputy, InvalidInput, Run, Steps, Toolkit, User, UserRequired
from deputize.sandbox import Sandbox
from tests.support.graphs import Context, asking, config, plain, tool_messages, wired
from tests.support.sandbox_deputy import build, connect

pytestmark = [pytest.mark.connected("readonly"), pytest.mark.connected("readonly", user="bob", as_="bob@example.test")]

FORGED: list[dict[str, Any]] = [
    {"user": "bob"},
    {"user_id": "bob"},
    {"tenant": "other"},
    {"account": "bob@example.test"},
    {"config": {"configurable": {"user_id": "bob"}}},
    {"runtime": {"context": {"user_id": "bob"}}},
    {"state": {"user": "bob"}},
    {"call": {"thread": "x"}},
    {"token": "ya29.stolen"},
    {"access_token": "ya29.stolen"},
    {"key": "x"},
    {"granted": ["https://mail.google.com/"]},
    {"noted": {"draft": "x"}},
    {"run": {"key": "x", "granted": [], "account": {"subject": "2", "name": "bob@example.test"}, "now": 0}},
    {"now": 0},
    {"agent": "trusted"},
    {"approved": True},
]


def who_called(sandbox: Sandbox) -> set[str]:
    return {seen.who for seen in sandbox.requests if seen.host == "gmail.googleapis.com"}


@pytest.mark.parametrize("forged", FORGED, ids=lambda f: next(iter(f)))
async def test_core_refuses_unknown_arguments(deputy: Deputy, sandbox: Sandbox, forged: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await deputy.act("gmail_search_emails", {"query": "x", **forged}, user="alice")
    assert who_called(sandbox) == set()


async def test_injected_run_fields_come_from_no_argument(
    sandbox: Sandbox,
) -> None:
    notes, told = Toolkit("notes", provider="google", api="gmail", accepts={"body": "run", "who": "text"}), []

    @notes.tool(aliases=[Alias("write-note", arguments={"body": "run", "context": "text"}, sets={"now": 0})])
    def write(text: str, *, run: Run) -> Steps:
        """Write a note."""
        yield from ()
        told.append(run)
        return text

    async with await build(sandbox, toolkits=[notes]) as deputy:
        await connect(deputy, sandbox, "readonly")
        fake = {"account": {"name": "bob@example.test"}, "granted": ["everything"], "key": "x"}
        llama = {tool.metadata.name: tool for tool in DeputyToolSpec(deputy, "notes", user="alice").to_tool_list()}
        chain = {tool.name: tool for tool in tools(deputy, "notes", user="alice")}
        for name in ("run", "body", "key", "granted", "account", "now"):
            for tool in ("notes_write", "write-note", "write_note"):
                with pytest.raises(InvalidInput):
                    await deputy.act(tool, {"text": "x", name: fake}, user="alice")
            with pytest.raises((ValidationError, TypeError)):
                await chain["notes_write"].ainvoke({"text": "x", name: fake})
            assert (await llama["notes_write"].acall(text="x", **{name: fake})).is_error
        assert told == [] and await deputy.act("notes_write", {"who": "hello"}, user="alice") == "hello"
        [run] = told
        assert run.account.name == "alice@example.test" and "everything" not in run.granted


@pytest.mark.parametrize("forged", FORGED, ids=lambda f: next(iter(f)))
async def test_langchain_tool_refuses_or_ignores_forged_arguments(
    deputy: Deputy, sandbox: Sandbox, forged: dict[str, Any]
) -> None:
    tool = next(t for t in tools(deputy, "gmail", user="alice") if t.name == "gmail_search_emails")
    call = {"type": "tool_call", "name": tool.name, "id": "1", "args": {"query": "x", **forged}}
    with pytest.raises((ValidationError, TypeError)):
        await tool.ainvoke(call)
    with pytest.raises((ValidationError, TypeError)):
        tool.invoke(call)
    assert who_called(sandbox) <= {"alice@example.test"}


@pytest.mark.parametrize("forged", FORGED, ids=lambda f: next(iter(f)))
@pytest.mark.parametrize("way", ["act_node", "ToolNode"])
async def test_graph_refuses_forged_arguments_with_a_message(
    deputy: Deputy, sandbox: Sandbox, forged: dict[str, Any], way: str
) -> None:
    call = {"name": "gmail_search_emails", "args": {"query": "x", **forged}, "id": "1"}
    if way == "act_node":
        graph = plain(deputy)
    else:
        graph = wired(ToolNode(tools(deputy, "gmail")))
    state = await graph.ainvoke(asking(call), config(), context=Context("alice"))
    assert tool_messages(state)["1"].status == "error"
    assert who_called(sandbox) == set()


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize(
    "forged", [*FORGED, {"self": "x"}, {"args": ["x"]}, {"run_manager": "x"}, {"arguments": {}}], ids=list
)
async def test_arguments_forged_by_a_wrapper_are_refused(
    deputy: Deputy, sandbox: Sandbox, forged: dict[str, Any], mode: str
) -> None:
    """The wrapper runs after the gate, which has checked the original arguments."""

    def changed(request: Any) -> Any:
        call = request.tool_call
        return request.override(tool_call={**call, "args": {**call["args"], **forged}})

    async def later(request: Any, execute: Any) -> Any:
        return await execute(changed(request))

    how: dict[str, Any] = {
        "wrap_tool_call": lambda request, execute: execute(changed(request)),
        "awrap_tool_call": later,
    }
    graph, call = plain(deputy, **how), {"name": "gmail_search_emails", "args": {"query": "x"}, "id": "1"}
    if mode == "async":
        state = await graph.ainvoke(asking(call), config(), context=Context("alice"))
    else:
        state = await asyncio.to_thread(graph.invoke, asking(call), config(), context=Context("alice"))
    answer = tool_messages(state)["1"]
    assert answer.status == "error" and next(iter(forged)) in str(answer.content) and who_called(sandbox) == set()


async def test_arguments_may_have_names_of_langchain_keywords(sandbox: Sandbox) -> None:
    kit = Toolkit("settings", provider="google", api="gmail")

    @kit.tool()
    def store(config: str, callbacks: str, args: str) -> Steps:
        """Store a setting."""
        yield from ()
        return f"{config} {callbacks} {args}"

    async with await build(sandbox, toolkits=[kit]) as deputy:
        await connect(deputy, sandbox, "readonly")
        given = {"config": "one", "callbacks": "two", "args": "three"}
        [tool] = tools(deputy, "settings", user="alice")
        assert await tool.ainvoke(given) == "one two three"
        graph = wired(act_node(deputy, "settings"))
        call = {"name": "settings_store", "args": given, "id": "1"}
        state = await graph.ainvoke(asking(call), config(), context=Context("alice"))
        assert tool_messages(state)["1"].content == "one two three"


async def test_single_string_is_the_first_argument(deputy: Deputy) -> None:
    [tool] = [t for t in tools(deputy, "gmail", user="alice") if t.name == "gmail_search_emails"]
    assert await tool.ainvoke("from:bob") == await tool.ainvoke({"query": "from:bob"})
    assert await asyncio.to_thread(tool.run, "from:bob") == await tool.ainvoke({"query": "from:bob"})


OWNED = (  # data of the provider, to look for or to set: whose project it is, not who acts
    "drive_search_files",
    "github_list_gists",
    "github_list_projects",
    "github_list_project_items",
    "github_update_project_item",
    "linear_list_initiatives",
    "linear_save_initiative",
    "salesforce_list_records",
    "salesforce_log_activity",
)


async def test_no_schema_lets_a_model_name_a_user_or_token(deputy: Deputy) -> None:
    forbidden = {"user", "user_id", "tenant", "account", "owner", "token", "access_token", "config", "runtime", "key"}
    for tool in tools(deputy, "gmail"):
        assert not forbidden & set(tool.args), tool.name
    named = {ours.name: forbidden & set(ours.schema.get("properties", {})) for ours in deputy.tools()}
    assert {name: found for name, found in named.items() if found} == {name: {"owner"} for name in OWNED}


@pytest.mark.parametrize("configurable", [{"user": "bob"}, {"deputize_user": "bob"}])
async def test_unknown_configurable_names_are_ignored(
    deputy: Deputy, sandbox: Sandbox, configurable: dict[str, str]
) -> None:
    [tool] = [t for t in tools(deputy, "gmail", user="alice") if t.name == "gmail_search_emails"]
    await tool.ainvoke({"query": "x"}, {"configurable": configurable})
    assert who_called(sandbox) == {"alice@example.test"}
    [tool] = [t for t in tools(deputy, "gmail") if t.name == "gmail_search_emails"]
    assert "The user is missing" in await tool.ainvoke({"query": "x"}, {"configurable": configurable})
    assert who_called(sandbox) == {"alice@example.test"}


@pytest.mark.parametrize("nobody", [None, "", "  ", User(""), User(" ", "tenant")])
async def test_missing_user_is_refused_everywhere(deputy: Deputy, sandbox: Sandbox, nobody: Any) -> None:
    with pytest.raises(UserRequired):
        await deputy.act("gmail_search_emails", {}, user=nobody)
    [tool] = [
        t for t in DeputyToolkit(deputy=deputy, toolkits=("gmail",), user=nobody).get_tools() if "search" in t.name
    ]
    call = {"type": "tool_call", "name": tool.name, "id": "1", "args": {}}
    answer = await tool.ainvoke(call)
    assert isinstance(answer, ToolMessage) and answer.status == "error" and who_called(sandbox) == set()
    assert "Pass the user" not in str(answer.content)  # a hint for the host, not for the model
