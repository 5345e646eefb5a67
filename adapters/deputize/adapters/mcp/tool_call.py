"""One call: which one it is, what its user is asked and has answered, and what it comes to.

Who is believed for what: the call is the same one because the vault knows it, not because a client says so. An accepted
question wakes us up; the vault says whether it was answered. A no is taken from the client, which speaks for the user.
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
    decision_in,
    question_of,
)
from deputize.adapters.mcp.forms import Forms
from deputize.adapters.mcp.progress import began, telling
from deputize.adapters.mcp.results import failed, given
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
    User,
)

__all__ = ["Outcome", "Performing"]

T = TypeVar("T")
Arguments: TypeAlias = Mapping[str, Any]
Outcome: TypeAlias = types.CallToolResult | types.InputRequiredResult

MAX_WAIT: Final = 25.0
"""Seconds that one request waits for the user: some clients give up on a call after 60."""
MAX_REMEMBERED: Final = 1000
CLOSED: Final = "The user closed the question without an answer."

_OPEN: Final = (OutcomeUnknown, RateLimited, ProviderUnavailable, StoreUnavailable)
"""After these it stays this call: what may be done is not made again without a look, and what was not done yet is made
again with the user's same yes."""


@dataclass
class Performing:
    """Makes calls as users. ``forms``: whether a decision counts that the client's own form has taken. ``open_page``:
    shows users what a client cannot, on their own machine."""

    deputy: DeputyProtocol
    agent: str = ""
    forms: bool = True
    open_page: OpenPage | None = None
    longest_wait: float = MAX_WAIT
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
        """The result of a call, or what is asked of its user. Raises -32042 for a client that wants it so."""
        began()
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
        """The act, as often as a question was answered meanwhile."""
        while True:
            try:
                act = self.deputy.act(tool, arguments, user=user, app=self.app, call=call, agent=self.agent)
                async with telling(ctx, "Working."):
                    result = await (self._shielded(act) if call.has_id else act)
                return await self._over(ctx, given(result), call, user)
            except (ConsentRequired, ApprovalRequired) as error:
                asked = await self._ask(ctx, user, error, call)
                if asked is not None:
                    return asked
            except _OPEN as error:
                return failed(error)
            except DeputizeError as error:
                return await self._over(ctx, failed(error), call, user)

    async def _shielded(self, act: Awaitable[T]) -> T:
        """In a task of its own: a client that hangs up cancels the handler, and cuts no act in two. Reading may be."""
        task = asyncio.ensure_future(act)
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        return await asyncio.shield(task)

    def wait_no_longer(self) -> None:
        """This process is about to end: no request waits for its user here any more, who is asked elsewhere."""
        self.longest_wait = 0.0
        for one in self._waits:
            one.cancel()

    async def finish(self) -> None:
        """Until every act that runs has ended."""
        if self._acts:
            await asyncio.wait(self._acts)

    async def _over(self, ctx: Context, result: types.CallToolResult, call: Call, user: User) -> types.CallToolResult:
        """The outcome, handed over. Where nobody listens any more the call stays the same one when it comes again."""
        if call.has_id and not (isinstance(ctx.request, Request) and await ctx.request.is_disconnected()):
            await self.deputy.mark_delivered(call, user=user)
        return result

    # ------------------------------------------------------------- asking

    async def _ask(
        self, ctx: Context, user: User, error: ConsentRequired | ApprovalRequired, call: Call
    ) -> Outcome | None:
        """Ask in the way that this client has; None where the user has answered meanwhile."""
        question, ways = question_of(error), Ways.of(ctx, forms=self.forms)
        way = ways.to_ask(question)
        if way != "text" and ways.modern:
            asked = types.ElicitRequest(params=question.url if way == "page" else question.form)
            state = Waiting(call, question.kind, question.id, way).packed()
            return types.InputRequiredResult(input_requests={KEY: asked}, request_state=state)
        if way == "form":
            return await self._by_form(ctx, user, question, call)
        told = await self._guided(user, question) if way == "text" else Guidance(False, "")
        waits = self._asked_before(question) or told.opened
        if waits and await self._wait(ctx, user, question.kind, question.id):
            return None
        if way == "page":
            raise UrlElicitationRequiredError([question.legacy_url])
        return failed(error, told.words)

    def _asked_before(self, question: Question) -> bool:
        """Whether this process has asked it: then the call came again since the user has been told, and waits."""
        before = question.id in self._asked
        self._asked[question.id] = None
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)
        return before

    async def _guided(self, user: User, question: Question) -> Guidance:
        """Where the user answers, for the model: an address that is the same for everybody, and opens nothing."""
        if self.open_page is not None:
            return await self.open_page(user, question)
        page = self.deputy.dashboard_url()
        words = f"Ask the user to open {page} and to answer there; then make the same call again." if page else ""
        return Guidance(False, words)

    async def _by_form(self, ctx: Context, user: User, question: Question, call: Call) -> Outcome | None:
        """The older protocols' form: the client is asked while its call waits, and so is the vault: an answer may
        arrive at another worker, and a decision on our page closes the form."""
        waiting = Waiting(call, question.kind, question.id, "form")
        asked = asyncio.ensure_future(self.asked_by_form.ask(ctx, user, waiting, question.form))
        there = asyncio.ensure_future(self._is_answered(user, question.kind, question.id, math.inf))
        try:
            await asyncio.wait([asked, there], return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return await self._answered(ctx, user, waiting, asked.result())
            await there
            return None if await self.deputy.get_approval(question.id, by=user) else failed(Declined(CLOSED))
        finally:
            asked.cancel()
            there.cancel()
            await asyncio.wait([asked, there])

    # ------------------------------------------------------------- answers

    async def takes(self, body: bytes, user: User) -> bool:
        """Whether this is an answer to a form that another worker has shown; see `Forms.takes`."""
        return self.forms and await self.asked_by_form.takes(body, user)

    async def _answered(
        self, ctx: Context, user: User, waiting: Waiting, answer: types.InputResponse | None
    ) -> types.CallToolResult | None:
        """Record or await what the user says; what this request comes to, if nothing is to be done after that."""
        said = answer if isinstance(answer, types.ElicitResult) else types.ElicitResult(action="accept")
        if said.action == "cancel":  # no answer: the question stays open, and the call is the same when it comes again
            return failed(Declined(CLOSED))
        if waiting.kind == "consent":
            if said.action == "decline":
                return await self._over(ctx, failed(Declined("The user declined to connect it.")), waiting.call, user)
        elif decision := "reject" if said.action == "decline" else self._decision(waiting, said):
            with suppress(NotFound, Conflict):  # answered elsewhere, too late, or not this user's: the row counts
                await self.deputy.decide(waiting.question, decision, by=user)
            return None
        await self._wait(ctx, user, waiting.kind, waiting.question)
        return None

    def _decision(self, waiting: Waiting, said: types.ElicitResult) -> Literal["approve", "reject"] | None:
        """What a form says. Only of a form: who was shown a link has read no word of what this would be a yes to."""
        return decision_in(said.content) if self.forms and waiting.way == "form" else None

    async def _wait(self, ctx: Context, user: User, kind: str, question: str) -> bool:
        """Until the user has answered, and not for long; whether that is so. A client that wants to is told of it."""
        if await self._is_answered(user, kind, question):
            return True
        if self.longest_wait <= 0:
            return False
        async with telling(ctx, "Waiting for the user.", at_once=True):
            waits = asyncio.ensure_future(self._is_answered(user, kind, question, self.longest_wait))
            self._waits.add(waits)
            try:
                await asyncio.wait([waits])
                return not waits.cancelled() and waits.result()
            finally:
                waits.cancel()
                self._waits.discard(waits)

    async def _is_answered(self, user: User, kind: str, question: str, within: float = 0.0) -> bool:
        """Whether it waits no longer. One that is gone, or late, does not: another one is asked then."""
        if kind == "consent":
            with suppress(NotFound):
                [consent] = await self.deputy.wait_for_consents([question], timeout=within)
                return consent.status != "pending"
            return True
        approval = await self.deputy.get_approval(question, by=user, timeout=within)
        return approval is None or approval.status != "pending"


def _thread(ctx: Context) -> str:
    """The conversation: all that one user does with one client, since no id names a smaller one."""
    client = ctx.session.client_params.client_info.name if ctx.session.client_params else ""
    return f"mcp {client[:100]}".strip()
