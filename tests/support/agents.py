"""LlamaIndex agents of each kind over the Gmail tools, with models that answer from the history alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.workflow import Event

from deputize.adapters.llamaindex import ApprovalRequest, ConsentRequest, GmailToolSpec
from deputize.core import Deputy, User

KINDS = ("FunctionAgent", "AgentWorkflow", "ReActAgent")


class Scripted(CustomLLM):
    """A model without function calling: it asks for one call, and then repeats what it observed."""

    call: dict[str, Any]

    @property
    def metadata(self) -> LLMMetadata:
        """See `LLM`."""
        return LLMMetadata(context_window=200_000)

    def complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponse:
        """See `LLM`."""
        _, seen, observed = prompt.rpartition("user: Observation: ")
        if seen:
            return CompletionResponse(text=f"Thought: I can answer without using any more tools.\nAnswer: {observed}")
        args = json.dumps(self.call["args"])
        text = f"Thought: I need to use a tool.\nAction: {self.call['name']}\nAction Input: {args}\n"
        return CompletionResponse(text=text)

    def stream_complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponseGen:
        """See `LLM`."""
        answer = self.complete(prompt)
        yield CompletionResponse(text=answer.text, delta=answer.text)


def function_model(calls: Sequence[dict[str, Any]]) -> MockFunctionCallingLLM:
    """A model that makes these calls once after each message of the user, then repeats what they answered."""

    def respond(messages: Sequence[ChatMessage], **more: Any) -> ChatMessage:
        last = max(i for i, m in enumerate(messages) if m.role == "user")
        answers = [str(m.content) for m in messages[last:] if m.role == "tool"]
        if answers:
            return ChatMessage(role="assistant", content=" | ".join(answers))
        blocks = [ToolCallBlock(tool_call_id=c["id"], tool_name=c["name"], tool_kwargs=c["args"]) for c in calls]
        return ChatMessage(role="assistant", blocks=blocks)

    return MockFunctionCallingLLM(response_generator=respond)


def agent(
    kind: str, deputy: Deputy, *calls: dict[str, Any], user: User | str | None = "alice", more: Sequence[Any] = ()
) -> Any:
    """An agent that will make these calls; a ReAct one makes the first."""
    tools: list[Any] = [*GmailToolSpec(deputy, user=user).to_tool_list(), *more]
    if kind == "ReActAgent":
        return ReActAgent(tools=tools, llm=Scripted(call=calls[0]), timeout=30, streaming=False)
    one = FunctionAgent(name="one", tools=tools, llm=function_model(calls), timeout=30, streaming=False)
    return AgentWorkflow(agents=[one], root_agent="one", timeout=30) if kind == "AgentWorkflow" else one


async def asked(handler: Any, count: int = 1) -> list[Any]:
    """The next requests in the stream."""
    found: list[Any] = []
    async for event in handler.stream_events():
        if isinstance(event, ConsentRequest | ApprovalRequest):
            found.append(event)
            if len(found) == count:
                break
    return found


async def rest(handler: Any) -> list[Event]:
    """What is still in the stream."""
    return [event async for event in handler.stream_events()]
