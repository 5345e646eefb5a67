"""A foreign server asks its user during a call: each framework pauses, our page asks, and there is one effect."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx
import pytest
from google.adk.agents import LlmAgent
from langgraph.types import Command
from llama_index.core.agent.workflow import FunctionAgent
from pydantic_ai import Agent, DeferredToolRequests

from deputize.adapters.google_adk import DeputyToolset as GoogleToolset
from deputize.adapters.langgraph import act_node, requests_in
from deputize.adapters.llamaindex import ApprovalRequest, ApprovalResponse, DeputyToolSpec
from deputize.adapters.mcp import DeputyServer
from deputize.adapters.middleware import DeputyMiddleware
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.adapters.pydantic_ai import answers as pydantic_ai_answers
from deputize.core import ConsentRequired, Deputy, PolicyDenied, allow_all
from deputize.core.web.app import pages_app
from deputize.sandbox import Browser, Page
from tests.core.mcp_client.test_asking_the_user import ADDRESS, FORM, LINK, SEND, asks, replies
from tests.core.mcp_client.test_servers import House
from tests.core.web.web_application import sign_in, signed_in
from tests.support.canary import dump
from tests.support.foreign_mcp import text
from tests.support.google_adk_runs import Asking as Playing
from tests.support.google_adk_runs import Chat
from tests.support.graphs import Context, approvals_of, asking, config, tool_messages, wired
from tests.support.llamaindex_agents import Calling, Model
from tests.support.mcp_clients import by_bearer, raw, served
from tests.support.pydantic_ai_runs import model_of

CALL: dict[str, Any] = {"name": "acme_send", "args": {"to": "bob"}, "id": "send"}
CONTEXT = Context("alice")
HOME = "https://agents.example.test"
SECRETS = (ADDRESS, "state-1", "state-2", "swordfish")
WAKE: Command[Any] = Command(resume={"wake": True})

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]


async def granted(*said: Any) -> tuple[House, Deputy]:
    """Return a server that answers with this, and a deputy without approvals to which Alice has consented."""
    house = House(dict(SEND))
    house.foreign.reply = replies(*said)
    deputy = await house.pinned()
    deputy.policy = allow_all
    with pytest.raises(ConsentRequired) as lacks:
        await deputy.act("acme_send", {"to": "bob"}, user="alice")
    await house.walk(deputy, lacks.value.consent, "alice")
    return house, deputy


async def answers(deputy: Deputy, link: str, decision: str = "accept", user: str = "alice", **fields: str) -> Page:
    """Open the link in the user's browser, and press a button."""
    browser = Browser(httpx.ASGITransport(pages_app(deputy, verifier=signed_in)), base_url=HOME)
    sign_in(browser, user, HOME)
    page = await browser.open(link)
    return await browser.submit(page, page.forms[0], decision=decision, **fields) if page.forms else page


def text_form() -> dict[str, Any]:
    """Return a form that accepts any text."""
    return FORM | {"requestedSchema": {"type": "object", "properties": {"note": {"type": "string"}}}}


async def test_graph_pauses_for_two_elicitations_and_keeps_none_of_their_content() -> None:
    house, deputy = await granted(asks(LINK), asks(text_form(), "state-2"), text("did it"))
    graph = wired(act_node(deputy, "acme"))
    await graph.ainvoke(asking(CALL), config(), context=CONTEXT)
    [link] = await approvals_of(graph, config())
    assert link["summary"] == "Answer a question of another server" and link["link"].startswith(HOME)
    await graph.ainvoke(WAKE, config(), context=CONTEXT)
    assert await approvals_of(graph, config()) == [link]  # woken too early
    await answers(deputy, link["link"])
    await graph.ainvoke(WAKE, config(), context=CONTEXT)
    [form] = await approvals_of(graph, config())
    await answers(deputy, form["link"], **{"0.0": "swordfish"})
    out = await graph.ainvoke(WAKE, config(), context=CONTEXT)
    assert json.loads(str(tool_messages(out)["send"].content))["text"] == "did it"
    saved = dump([one async for one in graph.checkpointer.alist(config())])  # type: ignore[union-attr]
    assert not any(one in saved + dump(out) for one in SECRETS)
    assert house.foreign.asked[-1][1]["inputResponses"]["q"]["content"] == {"note": "swordfish"}
    assert len(house.foreign.calls) == 3


async def test_another_process_continues_after_the_elicitation_answer() -> None:
    house, deputy = await granted(asks(LINK), text("did it"))
    graph = wired(act_node(deputy, "acme"))
    await graph.ainvoke(asking(CALL), config(), context=CONTEXT)
    [link] = await approvals_of(graph, config())
    again = await house.process()
    again.policy = allow_all
    resumed = wired(act_node(again, "acme"), graph.checkpointer)
    await answers(again, link["link"])
    out = await resumed.ainvoke(WAKE, config(), context=CONTEXT)
    assert json.loads(str(tool_messages(out)["send"].content))["text"] == "did it"
    assert house.foreign.asked[-1][1]["requestState"] == "state-1"


async def test_elicitation_declined_on_the_page_or_by_resume_is_sent_to_the_server() -> None:
    for resumed in (WAKE, None):
        _, deputy = await granted(asks(LINK), text("Then not.", isError=True))
        graph = wired(act_node(deputy, "acme"))
        await graph.ainvoke(asking(CALL), config(), context=CONTEXT)
        [link] = await approvals_of(graph, config())
        if resumed:
            await answers(deputy, link["link"], "decline")
        given = resumed or Command(resume={"decisions": {link["approval_id"]: "reject"}})
        out = await graph.ainvoke(given, config(), context=CONTEXT)
        assert json.loads(str(tool_messages(out)["send"].content))["failed"] is True


async def test_resume_that_approves_an_elicitation_answers_nothing() -> None:
    house, deputy = await granted(asks(LINK), text("did it"))
    graph = wired(act_node(deputy, "acme"))
    await graph.ainvoke(asking(CALL), config(), context=CONTEXT)
    [link] = await approvals_of(graph, config())
    given: Command[Any] = Command(resume={"decisions": {link["approval_id"]: "approve"}})
    await graph.ainvoke(given, config(), context=CONTEXT)
    [again] = await approvals_of(graph, config())
    assert "answered on its page only" in again.get("fault", "") and len(house.foreign.calls) == 1


async def test_other_user_neither_resumes_nor_opens_the_elicitation() -> None:
    house, deputy = await granted(asks(LINK), text("did it"))
    graph = wired(act_node(deputy, "acme"))
    await graph.ainvoke(asking(CALL), config(), context=CONTEXT)
    [link] = await approvals_of(graph, config())
    page = await answers(deputy, link["link"], user="bob")
    assert page.status == 403 and ADDRESS not in page.text
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(WAKE, config(), context=Context("bob"))
    [now] = await approvals_of(graph, config())
    assert len(house.foreign.calls) == 1
    [asked] = await deputy.pending("alice")  # under a new id, since the stranger's answer may lie about
    await answers(deputy, cast("Any", asked).link)
    out = await graph.ainvoke(WAKE, config(), context=CONTEXT)
    assert now["tool"] == "acme_send" and json.loads(str(tool_messages(out)["send"].content))["text"] == "did it"


async def test_late_elicitation_answer_is_reported_to_the_model() -> None:
    house, deputy = await granted(asks(LINK))
    graph = wired(act_node(deputy, "acme"))
    await graph.ainvoke(asking(CALL), config(), context=CONTEXT)
    house.clock.now += 601
    out = await graph.ainvoke(WAKE, config(), context=CONTEXT)
    message = tool_messages(out)["send"]
    assert message.status == "error" and "came too late. It was not done" in str(message.content)
    assert len(house.foreign.calls) == 1


async def test_agent_with_our_middleware_waits_for_an_elicitation() -> None:
    from langchain.agents import create_agent
    from langchain_core.messages import AIMessage, HumanMessage
    from langgraph.checkpoint.memory import InMemorySaver

    from tests.support.scripted_agents import Scripted

    _, deputy = await granted(asks(LINK), text("did it"))
    said = [AIMessage("", tool_calls=[dict(CALL)]), AIMessage("done")]
    model = Scripted(respond=lambda messages: said.pop(0))
    agent = create_agent(
        model, middleware=[DeputyMiddleware(deputy, "acme")], checkpointer=InMemorySaver(), context_schema=Context
    )
    out = await agent.ainvoke({"messages": [HumanMessage("go on")]}, config(), context=CONTEXT)
    [link] = requests_in(out["__interrupt__"], "approval")
    await answers(deputy, link["link"])
    out = await agent.ainvoke(WAKE, config(), context=CONTEXT)
    assert json.loads(str(tool_messages(out)["send"].content))["text"] == "did it"


async def test_llamaindex_run_waits_for_each_elicitation_and_continues() -> None:
    house, deputy = await granted(asks(LINK), asks(text_form(), "state-2"), text("did it"))
    tools: Any = DeputyToolSpec(deputy, "acme", user="alice").to_tool_list()
    agent = FunctionAgent(name="one", tools=tools, llm=Calling(respond=Model([CALL])), timeout=30, streaming=False)
    handler = agent.run("go on")
    seen = list[str]()
    async for event in handler.stream_events():
        if isinstance(event, ApprovalRequest):
            assert event.summary == "Answer a question of another server"
            assert not any(one in event.model_dump_json() for one in SECRETS)
            seen.append(event.approval_id)
            await answers(deputy, event.link, **({"0.0": "swordfish"} if len(seen) == 2 else {}))
            assert handler.ctx is not None
            handler.ctx.send_event(ApprovalResponse(approval_id=event.approval_id, by="alice"))
    assert "did it" in str(await handler) and len(set(seen)) == 2 and len(house.foreign.calls) == 3


async def test_pydantic_ai_approval_does_not_answer_an_elicitation() -> None:
    house, deputy = await granted(asks(LINK), text("did it"))
    toolset = DeputyToolset(deputy, "acme", user="alice")
    agent = Agent(model_of([CALL]), toolsets=[toolset], output_type=[str, DeferredToolRequests])
    first = await agent.run("go on")
    assert isinstance(first.output, DeferredToolRequests)
    [ask] = first.output.metadata.values()
    assert not any(one in dump(first.all_messages()) + json.dumps(ask) for one in SECRETS)
    yes = pydantic_ai_answers(first.output, {ask["approval_id"]: "approve"})
    given: Any = {"message_history": first.all_messages(), "deferred_tool_results": yes}
    early = await agent.run(**given)
    assert isinstance(early.output, DeferredToolRequests) and len(house.foreign.calls) == 1
    await answers(deputy, ask["link"])
    given |= {"deferred_tool_results": pydantic_ai_answers(early.output), "message_history": early.all_messages()}
    assert "did it" in str((await agent.run(**given)).output) and len(house.foreign.calls) == 2


async def test_adk_confirmation_does_not_answer_an_elicitation() -> None:
    house, deputy = await granted(asks(LINK), text("did it"))
    chat = Chat(LlmAgent(name="one", model=Playing(calls=[CALL]), tools=[GoogleToolset(deputy, "acme")]))
    [ask] = await chat.say("go on")
    assert not any(one in dump([chat.events, ask]) for one in SECRETS)
    [again] = await chat.answer("approve")
    assert "answered on its page only" in again["fault"] and len(house.foreign.calls) == 1
    await answers(deputy, again["link"])
    assert await chat.answer() == [] and "did it" in chat.text and len(house.foreign.calls) == 2


async def test_adk_rejection_declines_the_elicitation() -> None:
    _, deputy = await granted(asks(LINK), text("Then not.", isError=True))
    chat = Chat(LlmAgent(name="one", model=Playing(calls=[CALL]), tools=[GoogleToolset(deputy, "acme")]))
    await chat.say("go on")
    assert await chat.confirm(False) == [] and "Then not." in chat.text


@pytest.mark.parametrize("can", [{"elicitation": {"form": {}}}, {"elicitation": {"form": {}, "url": {}}}, {}])
async def test_mcp_client_gets_our_elicitation_link_or_none_and_no_form(can: Any) -> None:
    house, deputy = await granted(asks(LINK), text("did it"))
    async with served(DeputyServer(deputy, tools=["acme"]).app(by_bearer)) as base, raw(f"{base}/mcp", can=can) as mcp:
        said = await mcp.call("acme_send", {"to": "bob"})
        assert not any(one in json.dumps(said) for one in SECRETS)
        [question] = await deputy.pending("alice")
        if "url" in can.get("elicitation", {}):
            [asked] = said["inputRequests"].values()
            assert asked["params"]["url"] == cast("Any", question).link
        else:
            assert said["isError"] and "/connections" in json.dumps(said)
        await answers(deputy, cast("Any", question).link)
        done = await mcp.call("acme_send", {"to": "bob"})
    assert done["structuredContent"]["text"] == "did it" and len(house.foreign.calls) == 2
