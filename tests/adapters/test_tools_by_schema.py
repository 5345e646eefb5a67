"""A tool with a foreign JSON schema and no argument model, in each framework."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any, Final

import pytest
from agents import Agent as Agents
from agents import Runner
from google.adk.agents import LlmAgent
from langchain_core.messages import ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from llama_index.core.agent.react.formatter import get_react_tool_descriptions
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from deputize.adapters import google_adk, langchain, llamaindex, openai_agents
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Deputy, Effect, InvalidInput, Steps, Tool, Toolkit
from deputize.core.tools.canonical import canonical
from tests.support.google_adk_runs import Asking as Playing
from tests.support.google_adk_runs import Chat
from tests.support.openai_agents_runs import QUIET, Asking
from tests.support.sandbox_deputy import build

SCHEMA: Final = {
    "type": "object",
    "properties": {"self": {"type": "string"}, "config": {"type": "integer"}, "n-th": {"type": "number"}},
    "required": ["self"],
    "additionalProperties": False,
}
GIVEN: Final = {"self": "a", "config": 3, "n-th": 1.5}


class BySchema(Tool):
    """Validates its arguments, and passes the schema on unchanged."""

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if "self" not in arguments:
            raise InvalidInput("other_look: self is missing.")
        return {"given": dict(arguments)}

    def named(self, valid: Mapping[str, Any]) -> dict[str, Any]:
        return dict(valid["given"])

    @cached_property
    def schema(self) -> dict[str, Any]:
        return dict(SCHEMA)


def look(given: Mapping[str, Any]) -> Steps:
    return {"got": dict(given)}
    yield


OTHER: Final = Toolkit("other", provider="")
OTHER.tools["other_look"] = BySchema(
    name="other_look",
    toolkit="other",
    provider="",
    api="",
    description="Look at it.",
    model=None,
    parameters={},
    steps=look,
    needs=(),
    effects=Effect.READS,
    gravest=Effect.READS,
    takes_run=False,
)


@pytest.fixture
async def deputy() -> AsyncIterator[Deputy]:
    async with await build(toolkits=[OTHER]) as made:
        yield made


async def test_langchain_passes_schema_and_arguments_unchanged(deputy: Deputy) -> None:
    (tool,) = langchain.tools(deputy, "other", user="alice")
    assert convert_to_openai_tool(tool)["function"]["parameters"]["properties"] == SCHEMA["properties"]
    message = await tool.ainvoke({"type": "tool_call", "name": tool.name, "id": "1", "args": GIVEN})
    assert isinstance(message, ToolMessage) and json.loads(str(message.content)) == {"got": GIVEN}
    assert json.loads(await tool.ainvoke("a")) == {"got": {"self": "a"}}
    refused = await tool.ainvoke({"type": "tool_call", "name": tool.name, "id": "2", "args": {}})
    assert refused.status == "error" and "self is missing" in refused.content


async def test_llamaindex_passes_schema_and_arguments_unchanged(deputy: Deputy) -> None:
    (tool,) = llamaindex.DeputyToolSpec(deputy, "other", user="alice").to_tool_list()
    assert tool.metadata.get_parameters_dict() == SCHEMA
    assert tool.metadata.to_openai_tool()["function"]["parameters"] == SCHEMA
    assert json.dumps(SCHEMA) in get_react_tool_descriptions([tool])[0]
    assert (await tool.acall(**GIVEN)).raw_output == {"got": GIVEN}
    assert "self is missing" in (await tool.acall()).content


async def test_openai_agents_passes_schema_and_arguments_unchanged(deputy: Deputy) -> None:
    (tool,) = openai_agents.tools(deputy, "other", user="alice", thread="1")
    assert isinstance(tool, openai_agents.ActTool) and tool.params_json_schema == SCHEMA
    agent = Agents(
        name="one", model=Asking([{"call_id": "1", "id": "1", "name": tool.name, "args": GIVEN}]), tools=[tool]
    )
    result = await Runner.run(agent, "look", run_config=QUIET)
    assert json.loads(result.final_output) == {"got": GIVEN}


async def test_pydantic_ai_passes_schema_and_arguments_unchanged(deputy: Deputy) -> None:
    toolset = DeputyToolset(deputy, "other", user="alice")
    model = TestModel()
    result = await Agent(model, toolsets=[toolset]).run("look")
    assert model.last_model_request_parameters is not None
    (shown,) = model.last_model_request_parameters.function_tools
    assert shown.parameters_json_schema == SCHEMA
    assert json.loads(result.output)["other_look"]


async def test_adk_passes_schema_and_arguments_unchanged(deputy: Deputy) -> None:
    toolset = google_adk.DeputyToolset(deputy, "other")
    [tool] = toolset.tools
    declared = tool._get_declaration()
    assert declared.parameters_json_schema == SCHEMA
    chat = Chat(
        LlmAgent(name="one", model=Playing(calls=[{"id": "1", "name": tool.name, "args": GIVEN}]), tools=[toolset])
    )
    await chat.say("look")
    assert json.loads(chat.text) == {"got": GIVEN}


async def test_equal_calls_have_equal_canonical_text(deputy: Deputy) -> None:
    (tool,) = deputy.tools("other")
    once, again = {"self": "a", "n-th": 1.0}, {"n-th": 1, "self": "a"}
    assert canonical(tool, tool.validate(once)) == canonical(tool, tool.validate(again)) == '{"n-th":1,"self":"a"}'
