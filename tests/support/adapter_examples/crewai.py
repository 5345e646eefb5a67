"""CrewAI with `examples/adapters/crewai_tools.py`."""

from __future__ import annotations

import json
from typing import Any

from crewai import Agent, BaseLLM, Crew, Task
from examples.adapters.crewai_tools import tools

from tests.support.adapter_examples.scene import BLOCKED, CALLS, PROMPT, Scene, as_json, main


class Scripted(BaseLLM):
    """A model that makes the calls, then repeats their results."""

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """Return one message."""
        results = [one["content"] for one in messages if one["role"] == "tool"]
        return json.dumps(results) if results else as_json(CALLS)

    def supports_function_calling(self) -> bool:
        """Return True."""
        return True


async def play(scene: Scene) -> str:
    """See `scene.Play`."""
    ours = tools(scene.deputy, user="alice", thread="1", ask=scene.ask)
    agent = Agent(role="mailer", goal="mail", backstory="none", tools=ours, llm=Scripted(model="scripted"))
    crew = Crew(agents=[agent], tasks=[Task(description=PROMPT, expected_output="mail", agent=agent)])
    return str(await crew.kickoff_async())


if __name__ == "__main__":
    main(play, BLOCKED)
