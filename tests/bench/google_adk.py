"""What the Google ADK adapter costs: a run of one call to its tool, over one to a tool that does nothing.

``python -m tests.bench`` prints it where ADK is installed. Both runs are of a session of their own, with a toolset of
one tool of the same schema and a model that costs nothing. The act behind our tool does nothing either, since what the
core costs is a figure of its own.
"""

from __future__ import annotations

from typing import Any

from google.adk.agents import LlmAgent
from google.adk.sessions.in_memory_session_service import InMemorySessionService
from google.adk.tools.base_tool import BaseTool
from google.adk.tools.base_toolset import BaseToolset
from google.genai import types

from deputize.adapters.google_adk import DeputyToolset
from deputize.core import Tool
from deputize.core.http import FastTransport
from tests.bench.__main__ import deputy, paired, say
from tests.support.google_adk_runs import APP, Asking, message, played, runner_of

CALL = {"name": "gmail_list_emails", "args": {"query": "from:bob"}, "id": "1"}


class NoOp(BaseTool):
    """A tool that does nothing."""

    def __init__(self, like: Tool) -> None:
        super().__init__(name=like.name, description=like.description)
        self.schema = like.schema

    def _get_declaration(self) -> types.FunctionDeclaration:
        return types.FunctionDeclaration(
            name=self.name, description=self.description, parameters_json_schema=self.schema
        )

    async def run_async(self, *, args: dict[str, Any], tool_context: Any) -> dict[str, str]:
        """Nothing."""
        return {"result": "[]"}


class NoOps(BaseToolset):
    """A toolset of it."""

    def __init__(self, like: Tool) -> None:
        super().__init__()
        self.tools: list[BaseTool] = [NoOp(like)]

    async def get_tools(self, readonly_context: Any = None) -> list[BaseTool]:
        """Return the tools."""
        return self.tools


async def adapter() -> None:
    """``Runner.run_async`` with our toolset over one with a toolset of a no-op tool, on the loop alone."""

    async def nothing(*names: Any, **given: Any) -> Any:
        return []

    async with deputy("http://127.0.0.1:1", FastTransport) as one:
        [like] = one.tools("gmail_list_emails")
        one.act = nothing  # type: ignore[method-assign]
        toolsets: list[BaseToolset] = [NoOps(like), DeputyToolset(one, "gmail_list_emails")]
        service = InMemorySessionService()
        runners = [
            runner_of(LlmAgent(name="mail", model=Asking(calls=[CALL]), tools=[toolset]), service)
            for toolset in toolsets
        ]

        async def run(runner: Any) -> None:
            session = await service.create_session(app_name=APP, user_id="alice")
            await played(runner, session.id, message("go on"))
            await service.delete_session(app_name=APP, user_id="alice", session_id=session.id)

        ratios = await paired([lambda: run(runners[0]), lambda: run(runners[1])], 1)
        say("Google ADK adapter over a no-op tool", ratios[1], 1.10)
