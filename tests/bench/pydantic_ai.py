"""What the pydantic-ai adapter costs: a run of one call to its tool, over one to a tool that does nothing.

``python -m tests.bench`` prints it where pydantic-ai is installed. Both runs have the same schema and a model that
costs nothing. The act behind our tool does nothing either, since what the core costs is a figure of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_ai import Agent, Tool
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.toolsets import FunctionToolset

from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core.http import FastTransport
from tests.bench.__main__ import deputy, paired, say

GIVEN = {"query": "from:bob"}


def respond(messages: Sequence[ModelMessage], info: AgentInfo) -> ModelResponse:
    """One call, then the end."""
    if len(messages) > 1:
        return ModelResponse(parts=[TextPart("done")])
    return ModelResponse(parts=[ToolCallPart("gmail_list_emails", GIVEN, "1")])


async def adapter() -> None:
    """``Agent.run`` with our toolset over one with a toolset of a no-op tool, on the loop alone."""

    async def nothing(*names: Any, **given: Any) -> Any:
        return []

    async with deputy("http://127.0.0.1:1", FastTransport) as one:
        [tool] = one.tools("gmail_list_emails")
        no_op = Tool.from_schema(nothing, name=tool.name, description=tool.description, json_schema=tool.schema)
        one.act = nothing  # type: ignore[method-assign]
        ours = Agent(FunctionModel(respond), toolsets=[DeputyToolset(one, "gmail_list_emails", user="alice")])
        theirs = Agent(FunctionModel(respond), toolsets=[FunctionToolset([no_op])])
        ratios = await paired([lambda: theirs.run("go on"), lambda: ours.run("go on")], 1)
        say("pydantic-ai adapter over a no-op FunctionToolset", ratios[1], 1.10)
