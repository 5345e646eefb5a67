"""deputize's tools for Agno. A run pauses at each call, and `settle` runs the calls that nothing blocks.

The user is the run's ``user_id``: ``agent.arun(..., user_id=..., session_id=...)``. If `settle` returns no requests,
continue with ``agent.acontinue_run(run_id=run.run_id, requirements=run.requirements, ...)``.
"""

from __future__ import annotations

from agno.run.agent import RunOutput
from agno.tools.function import Function

from deputize.adapters.kit import ToolRunner, error_text, request_payload, select_requests
from deputize.core import Call, DeputizeError, DeputyProtocol, RequestPayload


class DeputyTools:
    """The tools of these toolkits: pass ``functions`` to the agent, and its paused runs to `settle`."""

    def __init__(self, deputy: DeputyProtocol, *toolkits: str) -> None:
        self.runner = ToolRunner[RunOutput](deputy, user=lambda run: run.user_id)
        self.functions = [
            Function(name=one.name, description=one.description, parameters=one.schema, external_execution=True)
            for one in self.runner.tools(toolkits)
        ]

    async def settle(self, run: RunOutput) -> list[RequestPayload]:
        """Return the requests that wait for the user. If there are none, set the results of all waiting calls."""
        user, names = self.runner.acting_user(run), {one.name for one in self.functions}
        waiting = [one for one in run.active_requirements if one.tool_execution.tool_name in names]
        tools = [one.tool_execution for one in waiting]
        origins = [Call(run.session_id, run.run_id, one.tool_call_id) for one in tools]
        calls = [(one.tool_name, one.tool_args or {}, call) for one, call in zip(tools, origins, strict=True)]
        blockers = await self.runner.check_calls(calls, user)
        if requests := select_requests(map(request_payload, blockers)):
            return requests
        for requirement, (name, arguments, call) in zip(waiting, calls, strict=True):
            try:
                requirement.set_external_execution_result(await self.runner.act(name, arguments, user, call))
            except DeputizeError as error:
                requirement.set_external_execution_result(error_text(error))
        return []
