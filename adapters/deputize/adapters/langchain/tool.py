"""A deputize tool as a LangChain tool, which runs each call as the user and reports failures as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, TypeAlias, TypeVar, cast, get_type_hints

from langchain_core.messages.content import create_file_block, create_image_block
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import ArgsSchema, BaseTool, StructuredTool, ToolException
from pydantic import ConfigDict, Field

from deputize.adapters.langchain.calls import current_id, identify_call, message_asking, tool_call_id_of
from deputize.adapters.langchain.run_context import refuse_cached
from deputize.adapters.langchain.tool_host import Host
from deputize.adapters.media import Media, media_of
from deputize.adapters.model_messages import as_text
from deputize.core import DeputizeError, Tool

__all__ = ["ActTool", "act_tool"]

Act: TypeAlias = Callable[[Mapping[str, Any], RunnableConfig], Any]
"""Answers one call; for LangChain's ``coroutine``, the result is awaited."""
Function = TypeVar("Function", bound=Callable[..., Any])


def _store_signature(function: Function) -> Function:
    """Return the function with its signature and types stored. LangChain reads them in each call, and Python would
    compile each annotation again."""
    function.__annotations__ = get_type_hints(function)
    vars(function)["__signature__"] = signature(function)
    return function


class ActTool(StructuredTool):
    """One deputize tool as a `StructuredTool`, with the id of the call that it runs, so that a repeated call is the
    same act.

    ``shown``: deputize's schema, which models see: LangChain's copy of an argument model loses arguments named like
    keywords. ``ours``: the deputy's tool, hidden from pydantic.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    shown: dict[str, Any]
    host: Host = Field(exclude=True, repr=False)
    ours: Any = Field(exclude=True, repr=False)

    def strictly(self) -> ActTool:
        """Return a copy with the strict schema, in which optional arguments may be null."""
        return self.model_copy(update={"shown": self.ours.strict_schema})

    @property
    def tool_call_schema(self) -> ArgsSchema:
        """The JSON schema of the arguments, as a model sees it."""
        return {**self.shown, "description": self.description}

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the tool, as `BaseTool.invoke` does."""
        token = current_id.set(tool_call_id_of(input))
        try:
            return super().invoke(input, config, **kwargs)
        finally:
            current_id.reset(token)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the tool, as `BaseTool.ainvoke` does."""
        token = current_id.set(tool_call_id_of(input))
        try:
            return await super().ainvoke(input, config, **kwargs)
        finally:
            current_id.reset(token)

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> dict[str, Any]:
        """Return all arguments as one, so that no argument is mistaken for a keyword of the same name.

        Behind a gate, arguments go to the core unchanged, which checks them and reports errors as text.
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
        """Return the arguments for callbacks: all of them, because the model gave every one. LangChain's own version
        asks the argument model about each argument in each call."""
        return dict(tool_input)

    # LangChain's own versions look up types in each call, a third of its cost. A direct ``run`` passes no ``config``.

    @_store_signature
    def _run(self, *args: Any, config: RunnableConfig, **given: Any) -> Any:
        return cast("Act", self.func)(given.get("arguments", {}), config or {})

    @_store_signature
    async def _arun(self, *args: Any, config: RunnableConfig, **given: Any) -> Any:
        return await cast("Act", self.coroutine)(given.get("arguments", {}), config or {})


def _runtime() -> Any:
    """Return LangGraph's runtime if this call runs inside a graph, else None."""
    try:
        from langgraph.runtime import get_runtime

        return get_runtime()
    except (ImportError, RuntimeError):
        return None


def _content(result: Any, media: list[Media]) -> Any:
    """Return a result as text, or with its files as content blocks. LangChain takes no audio in a tool's result."""
    if not media:
        return as_text(result)
    return [{"type": "text", "text": as_text(result)}, *map(_block, media)]


def _block(one: Media) -> Any:
    if one.kind == "image":
        return create_image_block(base64=one.base64, mime_type=one.mime)
    return create_file_block(base64=one.base64, mime_type=one.mime, filename=str(one.part.get("name")))


def act_tool(tool: Tool, host: Host, *, strict: bool = False) -> BaseTool:
    """Return this deputize tool as a LangChain tool, sync and async. ``strict``: use the tool's strict schema."""

    async def outcome(arguments: Mapping[str, Any], config: RunnableConfig) -> Any:
        """Return the act's result or error. The caller reports the error to your application."""
        refuse_cached(config)
        try:
            user = host.acting_user(config, _runtime())
            call = host.add_message(identify_call(config, host), config, _runtime)
            result = await host.act(tool.name, arguments, user, call)
            return _content(result, await media_of(host.deputy, tool, result, user, ("image", "pdf"))), result
        except DeputizeError as error:
            return error

    def tool_output(said: Any) -> tuple[Any, Any]:
        if not isinstance(said, DeputizeError):
            return cast("tuple[Any, Any]", said)
        failed = host.error_message(tool.name, current_id.get(), said)
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
