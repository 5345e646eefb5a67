"""LangChain tools: the framework's standard tests, schemas, results, and failures as a model reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, ForwardRef

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.graph import MessagesState
from langgraph.prebuilt import ToolNode

from deputize.adapters.langchain import DeputyToolkit, tools
from deputize.core import Approval, Consent, Deputy, Effect, Request, Steps, Toolkit, allow_all, any_of
from deputize.core.tools.plugins import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant, new_deputy
from tests.support.examples import EXAMPLES, arguments
from tests.support.graphs import SEND, Context, asking, config, tool_messages, wired
from tests.support.lanes import sample
from tests.support.sandbox_deputy import GMAIL, build, connect

SANDBOX = Sandbox()
ROWS = [(kit, tool) for kit, rows in EXAMPLES.items() for tool in rows]
KITS = find_toolkits(*EXAMPLES)


def shape(row: tuple[str, str]) -> tuple[str, Effect]:
    """One factory makes all tools: those of one toolkit with the same effect differ only in their schema."""
    kit, name = row
    return kit, KITS[kit].tools[name].gravest


def _connected() -> Deputy:
    """A deputy connected as Alice with every scope that the table's tools need."""
    deputy = new_deputy(SANDBOX)
    deputy.policy = allow_all
    for tool in deputy.tools(*(f"{kit}:all" for kit in EXAMPLES)):
        scopes = [need.ask for need in tool.usual_needs(tool.provider)]
        give_grant(SANDBOX, deputy, "alice", scopes, provider=tool.provider, email="alice@example.test")
    return deputy


@pytest.fixture(scope="module")
def connected() -> Iterator[Deputy]:
    deputy = _connected()
    yield deputy
    deputy.run(deputy.close())


@pytest.fixture(scope="module", params=sample(ROWS, shape), ids=lambda row: row[1])
def one(request: pytest.FixtureRequest, connected: Deputy) -> Any:
    kit, name = request.param
    Standard.row = (connected, kit, name)
    return next(tool for tool in tools(connected, f"{kit}:all", user="alice") if tool.name == name)


def example_of(deputy: Deputy, kit: str, name: str) -> dict[str, Any]:
    """Return a case's arguments, with ids looked up anew."""
    return arguments(EXAMPLES[kit][name], lambda tool, args: deputy.run(deputy.act(tool, args, user="alice")))


class Standard:
    """What langchain-tests asks for, for each tool in turn."""

    tool: BaseTool
    row: tuple[Deputy, str, str]

    @pytest.fixture(autouse=True)
    def _take(self, one: BaseTool) -> None:
        type(self).tool = one

    @pytest.fixture
    def tool_under_test(self) -> BaseTool:
        return self.tool

    @property
    def tool_constructor(self) -> BaseTool:
        return type(self).tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return example_of(*Standard.row)


class TestUnit(Standard, ToolsUnitTests):  # type: ignore[misc]
    """The framework's unit tests."""


class TestIntegration(Standard, ToolsIntegrationTests):  # type: ignore[misc]
    """The framework's integration tests, against the sandbox."""


@pytest.fixture
async def deputy() -> Any:
    async with await build(SANDBOX) as deputy:
        yield deputy


@pytest.mark.parametrize("kit", EXAMPLES)
def test_toolkit_has_an_example_for_each_of_its_tools(connected: Deputy, kit: str) -> None:
    tools = {tool.name for tool in connected.tools(f"{kit}:all") if not tool.follows}
    assert set(EXAMPLES[kit]) == tools


@pytest.mark.parametrize(("kit", "name"), sample(ROWS, shape, spread=True), ids=lambda value: value)
def test_each_example_succeeds_with_a_plain_json_result(connected: Deputy, kit: str, name: str) -> None:
    [tool] = [tool for tool in tools(connected, f"{kit}:all", user="alice") if tool.name == name]
    answer = tool.invoke({"type": "tool_call", "name": name, "id": "1", "args": example_of(connected, kit, name)})
    assert answer.status == "success", answer.content
    assert json.loads(json.dumps(answer.artifact)) == answer.artifact


def inlined(schema: Any, named: dict[str, Any]) -> Any:
    """Return the schema with every reference replaced by its target."""
    if isinstance(schema, list):
        return [inlined(part, named) for part in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {key: inlined(value, named) for key, value in schema.items() if key != "$ref"}
    return {**inlined(named[schema["$ref"].rpartition("/")[2]], named), **rest} if "$ref" in schema else rest


async def test_langchain_schema_shows_every_argument_enum_default_and_limit(connected: Deputy) -> None:
    for tool, ours in zip(tools(connected), connected.tools(), strict=True):
        shown = convert_to_openai_tool(tool)["function"]
        assert shown["name"] == ours.name and shown["description"] == ours.description
        assert shown["parameters"]["properties"] == inlined(ours.schema["properties"], ours.schema.get("$defs", {}))
        assert set(tool.args) == set(ours.schema["properties"]) == set(ours.parameters)


async def test_arguments_named_like_keywords_arrive(deputy: Deputy) -> None:
    await connect(deputy, SANDBOX, "readonly")
    [tool] = [t for t in tools(deputy, "gmail", user="alice") if t.name == "gmail_search_emails"]
    found = await tool.ainvoke({"from": ["bob@example.test"], "limit": 5})
    assert "Bob Brown" in found and "newsletter" not in found


async def test_read_only_excludes_writing_tools(deputy: Deputy) -> None:
    names = {tool.name for tool in tools(deputy, "gmail", read_only=True)}
    assert "gmail_search_emails" in names
    assert not names & {"gmail_send_email", "gmail_update_emails", "gmail_save_draft", "gmail_manage_label"}
    toolkit = DeputyToolkit(deputy=deputy, toolkits=("gmail",), read_only=True)
    assert {tool.name for tool in toolkit.get_tools()} == names


async def test_tool_metadata_has_scopes_and_effect(deputy: Deputy) -> None:
    by_name = {tool.name: tool for tool in tools(deputy, "gmail")}
    send = by_name["gmail_send_email"]
    assert send.metadata == {"provider": "google", "scopes": [f"{GMAIL}send"], "effect": "sends"}


async def test_missing_consent_is_an_error_without_link_and_the_application_gets_the_consent(deputy: Deputy) -> None:
    asked: list[Consent] = []
    [tool] = [t for t in tools(deputy, "gmail", user="alice", on_consent=asked.append) if t.name == "gmail_whoami"]
    answer = await tool.ainvoke({"type": "tool_call", "name": tool.name, "id": "1", "args": {}})
    assert isinstance(answer, ToolMessage) and answer.status == "error"
    assert "http" not in str(answer.content) and "Google" in str(answer.content)
    assert asked[0].link.startswith("http://127.0.0.1") and answer.artifact["consent"]["link"] == asked[0].link
    text = await tool.ainvoke({})
    assert isinstance(text, str) and "http" not in text


async def test_approval_outside_a_graph_goes_to_the_application_for_this_call_only(deputy: Deputy) -> None:
    await connect(deputy, SANDBOX, "send")
    before = len(SANDBOX.sent("alice@example.test"))
    asked: list[Approval] = []
    [tool] = [t for t in tools(deputy, "gmail", user="alice", on_approval=asked.append) if t.name == SEND["name"]]
    answer = await tool.ainvoke({"type": "tool_call", **SEND})
    assert answer.status == "error" and answer.artifact["approval"]["preview"]["subject"] == "Lunch"
    await deputy.decide(asked[0], "approve", by="alice")
    other = await tool.ainvoke({"type": "tool_call", **SEND, "args": {**SEND["args"], "body": "Other words."}})
    assert other.status == "error" and len(SANDBOX.sent("alice@example.test")) == before
    again = [await tool.ainvoke({"type": "tool_call", **SEND}) for _ in range(2)]
    assert [message.status for message in again] == ["success", "error"], "one yes, one mail"
    assert len(SANDBOX.sent("alice@example.test")) == before + 1


async def test_plain_tool_node_sends_once_when_it_runs_again() -> None:
    sandbox = Sandbox()
    ran: list[str] = []
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        send = [t for t in tools(deputy, "gmail") if t.name == SEND["name"]]

        async def stumbling(state: MessagesState) -> Any:
            answered = await ToolNode(send).ainvoke(state)
            ran.append("once")
            if len(ran) == 1:
                raise ConnectionError("the machine stumbles after the send")
            return answered

        graph = wired(stumbling)
        with pytest.raises(ConnectionError):
            await graph.ainvoke(asking(SEND), config(), context=Context("alice"))
        state = await graph.ainvoke(None, config(), context=Context("alice"))
        assert tool_messages(state)["send"].status == "success" and len(ran) == 2
        assert len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize("result", [[], {}, 0, False, "", "text", None, [1, {"a": None}], {"ü": "\u2028"}])
async def test_every_result_reaches_the_model_unchanged(result: Any) -> None:
    kit = Toolkit("odd", "google", api="gmail")

    @kit.tool(needs=[any_of(f"{GMAIL}readonly")])
    def give() -> Steps:
        """Give the result."""
        yield Request("GET", "/users/me/profile")
        return result

    sandbox = Sandbox()
    async with await build(sandbox, toolkits=[kit]) as deputy:
        await connect(deputy, sandbox, "readonly")
        [tool] = tools(deputy, "odd", user="alice")
        answer = await tool.ainvoke({"type": "tool_call", "name": "odd_give", "id": "1", "args": {}})
        assert answer.status == "success" and answer.artifact == result
        assert (answer.content if isinstance(result, str) else json.loads(answer.content)) == result


async def test_tool_call_compiles_no_annotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain resolves the types of a called function on each call, and Python compiles annotations that are
    strings."""
    compiled: list[str] = []
    known = ForwardRef.__init__

    def counted(ref: ForwardRef, arg: str, *given: Any, **named: Any) -> None:
        compiled.append(arg)
        known(ref, arg, *given, **named)

    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly")
        [tool] = [t for t in tools(deputy, "gmail", user="alice") if t.name == "gmail_search_emails"]
        await tool.ainvoke({"query": "from:bob"})
        monkeypatch.setattr(ForwardRef, "__init__", counted)
        await tool.ainvoke({"query": "from:bob"})
        await asyncio.to_thread(tool.invoke, {"query": "from:bob"})
        assert not compiled


@pytest.mark.processes
async def test_concurrent_64_blocking_calls_do_not_deadlock() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly")
        [tool] = [t for t in tools(deputy, "gmail", user="alice") if t.name == "gmail_search_emails"]
        calls = [asyncio.to_thread(tool.invoke, {"query": "from:bob"}) for _ in range(64)]
        answers = await asyncio.wait_for(asyncio.gather(*calls), 60)
        assert all("Bob Brown" in answer for answer in answers)
