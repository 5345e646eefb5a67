"""Microsoft Agent Framework with `examples/adapters/agent_framework_tools.py`. Each resume is by a new agent, from a
session as JSON."""

from __future__ import annotations

import json
from typing import Any

from agent_framework import Agent, AgentSession, BaseChatClient, ChatResponse, Content, FunctionInvocationLayer, Message
from examples.adapters.agent_framework_tools import DeputyMiddleware

from tests.support.adapter_examples.scene import CALLS, PAUSED, PROMPT, STRANGER, Scene, main


class Scripted(FunctionInvocationLayer, BaseChatClient):
    """A model that makes the calls, then repeats their results."""

    async def _inner_get_response(self, *, messages: list[Any], **kwargs: Any) -> ChatResponse:
        contents = [one for message in messages for one in message.contents]
        results = [str(one.result) for one in contents if one.type == "function_result"]
        calls = [Content.from_function_call(one["id"], one["name"], arguments=json.dumps(one["args"])) for one in CALLS]
        return ChatResponse(messages=[Message("assistant", [json.dumps(results)] if results else calls)])


async def play(scene: Scene) -> str:
    """See `scene.Play`."""
    prompt: Any = PROMPT
    session = AgentSession()
    while not scene.is_over:
        middleware = DeputyMiddleware(scene.deputy)
        agent = Agent(Scripted(), tools=middleware.tools, middleware=[middleware])
        named = {"user_id": scene.user}
        result = await agent.run(prompt, session=session, function_invocation_kwargs=named)
        if not result.user_input_requests:
            return str(result.text)
        session = AgentSession.from_dict(json.loads(json.dumps(session.to_dict())))
        await scene.ask_all(one.additional_properties for one in result.user_input_requests)
        prompt = Message("user", [one.to_function_approval_response(True) for one in result.user_input_requests])
    return ""


if __name__ == "__main__":
    main(play, (*PAUSED, STRANGER))
