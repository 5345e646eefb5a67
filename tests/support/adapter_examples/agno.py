"""Agno with `examples/adapters/agno_tools.py`. Each resume is by a new agent, from the stored run."""

from __future__ import annotations

import json
from typing import Any

from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.models.base import Model
from agno.models.response import ModelResponse
from examples.adapters.agno_tools import DeputyTools

from tests.support.adapter_examples.scene import CALLS, PAUSED, PROMPT, Scene, as_json, main


class Scripted(Model):
    """A model that makes the calls, then repeats their results."""

    async def ainvoke(self, messages: list[Any], *args: Any, **kwargs: Any) -> ModelResponse:
        """Return one message."""
        results = [one.content for one in messages if one.role == "tool"]
        return ModelResponse(
            role="assistant", content=json.dumps(results), tool_calls=[] if results else as_json(CALLS)
        )

    def refuse(self, *args: Any, **kwargs: Any) -> Any:
        """Raise, because no run uses it."""
        raise NotImplementedError

    invoke = invoke_stream = ainvoke_stream = _parse_provider_response = _parse_provider_response_delta = refuse


async def play(scene: Scene) -> str:
    """See `scene.Play`."""
    tools, db, run = DeputyTools(scene.deputy), InMemoryDb(), None
    while run is None or run.is_paused:
        agent = Agent(model=Scripted(id="scripted"), tools=tools.functions, db=db, telemetry=False)
        if run is None:
            run = await agent.arun(PROMPT, user_id="alice", session_id="1")
            continue
        if requests := await tools.settle(run):
            await scene.ask_all(requests)
            continue
        more: dict[str, Any] = {"session_id": run.session_id, "user_id": run.user_id}
        run = await agent.acontinue_run(run_id=run.run_id, requirements=run.requirements, **more)
    return str(run.content)


if __name__ == "__main__":
    main(play, PAUSED)
