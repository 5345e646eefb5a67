"""One tool of a deputy as a tool of LangChain, which answers each call as the user, and says in words what failed."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import ArgsSchema, BaseTool, StructuredTool, ToolException
from pydantic import ConfigDict

from deputize.adapters.langchain_calls import current_call, current_id, is_asked, tool_call_id_of
from deputize.adapters.langchain_host import Host
from deputize.adapters.tool_messages import as_text
from deputize.core import DeputizeError, Tool

__all__ = ["ActTool", "act_tool"]


class ActTool(StructuredTool):
    """A `StructuredTool` that knows the id of the call it answers, so that a repeated call is the same act.

    Models see ``shown``, our own schema: LangChain's copy of an argument model loses arguments called like keywords.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    shown: dict[str, Any]

    @property
    def tool_call_schema(self) -> ArgsSchema:
        """The JSON schema of the arguments, as a model sees it."""
        return {**self.shown, "description": self.description}

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """See `BaseTool.invoke`."""
        token = current_id.set(tool_call_id_of(input))
        try:
            return super().invoke(input, config, **kwargs)
        finally:
            current_id.reset(token)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """See `BaseTool.ainvoke`."""
        token = current_id.set(tool_call_id_of(input))
        try:
            return await super().ainvoke(input, config, **kwargs)
        finally:
            current_id.reset(token)

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> str | dict[str, Any]:
        """The arguments behind a gate go to the core as they are: it checks them, and says in words what is wrong."""
        if is_asked() and isinstance(tool_input, dict):
            return dict(tool_input)
        return super()._parse_input(tool_input, tool_call_id)

    # LangChain's own two look up the types of what they call, each time: a third of the cost of a call.

    def _run(self, *args: Any, config: RunnableConfig, **arguments: Any) -> Any:
        return (self.func or super()._run)(*args, config=config, **arguments)

    async def _arun(self, *args: Any, config: RunnableConfig, **arguments: Any) -> Any:
        return await (self.coroutine or super()._arun)(*args, config=config, **arguments)


def _runtime() -> Any:
    """LangGraph's runtime where this call runs inside a graph; None elsewhere."""
    try:
        from langgraph.runtime import get_runtime

        return get_runtime()
    except (ImportError, RuntimeError):
        return None


def act_tool(tool: Tool, host: Host) -> BaseTool:
    """This tool of a deputy as a tool of LangChain, sync and async, for whom the host says."""

    async def act(*, config: RunnableConfig, **arguments: Any) -> tuple[Any, Any]:
        try:
            user = host.acting_user(config, _runtime())
            result = await host.deputy.act(tool.name, arguments, user=user, call=current_call(config), agent=host.agent)
        except DeputizeError as error:
            failed = host.failed(tool.name, current_id.get(), error)
            if failed.tool_call_id:
                return failed, failed.artifact
            raise ToolException(str(failed.content)) from None
        return as_text(result), result

    def act_now(*, config: RunnableConfig, **arguments: Any) -> tuple[Any, Any]:
        return host.deputy.run(act(config=config, **arguments))

    facts = {
        "provider": tool.provider,
        "scopes": sorted({need.ask for need in tool.usual_needs()}),
        "effect": tool.gravest.words(),
        **({"remark": tool.remark} if tool.remark else {}),
    }
    return ActTool.from_function(
        func=act_now,
        coroutine=act,
        name=tool.name,
        description=tool.description,
        args_schema=tool.model,
        response_format="content_and_artifact",
        handle_tool_error=True,
        metadata=facts,
        extras=facts,
        shown=tool.schema,
    )
