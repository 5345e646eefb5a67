"""Strands with `examples/adapters/strands_tools.py`. Each resume is by a new agent, from a snapshot as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from examples.adapters.strands_tools import tools
from strands import Agent
from strands.models.model import Model

from tests.support.adapter_examples.scene import CALLS, PAUSED, PROMPT, STRANGER, Scene, main


class Scripted(Model):
    """A model that makes the calls, then repeats their results."""

    def update_config(self, **model_config: Any) -> None:
        """There is no configuration."""

    def get_config(self) -> dict[str, Any]:
        """There is no configuration."""
        return {}

    async def structured_output(self, *args: Any, **kwargs: Any) -> AsyncIterator[dict[str, Any]]:
        """Raise, because no run uses it."""
        raise NotImplementedError
        yield {}

    async def stream(self, messages: list[Any], *args: Any, **kwargs: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of one message."""
        results = [one["toolResult"] for one in messages[-1]["content"] if "toolResult" in one]
        yield {"messageStart": {"role": "assistant"}}
        for call in () if results else CALLS:
            yield {"contentBlockStart": {"start": {"toolUse": {"name": call["name"], "toolUseId": call["id"]}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(call["args"])}}}}
            yield {"contentBlockStop": {}}
        if results:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": json.dumps(results)}}}
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if results else "tool_use"}}


async def play(scene: Scene) -> str:
    """See `scene.Play`."""
    prompt: Any = PROMPT
    saved: Any = None
    while not scene.is_over:
        agent = Agent(Scripted(), tools=tools(scene.deputy), callback_handler=None, agent_id="mail")
        if saved:
            agent.load_snapshot(type(saved).from_dict(json.loads(json.dumps(saved.to_dict()))))
        result = await agent.invoke_async(prompt, invocation_state={"user_id": scene.user, "thread": "1"})
        if result.stop_reason != "interrupt":
            return str(result)
        saved = agent.take_snapshot(preset="session")
        await scene.ask_all(one.reason for one in result.interrupts)
        prompt = [{"interruptResponse": {"interruptId": one.id, "response": True}} for one in result.interrupts]
    return ""


if __name__ == "__main__":
    main(play, (*PAUSED, STRANGER))
