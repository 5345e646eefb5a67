"""What the OpenAI Agents adapter costs: a run of one call to its tool, over one to a tool that does nothing.

``python -m tests.bench`` prints it where the SDK is installed. Both runs have the same schema and a model that costs
nothing, and both ask whether the call needs an approval. The acts behind our tool do nothing either, since what the
core costs is a figure of its own.
"""

from __future__ import annotations

from typing import Any

from agents import Agent, FunctionTool, Runner

from deputize.adapters.openai_agents import tools
from deputize.core.http import FastTransport
from tests.bench.__main__ import deputy, paired, say
from tests.support.openai_agents_runs import QUIET, Asking

CALL = {"name": "gmail_list_emails", "args": {"query": "from:bob"}, "id": "1"}


async def adapter() -> None:
    """``Runner.run`` with our tool over one with a no-op `FunctionTool`, on the loop alone."""

    async def nothing(*names: Any, **given: Any) -> Any:
        return []

    async def no_op(*given: Any) -> str:
        return "[]"

    async def unasked(*given: Any) -> bool:
        return False

    async def unblocked(*names: Any, **given: Any) -> Any:
        return [None]

    def run(tool: Any) -> Any:
        return Runner.run(Agent(name="mail", model=Asking([CALL]), tools=[tool]), "go on", run_config=QUIET)

    async with deputy("http://127.0.0.1:1", FastTransport) as one:
        [ours] = tools(one, "gmail_list_emails", user="alice", thread="1")
        assert isinstance(ours, FunctionTool)
        theirs = FunctionTool(
            ours.name,
            ours.description,
            ours.params_json_schema,
            no_op,
            strict_json_schema=False,
            needs_approval=unasked,
        )
        one.act = nothing  # type: ignore[method-assign]
        one.check_calls = unblocked  # type: ignore[method-assign]
        ratios = await paired([lambda: run(theirs), lambda: run(ours)], 1)
        say("OpenAI Agents adapter over a no-op FunctionTool", ratios[1], 1.10)
