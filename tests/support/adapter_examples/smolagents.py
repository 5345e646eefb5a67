"""smolagents with `examples/adapters/smolagents_tools.py`."""

from __future__ import annotations

import asyncio
from typing import Any

from examples.adapters.smolagents_tools import tools
from smolagents import ChatMessage, MessageRole, Model, ToolCallingAgent
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction

from tests.support.adapter_examples.scene import BLOCKED, CALLS, PROMPT, Scene, main


class Scripted(Model):
    """A model that makes the calls, then repeats their results."""

    def generate(self, messages: list[Any], **kwargs: Any) -> ChatMessage:
        """Return one message."""
        results = [one.content for one in messages if one.role == MessageRole.TOOL_RESPONSE]
        calls = ({"name": "final_answer", "args": {"answer": str(results)}, "id": "end"},) if results else CALLS
        made = [ChatMessageToolCallFunction(name=one["name"], arguments=one["args"]) for one in calls]
        return ChatMessage(
            role=MessageRole.ASSISTANT,
            content="",
            tool_calls=[
                ChatMessageToolCall(id=one["id"], type="function", function=function)
                for one, function in zip(calls, made, strict=True)
            ],
        )


async def play(scene: Scene) -> str:
    """See `scene.Play`."""
    ours = tools(scene.deputy, user="alice", thread="1", ask=scene.ask)
    agent = ToolCallingAgent(tools=ours, model=Scripted(), max_steps=3, verbosity_level=0)
    return str(await asyncio.to_thread(agent.run, PROMPT))


if __name__ == "__main__":
    main(play, BLOCKED)
