"""LlamaIndex: toolkits as tool specs, for `FunctionAgent`, `ReActAgent` and `AgentWorkflow`.

    from deputize.adapters.llamaindex import GmailToolSpec, store_user

    FunctionAgent(tools=GmailToolSpec(deputy, user="alice").to_tool_list(), llm=llm)
    FunctionAgent(tools=GmailToolSpec(deputy, user=store_user("user_id")).to_tool_list(), llm=llm)

Who the user is comes from the host, never from the model: bound to the tools, or found in each run, so that one agent
serves all users (`deputize.adapters.llamaindex.host` says who is believed for what). What is missing is asked by events
in the stream: a `ConsentRequest` is woken by a `ConsentResponse`, an `ApprovalRequest` by an `ApprovalResponse`. An
event is a wake-up: the vault is asked again. A call waits for each once, and again where what it would do has changed
since the yes; woken too early it fails, and may be called again.
`save_paused` and `resume_paused` carry a waiting run to another process. Outside of an agent a call never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

from deputize.adapters.argument_checks import check_user, chosen
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
    from deputize.adapters.llamaindex.host import UserSource, served_user, store_user
    from deputize.adapters.llamaindex.run_state import resume, save_paused
    from deputize.adapters.llamaindex.server import UserMiddleware
    from deputize.adapters.llamaindex.tool import ActTool
    from deputize.adapters.llamaindex.tool_metadata import ShownTool
except ImportError as missing:
    require(LLAMAINDEX)  # an old release lacks what is imported here
    raise SettingsError.without(missing, "llamaindex") from None

require(LLAMAINDEX)
__all__ = ["ActTool", "DeputyToolSpec", "resume_paused", "resume_when_done", "save_paused", "system_prompt"]
__all__ += ["EVENTS", "ApprovalRequest", "ApprovalResponse", "ConsentRequest", "ConsentResponse"]
__all__ += ["UserMiddleware", "UserSource", "served_user", "store_user"]
__all__ += ["CalendarToolSpec", "ContactsToolSpec", "FilesToolSpec", "GitHubToolSpec", "GmailToolSpec"]
__all__ += ["LinearToolSpec", "SalesforceToolSpec", "SlackToolSpec"]
LOOK: Final = 0.3
"""Seconds between two looks at an approval: another process may decide it, so there is nothing to be woken by."""


class DeputyToolSpec(BaseToolSpec):
    """Toolkits' tools. A toolkit's own spec is one line. Raises `InvalidInput` for an unknown toolkit.

    ``user``: for one user, who it is; for all users of one agent, a function of the run's `Context` that says it.
    ``app``: through which app they act, as of `Deputy.act`; all are of its provider then.
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
    ) -> None:
        check_user(user, may_be_async=True)
        self.deputy, self.user, self.agent, self.app = deputy, user, agent, app
        found = chosen(deputy, toolkits or filter(None, [self.toolkit]), read_only=read_only, app=app)
        self.tools = {tool.name: tool for tool in found}
        self.spec_functions = list(self.tools)

    def to_tool_list(
        self, spec_functions: Any = None, func_to_metadata_mapping: Mapping[str, ToolMetadata] | None = None
    ) -> list[FunctionTool]:
        """The tools; ``spec_functions``: only those of these names; the mapping: other names or words for them."""
        wanted, shown = spec_functions or list(self.tools), func_to_metadata_mapping or {}
        if unknown := [name for name in wanted if name not in self.tools]:
            raise InvalidInput(f"No tool is called {unknown[0]!r} here.", fix_by="operator")
        tools = [self.tools[name] for name in wanted]
        host = self.deputy, self.user, self.agent, self.app
        return [ActTool(t, shown.get(t.name) or ShownTool(t), *host) for t in tools]


class GmailToolSpec(DeputyToolSpec):
    """Gmail."""

    toolkit = "gmail"


class CalendarToolSpec(DeputyToolSpec):
    """Google Calendar."""

    toolkit = "calendar"


class SlackToolSpec(DeputyToolSpec):
    """Slack."""

    toolkit = "slack"


class GitHubToolSpec(DeputyToolSpec):
    """GitHub."""

    toolkit = "github"


class LinearToolSpec(DeputyToolSpec):
    """Linear."""

    toolkit = "linear"


class SalesforceToolSpec(DeputyToolSpec):
    """Salesforce."""

    toolkit = "salesforce"


class ContactsToolSpec(DeputyToolSpec):
    """Google contacts and the directory of the user's organisation."""

    toolkit = "contacts"


class FilesToolSpec(DeputyToolSpec):
    """Kept files, read as text."""

    toolkit = "files"


async def resume_when_done(
    deputy: DeputyProtocol,
    handler: WorkflowHandler,
    asked: ConsentRequest | ApprovalRequest | Consent | Approval | str,
    *,
    user: User | str | None = None,
    timeout: float = 600.0,
) -> None:
    """Wait until this has been answered, wherever that happens, and wake the calls that asked for it.

    ``asked``: what the run asks, as an event of its stream, one of `Deputy.pending`, or an id. ``user``: whom; only
    they can look at an approval. After ``seconds`` the calls are woken as it stands then. Raises `UserRequired` for an
    approval without a user.
    """
    one = _asked_id(asked)
    if isinstance(asked, ConsentRequest | Consent) or (
        isinstance(asked, str) and (not user or await deputy.get_consent(one))
    ):
        with suppress(NotFound):  # it was removed: the run looks again
            await deputy.wait_for_consents([one], timeout=timeout)
        return handler.ctx.send_event(ConsentResponse(consent_id=one))
    who, deadline = User.of(user), time.monotonic() + timeout
    while True:
        now = await deputy.get_approval(one, by=who)
        if now is None or now.status != "pending" or time.monotonic() >= deadline:
            return handler.ctx.send_event(ApprovalResponse(approval_id=one, by=who.id))
        await asyncio.sleep(LOOK)


def _asked_id(asked: ConsentRequest | ApprovalRequest | Consent | Approval | str) -> str:
    if isinstance(asked, str):
        return asked
    if isinstance(asked, ConsentRequest):
        return asked.consent_id
    return asked.approval_id if isinstance(asked, ApprovalRequest) else asked.id


async def resume_paused(
    agent: Any, blob: str, *, user: User | str | None = None, types: Iterable[type[Any]] = ()
) -> WorkflowHandler:
    """Go on with a saved run; its handler. What was consented to or decided meanwhile needs no event any more.

    ``user``: who resumes it, as the host knows them; needed where the agent's tools find their user in each run, since
    what such a function reads may have been saved with the run. ``types``: the host's own classes of events and data
    that the run holds; no other is loaded. Requests are not streamed again: `Deputy.pending` knows what waits. Raises
    `InvalidInput` for what cannot be loaded, `PolicyDenied` where the run, or the agent's tools, are another user's,
    `UserRequired` where nobody is named.
    """
    return await resume(agent, blob, _resuming(agent, user), types)


def _resuming(agent: Any, user: User | str | None) -> User:
    """Who resumes: who the host says, and no other than the tools of this agent, or of its agents, are bound to."""
    agents = agent.agents.values() if hasattr(agent, "agents") else [agent]
    named = [tool.user for one in agents for tool in one.tools or () if isinstance(tool, ActTool)]
    if not named and user is None:
        raise UserRequired("This agent has no tool that acts as a user.")
    bound = next((who for who in named if not callable(who)), None)
    if user is None and bound is None and any(callable(who) for who in named):
        hint = "resume_paused(agent, text, user=...): whoever the host has authenticated."
        raise UserRequired("Who resumes this run is not named, and its tools find their user in each run.", hint=hint)
    who = User.of(bound if user is None else user)
    if bound is not None and User.of(bound) != who:
        raise PolicyDenied("This agent's tools are bound to another user.")
    return who
