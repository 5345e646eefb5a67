"""LangChain adapter: toolkits as `StructuredTool`s, for any agent loop. For pauses, see `deputize.adapters.langgraph`.

    from deputize.adapters.langchain import tools

    model.bind_tools(tools(deputy, "gmail", user="alice"))

Your application, never the model, names the user, in code: see `deputize.adapters.acting_user`. A missing consent is an
error message without a link. ``on_consent`` and ``on_approval`` receive the request itself.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, SkipValidation

from deputize.adapters.acting_user import MessageSource, UserSource
from deputize.adapters.argument_checks import select_tools
from deputize.core import Approval, Consent, DeputyProtocol, SettingsError, system_prompt

try:
    from langchain_core.tools import BaseTool, BaseToolkit

    from deputize.adapters.langchain.tool import ActTool, act_tool
    from deputize.adapters.langchain.tool_host import Host, On
    from deputize.adapters.langchain.tool_search import ToolSearch
except ImportError as missing:
    raise SettingsError.without(missing, "langchain") from None

__all__ = ["ActTool", "DeputyToolkit", "ToolSearch", "system_prompt", "tools"]


def tools(
    deputy: DeputyProtocol,
    *toolkits: str,
    user: UserSource = None,
    agent: str = "",
    app: str = "",
    read_only: bool = False,
    user_from_configurable: bool = False,
    on_consent: On[Consent] | None = None,
    on_approval: On[Approval] | None = None,
    trust_client_context: bool = False,
    strict: bool = False,
    user_message: MessageSource | None = None,
) -> list[BaseTool]:
    """Return the tools of these toolkits as LangChain tools, sync and async. Without a user, each call is refused.

    ``toolkits``: names of toolkits, toolsets or tools, as in `Deputy.tools`: ``github``, ``github:actions``,
    ``github:all``, ``gmail_send_email``. ``user``, ``user_from_configurable`` (``configurable`` names ``user_id`` and
    ``tenant_id``; only if clients cannot set it), ``trust_client_context``: the acting user, see
    `deputize.adapters.acting_user`. ``app``: the app through which the tools act, as in `Deputy.act`; all tools must be
    of its provider. ``read_only``: only tools that never change anything. ``on_consent``, ``on_approval``: sync or
    async functions that receive a call's missing request before the call returns; their errors are logged. ``strict``:
    for ``bind_tools(..., strict=True)``, where a model must give every argument: optional ones may be null.
    ``user_message``: a function of the run that returns what the user wrote for this turn; see
    `deputize.core.ask_unless_user_named`.
    """
    told = on_consent, on_approval
    host = Host(deputy, user, agent, user_from_configurable, *told, trust_client_context, app, user_message)
    return [
        act_tool(tool, host, strict=strict) for tool in select_tools(deputy, toolkits, read_only=read_only, app=app)
    ]


class DeputyToolkit(BaseToolkit):
    """The tools of `tools` as a LangChain `BaseToolkit`."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    deputy: DeputyProtocol
    toolkits: tuple[str, ...] = ()
    user: SkipValidation[UserSource] = None  # pydantic would accept bytes and True as an id
    agent: str = ""
    app: str = ""
    read_only: bool = False
    user_from_configurable: bool = False
    on_consent: SkipValidation[On[Consent] | None] = None
    on_approval: SkipValidation[On[Approval] | None] = None
    trust_client_context: bool = False
    strict: bool = False
    user_message: SkipValidation[MessageSource | None] = None

    def model_post_init(self, context: Any) -> None:
        """Raise the errors of `tools` at construction."""
        self.get_tools()

    def get_tools(self) -> list[BaseTool]:
        """Return the tools."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name not in ("deputy", "toolkits")}
        return tools(self.deputy, *self.toolkits, **given)
