"""Google ADK adapter: toolkits as a toolset. A call that needs the user requests a tool confirmation and ends the run.

    from deputize.adapters.google_adk import DeputyToolset, answers, requests_in

    agent = LlmAgent(name="mail", model=model, tools=[DeputyToolset(deputy, "gmail")])
    events = [event async for event in runner.run_async(user_id="alice", session_id=chat, new_message=message)]
    asks = requests_in(events)                            # to show the user: consents, then approvals
    message = answers(events, {approval_id: "approve"})  # the message to resume with

A missing consent and a waiting approval are both an ``adk_request_confirmation``. ADK runs the call again after the
answer. ``confirmed: true`` only resumes the call: deputize reads the vault again and requests what is still missing. A
decision counts for the run's user if the answer names the approval that was displayed. ``confirmed: false`` is stored
as a rejection. An answer to another user's call raises `PolicyDenied`, and the call stays open; a ``single_turn``
sub-agent asks again instead of raising. If ADK loses a result and runs the call again, it is the same act, which is
done once (see `calls`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deputize.adapters.kit import (
    Decision,
    MessageOf,
    ToolRunner,
    UserOf,
    error_text,
    parse_decisions,
    request_payload,
    tool_facts,
)
from deputize.adapters.releases import GOOGLE_ADK, require
from deputize.core import (
    Call,
    Declined,
    DeputizeError,
    DeputyProtocol,
    InvalidInput,
    PolicyDenied,
    SettingsError,
    Tool,
    User,
    system_prompt,
)

try:
    from google.adk.agents.readonly_context import ReadonlyContext
    from google.adk.models.llm_request import LlmRequest
    from google.adk.tools.base_tool import BaseTool
    from google.adk.tools.base_toolset import BaseToolset, ToolPredicate
    from google.adk.tools.tool_confirmation import ToolConfirmation
    from google.adk.tools.tool_context import ToolContext
    from google.genai import types

    from deputize.adapters.google_adk.calls import calls_of, identify_call, owner_of, response_of
    from deputize.adapters.google_adk.confirmations import (
        OWNER,
        answers,
        ask,
        ends_at_errors,
        ensure_asked,
        last_request,
        requests_in,
    )
except ImportError as missing:
    require(GOOGLE_ADK)  # an old release lacks these imports
    raise SettingsError.without(missing, "google-adk") from None

require(GOOGLE_ADK)
__all__ = ["ActTool", "DeputyToolset", "answers", "requests_in", "session_user", "system_prompt"]

KINDS: Final = ("image", "audio", "pdf")
"""The kinds of files that a function response may have."""


def session_user(ctx: ToolContext) -> str:
    """Return the user of ADK's session, set by the caller of the runner."""
    return ctx.user_id


class DeputyToolset(BaseToolset):
    """The tools of these toolkits as an ADK toolset.

    ``toolkits``: names of toolkits, toolsets or tools, as in `Deputy.tools`. ``user``: the acting user, or a function
    of the call's `ToolContext`; the session's user by default. ``app``: the app through which the tools act, as in
    `Deputy.act`; all tools must be of its provider. ``read_only``: only tools that never change anything.
    ``tool_filter``, ``tool_name_prefix``: as in any ADK toolset. ``user_message``: a function of the call's
    `ToolContext` that returns what the user wrote for this turn; see `deputize.core.ask_unless_user_named`.
    """

    def __init__(
        self,
        deputy: DeputyProtocol,
        *toolkits: str,
        user: UserOf[ToolContext] = session_user,
        agent: str = "",
        app: str = "",
        read_only: bool = False,
        tool_filter: ToolPredicate | list[str] | None = None,
        tool_name_prefix: str | None = None,
        user_message: MessageOf[ToolContext] | None = None,
    ) -> None:
        super().__init__(tool_filter=tool_filter, tool_name_prefix=tool_name_prefix)
        runner = ToolRunner(deputy, user, agent, app, user_message)
        self.tools = [ActTool(tool, runner) for tool in runner.tools(toolkits, read_only=read_only)]

    async def get_tools(self, readonly_context: ReadonlyContext | None = None) -> list[BaseTool]:
        """Return the tools."""
        return [tool for tool in self.tools if self._is_tool_selected(tool, readonly_context)]

    async def process_llm_request(self, *, tool_context: ToolContext, llm_request: LlmRequest) -> None:
        """Add the explanation of ``untrusted`` to the instructions once, after asking any open question again."""
        ensure_asked(tool_context)
        if system_prompt() not in str(llm_request.config.system_instruction or ""):
            llm_request.append_instructions([system_prompt()])


class ActTool(BaseTool):
    """One deputize tool as an ADK tool. ``runner``: shared by its toolset."""

    def __init__(self, tool: Tool, runner: ToolRunner[ToolContext]) -> None:
        super().__init__(name=tool.name, description=tool.description, custom_metadata=tool_facts(tool))
        self.tool, self.runner = tool, runner

    def _get_declaration(self) -> types.FunctionDeclaration:
        return types.FunctionDeclaration(
            name=self.name, description=self.description, parameters_json_schema=self.tool.schema
        )

    async def run_async(self, *, args: dict[str, Any], tool_context: ToolContext) -> dict[str, Any]:
        """Act as the user and return the result in ``result``, and its files in ``files``, which ADK sends as parts of
        the response; or a failure as text for the model in ``error``.

        Raises `PolicyDenied` out of the run if the question about the call was to another user, and `UserRequired` if
        the answer comes from no user; in ``single_turn`` sub-agents both are returned. The question then stays open.
        """
        resumed = tool_context.tool_confirmation is not None
        blocker: DeputizeError | None
        try:
            user = self.runner.acting_user(tool_context)
        except DeputizeError as error:
            return _keep_open(tool_context, error) if resumed else {"error": error_text(error)}
        shown, fault = last_request(tool_context) if resumed else None, ""
        owner, call_id = str((shown or {}).get(OWNER) or ""), tool_context.function_call_id or ""
        call = self.runner.add_message(identify_call(tool_context, call_id, owner), tool_context)
        if shown:
            try:
                self.runner.check_owner(owner.partition(".")[2], user, call)
            except PolicyDenied as denied:
                return _keep_open(tool_context, denied)
        try:
            if tool_context.tool_confirmation is not None:
                fault = await self._record_answer(tool_context.tool_confirmation, shown, user)
            blocker = await self._blocker(args, call, tool_context, user, look=bool(fault))
            if blocker is None and not fault:
                text, media = await self.runner.act_with_media(self.tool, args, user, call, KINDS)
                parts = [types.Part.from_bytes(data=one.content, mime_type=one.mime) for one in media]
                return {"result": text, **({"files": parts} if parts else {})}
        except DeputizeError as error:
            blocker = error
        told = error_text(blocker) if blocker else fault
        if payload := request_payload(blocker, fault):
            ask(tool_context, told, {**payload, OWNER: owner_of(self.runner, user, call)})
        return {"error": told}

    async def _record_answer(self, answer: ToolConfirmation, shown: Mapping[str, Any] | None, user: User) -> str:
        """Record the user's decision. Return the error in an edit, or "".

        Raises `Declined` for a rejection that changes no record: of a consent, or of a call approved elsewhere. For a
        recorded or late rejection, the record itself contains the outcome.
        """
        said, fault = _read_decision(answer, shown)
        if said is None:
            return fault
        fault = await self.runner.record(said, user) if said.approval else ""
        if said.decision == "reject":
            found = await self.runner.deputy.get_approval(said.approval, by=user) if said.approval else None
            if found is None or found.status not in ("rejected", "used"):
                raise Declined(f"The user declined: {self.tool.name}.", hint=said.reason)
        return fault

    async def _blocker(
        self, args: Mapping[str, Any], call: Call, ctx: ToolContext, user: User, *, look: bool
    ) -> DeputizeError | None:
        """Return the error that blocks the call, or None. Checks all calls of the response together.

        Without ``look``, a single call is not checked, because the act itself reports missing requests.
        """
        if len(calls_of(response_of(ctx))) < 2 and not look:
            return None
        message = ctx.session.id, ctx.invocation_id, ctx.agent_name, ctx.branch
        return await self.runner.check_call((self.tool.name, args, call), user, *message)


def _keep_open(ctx: ToolContext, error: DeputizeError) -> dict[str, str]:
    """Ask again, because a plugin of your application may catch the error, and raise it.

    Return it instead in a ``single_turn`` agent that was called like a tool: ADK would end the owner's call with it.
    """
    if shown := last_request(ctx):
        ask(ctx, error_text(error), shown)
    if ends_at_errors(ctx):
        return {"error": error_text(error)}
    raise error from None


def _read_decision(answer: ToolConfirmation, shown: Mapping[str, Any] | None) -> tuple[Decision | None, str]:
    """Return the decision in an answer and an error text. The decision is None if the answer only resumes.

    An approval names its id, as `answers` does, or returns the displayed payload unchanged, as ADK's own pages do.
    """
    given = answer.payload if isinstance(answer.payload, Mapping) else {}
    approval, reason = str((shown or {}).get("approval_id") or ""), str(given.get("reason") or "")
    if not answer.confirmed:
        return Decision(approval, "reject", None, reason), ""
    if not shown or not approval:
        return None, ""
    if {**given, OWNER: shown.get(OWNER)} == shown:
        return Decision(approval, "approve"), ""
    try:
        named = {approval: given[approval]} if approval in given else {}
        return parse_decisions(named, [approval], reason).get(approval), ""
    except InvalidInput as wrong:
        return None, str(wrong)
