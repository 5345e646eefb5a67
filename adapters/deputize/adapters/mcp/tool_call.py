"""One ``tools/call``: its identity, the questions to its user, and its result.

Trust: the vault, not the client, decides which calls are the same one. An accepted question is only a signal; the vault
shows if it was answered. A rejection is accepted from the client, which speaks for the user.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeVar

import mcp_types as types
from mcp.shared.exceptions import UrlElicitationRequiredError
from starlette.requests import Request

from deputize.adapters.mcp.elicitation import (
    KEY,
    Context,
    Guidance,
    OpenPage,
    Question,
    Waiting,
    Ways,
    approval_words,
    decision_in,
    question_of,
)
from deputize.adapters.mcp.older_protocol_forms import Forms
from deputize.adapters.mcp.progress import report_progress, start_progress
from deputize.adapters.mcp.results import FileLinks, error_result, foreign_result, tool_result
from deputize.core import (
    ApprovalRequired,
    Call,
    Conflict,
    ConsentRequired,
    Declined,
    DeputizeError,
    DeputyProtocol,
    NotFound,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    StoreUnavailable,
    Tool,
    User,
)

__all__ = ["Outcome", "Performing"]

T = TypeVar("T")
Arguments: TypeAlias = Mapping[str, Any]
Outcome: TypeAlias = types.CallToolResult | types.InputRequiredResult

MAX_USER_WAIT_SECONDS: Final = 25.0
"""Seconds that one request waits for the user: some clients give up on a call after 60."""
MAX_REMEMBERED_CALLS: Final = 1000
CLOSED: Final = "The user closed the question without an answer."

_OPEN: Final = (OutcomeUnknown, RateLimited, ProviderUnavailable, StoreUnavailable)
"""After these errors a repeated call stays the same call: a possible write is not repeated without a check, and a write
that was not made uses the same approval."""


@dataclass
class Performing:
    """Makes calls as users. ``forms``: True if a decision in a client's form counts. ``open_page``: opens questions
    that a client cannot display, on the user's own machine."""

    deputy: DeputyProtocol
    tools: Mapping[str, Tool]
    agent: str = ""
    forms: bool = True
    open_page: OpenPage | None = None
    longest_wait: float = MAX_USER_WAIT_SECONDS
    app: str = ""
    asked_by_form: Forms = field(init=False)
    _acts: set[asyncio.Task[Any]] = field(default_factory=set)
    _waits: set[asyncio.Task[bool]] = field(default_factory=set)
    _asked: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.asked_by_form = Forms(self.deputy, self.deputy.derive_key("mcp form"))

    async def call(
        self, ctx: Context, user: User, tool: str, arguments: Arguments, params: types.CallToolRequestParams
    ) -> Outcome:
        """Return a call's result, or the question to its user. Raises the error -32042 for a client that expects it."""
        start_progress()
        waiting = Waiting.of(params.request_state)
        if waiting is None:
            call = await self.deputy.resolve_call(tool, arguments, user=user, app=self.app, thread=_thread(ctx))
        else:
            call = waiting.call
            stopped = await self._answered(ctx, user, waiting, (params.input_responses or {}).get(KEY))
            if stopped is not None:
                return stopped
        return await self._done(ctx, user, tool, arguments, call)

    async def _done(self, ctx: Context, user: User, tool: str, arguments: Arguments, call: Call) -> Outcome:
        """Act, again after each question that was answered while this request waited."""
        while True:
            try:
                act = self.deputy.act(tool, arguments, user=user, app=self.app, call=call, agent=self.agent)
                async with report_progress(ctx, "Working."):
                    result = await (self._shield(act) if call.has_id else act)
                return await self._over(ctx, await self._converted(user, tool, result), call, user)
            except (ConsentRequired, ApprovalRequired) as error:
                if error.unattended:  # a repeated call stays the same call, so it runs after the answer
                    return error_result(error)
                asked = await self._ask(ctx, user, error, call)
                if asked is not None:
                    return asked
            except _OPEN as error:
                return error_result(error)
            except DeputizeError as error:
                return await self._over(ctx, error_result(error), call, user)

    async def _converted(self, user: User, tool: str, result: Any) -> types.CallToolResult:
        if not self.tools[tool].returns_files or not isinstance(result, dict):
            return tool_result(result)
        return await foreign_result(result, FileLinks(self.deputy, user))

    async def _shield(self, act: Awaitable[T]) -> T:
        """Await an act in a separate task: a client that disconnects cancels the handler, but must not interrupt a
        write."""
        task = asyncio.ensure_future(act)
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        return await asyncio.shield(task)

    def wait_no_longer(self) -> None:
        """Stop waiting for users, because this process is about to end. Another process asks them again."""
        self.longest_wait = 0.0
        for one in self._waits:
            one.cancel()

    async def finish(self) -> None:
        """Wait until every running act has ended."""
        if self._acts:
            await asyncio.wait(self._acts)

    async def _over(self, ctx: Context, result: types.CallToolResult, call: Call, user: User) -> types.CallToolResult:
        """Return the result, marked as delivered unless the client has disconnected: then a repeat is the same call."""
        if call.has_id and not (isinstance(ctx.request, Request) and await ctx.request.is_disconnected()):
            await self.deputy.mark_delivered(call, user=user)
        return result

    # ------------------------------------------------------------- asking

    async def _ask(
        self, ctx: Context, user: User, error: ConsentRequired | ApprovalRequired, call: Call
    ) -> Outcome | None:
        """Ask in the client's way. Return None if the user has answered in the meantime."""
        question, ways = question_of(error), Ways.of(ctx, forms=self.forms)
        way = ways.to_ask(question)
        if way != "text" and ways.modern:
            asked = types.ElicitRequest(params=question.url if way == "page" else question.form)
            state = Waiting(call, question.kind, question.id, way).packed()
            return types.InputRequiredResult(input_requests={KEY: asked}, request_state=state)
        if way == "form":
            return await self._ask_by_form(ctx, user, question, call)
        told = await self._guide(user, question) if way == "text" else Guidance(False, "")
        waits = self._asked_before(question) or told.opened
        if waits and await self._wait(ctx, user, question.kind, question.id):
            return None
        if way == "page":
            raise UrlElicitationRequiredError([question.legacy_url])
        return error_result(error, told.words)

    def _asked_before(self, question: Question) -> bool:
        """Return whether this process has asked the question before, so that a repeated call waits for the answer."""
        before = question.id in self._asked
        self._asked[question.id] = None
        if len(self._asked) > MAX_REMEMBERED_CALLS:
            self._asked.popitem(last=False)
        return before

    async def _guide(self, user: User, question: Question) -> Guidance:
        """Return the address where users answer, for the model: the same for all users, and it opens nothing."""
        if question.approvers:
            decides = f"Somebody with the role {question.approvers} decides it, not the user."
            return Guidance(False, f"{decides} Make the same call again after the decision.")
        if self.open_page is not None:
            return await self.open_page(user, question)
        page = self.deputy.dashboard_url()
        words = f"Ask the user to open {page} and to answer there; then make the same call again." if page else ""
        return Guidance(False, words)

    async def _ask_by_form(self, ctx: Context, user: User, question: Question, call: Call) -> Outcome | None:
        """Ask with the older protocols' form while the call waits, and read the vault: an answer may reach another
        worker, and a decision on deputize's page closes the form."""
        waiting = Waiting(call, question.kind, question.id, "form")
        asked = asyncio.ensure_future(self.asked_by_form.ask(ctx, user, waiting, question.form))
        there = asyncio.ensure_future(self._is_answered(user, question.kind, question.id, math.inf))
        try:
            await asyncio.wait([asked, there], return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return await self._answered(ctx, user, waiting, asked.result())
            await there
            now = await self.deputy.get_approval(question.id, by=user)
            closed = now is None or (now.status == "pending" and approval_words(now) == question.message)
            return error_result(Declined(CLOSED)) if closed else None
        finally:
            asked.cancel()
            there.cancel()
            await asyncio.wait([asked, there])

    # ------------------------------------------------------------- answers

    async def takes(self, body: bytes, user: User) -> bool:
        """Record an answer to another worker's form; see `Forms.takes`."""
        return self.forms and await self.asked_by_form.takes(body, user)

    async def _answered(
        self, ctx: Context, user: User, waiting: Waiting, answer: types.InputResponse | None
    ) -> types.CallToolResult | None:
        """Record the user's answer, or wait for it. Return the result if the call is complete, else None."""
        said = answer if isinstance(answer, types.ElicitResult) else types.ElicitResult(action="accept")
        if said.action == "cancel":  # no answer: the question stays open, and a repeated call is the same call
            return error_result(Declined(CLOSED))
        if waiting.kind == "consent":
            if said.action == "decline":
                return await self._over(
                    ctx, error_result(Declined("The user declined to connect it.")), waiting.call, user
                )
        elif decision := "reject" if said.action == "decline" else self._decision(waiting, said):
            with suppress(NotFound, Conflict):  # answered elsewhere, too late, or not this user's: the record decides
                await self.deputy.decide(waiting.question, decision, by=user)
            return None
        await self._wait(ctx, user, waiting.kind, waiting.question)
        return None

    def _decision(self, waiting: Waiting, said: types.ElicitResult) -> Literal["approve", "reject"] | None:
        """Return the decision in a form, else None: after a link alone, the user has not seen a preview."""
        return decision_in(said.content) if self.forms and waiting.way == "form" else None

    async def _wait(self, ctx: Context, user: User, kind: str, question: str) -> bool:
        """Wait a limited time for the user's answer, with progress notifications. Return whether there is one."""
        if await self._is_answered(user, kind, question):
            return True
        if self.longest_wait <= 0:
            return False
        async with report_progress(ctx, "Waiting for the user.", at_once=True):
            waits = asyncio.ensure_future(self._is_answered(user, kind, question, self.longest_wait))
            self._waits.add(waits)
            try:
                await asyncio.wait([waits])
                return not waits.cancelled() and waits.result()
            finally:
                waits.cancel()
                self._waits.discard(waits)

    async def _is_answered(self, user: User, kind: str, question: str, within: float = 0.0) -> bool:
        """Return whether the question is no longer pending under this id, because it was answered, closed or deleted,
        or has changed or expired."""
        if kind == "consent":
            with suppress(NotFound):
                [consent] = await self.deputy.wait_for_consents([question], timeout=within)
                return consent.status != "pending"
            return True
        approval = await self.deputy.get_approval(question, by=user, timeout=within)
        return approval is None or approval.status != "pending" or approval.id != question


def _thread(ctx: Context) -> str:
    """Return the conversation: one user with one client, because no id names a smaller one."""
    client = ctx.session.client_params.client_info.name if ctx.session.client_params else ""
    return f"mcp {client[:100]}".strip()
