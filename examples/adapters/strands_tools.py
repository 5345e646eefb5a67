"""deputize's tools for Strands. A call that needs its user interrupts the agent.

The user and the conversation are in the invocation's state: ``agent.invoke_async(..., invocation_state={"user_id": ...,
"thread": ...})``. The ``reason`` of an interrupt is the request to show. Any response resumes its call.
"""

from __future__ import annotations

from typing import Any

from strands import ToolContext, tool
from strands.types.tools import AgentTool

from deputize.adapters.kit import ToolRunner, error_text, request_payload
from deputize.core import Call, DeputizeError, DeputyProtocol, Tool


def tools(deputy: DeputyProtocol, *toolkits: str) -> list[AgentTool]:
    """Return the tools of these toolkits."""
    runner = ToolRunner[ToolContext](deputy, user=lambda ctx: ctx.invocation_state["user_id"])
    return [act_tool(runner, one) for one in runner.tools(toolkits)]


def act_tool(runner: ToolRunner[ToolContext], shown: Tool) -> AgentTool:
    """Return one tool."""

    @tool(name=shown.name, description=shown.description, inputSchema={"json": shown.schema}, context="ctx")
    async def act(ctx: ToolContext) -> str | dict[str, Any]:
        user, arguments, message = runner.acting_user(ctx), ctx.tool_use["input"], ctx.agent.messages[-1]
        call = Call(ctx.invocation_state["thread"], message["tracking_id"], ctx.tool_use["toolUseId"])
        question = 0
        while True:
            try:
                error = await runner.check_call((shown.name, arguments, call), user)
                if error is None:
                    return await runner.act(shown.name, arguments, user, call)
            except DeputizeError as failure:
                error = failure
            request = request_payload(error)
            if request is None:
                return {"status": "error", "content": [{"text": error_text(error)}]}
            ctx.interrupt(f"deputize {question}", reason=request)  # raises until this question has a response
            question += 1

    return act
