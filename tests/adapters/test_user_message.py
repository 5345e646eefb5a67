"""Every adapter passes on the user's own message from one function that the application names in code. No state of a
conversation, argument or client of a server provides it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from agents import Agent, Runner
from google.adk.agents import LlmAgent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from llama_index.core.agent.workflow import FunctionAgent
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import DeferredToolRequests

from deputize.adapters import google_adk, langchain, openai_agents
from deputize.adapters.acting_user import Context
from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.adapters.middleware import DeputyMiddleware
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Deputy, SettingsError, ask_unless_user_named
from deputize.sandbox import Sandbox
from tests.support import google_adk_runs, openai_agents_runs, pydantic_ai_runs
from tests.support.graphs import config
from tests.support.llamaindex_agents import Calling, Model, asked
from tests.support.sandbox_deputy import connect
from tests.support.scripted_agents import calling

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
SAYS: Final = "Write to bob@example.test, subject 'Lunch': \"See you at noon.\""
MAIL: Final = {"to": ["bob@example.test"], "subject": "Lunch", "body": "See you at noon."}
SEND: Final[dict[str, Any]] = {"name": "gmail_send_email", "args": MAIL, "id": "call_1"}
Run = Callable[[Deputy, str], Awaitable[object]]


@dataclass
class Told(Context):
    """A context with the message that the user wrote."""

    message: str = ""


async def by_langchain(deputy: Deputy, said: str) -> None:
    tools = langchain.tools(deputy, "gmail", user="alice", user_message=lambda run: said)
    [send] = [one for one in tools if one.name == SEND["name"]]
    await send.ainvoke({"type": "tool_call", **SEND}, config("chat"))


async def by_act_node(deputy: Deputy, said: str) -> None:
    builder = StateGraph(MessagesState, context_schema=Told)
    builder.add_node("tools", act_node(deputy, "gmail", user_message=lambda run: run.context.message))
    builder.add_edge(START, "tools")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    asks = {"messages": [HumanMessage(SAYS), AIMessage("", id="m", tool_calls=[SEND])]}
    await graph.ainvoke(asks, config("chat"), context=Told("alice", message=said))


async def by_middleware(deputy: Deputy, said: str) -> None:
    brings = DeputyMiddleware(deputy, "gmail", user="alice", user_message=lambda run: run.context.message)
    graph: Any = create_agent(calling(SEND), middleware=[brings], context_schema=Told, checkpointer=InMemorySaver())
    await graph.ainvoke({"messages": [HumanMessage(SAYS)]}, config("chat"), context=Told("alice", message=said))


async def by_llamaindex(deputy: Deputy, said: str) -> None:
    tools: list[Any] = DeputyToolSpec(deputy, "gmail", user="alice", user_message=lambda ctx: said).to_tool_list()
    run = FunctionAgent(tools=tools, llm=Calling(respond=Model([SEND])), timeout=30, streaming=False).run(SAYS)
    if said == SAYS:
        await asyncio.wait_for(run, 25)
    else:
        assert len(await asked(run)) == 1
        await run.cancel_run()


async def by_pydantic_ai(deputy: Deputy, said: str) -> None:
    toolset = DeputyToolset(deputy, "gmail", user="alice", user_message=lambda ctx: ctx.deps)
    output: list[Any] = [str, DeferredToolRequests]
    agent = PydanticAgent(pydantic_ai_runs.model_of([SEND]), toolsets=[toolset], output_type=output, deps_type=str)
    await agent.run(SAYS, deps=said)


async def by_openai_agents(deputy: Deputy, said: str) -> None:
    tools = openai_agents.tools(deputy, "gmail", user="alice", thread="chat", user_message=lambda ctx: ctx.context)
    agent = Agent[Any](name="mail", model=openai_agents_runs.Asking([SEND]), tools=tools)
    await Runner.run(agent, SAYS, context=said, run_config=openai_agents_runs.QUIET)


async def by_google_adk(deputy: Deputy, said: str) -> None:
    tools = google_adk.DeputyToolset(deputy, "gmail", user="alice", user_message=lambda ctx: said)
    chat = google_adk_runs.Chat(LlmAgent(name="mail", model=google_adk_runs.Asking(calls=[SEND]), tools=[tools]))
    await chat.say(SAYS)


RUNS: Final[list[Run]] = [
    by_langchain,
    by_act_node,
    by_middleware,
    by_llamaindex,
    by_pydantic_ai,
    by_openai_agents,
    by_google_adk,
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__[3:])
@pytest.mark.parametrize("said", [SAYS, "", "Write to bob@example.test."], ids=["whole", "none", "other"])
async def test_mail_is_sent_only_if_the_handed_over_message_contains_it(
    deputy: Deputy, sandbox: Sandbox, run: Run, said: str
) -> None:
    deputy.policy = ask_unless_user_named
    await connect(deputy, sandbox, "send", "readonly")
    await run(deputy, said)
    assert len(sandbox.sent("alice@example.test")) == (said == SAYS)


SERVER: Final = {"graph_id": "agent", "assistant_id": "a", "langgraph_auth_user": None}


@pytest.mark.parametrize("trusting", [False, True])
async def test_client_of_a_server_provides_no_message_unless_clients_are_trusted(
    deputy: Deputy, sandbox: Sandbox, trusting: bool
) -> None:
    deputy.policy = ask_unless_user_named
    await connect(deputy, sandbox, "send", "readonly")
    brings = DeputyMiddleware(
        deputy,
        "gmail",
        user=lambda run: "alice",
        trust_client_context=trusting,
        user_message=lambda run: run.context.message,
    )
    graph: Any = create_agent(calling(SEND), middleware=[brings], context_schema=Told, checkpointer=InMemorySaver())
    where: Any = {"configurable": {"thread_id": "1", **SERVER}}
    await graph.ainvoke({"messages": [HumanMessage(SAYS)]}, where, context=Told("alice", message=SAYS))
    assert len(sandbox.sent("alice@example.test")) == trusting


async def _later(run: Any) -> str:
    return SAYS


@pytest.mark.parametrize("wrong", ["text", b"text", 1, _later])
def test_message_that_is_no_plain_function_is_refused(deputy: Deputy, wrong: Any) -> None:
    makers: list[Callable[..., Any]] = [langchain.tools, act_node, DeputyMiddleware, DeputyToolset]
    makers.append(google_adk.DeputyToolset)
    for maker in makers:
        with pytest.raises(SettingsError, match="user_message="):
            maker(deputy, "gmail", user="alice", user_message=wrong)
    with pytest.raises(SettingsError, match="user_message="):
        openai_agents.tools(deputy, "gmail", user="alice", thread="t", user_message=wrong)


async def test_function_that_returns_no_text_is_an_error_of_the_operator(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send", "readonly")
    wrong: Any = lambda run: ["text"]  # noqa: E731
    tools = langchain.tools(deputy, "gmail", user="alice", user_message=wrong)
    [send] = [one for one in tools if one.name == SEND["name"]]
    said = await send.ainvoke({"type": "tool_call", **SEND}, config("chat"))
    assert "user_message= returns a value of type list" in said.content and not sandbox.sent("alice@example.test")
