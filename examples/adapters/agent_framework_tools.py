"""deputize's tools for Microsoft Agent Framework. A call that needs its user ends the run with an approval request.

The user is in ``agent.run(..., session=session, function_invocation_kwargs={"user_id": ...})``. The
``additional_properties`` of each user input request are the request to show. Any approval response resumes its call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent_framework import Content, FunctionInvocationContext, FunctionMiddleware, FunctionTool

from deputize.adapters.kit import ToolRunner, error_text, request_payload
from deputize.core import Call, DeputizeError, DeputyProtocol


async def do_nothing() -> None:
    """Do nothing, because the middleware runs each call."""


class DeputyMiddleware(FunctionMiddleware):
    """The tools of these toolkits: pass ``tools`` and the middleware itself to the agent."""

    def __init__(self, deputy: DeputyProtocol, *toolkits: str) -> None:
        self.runner = ToolRunner[FunctionInvocationContext](deputy, user=lambda ctx: ctx.kwargs["user_id"])
        self.tools = [
            FunctionTool(name=one.name, description=one.description, input_model=one.schema, func=do_nothing)
            for one in self.runner.tools(toolkits)
        ]

    async def process(self, context: FunctionInvocationContext, call_next: Callable[[], Awaitable[None]]) -> None:
        """Act as the user, or ask for an approval in place of a result."""
        if context.function not in self.tools:
            return await call_next()
        name, arguments, user = context.function.name, dict(context.arguments), self.runner.acting_user(context)
        place = context.metadata["function_call_occurrence_id"]
        call = Call(context.session.session_id, "", place)
        try:
            error = await self.runner.check_call((name, arguments, call), user)
            if error is None:
                context.result = await self.runner.act(name, arguments, user, call)
                return
        except DeputizeError as failure:
            error = failure
        if request := request_payload(error):
            asked = Content.from_function_call(context.metadata["call_id"], name, arguments=arguments, id=place)
            context.result = Content.from_function_approval_request(place, asked, additional_properties={**request})
        else:
            context.result = error_text(error)
