"""A model of each framework reads a long text to its end: what it received equals the text, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from agents import Agent as OpenAIAgent
from agents import Runner
from google.adk.agents import LlmAgent
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.genai import types
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from deputize.adapters.google_adk import DeputyToolset as GoogleToolset
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.adapters.openai_agents import tools
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from deputize.sandbox.pytest_plugin import Granting, deputy
from tests.support.google_adk_runs import Asking as Playing
from tests.support.google_adk_runs import Chat, said
from tests.support.llamaindex_agents import Calling
from tests.support.openai_agents_runs import QUIET, Asking
from tests.toolkits.test_round_trips import long

__all__ = ["deputy"]  # a fixture: its deputy has an app of every provider

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
TEXT: Final = long(60_000)


@dataclass
class Follower:
    """A model that reads an issue as stored, and follows ``more`` while there is one.

    ``nulls``: it passes null for every omitted argument, as models with strict schemas do.
    """

    nulls: bool = False
    parts: list[str] = field(default_factory=list)

    def next_call(self, told: Any) -> tuple[str, dict[str, Any]] | None:
        """Return the call after this result, or None at the end. ``told``: None before the first."""
        if told is None:
            return "linear_get_issue", {"issue": "ENG-1", "raw": True}
        result: Mapping[str, Any] = json.loads(told) if isinstance(told, str) else told
        self.parts.append(result["description"])
        if "more" not in result:
            return None
        return "linear_read_more", {"ref": result["more"]} | ({"cursor": None} if self.nulls else {})


async def by_pydantic_ai(deputy: Deputy, follower: Follower) -> None:
    def respond(messages: list[Any], info: Any) -> ModelResponse:
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if call := follower.next_call(returned[-1].content if returned else None):
            return ModelResponse(parts=[ToolCallPart(*call, f"call{len(messages)}")])
        return ModelResponse(parts=[TextPart("done")])

    toolset = DeputyToolset(deputy, "linear", user="alice", read_only=True)
    assert (await Agent(FunctionModel(respond), toolsets=[toolset]).run("go on")).output == "done"


class Responding(Asking):
    """The SDK's model, driven by a follower. ``calls``: the follower only."""

    def _items(self, given: Any, instructions: str | None) -> list[Any]:
        follower: Any = self.calls[0]
        outputs = [
            one["output"] for one in given if isinstance(one, dict) and one.get("type") == "function_call_output"
        ]
        if call := follower.next_call(outputs[-1] if outputs else None):
            name, given = call
            return [
                ResponseFunctionToolCall(
                    call_id=f"call{len(outputs)}", name=name, arguments=json.dumps(given), type="function_call"
                )
            ]
        text = ResponseOutputText(text="done", type="output_text", annotations=[])
        return [ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")]


async def by_openai_agents(deputy: Deputy, follower: Follower) -> None:
    model: Any = Responding([follower])  # type: ignore[list-item]
    agent = OpenAIAgent[Any](
        name="one", model=model, tools=[*tools(deputy, "linear", user="alice", thread="1", read_only=True)]
    )
    assert (await Runner.run(agent, "go on", run_config=QUIET, max_turns=80)).final_output == "done"


class Following(Playing):
    """ADK's model, driven by a follower."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        follower: Any = self.calls[0]["follower"]
        parts = [part for content in llm_request.contents for part in content.parts or []]
        answered = [said(part.function_response) for part in parts if part.function_response]
        parts = [types.Part(text="done")]
        if call := follower.next_call(answered[-1] if answered else None):
            parts = [types.Part(function_call=types.FunctionCall(name=call[0], args=call[1]))]
        yield LlmResponse(content=types.Content(role="model", parts=parts))


async def by_google_adk(deputy: Deputy, follower: Follower) -> None:
    toolset = GoogleToolset(deputy, "linear", read_only=True)
    chat = Chat(LlmAgent(name="one", model=Following(calls=[{"follower": follower}]), tools=[toolset]))
    assert await chat.say("go on") == [] and chat.text == "done"


async def by_llamaindex(deputy: Deputy, follower: Follower) -> None:
    def respond(messages: Any) -> ChatMessage:
        last = messages[-1]
        if call := follower.next_call(str(last.content) if last.role == "tool" else None):
            name, given = call
            block = ToolCallBlock(tool_call_id=f"call{len(messages)}", tool_name=name, tool_kwargs=given)
            return ChatMessage(role="assistant", blocks=[block])
        return ChatMessage(role="assistant", content="done")

    made: list[Any] = [*DeputyToolSpec(deputy, "linear", user="alice", read_only=True).to_tool_list()]
    agent = FunctionAgent(name="one", tools=made, llm=Calling(respond=respond), timeout=60, streaming=False)
    assert "done" in str(await asyncio.wait_for(agent.run("go on", max_iterations=80), 60))


@pytest.fixture
def alice(deputy: Deputy, sandbox: Sandbox, grant: Granting) -> Deputy:
    """A deputy that reads Linear for Alice, where an issue has a long text."""
    sandbox._world.services["linear"]["issues"][0]["description"] = TEXT
    grant("alice", "read", provider="linear")
    return deputy


@pytest.mark.parametrize("nulls", [False, True], ids=["", "nulls"])
@pytest.mark.parametrize("drive", [by_pydantic_ai, by_openai_agents, by_google_adk, by_llamaindex])
async def test_model_reads_a_long_text_to_its_end(alice: Deputy, drive: Any, nulls: bool) -> None:
    follower = Follower(nulls)
    await drive(alice, follower)
    assert "".join(follower.parts).encode() == TEXT.encode() and len(follower.parts) > 5
