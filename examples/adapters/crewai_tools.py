"""deputize's tools for CrewAI, which cannot pause in a tool: a call that needs its user blocks in ``ask``.

``ask`` is your async function. It shows the request and waits for the user. If it returns False, the model reads that
the call still waits. CrewAI must not cache results: an equal call is another act.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from crewai.tools import BaseTool
from crewai.utilities.pydantic_schema_utils import create_model_from_schema

from deputize.adapters.kit import ToolRunner, error_text, request_payload
from deputize.core import AnyUser, DeputizeError, DeputyProtocol, RequestPayload

Ask = Callable[[RequestPayload], Awaitable[bool]]


def tools(deputy: DeputyProtocol, *toolkits: str, user: AnyUser, thread: str, ask: Ask) -> list[BaseTool]:
    """Return the tools of these toolkits, for a crew that works for one user in one conversation."""
    runner = ToolRunner[None](deputy, user)

    class ActTool(BaseTool):
        def _run(self, **arguments: Any) -> str:
            given = {name: value for name, value in arguments.items() if value is not None}  # CrewAI adds all others
            return deputy.run(act(self.name, given))

    async def act(name: str, arguments: dict[str, Any]) -> str:
        owner = runner.acting_user(None)
        call = await deputy.resolve_call(name, arguments, user=owner, thread=thread)  # CrewAI passes no id of a call
        while True:
            try:
                text = await runner.act(name, arguments, owner, call)
            except DeputizeError as error:
                text = error_text(error)
                if request := request_payload(error):
                    if await ask(request):
                        continue
                    return text
            await deputy.mark_delivered(call, user=owner)
            return text

    return [
        ActTool(
            name=one.name,
            description=one.description,
            args_schema=create_model_from_schema(one.schema, model_name=one.name),
            cache_function=is_cacheable,
        )
        for one in runner.tools(toolkits)
    ]


def is_cacheable(*_: Any) -> bool:
    """Return False."""
    return False
