"""deputize's tools for smolagents, which cannot pause: a call that needs its user blocks in ``ask``.

``ask`` is your async function. It shows the request and waits for the user. If it returns False, the model reads that
the call still waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import smolagents

from deputize.adapters.kit import ToolRunner, error_text, request_payload
from deputize.core import AnyUser, DeputizeError, DeputyProtocol, RequestPayload, Tool

Ask = Callable[[RequestPayload], Awaitable[bool]]


def tools(deputy: DeputyProtocol, *toolkits: str, user: AnyUser, thread: str, ask: Ask) -> list[smolagents.Tool]:
    """Return the tools of these toolkits, for an agent that works for one user in one conversation."""
    runner = ToolRunner[None](deputy, user)

    class ActTool(smolagents.Tool):
        name = description = "set for each tool"
        inputs, output_type = dict[str, Any](), "string"
        skip_forward_signature_validation = True

        def __init__(self, shown: Tool) -> None:
            self.name, self.description, needed = shown.name, shown.description, shown.schema.get("required", ())
            self.inputs = {
                name: {"type": "any", "description": ""} | field | ({} if name in needed else {"nullable": True})
                for name, field in shown.schema["properties"].items()
            }
            super().__init__()

        def forward(self, **arguments: Any) -> str:
            return deputy.run(act(self.name, arguments))

    async def act(name: str, arguments: dict[str, Any]) -> str:
        owner = runner.acting_user(None)
        call = await deputy.resolve_call(name, arguments, user=owner, thread=thread)  # there is no id of a call
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

    return [ActTool(one) for one in runner.tools(toolkits)]
