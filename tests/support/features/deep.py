"""Deep agents: our middleware on the agent itself, and on one of its subagents.

In an environment of its own: ``python -m tests.support.features.deep`` prints each row, and ends with how many of them
sent another number of mails than they should.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any, Final

from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from tests.support.features.scene import Row, Scene, gates, line_of, scene_of
from tests.support.graphs import SEND, Context
from tests.support.scripted_agents import Scripted

GO_ON: Final = {"messages": [HumanMessage("write to Bob")]}
CLEAR: Final = {"name": "clear_desk", "args": {}, "id": "clear"}


@tool
def clear_desk() -> str:
    """Clear the desk."""
    return "cleared"


def task(name: str, ident: str = "task") -> dict[str, Any]:
    """Return a call that gives a task to another agent."""
    return {"name": "task", "args": {"description": "Write to Bob.", "subagent_type": name}, "id": ident}


def in_turn(*messages: list[dict[str, Any]]) -> Scripted:
    """Return a model that makes these calls once, one per message."""

    def respond(said: list[BaseMessage]) -> AIMessage:
        answered = {m.tool_call_id for m in said if isinstance(m, ToolMessage)}
        left = [calls for calls in messages if not {call["id"] for call in calls} <= answered]
        return AIMessage("", tool_calls=[dict(call) for call in left[0]]) if left else AIMessage("all done")

    return Scripted(respond=respond)


def deep(scene: Scene, model: Any, **more: Any) -> Any:
    """Build a deep agent with our tools."""
    return create_deep_agent(model, context_schema=Context, checkpointer=scene.saver, **more)


async def alone(scene: Scene) -> int:
    """Our middleware is on the deep agent itself, which first writes a to-do list and a file."""
    todo = {"name": "write_todos", "args": {"todos": [{"content": "mail", "status": "pending"}]}, "id": "todo"}
    file = {"name": "write_file", "args": {"file_path": "/draft.txt", "content": "Yes, gladly."}, "id": "file"}
    model = in_turn([todo], [file], [SEND])
    graph = deep(scene, model, middleware=gates(scene.deputy))
    return await scene.play(graph, GO_ON)


async def interrupting(scene: Scene) -> int:
    """Our middleware is used with ``interrupt_on`` for a tool of the application."""
    scene.host_answers["hitl"] = {"decisions": [{"type": "approve"}]}
    own = [clear_desk]
    more: dict[str, Any] = {"middleware": gates(scene.deputy), "interrupt_on": {"clear_desk": True}}
    return await scene.play(deep(scene, in_turn([SEND, CLEAR]), tools=own, **more), GO_ON)


def mailer(scene: Scene, name: str, call: dict[str, Any]) -> dict[str, Any]:
    """Return a subagent with our tools and our middleware."""
    return {
        "name": name,
        "description": "Writes mails.",
        "system_prompt": "Write mails.",
        "model": in_turn([call]),
        "middleware": gates(scene.deputy),
    }


async def given_a_task(scene: Scene) -> int:
    """A subagent that is given the task sends the mail."""
    graph = deep(scene, in_turn([task("mailer")]), subagents=[mailer(scene, "mailer", SEND)])
    return await scene.play(graph, GO_ON)


async def two_tasks(scene: Scene) -> int:
    """Two such subagents run concurrently: one link, one mail each."""
    other = {**SEND, "args": {**SEND["args"], "to": ["carol@example.test"]}, "id": "send carol"}
    agents = [mailer(scene, "first", SEND), mailer(scene, "second", other)]
    graph = deep(scene, in_turn([task("first", "one"), task("second", "two")]), subagents=agents)
    mails = await scene.play(graph, GO_ON)
    assert len(set(scene.asked["consent"])) == 1, scene.asked
    return mails


AGENT: Final = ("create_agent",)
ROWS: Final = (
    Row("deep agent", alone, ways=AGENT),
    Row("deep agent, interrupt_on a host's tool", interrupting, ways=AGENT),
    Row("deep agent, a task for another agent", given_a_task, ways=AGENT),
    Row("deep agent, two tasks at once", two_tasks, ways=AGENT, mails=2),
)


async def main() -> int:
    """Play and print each row; return how many are wrong."""
    wrong = 0
    for row, (mode, stranger) in itertools.product(ROWS, (("async", ""), ("sync", ""), ("async", "bob"))):
        async with scene_of(row.ways[0], mode) as scene:
            scene.stranger = stranger
            mails = await row.play(scene)
        print(line_of(row, row.ways[0], mode, mails), f"after {stranger}" if stranger else "", flush=True)
        wrong += mails != row.mails
    return wrong


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
