"""LlamaIndex: toolkits as tool specs, for `FunctionAgent`, `ReActAgent` and `AgentWorkflow`.

    from deputize.adapters.llamaindex import GmailToolSpec

    FunctionAgent(tools=GmailToolSpec(deputy, user="alice").to_tool_list(), llm=llm)

Who the user is comes from the host and is bound here, never chosen by the model. What is missing is asked by events in
the stream: a `ConsentRequest` is woken by a `ConsentDone`, an `ApprovalRequest` by an `ApprovalDone`. An event is a
wake-up: the vault is asked again. A call waits for each once, and again where what it would do has changed since the
yes; woken too early it fails, and may be called again.
`save_paused` and `resume_paused` carry a waiting run to another process. Outside of an agent a call never waits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal

from deputize.adapters.operator_warnings import warn_of
from deputize.adapters.releases import LLAMAINDEX, require
from deputize.adapters.tool_messages import as_text, failure_text
from deputize.core import (
    Acting,
    ApprovalRequired,
    Call,
    ConsentRequired,
    DeputizeError,
    Effect,
    InvalidInput,
    NotFound,
    SettingsError,
    Tool,
    User,
    UserRequired,
    system_prompt,
)

try:
    from llama_index.core.tools import FunctionTool, ToolMetadata, ToolOutput
    from llama_index.core.tools.tool_spec.base import BaseToolSpec
    from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
    from workflows.handler import WorkflowHandler
    from workflows.runtime.types.results import WaitingForEvent

    from deputize.adapters.llamaindex_delivery import Delivery
    from deputize.adapters.llamaindex_saved import resume, save_paused
    from deputize.adapters.llamaindex_shown_tool import ShownTool
except ImportError as missing:
    require(LLAMAINDEX)  # an old release lacks what is imported here
    raise SettingsError.without(missing, "llamaindex") from None

require(LLAMAINDEX)
__all__ = ["ActTool", "DeputyToolSpec", "resume_paused", "save_paused", "system_prompt", "wake_when_done"]
__all__ += ["ApprovalDone", "ApprovalRequest", "ConsentDone", "ConsentRequest"]
__all__ += ["CalendarToolSpec", "GitHubToolSpec", "GmailToolSpec"]
__all__ += ["LinearToolSpec", "SalesforceToolSpec", "SlackToolSpec"]
log = logging.getLogger(__name__)
ASKS: Final = 3
"""How often one call asks for a yes, where what it would do changes under the user's eyes."""
ALONE: Final = Call()
"""Of a call outside of an agent nobody knows where it came from."""


class ConsentRequest(InputRequiredEvent):
    """The user must visit ``link`` before a call goes on. For the user's eyes; see `deputize.core.Consent`."""

    consent_id: str
    provider: str
    app: str
    account: str
    scopes: list[str]
    words: list[str]
    link: str
    expires_at: float
    why: str
    step: str = ""
    step_link: str = ""


class ConsentDone(HumanResponseEvent):
    """Look again. It proves nothing."""

    consent_id: str


class ApprovalRequest(InputRequiredEvent):
    """The user must approve one act before it happens; see `deputize.core.Approval`."""

    approval_id: str
    tool: str
    effect: str
    account: str
    what: str = ""
    preview: dict[str, str]
    more: bool = False
    changed: tuple[str, ...] = ()
    link: str = ""
    step: str = ""
    step_link: str = ""
    expires_at: float
    reason: str


class ApprovalDone(HumanResponseEvent):
    """Look again; ``decision`` is recorded first, if it is not empty. ``by``: who answers, as the host knows them.

    An edit is a yes with other ``arguments``: all of them.
    """

    approval_id: str
    by: str
    decision: Literal["approve", "reject", "edit", ""] = ""
    arguments: dict[str, Any] | None = None
    reason: str = ""


class ActTool(FunctionTool):
    """One tool, as a user. In an agent it can wait for the user; called by itself it acts at once, or says why not."""

    def __init__(self, deputy: Acting, tool: Tool, user: User | str | None, agent: str, shown: ToolMetadata) -> None:
        self.deputy, self.tool, self.user, self.agent = deputy, tool, user, agent
        super().__init__(async_fn=self.acall, metadata=shown)
        self.requires_context, self.ctx_param_name = True, "ctx"  # agents fill it in, over whatever the model said

    def call(self, /, *args: Any, **arguments: Any) -> ToolOutput:
        """See `acall`; without waiting for anybody."""
        return self.deputy.run(self.acall(*args, **arguments))

    async def acall(self, /, *args: Any, **arguments: Any) -> ToolOutput:
        """Act as the user; in an agent, wait for the user where that is needed. A failure is an output too.

        LlamaIndex would write the text of any exception into the conversation: but for its own wait, none leaves.
        """
        ctx = arguments.pop("ctx") if isinstance(arguments.get("ctx"), Context) else None
        try:
            if args:
                raise InvalidInput("Arguments are given by their names.")
            return await self._delivered(ctx, arguments)
        except WaitingForEvent:
            raise
        except DeputizeError as error:
            return self._failed(arguments, error)
        except Exception as error:
            return self._broken(arguments, error)

    async def _delivered(self, ctx: Context | None, arguments: dict[str, Any]) -> ToolOutput:
        """Wait for what stands in the way, take the call on, and act. Outside of an agent act at once."""
        delivery = await Delivery.of(ctx, User.of(self.user)) if ctx else None
        if delivery is None:
            return await self._act(arguments, ALONE)
        await self._clear(delivery, arguments)
        await delivery.take()
        output = await self._act(arguments, delivery.call)
        await delivery.done()
        return output

    async def _clear(self, delivery: Delivery, arguments: dict[str, Any]) -> None:
        """Consent first, approval second: wait for what stands in the way. What still does, the act itself will say."""
        try:
            blocker = await self._blocker(arguments, delivery.call)
            if isinstance(blocker, ConsentRequired):
                await delivery.wait(
                    ConsentDone, ConsentRequest(**blocker.consent.payload()), consent_id=blocker.consent.id
                )
                blocker = await self._blocker(arguments, delivery.call)
            for _ in range(ASKS):
                if not isinstance(blocker, ApprovalRequired):
                    return
                request = ApprovalRequest(**blocker.approval.payload())
                done = await delivery.wait(ApprovalDone, request, approval_id=blocker.approval.id, by=delivery.user.id)
                if done.decision:
                    who = User(done.by, delivery.user.tenant)
                    said: dict[str, Any] = {"reason": done.reason, "arguments": done.arguments}
                    await self.deputy.decide(done.approval_id, done.decision, by=who, **said)
                asked, blocker = blocker.approval.id, await self._blocker(arguments, delivery.call)
                if isinstance(blocker, ApprovalRequired) and blocker.approval.id == asked:
                    return  # woken too early
        except WaitingForEvent:
            raise
        except Exception as error:  # decided elsewhere, too late, no store: the vault decides
            log.debug("%s: %s", self.tool.name, type(error).__name__)

    async def _blocker(self, arguments: dict[str, Any], call: Call) -> DeputizeError | None:
        """What stands in the call's way, if anything."""
        [blocker] = await self.deputy.prepare([(self.tool.name, arguments, call)], user=self.user, agent=self.agent)
        return blocker

    async def _act(self, arguments: dict[str, Any], call: Call) -> ToolOutput:
        """The act's outcome, whatever it is: from here on the call counts as answered."""
        try:
            result = await self.deputy.act(self.tool.name, arguments, user=self.user, call=call, agent=self.agent)
        except DeputizeError as error:
            return self._failed(arguments, error)
        except Exception as error:
            return self._broken(arguments, error)
        given = {"kwargs": arguments}
        return ToolOutput(self.metadata.get_name(), as_text(result), raw_input=given, raw_output=result)

    def _broken(self, arguments: dict[str, Any], error: Exception) -> ToolOutput:
        """What nobody foresaw. Its text may hold anything: only its type is written down."""
        log.warning("%s failed: %s", self.tool.name, type(error).__name__)
        return self._failed(arguments, DeputizeError("The tool failed."))

    def _failed(self, arguments: dict[str, Any], error: DeputizeError) -> ToolOutput:
        warn_of(error)
        name, given, why = self.metadata.get_name(), {"kwargs": arguments}, {"error": error.code}
        return ToolOutput(name, failure_text(error), raw_input=given, raw_output=why, is_error=True)


class DeputyToolSpec(BaseToolSpec):
    """Toolkits' tools for one user. A toolkit's own spec is one line. Raises `InvalidInput` for an unknown toolkit."""

    toolkit: ClassVar[str] = ""

    def __init__(
        self, deputy: Acting, *toolkits: str, user: User | str | None, agent: str = "", read_only: bool = False
    ) -> None:
        self.deputy, self.user, self.agent = deputy, user, agent
        found = deputy.tools(*(toolkits or filter(None, [self.toolkit])))
        self.tools = {t.name: t for t in found if not read_only or t.gravest is Effect.READS}
        self.spec_functions = list(self.tools)

    def to_tool_list(
        self, spec_functions: Any = None, func_to_metadata_mapping: Mapping[str, ToolMetadata] | None = None
    ) -> list[FunctionTool]:
        """The tools; ``spec_functions``: only those of these names; the mapping: other names or words for them."""
        wanted, shown = spec_functions or list(self.tools), func_to_metadata_mapping or {}
        if unknown := [name for name in wanted if name not in self.tools]:
            raise InvalidInput(f"No tool is called {unknown[0]!r} here.", fix_by="operator")
        tools = [self.tools[name] for name in wanted]
        return [ActTool(self.deputy, t, self.user, self.agent, shown.get(t.name) or ShownTool(t)) for t in tools]


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


async def wake_when_done(deputy: Acting, handler: WorkflowHandler, consent: str, *, seconds: float = 600.0) -> None:
    """Wait until the consent of this id has ended, wherever that happens, and wake the calls that asked for it."""
    with suppress(NotFound):  # it was removed: the run looks again
        await deputy.wait([consent], timeout=seconds)
    handler.ctx.send_event(ConsentDone(consent_id=consent))


async def resume_paused(agent: Any, blob: str, *, types: Iterable[type[Any]] = ()) -> WorkflowHandler:
    """Go on with a saved run; its handler. What was consented to or decided meanwhile needs no event any more.

    ``types``: the host's own classes of events and data that the run holds; no other is loaded. Requests are not
    streamed again: `Deputy.pending` knows what waits. Raises `InvalidInput` for what cannot be
    loaded, `PolicyDenied` where the agent's tools are bound to another user than the run, or to none `UserRequired`.
    """
    ours = (ConsentRequest, ConsentDone, ApprovalRequest, ApprovalDone)
    return await resume(agent, blob, User.of(_user_of(agent)), (*ours, *types))


def _user_of(agent: Any) -> User | str | None:
    """The user to whom the tools of this agent, or of its agents, are bound."""
    agents = agent.agents.values() if hasattr(agent, "agents") else [agent]
    for tool in [tool for one in agents for tool in one.tools or ()]:
        if isinstance(tool, ActTool):
            return tool.user
    raise UserRequired("This agent has no tool that acts as a user.")
