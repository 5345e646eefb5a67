"""One tool of a deputy as a tool of LangChain, which answers each call as the user, and says in words what failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, TypeAlias, TypeVar, cast, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import ArgsSchema, BaseTool, StructuredTool, ToolException
from pydantic import ConfigDict, Field

from deputize.adapters.langchain.calls import current_call, current_id, message_asking, tool_call_id_of
from deputize.adapters.langchain.run_context import refuse_cached
from deputize.adapters.langchain.tool_host import Host
from deputize.adapters.model_messages import as_text
from deputize.core import DeputizeError, Tool

__all__ = ["ActTool", "act_tool"]

Act: TypeAlias = Callable[[Mapping[str, Any], RunnableConfig], Any]
"""Answers one call; of LangChain's ``coroutine``, what comes has to be awaited."""
Function = TypeVar("Function", bound=Callable[..., Any])


def _looked_up(function: Function) -> Function:
    """The function with its signature and its types at hand: LangChain asks for them on each call, and Python would
    compile each annotation again."""
    function.__annotations__ = get_type_hints(function)
    vars(function)["__signature__"] = signature(function)
    return function


class ActTool(StructuredTool):
    """A `StructuredTool` that knows the id of the call it answers, so that a repeated call is the same act.

    Models see ``shown``, our own schema: LangChain's copy of an argument model loses arguments called like keywords.
    ``ours``: the deputy's tool that it is, which pydantic would look into.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    shown: dict[str, Any]
    host: Host = Field(exclude=True, repr=False)
    ours: Any = Field(exclude=True, repr=False)

    def strictly(self) -> ActTool:
        """The same, as it is shown where a model's calls have to fit the schema: optional arguments may be null."""
        return self.model_copy(update={"shown": self.ours.strict_schema})

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

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> dict[str, Any]:
        """All arguments as one: beside each other, one that is called like a keyword would be taken for it.

        Those behind a gate go to the core as they are: it checks them, and says in words what is wrong.
        """
        given = (
            {next(iter(self.shown.get("properties") or ("input",))): tool_input}
            if isinstance(tool_input, str)
            else dict(tool_input)
        )
        if not message_asking(self.host):
            given = cast("dict[str, Any]", super()._parse_input(self.ours.meant(given), tool_call_id))
        return {"arguments": given}

    def _filter_injected_args(self, tool_input: dict[str, Any]) -> dict[str, Any]:
        """What callbacks see of the arguments: all, since every one is a model's. LangChain's own asks the argument
        model about each, on each call."""
        return dict(tool_input)

    # LangChain's own two look up the types of what they call, each time: a third of the cost of a call. Where ``run``
    # is called by itself, there is no ``config``.

    @_looked_up
    def _run(self, *args: Any, config: RunnableConfig, **given: Any) -> Any:
        return cast("Act", self.func)(given.get("arguments", {}), config or {})

    @_looked_up
    async def _arun(self, *args: Any, config: RunnableConfig, **given: Any) -> Any:
        return await cast("Act", self.coroutine)(given.get("arguments", {}), config or {})


def _runtime() -> Any:
    """LangGraph's runtime where this call runs inside a graph; None elsewhere."""
    try:
        from langgraph.runtime import get_runtime

        return get_runtime()
    except (ImportError, RuntimeError):
        return None


def act_tool(tool: Tool, host: Host, *, strict: bool = False) -> BaseTool:
    """This tool of a deputy as a tool of LangChain, sync and async, for whom the host says. ``strict``: as it is shown
    where a model's calls have to fit the schema."""

    async def outcome(arguments: Mapping[str, Any], config: RunnableConfig) -> Any:
        """The act's result; or the error, to be told to the host where it has called."""
        refuse_cached(config)
        try:
            user = host.acting_user(config, _runtime())
            return await host.act(tool.name, arguments, user, current_call(config, host))
        except DeputizeError as error:
            return error

    def tool_output(said: Any) -> tuple[Any, Any]:
        if not isinstance(said, DeputizeError):
            return as_text(said), said
        failed = host.failed(tool.name, current_id.get(), said)
        if failed.tool_call_id:
            return failed, failed.artifact
        raise ToolException(str(failed.content))

    async def act(arguments: Mapping[str, Any], config: RunnableConfig) -> tuple[Any, Any]:
        said = await outcome(arguments, config)
        if isinstance(said, DeputizeError):
            await host.tell(said)
        return tool_output(said)

    def act_now(arguments: Mapping[str, Any], config: RunnableConfig) -> tuple[Any, Any]:
        said = host.deputy.run(outcome(arguments, config))
        if isinstance(said, DeputizeError):
            host.tell_now(said)
        return tool_output(said)

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
        args_schema=tool.model or tool.schema,
        response_format="content_and_artifact",
        handle_tool_error=True,
        metadata=facts,
        extras=facts,
        shown=tool.strict_schema if strict else tool.schema,
        host=host,
        ours=tool,
    )
