"""An agent inside a tool, beside acts of the outer agent: each call is its own act, for its own message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import act_node
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy
from tests.support.graphs import SEARCH, SEND, Context, asking, config, wired
from tests.support.scripted_agents import calling

pytestmark = pytest.mark.connected("readonly", "compose")

ALICE = Context("alice")
DRAFT: dict[str, Any] = {**SEND, "name": "gmail_save_draft", "id": "call_0"}
"""Some models restart the call ids of each message at zero."""


def with_tools(deputy: Deputy) -> Any:
    """Return an agent of plain tools, without a gate of its own."""
    return create_agent(calling(DRAFT), tools(deputy, "gmail"), context_schema=Context)


def with_middleware(deputy: Deputy) -> Any:
    return create_agent(calling(DRAFT), middleware=[DeputyMiddleware(deputy, "gmail")], context_schema=Context)


@pytest.mark.parametrize("around", ["act_node", "create_agent"])
@pytest.mark.parametrize("make", [with_tools, with_middleware])
async def test_two_agents_in_tools_save_two_drafts(make: Callable[[Deputy], Any], around: str, deputy: Deputy) -> None:
    inner, drafts = make(deputy), list[str]()

    @tool
    async def assistant(what: str) -> str:
        """Let an assistant do this."""
        state = await inner.ainvoke({"messages": [("user", what)]}, context=ALICE)
        drafts.extend(m.artifact["draft_id"] for m in state["messages"] if m.type == "tool")
        return "done"

    own: list[BaseTool] = [assistant]
    calls = [SEARCH, *({"name": "assistant", "args": {"what": what}, "id": what} for what in ("one", "two"))]
    if around == "act_node":
        await wired(act_node(deputy, "gmail", tools=own)).ainvoke(asking(*calls), config(), context=ALICE)
    else:
        saver = InMemorySaver()
        middleware = [DeputyMiddleware(deputy, "gmail")]
        graph: Any = create_agent(
            calling(*calls), own, middleware=middleware, context_schema=Context, checkpointer=saver
        )
        await graph.ainvoke({"messages": [("user", "go on")]}, config(), context=ALICE)
    assert len(drafts) == 2 and len(set(drafts)) == 2


async def test_wrapper_using_our_tools_itself_performs_another_act(deputy: Deputy) -> None:
    """As a wrapper that adds a note of what the model wanted to each call."""
    [save] = tools(deputy, "gmail_save_draft")
    drafts: list[str] = []

    async def noting(request: Any, execute: Any) -> Any:
        note = {**request.tool_call, "type": "tool_call"}
        drafts.append((await save.ainvoke(note, request.runtime.config)).artifact["draft_id"])
        answer = await execute(request)
        drafts.append(answer.artifact["draft_id"])
        return answer

    graph = wired(act_node(deputy, "gmail", awrap_tool_call=noting))
    await graph.ainvoke(asking(DRAFT), config(), context=ALICE)
    assert len(drafts) == 2 and len(set(drafts)) == 2
