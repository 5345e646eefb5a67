"""Every adapter accepts ``app=``: its tools then act as that service account, and with no user's account."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from agents import Agent, Runner
from google.adk.agents import LlmAgent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from llama_index.core.agent.workflow import FunctionAgent
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import DeferredToolRequests

from deputize.adapters import google_adk, langchain, openai_agents
from deputize.adapters.langgraph import RESUME, act_node
from deputize.adapters.llamaindex import ApprovalResponse, DeputyToolSpec
from deputize.adapters.mcp import DeputyServer
from deputize.adapters.middleware import DeputyMiddleware
from deputize.adapters.openai_agents import settle
from deputize.adapters.pydantic_ai import DeputyToolset, answers
from deputize.core import Deputy, InvalidInput, User, ask_before_sending
from deputize.core.audit import Audit
from tests.support import google_adk_runs, openai_agents_runs, pydantic_ai_runs
from tests.support.graphs import Graph, config, wired
from tests.support.llamaindex_agents import Calling, Model, asked
from tests.support.mcp_clients import Raw, by_bearer, served
from tests.support.sandbox_deputy import Clock, new_vault
from tests.support.scripted_agents import calling
from tests.support.token_sources import BOT, EXCHANGE, World, app, bot_app, deputy_with

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
ACME: Final = f"Acme Ltd (service account {BOT})"
POST: Final[dict[str, Any]] = {"name": "notes_post_note", "args": {"text": "hello"}, "id": "call_1"}
Run = AsyncIterator[str]
"""The steps of one call: until its user is asked, and, after the answer, to the end.

Each yields what its model would read.
"""


async def by_langchain(deputy: Deputy, app: str) -> Run:
    [post] = [one for one in langchain.tools(deputy, "notes", user="alice", app=app) if one.name == POST["name"]]
    for _ in range(2):
        yield str((await post.ainvoke({"type": "tool_call", **POST})).content)


async def in_graph(graph: Graph, given: Any, app: str) -> Run:
    where = config(f"chat with {app}")
    said = await graph.ainvoke(given, where)
    while said.get("__interrupt__"):
        yield ""
        said = await graph.ainvoke(Command(resume=RESUME), where)
    yield " ".join(str(one.content) for one in said["messages"] if one.type == "tool")


async def by_act_node(deputy: Deputy, app: str) -> Run:
    asks = {"messages": [HumanMessage("go on"), AIMessage("", id="m", tool_calls=[POST])]}
    async for said in in_graph(wired(act_node(deputy, "notes", user="alice", app=app)), asks, app):
        yield said


async def by_middleware(deputy: Deputy, app: str) -> Run:
    brings = DeputyMiddleware(deputy, "notes", user="alice", app=app)
    graph: Any = create_agent(calling(POST), middleware=[brings], checkpointer=InMemorySaver())
    async for said in in_graph(graph, {"messages": [HumanMessage("go on")]}, app):
        yield said


async def by_llamaindex(deputy: Deputy, app: str) -> Run:
    tools: list[Any] = [*DeputyToolSpec(deputy, "notes", user="alice", app=app).to_tool_list()]
    run = FunctionAgent(tools=tools, llm=Calling(respond=Model([POST])), timeout=30, streaming=False).run("go on")
    [request] = await asked(run)
    yield ""
    run.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice"))
    yield str(await asyncio.wait_for(run, 25))


async def by_pydantic_ai(deputy: Deputy, app: str) -> Run:
    agent = PydanticAgent(
        pydantic_ai_runs.model_of([POST]),
        toolsets=[DeputyToolset(deputy, "notes", user="alice", app=app)],
        output_type=[str, DeferredToolRequests],
    )
    first = await agent.run("go on")
    assert isinstance(first.output, DeferredToolRequests)
    yield ""
    resumed = await agent.run(message_history=first.all_messages(), deferred_tool_results=answers(first.output))
    yield str(resumed.output)


async def by_openai_agents(deputy: Deputy, app: str) -> Run:
    tools = openai_agents.tools(deputy, "notes", user="alice", thread=f"chat with {app}", app=app)
    agent = Agent[Any](name="notes", model=openai_agents_runs.Asking([POST]), tools=tools)
    state = (await Runner.run(agent, "go on", run_config=openai_agents_runs.QUIET)).to_state()
    yield ""
    assert await settle(state) == []
    yield str((await Runner.run(agent, state, run_config=openai_agents_runs.QUIET)).final_output)


async def by_google_adk(deputy: Deputy, app: str) -> Run:
    tools = google_adk.DeputyToolset(deputy, "notes", app=app)
    chat = google_adk_runs.Chat(LlmAgent(name="notes", model=google_adk_runs.Asking(calls=[POST]), tools=[tools]))
    assert await chat.say("go on")
    yield ""
    assert await chat.answer() == []
    yield chat.text


async def by_mcp(deputy: Deputy, app: str) -> Run:
    server = DeputyServer(deputy, ["notes"], app=app)
    async with served(server.app(by_bearer)) as base, httpx2.AsyncClient(timeout=30) as http:
        alice = Raw(http, f"{base}/mcp", can={})
        server.performing.longest_wait = 0.0
        for _ in range(2):
            yield json.dumps(await alice.call(POST["name"], POST["args"]))


RUNS: Final[dict[str, Callable[[Deputy, str], Run]]] = {
    "langchain": by_langchain,
    "act_node": by_act_node,
    "middleware": by_middleware,
    "llamaindex": by_llamaindex,
    "pydantic_ai": by_pydantic_ai,
    "openai_agents": by_openai_agents,
    "google_adk": by_google_adk,
    "mcp": by_mcp,
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("first", ["", "bot"])
async def test_user_and_service_accounts_do_not_share_acts_or_approvals(name: str, first: str, tmp_path: Path) -> None:
    world, vault = World(Clock(1_800_000_000.0)), await new_vault()
    audit = Audit(tmp_path, vault.keys.audit)
    apps = app(EXCHANGE), bot_app(world)
    async with await deputy_with(world, *apps, policy=ask_before_sending, vault=vault, audit=audit) as deputy:
        world.session("alice")
        posted = list[tuple[str, str]]()
        for through in (first, "" if first else "bot"):
            who = BOT if through else "alice"
            run = RUNS[name](deputy, through)
            await anext(run)
            [waits] = await deputy.approvals.list_pending(
                User("alice")
            )  # a yes to the other account's act was none to this one
            assert (waits.account, world.posted) == (ACME if through else "alice@acme.test", posted)
            assert ("acting for" in waits.preview) is bool(through)
            await deputy.decide(waits.id, "approve", by="alice")
            said = await anext(run)
            posted.append((who, "hello"))
            assert world.posted == posted, said
            assert [said async for said in run] == []
    rows = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    done = [row.get("organisation", "") for row in rows if row["event"] == "act.intent"]
    assert done == (["Acme Ltd", ""] if first else ["", "Acme Ltd"])


def shown(deputy: Deputy, app: str) -> dict[str, list[str]]:
    """Return each adapter's tool descriptions for a model."""
    spec = DeputyToolSpec(deputy, "notes", user="alice", app=app)
    return {
        "langchain": [one.description for one in langchain.tools(deputy, "notes", user="alice", app=app)],
        "act_node": [
            one.description for one in act_node(deputy, "notes", user="alice", app=app).tools_by_name.values()
        ],
        "middleware": [one.description for one in DeputyMiddleware(deputy, "notes", user="alice", app=app).tools],
        "llamaindex": [str(one.metadata.description) for one in spec.to_tool_list()],
        "pydantic_ai": [
            one.description for one in DeputyToolset(deputy, "notes", user="alice", app=app).tools.values()
        ],
        "openai_agents": [
            str(getattr(one, "description", ""))
            for one in openai_agents.tools(deputy, "notes", user="alice", thread="t", app=app)
        ],
        "google_adk": [
            one.description for one in google_adk.DeputyToolset(deputy, "notes", user="alice", app=app).tools
        ],
        "mcp": [str(one.description) for one in DeputyServer(deputy, ["notes"], app=app)._listed],
    }


async def test_tool_description_names_the_service_account_and_other_apps_are_refused() -> None:
    world = World(Clock(1_800_000_000.0))
    async with await deputy_with(world, app(EXCHANGE), bot_app(world)) as deputy:
        for adapter, texts in shown(deputy, "bot").items():
            assert all(text.endswith("Acts as a service account of Acme Ltd, not the user.") for text in texts), adapter
            assert len(texts) == 3
        assert not any("service account" in text for texts in shown(deputy, "").values() for text in texts)
        for wrong in ("company", "none", "Bot"):
            with pytest.raises(
                InvalidInput, match=f"{wrong!r} does not serve api, which notes_count_notes needs"
            ) as refused:
                shown(deputy, wrong)
            assert "bot" in refused.value.hint
        with pytest.raises(InvalidInput, match="none"):
            deputy.tools("find_people", app="none")
        with pytest.raises(InvalidInput, match="find_people searches the user's own accounts"):
            deputy.tools("find_people", app="bot")
        with pytest.raises(InvalidInput, match="find_people searches the user's own accounts"):
            await deputy.act("find_people", {"who": "bob"}, user="alice", app="bot")
