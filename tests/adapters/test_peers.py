"""Defects observed in other projects' LangChain and LangGraph integrations, one test for each."""

from __future__ import annotations

import asyncio
import json
import re
import time
import tomllib
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from pydantic import BaseModel

import deputize.adapters.langchain
import deputize.adapters.langgraph
import deputize.adapters.middleware
from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import resume_when_done
from deputize.core import Deputy, Request, Steps, Toolkit, any_of
from deputize.sandbox import Sandbox
from tests.support.canary import Wiretap, dump, hits
from tests.support.graph_builds import fan_out
from tests.support.graphs import (
    SEARCH,
    SEND,
    Context,
    approvals_of,
    asking,
    chatbot,
    config,
    consents_of,
    grant_all,
    plain,
    tool_messages,
    wired,
)
from tests.support.sandbox_deputy import GMAIL, Recorder, build, connect
from tests.support.scripted_agents import agent

ALICE, BOB = Context("alice"), Context("bob")
WAKE: Command[Any] = Command(resume={"wake": True})
CALL = {"type": "tool_call", "name": SEARCH["name"], "id": "1", "args": SEARCH["args"]}


class Row(BaseModel):
    """An argument inside an argument."""

    name: str
    kind: Literal["a", "b"] = "b"


def one(deputy: Deputy, name: str, **how: Any) -> Any:
    """Return one Gmail tool for LangChain."""
    return next(tool for tool in tools(deputy, "gmail", **how) if tool.name == name)


@pytest.mark.processes
async def test_peer_N01_waiting_ends_with_a_denial_and_polls_rarely(deputy: Deputy, sandbox: Sandbox) -> None:
    looked: list[float] = []
    status = deputy.consents.status

    async def counted(consent_id: str) -> Any:
        looked.append(time.monotonic())
        return await status(consent_id)

    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    deputy.consents.status = counted  # type: ignore[method-assign]
    waiting = asyncio.create_task(resume_when_done(deputy, graph, config(), context=ALICE))
    await asyncio.sleep(0.5)
    await grant_all(deputy, sandbox, graph, config(), deny=True)
    state = await asyncio.wait_for(waiting, 5)
    assert tool_messages(state)["search"].status == "error" and len(looked) < 50


async def test_peer_N03_token_echoed_by_a_provider_does_not_reach_the_model() -> None:
    kit = Toolkit("echo", "google", api="gmail")

    @kit.tool(needs=[any_of(f"{GMAIL}readonly")])
    def back() -> Steps:
        """Give back what the provider says."""
        return (yield Request("GET", "/users/me/profile"))

    class Echo(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await tap.handle_async_request(request)
            if request.url.host != "gmail.googleapis.com":
                return answer
            return httpx.Response(200, json={"seen": request.headers["authorization"]})

    sandbox = Sandbox()
    tap = Wiretap(sandbox.transport())
    async with await build(sandbox, toolkits=[kit], transport=Echo()) as deputy:
        await connect(deputy, sandbox, "readonly")
        [tool] = tools(deputy, "echo", user="alice")
        answer = await tool.ainvoke({"type": "tool_call", "name": "echo_back", "id": "1", "args": {}})
        assert answer.status == "success" and "access_token" in tap.kinds()
        assert hits(tap.secrets, {"message": dump([answer.content, answer.artifact])}) == []


async def test_peer_N05_run_without_a_user_uses_no_shared_account(deputy: Deputy, sandbox: Sandbox) -> None:
    for somebody in ("anonymous", "default", "1"):
        await connect(deputy, sandbox, "readonly", user=somebody)
    before = sandbox.count("gmail.googleapis.com")
    state = await plain(deputy).ainvoke(asking(SEARCH), config("1"))
    answer = await one(deputy, SEARCH["name"]).ainvoke(CALL, {"configurable": {"thread_id": "1"}})
    assert {tool_messages(state)["search"].status, answer.status} == {"error"}
    assert sandbox.count("gmail.googleapis.com") == before


async def test_peer_N06_granted_call_sends_only_its_own_request() -> None:
    sandbox = Sandbox()
    line = Recorder(sandbox.transport())
    async with await build(sandbox, transport=line) as deputy:
        await connect(deputy, sandbox, "readonly")
        tool = one(deputy, "gmail_list_drafts", user="alice")
        await tool.ainvoke({})
        line.seen.clear()
        await tool.ainvoke({})
        assert [request.url.host for request in line.seen] == ["gmail.googleapis.com"]


async def test_peer_N10_async_tools_are_awaited_and_schemas_keep_enums_and_nesting(sandbox: Sandbox) -> None:
    kit = Toolkit("odd", "google", api="gmail")

    @kit.tool(needs=[any_of(f"{GMAIL}readonly")])
    def rows(rows: list[Row], order: Literal["up", "down"] = "up") -> Steps:
        """Give the rows' names."""
        yield Request("GET", "/users/me/profile")
        return [row.name for row in rows]

    async with await build(sandbox, toolkits=[kit]) as deputy:
        await connect(deputy, sandbox, "readonly")
        [tool] = tools(deputy, "odd", user="alice")
        shown = json.dumps(convert_to_openai_tool(tool)["function"]["parameters"])
        assert '["up", "down"]' in shown and '["a", "b"]' in shown and '"default": "b"' in shown
        given = {"rows": [{"name": "x"}, {"name": "y", "kind": "a"}]}
        assert await tool.ainvoke(given) == tool.invoke(given) == '["x","y"]'


async def test_peer_N10_ordinary_failure_is_an_answer_and_freezes_no_graph(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    sandbox.switches.down = True
    graph = plain(deputy)
    state = await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    assert tool_messages(state)["search"].status == "error"
    assert (await graph.aget_state(config())).interrupts == ()


async def test_peer_N11_bare_resume_answers_several_calls(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
    assert len((await graph.aget_state(config())).interrupts) == 1
    await grant_all(deputy, sandbox, graph, config(), deny=True)
    answers = tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))
    assert {m.status for m in answers.values()} == {"error"}


@pytest.mark.parametrize("result", [[], {}, 0, False, "", None])
async def test_peer_N12_falsy_result_is_no_error_and_error_details_are_hidden(result: Any) -> None:
    kit = Toolkit("odd", "google", api="gmail")

    @kit.tool(needs=[any_of(f"{GMAIL}readonly")])
    def give(fail: bool = False) -> Steps:
        """Give the result."""
        yield Request("GET", "/users/me/profile")
        if fail:
            raise RuntimeError("a detail for developers")
        return result

    sandbox = Sandbox()
    async with await build(sandbox, toolkits=[kit]) as deputy:
        await connect(deputy, sandbox, "readonly")
        [tool] = tools(deputy, "odd", user="alice")
        answer = await tool.ainvoke({"type": "tool_call", "name": "odd_give", "id": "1", "args": {}})
        assert answer.status == "success" and answer.artifact == result
        failed = await tool.ainvoke({"type": "tool_call", "name": "odd_give", "id": "2", "args": {"fail": True}})
        assert failed.status == "error" and "developers" not in dump([failed.content, failed.artifact])


async def test_peer_N13_nothing_before_the_pause_is_repeated(deputy: Deputy, sandbox: Sandbox) -> None:
    spoken: list[int] = []

    def respond(messages: list[AnyMessage]) -> AIMessage:
        spoken.append(len(messages))
        return AIMessage("done") if isinstance(messages[-1], ToolMessage) else AIMessage("", tool_calls=[SEARCH])

    graph = chatbot(deputy, respond)
    await graph.ainvoke({"messages": [HumanMessage("go on")]}, config(), context=ALICE)
    await graph.ainvoke(WAKE, config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config())
    await graph.ainvoke(WAKE, config(), context=ALICE)
    assert spoken == [1, 3]


async def test_peer_N20_users_in_one_graph_and_process_each_get_their_own_data(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    await connect(deputy, sandbox, "readonly")
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    act, node = plain(deputy), wired(ToolNode(tools(deputy, "gmail")))
    whoami = {"name": "gmail_whoami", "args": {}, "id": "who"}

    async def asked(graph: Any, who: Context, turn: int) -> tuple[str, str]:
        state = await graph.ainvoke(asking(whoami), config(f"{who.user_id}-{turn % 2}"), context=who)
        return who.user_id, str(tool_messages({"messages": state["messages"][-1:]})["who"].content)

    runs = [asked(graph, who, turn) for turn in range(8) for graph in (act, node) for who in (ALICE, BOB)]
    for user, said in await asyncio.gather(*runs):
        assert f"{user}@example.test" in said
    stranger = await node.ainvoke(asking(whoami), config("alice-0"), context=Context("mallory"))
    assert stranger["messages"][-1].status == "error"


async def test_peer_N22_every_pause_has_its_own_id(deputy: Deputy) -> None:
    graph = fan_out(deputy, InMemorySaver())
    await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
    first, second = (await graph.aget_state(config())).interrupts
    assert first.id != second.id


@pytest.mark.processes
async def test_peer_N23_five_concurrent_users_take_about_as_long_as_one() -> None:
    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.host == "gmail.googleapis.com":
                await asyncio.sleep(1)
            return await inner.handle_async_request(request)

    sandbox = Sandbox()
    inner = sandbox.transport()
    async with await build(sandbox, transport=Slow()) as deputy:
        for n in range(5):
            await connect(deputy, sandbox, "readonly", user=f"user{n}")
        lists = [one(deputy, "gmail_list_drafts", user=f"user{n}") for n in range(5)]
        began = time.monotonic()
        await asyncio.gather(*(tool.ainvoke({}) for tool in lists))
        assert time.monotonic() - began < 4, "five in a row take five seconds and more"
        assert "items" in await asyncio.to_thread(lists[0].invoke, {})


@pytest.mark.parametrize("number", ["N24", "N91"])
def test_peer_N24_N91_framework_requirements_have_no_upper_limit(number: str) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    named = [need for extra in ("langchain", "langgraph") for need in project["optional-dependencies"][extra]]
    frameworks = [need for need in named if not need.startswith("deputize[")]
    assert frameworks and all(re.fullmatch(r"[a-z-]+>=[\d.]+", need) for need in frameworks)


@pytest.mark.parametrize("way", ["act_node", "create_agent", "ToolNode", "tool"])
async def test_peer_N31_N90_messages_for_the_model_contain_no_link(way: str, deputy: Deputy) -> None:
    start: dict[str, Any] = {"messages": [HumanMessage("go on")]} if way == "create_agent" else asking(SEARCH)
    read: list[Any]
    if way == "tool":
        read = [await one(deputy, SEARCH["name"], user="alice").ainvoke(CALL)]
    else:
        graphs: dict[str, Any] = {"act_node": plain, "create_agent": lambda d: agent(d, SEARCH)}
        graph = graphs[way](deputy) if way in graphs else wired(ToolNode(tools(deputy, "gmail")))
        await graph.ainvoke(start, config(), context=ALICE)
        for one_consent in await consents_of(deputy, graph, config()):
            assert "/connect/" in one_consent.link
        read = (await graph.aget_state(config())).values["messages"]
    assert "/connect/" not in str([message.content for message in read])


async def test_peer_N32_N114_tools_work_for_sync_and_async_callers(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    tool = one(deputy, SEARCH["name"], user="alice")
    assert await tool.ainvoke(SEARCH["args"]) == await asyncio.to_thread(tool.invoke, SEARCH["args"])


async def test_peer_N50_N51_early_resumes_start_no_second_consent(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    [first] = await consents_of(deputy, graph, config())
    for _ in range(3):
        await graph.ainvoke(WAKE, config(), context=ALICE)
    [last] = await consents_of(deputy, graph, config())
    assert (last.id, last.link) == (first.id, first.link)
    await grant_all(deputy, sandbox, graph, config())
    assert tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))["search"].status == "success"


@pytest.mark.parametrize("module", ["langchain", "langgraph", "middleware"])
def test_peer_N52_N135_adapter_has_no_public_name_about_tokens(module: str) -> None:
    adapter = getattr(deputize.adapters, module)
    assert not [name for name in dir(adapter) if "token" in name.lower() or "secret" in name.lower()]


async def test_peer_N70_no_tool_asks_the_model_for_a_token(deputy: Deputy) -> None:
    for tool in tools(deputy, "gmail"):
        shown = convert_to_openai_tool(tool)["function"]["parameters"]
        assert not [name for name in shown["properties"] if "token" in name and name != "page_token"], tool.name


async def test_peer_N71_missing_consent_pauses_immediately(deputy: Deputy) -> None:
    began = time.monotonic()
    out = await plain(deputy).ainvoke(asking(SEARCH), config(), context=ALICE, version="v2")
    assert out.interrupts and time.monotonic() - began < 30


async def test_peer_N110_tool_object_holds_no_secret_and_serves_every_user(sandbox: Sandbox) -> None:
    tap = Wiretap(sandbox.transport())
    async with await build(sandbox, transport=tap) as deputy:
        await connect(deputy, sandbox, "readonly")
        held = tools(deputy, "gmail", user="alice")
        await one(deputy, SEARCH["name"], user="alice").ainvoke(CALL)
        shown = "\n".join(dump([vars(tool), tool, tool.metadata, tool.extras]) for tool in held)
        assert {"access_token", "refresh_token"} <= tap.kinds() and hits(tap.secrets, {"tools": shown}) == []


async def test_peer_N140_N141_configurable_and_stored_errors_hold_no_secret(sandbox: Sandbox) -> None:
    tap, saver = Wiretap(sandbox.transport()), InMemorySaver()
    async with await build(sandbox, transport=tap) as deputy:
        await connect(deputy, sandbox, "readonly", "send")
        graph = plain(deputy, saver=saver)
        sandbox.switches.faults[("GET", "/gmail")] = [(401, {}, {"error": {"code": 401, "message": "bad"}})] * 9
        await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
        with pytest.raises(Exception) as raised:
            await graph.ainvoke(WAKE, config(), context=BOB)
        assert not isinstance(raised.value, GraphInterrupt)
        kept = str(saver.storage) + str(saver.blobs) + str(saver.writes)
        assert "access_token" in tap.kinds() and hits(tap.secrets, {"checkpoints": kept}) == []


async def test_peer_N142_siblings_of_a_paused_call_run_once(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
    before = sandbox.count("gmail.googleapis.com")
    [ask] = await approvals_of(graph, config())
    for _ in range(2):
        await graph.ainvoke(Command(resume={"decisions": {ask["approval_id"]: "approve"}}), config(), context=ALICE)
    once = sandbox.count("gmail.googleapis.com") - before
    await graph.ainvoke(WAKE, config(), context=ALICE)
    assert len(sandbox.sent("alice@example.test")) == 1 and sandbox.count("gmail.googleapis.com") - before == once


async def test_peer_N143_answer_to_one_request_does_not_answer_another(sandbox: Sandbox, deputy: Deputy) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    other = {**SEND, "id": "other", "args": {**SEND["args"], "body": "No."}}
    await graph.ainvoke(asking(SEND, other), config(), context=ALICE)
    first, _ = await approvals_of(graph, config())
    answer = {"decisions": {first["approval_id"]: "approve", "made-up": "approve"}}
    await graph.ainvoke(Command(resume=answer), config(), context=ALICE)
    assert len(await approvals_of(graph, config())) == 1 and sandbox.sent("alice@example.test") == []
