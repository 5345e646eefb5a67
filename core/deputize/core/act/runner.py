"""Where a request meets a token: the only place. Runs a tool's steps as a user and turns answers into results.

The host is the provider's, by construction and checked again on the address that is really used; redirects are not
followed; a token that was refused is replaced once; only what is safe is repeated; a write whose answer was lost is
never repeated but reported to the tool, which may look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.core.act.budget import STRANGERS, Budgets
from deputize.core.act.build_request import address_of, headers_and_body
from deputize.core.act.files import Files
from deputize.core.act.ledger import Entry
from deputize.core.act.policy import Act
from deputize.core.act.request import MOST_BYTES, Keep, Note, PublicRequest, Repeat, Request, Step, Steps, Take, Wait
from deputize.core.act.results import (
    REDIRECTS,
    MissingScope,
    error_of,
    own_address,
    pause_of,
    unanswered,
    unechoed,
    unechoed_headers,
    whole,
)
from deputize.core.act.show import Show
from deputize.core.act.tool import Effect
from deputize.core.act.unauthenticated import PublicSender, is_loopback
from deputize.core.engine import Engine
from deputize.core.errors import DeputizeError, InvalidInput, OutcomeUnknown, ProviderUnavailable
from deputize.core.failures import Kind, Outcome, classify, still_refused
from deputize.core.grants.refresh import GrantLost, Refresher
from deputize.core.http import LeanRequest
from deputize.core.oauth.provider import Provider
from deputize.core.providers.origin import at_home, moved
from deputize.core.vault.grant import Grant

LONGEST_WAIT: Final = 10.0
MOST_WAITING: Final = 30.0
SECONDS: Final = 20.0
SECONDS_FOR_MUCH: Final = 60.0
MUCH: Final = 10 * 2**20
UNDONE: Final = "undone"
"""Of an answer that sends the same request elsewhere (RFC 9110 15.4.8, 15.4.9): nothing was done here."""

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
OnShow = Callable[[Show], Awaitable[None]]
"""Lets an act go on that has shown what it will do, or raises: what it raises the tool never sees."""


class Sender:
    """Performs acts: over one pooled client, with tokens that are good now."""

    def __init__(
        self, engine: Engine, refresher: Refresher, outside: PublicSender, files: Files, budgets: Budgets
    ) -> None:
        self.http, self.providers, self.refresher = engine.http, engine.providers, refresher
        self.outside, self.files, self.budgets = outside, files, budgets
        self.clock, self.sleep = engine.clock, engine.sleep

    async def perform(
        self,
        act: Act,
        grant: Grant,
        facts: dict[str, Any],
        entry: Entry | None = None,
        on_show: OnShow | None = None,
        planned: Planned | None = None,
    ) -> Any:
        """The tool's result. ``entry`` is the act's row in the ledger; without one nothing but reads can be sent.
        ``planned``: the act as it stands at what it has shown, so that it does not read twice.

        What the provider left out of good answers is added to ``facts``, and to a result that is an object and does
        not say so itself.
        Raises the `DeputizeError` that the tool let pass, `MissingScope`, or the refresher's ``GrantLost``.
        """
        run, steps = (planned.run, planned.steps) if planned else self._begun(act, grant, entry)
        run.act, run.grant, run.entry = act, grant, entry  # a plan may be older than the token
        result = await run.drive(steps, on_show, planned.show if planned else None)
        if not run.incomplete:
            return result
        facts["incomplete"] = "; ".join(dict.fromkeys(run.incomplete))
        return {"incomplete": facts["incomplete"], **result} if isinstance(result, dict) else result

    async def plan(self, act: Act, grant: Grant) -> Planned | None:
        """The act up to where it shows what it will do; None where there is nothing to do. Nothing is written."""
        run, steps = self._begun(act, grant, None)
        found = await run.ahead(steps, lambda: next(steps))
        return Planned(run, steps, found) if isinstance(found, Show) else None

    def _begun(self, act: Act, grant: Grant, entry: Entry | None) -> tuple[Run, Steps]:
        row = at_home(self.providers[act.provider], grant, self.refresher.apps[act.app])
        run = Run(self, act, row.for_grant(grant.extra), grant, entry)
        return run, act.tool.steps(**act.arguments, **{name: run.offered(name) for name in act.tool.injected})


@dataclass
class Planned:
    """An act that stands where it has shown what it will do."""

    run: Run
    steps: Steps
    show: Show

    def close(self) -> None:
        """It does not go on."""
        _close(self.steps)


def _close(steps: Steps) -> None:
    """End a tool where it stands. One that yields in spite of it has said its last word."""
    with suppress(RuntimeError):
        steps.close()


@dataclass(frozen=True, slots=True)
class _Ended:
    result: Any


@dataclass(repr=False)
class Run:
    """One tool's steps on their way.

    ``wrote``: how many writes the provider has not refused; ``doubt``: whether the answer to one was lost; ``waited``:
    seconds the tool has waited; ``incomplete``: what good answers said they lack; ``held``: bytes of the answers and
    files it was sent; ``shown``: what the tool has shown and may now do; ``at_fault``: it has broken a rule, and may
    not talk itself out of it.
    """

    sender: Sender
    act: Act
    provider: Provider
    grant: Grant
    entry: Entry | None
    wrote: int = 0
    doubt: bool = False
    waited: float = 0.0
    incomplete: list[str] = field(default_factory=list)
    held: int = 0
    shown: Show | None = None
    at_fault: bool = False

    def offered(self, name: str) -> Any:
        """What a tool may ask the runtime for; see `deputize.core.act.toolkit.INJECTED`."""
        match name:
            case "key":
                return self.act.key
            case "granted":
                return self.provider.covered(self.grant.scopes)
            case "account":
                return self.grant.account
            case "noted":
                return self.entry.noted if self.entry else None
            case _:
                return (self.entry.began if self.entry else 0.0) or self.act.began or self.sender.clock()

    async def drive(self, steps: Steps, on_show: OnShow | None, show: Show | None = None) -> Any:
        """The tool's result. ``show``: where it stands already. ``on_show`` is asked outside of the tool, which could
        mistake a no for a provider's refusal."""
        found = show or await self.ahead(steps, lambda: next(steps))
        if isinstance(found, Show):
            try:
                if on_show is not None:
                    await on_show(found)
            except BaseException:
                _close(steps)
                raise
            self.shown = found
            found = await self.ahead(steps, lambda: steps.send(None))
        return found.result if isinstance(found, _Ended) else None

    async def ahead(self, steps: Steps, first: Callable[[], Step]) -> Show | _Ended:
        """Send each step, hand its answer or its failure to the tool, until it returns or shows what it will do. There
        it is left standing."""
        stands = False
        try:
            step = first()
            while True:
                if isinstance(step, Show):
                    self._may_show()
                    stands = True
                    return step
                try:
                    answer = await (self._answer(step) if type(step) is Request else self._step(step))
                except DeputizeError as failure:
                    if self.at_fault:
                        raise
                    step = steps.throw(failure)
                else:
                    step = steps.send(answer)
        except StopIteration as stop:
            return _Ended(stop.value)
        except (DeputizeError, GrantLost, MissingScope) as failure:
            if isinstance(failure, OutcomeUnknown) or not (self.wrote or self.doubt):
                raise
        except Exception as e:
            log.debug("%s failed by itself: %s", self.act.tool.name, type(e).__name__)
            if not (self.wrote or self.doubt):
                raise InvalidInput(f"{self.act.tool.name} failed by itself.", fix_by="operator") from None
        finally:
            if not stands:
                _close(steps)
        raise OutcomeUnknown(f"{self.act.tool.name}: part of it may have been done before it failed.")

    def _may_show(self) -> None:
        if not self.act.shows or self.shown is not None or self.wrote or self.doubt:
            raise self._fault("shows what it does though it said it does not, or too late")

    def _may_change(self) -> None:
        """Nothing is written, noted or kept before it was shown; but a run that goes on does what another one noted."""
        if self.act.shows and self.shown is None and not (self.entry and self.entry.taken_up):
            self.at_fault = True
            raise self._fault("does something before it shows what")

    async def _step(self, step: Step) -> Any:
        match step:
            case list() if all(isinstance(one, Request) for one in step):
                return await self._together(step)
            case PublicRequest():
                return await self._fetched(step)
            case Note():
                return await self._noted(step)
            case Keep():
                self._may_change()
                return await self.sender.files.keep(self.act.user, step.file)
            case Take():
                file = await self.sender.files.take(self.act.user, step.handle)
                self.held += len(file.content)
                return file
            case Wait():
                return await self._wait(step.seconds)
        raise self._fault("yields something that is no step")

    async def _noted(self, note: Note) -> None:
        self._may_change()
        if self.entry is None:
            raise self._fault("keeps a note but writes nothing")
        await self.entry.note(note.data)

    def _fault(self, what: str) -> InvalidInput:
        return InvalidInput(f"{self.act.tool.name} {what}.", fix_by="operator")

    async def _together(self, requests: list[Request]) -> list[Any]:
        """All answers, in order; or the first failure, when all have ended."""
        answers = await asyncio.gather(*(self._answer(one) for one in requests), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def _wait(self, seconds: float) -> None:
        self.waited += seconds
        if not 0 <= seconds <= LONGEST_WAIT or self.waited > MOST_WAITING:
            raise self._fault("waits longer than an act may")
        await self.sender.sleep(seconds)

    async def _fetched(self, request: PublicRequest) -> Any:
        """The answer to a request that has nothing of the user's. Its address may be a stranger's: it tells them."""
        self._may_change()
        if request.call != "read":
            await self._claimed()
        for attempt in count():
            if wait := self._wait_for_budget(STRANGERS):
                await self.sender.sleep(wait)
            outcome = await self.sender.outside.fetch(request, self.provider)
            pause = self._pause(outcome, "read" if request.prepares else request.call, attempt)
            if outcome.kind is Kind.OK:
                return outcome.data
            if pause is None:
                raise error_of(outcome, urlsplit(request.url).hostname or "The address")
            await self.sender.sleep(pause)

    async def _answer(self, request: Request) -> Any:
        """The provider's answer, after whatever may safely be tried again has been."""
        url, call, grant = self._url(request), request.call, self.grant
        if call != "read":
            await self._claimed()
        for attempt in count():
            if wait := self._wait_for_budget(self.act.provider):
                await self.sender.sleep(wait)
            outcome = await self._send(request, url, grant)
            if outcome.kind is Kind.REFRESH_ONCE:
                grant = await self._renewed(grant)
                if wait := self._wait_for_budget(self.act.provider):
                    await self.sender.sleep(wait)
                outcome = await self._send(request, url, grant)
            pause = self._pause(outcome, "read" if request.prepares else call, attempt)
            if outcome.kind is Kind.OK:
                return outcome.data
            if pause is None:
                raise await self._failure(outcome, grant)
            await self.sender.sleep(pause)

    def _wait_for_budget(self, where: str) -> float:
        """Seconds until the user's budget there has room. An act that has begun to write is not stopped in between."""
        return self.sender.budgets.take(self.act.user, where, owed=bool(self.wrote or self.doubt))

    def _pause(self, outcome: Outcome, call: Repeat, attempt: int) -> float | None:
        """Seconds until the same may be sent again, None: never. What the outcome says about writes is remembered."""
        if outcome.kind is Kind.OK:
            self.wrote += call != "read" and outcome.detail != UNDONE
            if outcome.warning:
                self.incomplete.append(outcome.warning)
            return None
        self.doubt |= outcome.kind is Kind.AMBIGUOUS_WRITE and call != "read"
        return pause_of(outcome, attempt)

    async def _claimed(self) -> None:
        """A write needs a row in the ledger, durable before it leaves; a tool that only reads cannot send one."""
        self._may_change()
        if self.entry is None or self.act.effect is Effect.READS:
            raise self._fault("is declared to read only, but writes")
        await self.entry.claim()

    async def _send(self, request: Request, url: str, grant: Grant) -> Outcome:
        try:
            answer = await self.sender.http.send(
                self._with_token(request, url, grant),
                timeout=SECONDS if request.max_bytes <= MUCH else SECONDS_FOR_MUCH,
                max_bytes=min(request.max_bytes, MOST_BYTES),
            )
        except ProviderUnavailable as e:
            return unanswered(request.call, e)
        self.held += len(answer.content)
        status, headers, content = answer.status_code, answer.headers, unechoed(answer.content, grant.access_token)
        if request.whole or status >= 300:  # else nobody sees them
            headers = unechoed_headers(headers, grant.access_token)
        if request.whole and status in REDIRECTS and "location" in headers:
            return Outcome(Kind.OK, detail=UNDONE if status in (307, 308) else "", data=whole(status, headers, None))
        outcome = classify(
            self.provider.rules,
            request.call,
            status,
            headers,
            b"" if request.raw and status < 300 else content,  # what is wanted raw is never read as a refusal
            granted=grant.scopes,
            needs=() if status < 300 else self._needs(),
            now=self.sender.clock(),
        )
        if outcome.kind is Kind.OK and (request.raw or request.whole):
            data = content if request.raw else outcome.data
            return replace(outcome, data=whole(status, headers, data) if request.whole else data)
        return outcome

    def _needs(self) -> list[tuple[str, ...]]:
        return [(need.ask, *sorted(need.accepts - {need.ask})) for need in self.act.needs]

    def _with_token(self, request: Request, url: str, grant: Grant) -> LeanRequest:
        """The request as it leaves. The one place where a token meets a host, which must be the provider's own."""
        headers, content = headers_and_body(request)
        made = LeanRequest(request.method, url, (), content)
        if made.scheme != "https" and not (self.provider.plain_http and is_loopback(made.netloc)):
            raise self._fault("may not send a token in the clear")
        if made.netloc not in self.provider.hosts:
            row = self.sender.providers[self.act.provider]
            raise moved(grant, row) if made.netloc in row.hosts else self._fault("may not call this host")
        made.given = (*headers, ("authorization", f"Bearer {grant.access_token.reveal()}"))
        return made

    def _url(self, request: Request) -> str:
        """The address below the API's root."""
        name = request.api or self.act.tool.api
        root = self.provider.api.get(name)
        if root is None:
            raise InvalidInput(f"{self.provider.label} has no API called {name!r}.", fix_by="operator")
        return address_of(root, request)

    async def _renewed(self, grant: Grant) -> Grant:
        """The grant after its token was refused. A token refused right after a refresh is a dead grant."""
        self.grant = await self.sender.refresher.live(grant, failed=grant.access_token)
        return self.grant

    async def _failure(self, outcome: Outcome, grant: Grant) -> Exception:
        """What a refusal means to whoever called."""
        if outcome.kind is Kind.REFRESH_ONCE:  # of a second token: a grant that has none was lost on the way to it
            outcome = still_refused(self.provider.rules, refreshed=True)
        if outcome.kind is Kind.REAUTH:
            return await self.sender.refresher.mark_lost(grant, outcome.detail or "rejected")
        if outcome.kind is Kind.MISSING_SCOPE and outcome.fix_by != "admin":
            return MissingScope(outcome.needed, named=outcome.certain)
        shown = own_address(self.provider, outcome.url)
        return error_of(outcome if shown == outcome.url else replace(outcome, url=shown), self.provider.label)
