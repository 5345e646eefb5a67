"""The owner of an agent's run: two middlewares for two users, after a jump, and at a pause requested by a tool."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware, hook_config
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import ApprovalPayload, Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, approvals_of, config, tool_messages
from tests.support.scripted_agents import calling

pytestmark = [
    pytest.mark.connected("readonly", "send"),
    pytest.mark.connected("readonly", "send", user="bob", as_="bob@example.test"),
]

ALICE, BOB, NOBODY = Context("alice"), Context("bob"), Context("")
START: dict[str, Any] = {"messages": [("user", "go on")]}


def agent(*middleware: AgentMiddleware[Any, Any, Any], calls: Any = (SEND,)) -> Graph:
    made: Graph = create_agent(
        calling(*calls), middleware=middleware, context_schema=Context, checkpointer=InMemorySaver()
    )
    return made


async def run(graph: Graph, given: Any, who: Context | None, mode: str) -> Any:
    if mode == "async":
        return await graph.ainvoke(given, config(), context=who)
    return await asyncio.to_thread(graph.invoke, given, config(), context=who)


def yes(asks: list[ApprovalPayload]) -> Command[Any]:
    return Command(resume={"decisions": {ask["approval_id"]: "approve" for ask in asks}})


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_two_middlewares_each_act_for_their_own_user(mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    labels = {"name": "gmail_list_labels", "args": {}, "id": "labels"}
    hers = DeputyMiddleware(deputy, "gmail_search_emails", "gmail_send_email", user="alice")
    his = DeputyMiddleware(deputy, "gmail_list_labels", user="bob", name="bobs")
    graph = agent(hers, his, calls=[SEND, labels])
    await run(graph, START, None, mode)
    state = await run(graph, yes(await approvals_of(graph, config())), None, mode)
    assert {call: m.status for call, m in tool_messages(state).items()} == {"send": "success", "labels": "success"}
    assert [len(sandbox.sent(f"{user}@example.test")) for user in ("alice", "bob")] == [1, 0]
    asked = {seen.who for seen in sandbox.requests if seen.path.endswith("/labels")}
    assert asked == {"bob@example.test"}


class Jumping(AgentMiddleware[Any, Any, Any]):
    """Jumps to the model, past what other middlewares do before the agent."""

    @hook_config(can_jump_to=["model"])
    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"jump_to": "model"}


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_middleware_whose_start_hook_was_skipped_still_records_the_owner(
    mode: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    graph = agent(Jumping(), DeputyMiddleware(deputy, "gmail"), calls=[SEND, SEARCH])
    await run(graph, START, ALICE, mode)
    with pytest.raises(PolicyDenied):
        await run(graph, yes(await approvals_of(graph, config())), BOB, mode)
    state: Any = None
    for _ in range(2):  # renewed since it was shown: asked once more
        state = await run(graph, yes(await approvals_of(graph, config())), ALICE, mode)
    assert {call: m.status for call, m in tool_messages(state).items()} == {"send": "success", "search": "success"}
    assert [len(sandbox.sent(f"{user}@example.test")) for user in ("alice", "bob")] == [1, 0]


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("other", [BOB, NOBODY], ids=["bob", "nobody"])
async def test_pause_of_a_tool_belongs_to_its_owner(
    other: Context, mode: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    """A mail that was edited after the gate needs approval where it is sent."""
    graph = agent(HumanInTheLoopMiddleware({SEND["name"]: True}), DeputyMiddleware(deputy, "gmail"))
    edited = {**SEND["args"], "body": "No, sorry."}
    edit = {"decisions": [{"type": "edit", "edited_action": {"name": SEND["name"], "args": edited}}]}
    await run(graph, START, ALICE, mode)
    await run(graph, yes(await approvals_of(graph, config())), ALICE, mode)
    await run(graph, Command(resume=edit), ALICE, mode)
    [ask] = await approvals_of(graph, config())
    assert "No, sorry." in str(ask["preview"])
    for given in (yes([ask]), None):
        with pytest.raises(PolicyDenied, match="belongs to another user"):
            await run(graph, given, other, mode)
    assert [len(sandbox.sent(f"{user}@example.test")) for user in ("alice", "bob")] == [0, 0]
    state: Any = None
    for _ in range(2):
        state = await run(graph, yes(await approvals_of(graph, config())), ALICE, mode)
    assert tool_messages(state)["send"].status == "success"
    [mail] = sandbox.sent("alice@example.test")
    assert b"No, sorry." in mail.raw
