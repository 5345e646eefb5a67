"""LlamaIndex adapter: toolkits as tool specs, for `FunctionAgent`, `ReActAgent` and `AgentWorkflow`.

    from deputize.adapters.llamaindex import GmailToolSpec, store_user

    FunctionAgent(tools=GmailToolSpec(deputy, user="alice").to_tool_list(), llm=llm)
    FunctionAgent(tools=GmailToolSpec(deputy, user=store_user("user_id")).to_tool_list(), llm=llm)

Your application, never the model, names the user, in code: bound to the tools, or found in each run, so that one agent
serves all users (see `deputize.adapters.llamaindex.host`). Events in the stream ask for consent and approval: a
`ConsentResponse` resumes a `ConsentRequest`, an `ApprovalResponse` an `ApprovalRequest`. An event is only a signal:
deputize reads the vault again. A call waits once for each request, and again if its effect has changed since the
approval. If it is resumed too early, it fails and may be called again. `save_paused` and `resume_paused` move a waiting
run to another process. Outside an agent, a call never waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from deputize.adapters.argument_checks import check_user, check_user_message, select_tools
from deputize.adapters.releases import LLAMAINDEX, require
from deputize.core import (
    Approval,
    Consent,
    DeputyProtocol,
    InvalidInput,
    NotFound,
    PolicyDenied,
    SettingsError,
    User,
    UserRequired,
    system_prompt,
)

try:
    from llama_index.core.tools import FunctionTool, ToolMetadata
    from llama_index.core.tools.tool_spec.base import BaseToolSpec
    from workflows.handler import WorkflowHandler

    from deputize.adapters.llamaindex.events import (
        EVENTS,
        ApprovalRequest,
        ApprovalResponse,
        ConsentRequest,
        ConsentResponse,
    )
    from deputize.adapters.llamaindex.host import MessageSource, UserSource, served_user, store_user
    from deputize.adapters.llamaindex.redelivery import CONVERSATION
    from deputize.adapters.llamaindex.run_state import resume, save_paused
    from deputize.adapters.llamaindex.server import UserMiddleware
    from deputize.adapters.llamaindex.tool import ActTool
    from deputize.adapters.llamaindex.tool_metadata import ShownTool
except ImportError as missing:
    require(LLAMAINDEX)  # an old release lacks these imports
    raise SettingsError.without(missing, "llamaindex") from None

require(LLAMAINDEX)
__all__ = ["ActTool", "DeputyToolSpec", "resume_paused", "resume_when_done", "save_paused", "system_prompt"]
__all__ += ["CONVERSATION", "EVENTS", "ApprovalRequest", "ApprovalResponse", "ConsentRequest", "ConsentResponse"]
__all__ += ["UserMiddleware", "UserSource", "served_user", "store_user"]
__all__ += ["CalendarToolSpec", "ContactsToolSpec", "DriveToolSpec", "FilesToolSpec", "GitHubToolSpec"]
__all__ += ["GmailToolSpec", "LinearToolSpec", "SalesforceToolSpec", "SlackToolSpec"]


class DeputyToolSpec(BaseToolSpec):
    """The tools of these toolkits as a LlamaIndex tool spec. Raises `InvalidInput` for an unknown toolkit.

    ``toolkits``: names of toolkits, toolsets or tools, as in `Deputy.tools`. ``user``: the acting user, or a function
    of the run's `Context`. ``app``: the app through which the tools act, as in `Deputy.act`; all tools must be of its
    provider. ``read_only``: only tools that never change anything. ``user_message``: a function of the run's `Context`
    that returns what the user wrote for this turn; see `deputize.core.ask_unless_user_named`.
    """

    toolkit: ClassVar[str] = ""

    def __init__(
        self,
        deputy: DeputyProtocol,
        *toolkits: str,
        user: UserSource,
        agent: str = "",
        app: str = "",
        read_only: bool = False,
        user_message: MessageSource | None = None,
    ) -> None:
        check_user(user, may_be_async=True)
        check_user_message(user_message, may_be_async=True)
        self.user_message = user_message
        self.deputy, self.user, self.agent, self.app = deputy, user, agent, app
        found = select_tools(deputy, toolkits or filter(None, [self.toolkit]), read_only=read_only, app=app)
        self.tools = {tool.name: tool for tool in found}
        self.spec_functions = list(self.tools)

    def to_tool_list(
        self, spec_functions: Any = None, func_to_metadata_mapping: Mapping[str, ToolMetadata] | None = None
    ) -> list[FunctionTool]:
        """Return the tools. ``spec_functions``: only these names. ``func_to_metadata_mapping``: other metadata, by
        name."""
        wanted, shown = spec_functions or list(self.tools), func_to_metadata_mapping or {}
        if unknown := [name for name in wanted if name not in self.tools]:
            raise InvalidInput(f"No tool is called {unknown[0]!r} here.", fix_by="operator")
        tools = [self.tools[name] for name in wanted]
        host = self.deputy, self.user, self.agent, self.app, self.user_message
        return [ActTool(t, shown.get(t.name) or ShownTool(t), *host) for t in tools]


class GmailToolSpec(DeputyToolSpec):
    """The tools of Gmail."""

    toolkit = "gmail"


class CalendarToolSpec(DeputyToolSpec):
    """The tools of Google Calendar."""

    toolkit = "calendar"


class DriveToolSpec(DeputyToolSpec):
    """The tools of Google Drive."""

    toolkit = "drive"


class SlackToolSpec(DeputyToolSpec):
    """The tools of Slack."""

    toolkit = "slack"


class GitHubToolSpec(DeputyToolSpec):
    """The tools of GitHub."""

    toolkit = "github"


class LinearToolSpec(DeputyToolSpec):
    """The tools of Linear."""

    toolkit = "linear"


class SalesforceToolSpec(DeputyToolSpec):
    """The tools of Salesforce."""

    toolkit = "salesforce"


class ContactsToolSpec(DeputyToolSpec):
    """The tools of Google contacts and the directory of the user's organisation."""

    toolkit = "contacts"


class FilesToolSpec(DeputyToolSpec):
    """The tools that read stored files as text."""

    toolkit = "files"


async def resume_when_done(
    deputy: DeputyProtocol,
    handler: WorkflowHandler,
    asked: ConsentRequest | ApprovalRequest | Consent | Approval | str,
    *,
    user: User | str | None = None,
    timeout: float = 600.0,
) -> None:
    """Wait until this request has been answered, in any process, and resume the calls that wait for it.

    ``asked``: an event of the run's stream, an item of `Deputy.pending`, or an id. ``user``: the user of the request;
    required for an approval. After ``timeout`` seconds the calls are resumed without an answer. Raises `UserRequired`
    for an approval without a user.
    """
    one = _asked_id(asked)
    if isinstance(asked, ConsentRequest | Consent) or (
        isinstance(asked, str) and (not user or await deputy.get_consent(one))
    ):
        with suppress(NotFound):  # it was removed: the run checks again
            await deputy.wait_for_consents([one], timeout=timeout)
        return handler.ctx.send_event(ConsentResponse(consent_id=one))
    who = User.of(user)
    await deputy.get_approval(one, by=who, timeout=timeout)
    handler.ctx.send_event(ApprovalResponse(approval_id=one, by=who.id))


def _asked_id(asked: ConsentRequest | ApprovalRequest | Consent | Approval | str) -> str:
    if isinstance(asked, str):
        return asked
    if isinstance(asked, ConsentRequest):
        return asked.consent_id
    return asked.approval_id if isinstance(asked, ApprovalRequest) else asked.id


async def resume_paused(
    agent: Any, blob: str, *, user: User | str | None = None, types: Iterable[type[Any]] = ()
) -> WorkflowHandler:
    """Resume a saved run and return its handler. Consents and decisions made in between need no event.

    ``user``: the user who resumes, as your application knows them; required if the tools find their user in each run,
    because such a function may read data that was saved with the run. ``types``: your own classes of events and data in
    the run; no other class is loaded. Requests that still wait are streamed again. Raises `InvalidInput` for
    text that cannot be loaded, `PolicyDenied` if the run or the agent's tools belong to another user, and
    `UserRequired` without a user.
    """
    return await resume(agent, blob, _resuming(agent, user), types)


def _resuming(agent: Any, user: User | str | None) -> User:
    """Return the user who resumes. Raises `PolicyDenied` if the agent's tools are bound to another user."""
    agents = agent.agents.values() if hasattr(agent, "agents") else [agent]
    named = [tool.user for one in agents for tool in one.tools or () if isinstance(tool, ActTool)]
    if not named and user is None:
        raise UserRequired("This agent has no tools that act as a user.")
    bound = next((who for who in named if not callable(who)), None)
    if user is None and bound is None and any(callable(who) for who in named):
        hint = "Pass the authenticated user: resume_paused(agent, text, user=...)."
        raise UserRequired("user= is missing, and this agent's tools find their user in each run.", hint=hint)
    who = User.of(bound if user is None else user)
    if bound is not None and User.of(bound) != who:
        raise PolicyDenied("This agent's tools are bound to another user.")
    return who
