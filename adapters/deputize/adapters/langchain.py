"""LangChain: toolkits as `StructuredTool`s, for any agent loop. In a graph, `deputize.adapters.langgraph` can pause.

    from deputize.adapters.langchain import tools

    model.bind_tools(tools(deputy, "gmail", user="alice"))

Who the user is comes from one source that the host names in code, never from the model: see `deputize.adapters.host`.
A missing consent is an error message without a link; ``on_consent`` and ``on_approval`` hand the request itself to the
host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict

from deputize.adapters.host import Who
from deputize.adapters.tool_messages import as_text
from deputize.core import Acting, Approval, Consent, DeputizeError, SettingsError, Tool, system_prompt

try:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import ArgsSchema, BaseTool, BaseToolkit, StructuredTool, ToolException

    from deputize.adapters.langchain_calls import current_call, current_id, tool_call_id_of
    from deputize.adapters.langchain_host import Host
except ImportError as missing:
    raise SettingsError.without(missing, "langchain") from None

__all__ = ["ActTool", "DeputyToolkit", "system_prompt", "tools"]


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


def _one(tool: Tool, host: Host) -> BaseTool:
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


def tools(
    deputy: Acting,
    *toolkits: str,
    user: Who = None,
    agent: str = "",
    read_only: bool = False,
    user_from_configurable: bool = False,
    on_consent: Callable[[Consent], None] | None = None,
    on_approval: Callable[[Approval], None] | None = None,
    trust_client_context: bool = False,
) -> list[BaseTool]:
    """The tools of these toolkits for LangChain, sync and async. Without a user from anywhere a call is refused.

    Names are those of `Deputy.tools`: ``github``, ``github:actions``, ``github:all``, ``gmail_send_email``.
    ``read_only``: only tools that never change anything. ``user``, ``user_from_configurable`` (``configurable`` names
    ``user_id`` and ``tenant_id``; only where clients cannot set it) and ``trust_client_context``: who acts, see
    `deputize.adapters.host`.
    """
    host = Host(deputy, user, agent, user_from_configurable, on_consent, on_approval, trust_client_context)
    return [_one(tool, host) for tool in deputy.tools(*toolkits, read_only=read_only)]


class DeputyToolkit(BaseToolkit):
    """The same as `tools`, in the form LangChain uses for bundles."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    deputy: Acting
    toolkits: tuple[str, ...] = ()
    user: Who = None
    read_only: bool = False
    trust_client_context: bool = False

    def get_tools(self) -> list[BaseTool]:
        """The tools."""
        chosen: dict[str, Any] = {"user": self.user, "trust_client_context": self.trust_client_context}
        return tools(self.deputy, *self.toolkits, read_only=self.read_only, **chosen)
