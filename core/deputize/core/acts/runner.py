"""Execution of a tool: each yielded step is passed to its handler, until the tool returns.

Steps that are requests are sent by `deputize.core.acts.provider_requests`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from traceback import walk_tb
from typing import Any, Final
from weakref import WeakKeyDictionary

from deputize.core.acts.audit_record import CallRow
from deputize.core.acts.execution_context import ExecutionContext, Handler
from deputize.core.acts.provider_errors import MissingScope
from deputize.core.acts.provider_requests import Exchange, ProviderTransport
from deputize.core.acts.scrub_response import scrub_token
from deputize.core.errors import (
    ApprovalRequired,
    DeputizeError,
    InvalidInput,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
)
from deputize.core.failures.redaction import redact
from deputize.core.grants.refresh import GrantLost
from deputize.core.idempotency.ledger import Entry
from deputize.core.provenance.contacts import KnownContacts
from deputize.core.time_zones import MachineZone
from deputize.core.tools.act import Act
from deputize.core.tools.continuation import References
from deputize.core.tools.postprocess import postprocess
from deputize.core.tools.preview import Preview
from deputize.core.tools.steps import PublicRequest, Request, Step, Steps, Try
from deputize.core.tools.tool import Effect, Run, Tool
from deputize.core.tools.trusted_authors import TrustedAuthors, Withheld, remove_texts, screen_steps
from deputize.core.vault.grant import Grant, Secret

LONGEST_BUG: Final = 300
"""Characters of an exception's message in the log."""
_ADDRESS: Final = r"(https?://[^\s?#'\"]+)([?#][^\s'\"]*)?"
_MISREAD: Final = (LookupError, TypeError, AttributeError, ValueError)
"""Exceptions that Python raises if a response has other fields or types than its reader expects."""
NO_REASON: Final[Mapping[str, Any]] = {}
LARGE: Final = 32 * 1024
"""Bytes of responses above which a tool continues on a thread, so that the event loop is not blocked."""
READERS: Final = 2
"""Threads on which tools run at the same time, for each event loop."""

log = logging.getLogger("deputize.core.acts")

OnShow = Callable[[Preview], Awaitable[None]]
"""Returns if an act may carry out its preview, or raises. The tool never sees the exception."""


OnEnd = Callable[[], Awaitable[None]]
"""Returns if an act may end without a preview, or raises: then nothing of its result is returned."""


class _Turns(asyncio.Semaphore):
    """Semaphore for the threads that run tools of one event loop. ``calls``: number of calls that have a thread or wait
    for one."""

    calls = 0


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


def close(steps: Steps) -> None:
    """Close a tool. Ignores anything that the tool yields or raises while it closes. If the call was cancelled while
    the tool runs on a thread, the tool ends at its next step instead."""
    with suppress(Exception):
        steps.close()


def locate_bug(tool: Tool, bug: Exception, token: Secret) -> str:
    """Return the kind, place and message of a tool's exception, for the log.

    The place is the last line in the tool's own file, or the line that raised if no line of that file ran. The message
    may quote a provider's response, so the call's token, possible secrets and the queries of URLs are masked.
    """
    try:
        said = str(bug)[:100_000]
    except Exception:
        said = ""
    plain = scrub_token(said.encode(errors="backslashreplace"), token).decode() if token else said
    masked = redact(re.sub(_ADDRESS, lambda url: url[1] + ("?[redacted]" if url[2] else ""), plain))[:LONGEST_BUG]
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(bug.__traceback__)]
    code = getattr(tool.steps, "__code__", None)
    own = [key for key in frames if code and key[0] == code.co_filename]
    file, line = (own or frames)[-1]
    return f"{type(bug).__name__} at {file}:{line}: {masked.encode('unicode_escape').decode()}"


def _pass_on_reason(failure: Exception) -> Mapping[str, Any]:
    """Return the provider's reason if a refusal caused this error of the tool, and add the reason to the error."""
    if not isinstance(failure, DeputizeError):
        return NO_REASON
    if not failure.from_provider and isinstance(cause := failure.__context__, DeputizeError):
        failure.from_provider = cause.from_provider
    return failure.from_provider


class _Ended:
    def __init__(self, result: Any) -> None:
        self.result = result


def _step_or_end(go: Callable[[], Step]) -> Step | _Ended:
    try:
        return go()
    except StopIteration as stop:
        return _Ended(stop.value)


def _leave(turns: _Turns, loop: asyncio.AbstractEventLoop) -> None:
    turns.calls -= 1
    if not turns.calls:  # a semaphore that was waited on keeps a reference to its loop
        _readers.pop(loop, None)


def _is_over(turns: _Turns, work: asyncio.Future[Any]) -> None:
    turns.release()
    _leave(turns, work.get_loop())
    if not work.cancelled():
        work.exception()  # nobody retrieves it after the call was cancelled


class Planned:
    """A run that is paused at its tool's preview."""

    def __init__(self, run: ExecutionContext, steps: Steps, show: Preview) -> None:
        self.run, self.steps, self.show = run, steps, show

    def close(self) -> None:
        """Close the run."""
        close(self.steps)


class Runner:
    """Runs tools, with the handlers of all steps.

    ``chain_bugs``: True if an error keeps the tool's exception as its cause. For tests only, because the exception's
    frames contain the provider's responses.
    """

    chain_bugs = False

    def __init__(
        self,
        transport: ProviderTransport,
        trusted_authors: TrustedAuthors,
        handlers: Mapping[type, Handler],
        contacts: KnownContacts,
    ) -> None:
        services = transport.services
        self.transport, self.trusted_authors, self.handlers = transport, trusted_authors, handlers
        self.contacts = contacts
        self.zones, self.clock = services.zones, services.clock
        self.references = References(services.vault.keys.index)

    async def run(
        self,
        act: Act,
        grant: Grant,
        row: CallRow,
        entry: Entry | None = None,
        on_show: OnShow | None = None,
        planned: Planned | None = None,
        on_end: OnEnd | None = None,
    ) -> Any:
        """Return the tool's result. ``entry``: the act's ledger entry; without it, only reads can be sent. ``planned``:
        the run of this act that is paused at its preview, so that the tool does not read twice. ``on_end``: called if
        the tool ends without a preview.

        If successful responses reported missing data, ``row`` names it, and the result too if it is an object without
        that key. Times in the result are in the user's zone. Raises the `DeputizeError` that the tool did not catch,
        `MissingScope`, or the refresher's ``GrantLost``.
        """
        found: Preview | _Ended | None = None
        if planned:
            run, steps, found = planned.run, planned.steps, planned.show
            run.take_over(act, grant, entry)
        else:
            run, steps = await self._begin(act, grant, entry)
        if entry is not None:
            entry.people = run.people = run.people | entry.people
        found = found or await self._advance(run, steps, partial(next, steps))
        if isinstance(found, Preview):
            found = await self._carry_out(run, steps, found, on_show)
        elif on_end is not None:
            await on_end()
        result = self._narrow(run, found.result if isinstance(found, _Ended) else None)
        if run.exchange.contacts:
            await self.contacts.learn(act.user, run.exchange.contacts)
        seal = partial(self.references.sealed, act=act)
        result = postprocess(result, run.zone, self.clock(), seal, named=run.guessed_zone)
        if not run.exchange.incomplete:
            return result
        incomplete = "; ".join(dict.fromkeys(run.exchange.incomplete))
        row.record_incomplete(incomplete)
        return {"incomplete": incomplete, **result} if isinstance(result, dict) else result

    async def preview(self, act: Act, grant: Grant) -> Planned | None:
        """Run the act up to its preview and return the paused run, or None without a preview. Nothing is written."""
        run, steps = await self._begin(act, await self.transport.refresher.get_live(grant), None)
        found = await self._advance(run, steps, partial(next, steps))
        return Planned(run, steps, found) if isinstance(found, Preview) else None

    async def _begin(self, act: Act, grant: Grant, entry: Entry | None) -> tuple[ExecutionContext, Steps]:
        zone, known = await self.zones.find(act.user)
        run = ExecutionContext(Exchange(self.transport, act, grant), entry, zone, zone_known=known)
        return run, self.begin(run)

    def begin(self, run: ExecutionContext) -> Steps:
        """Return the tool's steps, not started. If the operator trusts only certain authors, the steps of a read are
        filtered."""
        act = run.act
        steps = act.tool.begin(act.arguments, partial(self._describe, run))
        screen = self.trusted_authors.screen(act.tool)
        if screen is None or act.effect is not Effect.READS:
            return steps
        run.withheld = Withheld()
        return screen_steps(steps, screen(self._describe(run), run.withheld), run.withheld)

    def _describe(self, run: ExecutionContext) -> Run:
        """Return the facts about a run that its tool may know."""
        exchange, entry, act = run.exchange, run.entry, run.act
        return Run(
            key=act.key,
            granted=exchange.provider.implied_scopes(exchange.grant.scopes),
            account=exchange.grant.account,
            noted=entry.noted if entry else None,
            now=(entry.began if entry else 0.0) or act.began or self.clock(),
            zone=run.zone or MachineZone(),
            trusted_authors=self.trusted_authors.word(act.tool),
            grant=exchange.grant_name,
            can_ask=act.can_ask,
            zone_known=run.zone_known,
        )

    def _narrow(self, run: ExecutionContext, result: Any) -> Any:
        """Return the result without texts of authors whom the operator does not trust."""
        if run.withheld is not None:
            return run.withheld.remove_marks(result)
        if run.act.effect is Effect.READS or not (word := self.trusted_authors.word(run.act.tool)):
            return result
        return remove_texts(result, f"writes return no text of other authors: trusted_authors is {word}")

    async def _carry_out(
        self, run: ExecutionContext, steps: Steps, show: Preview, on_show: OnShow | None
    ) -> Preview | _Ended:
        """Continue a tool that is paused at its preview, if ``on_show`` permits it.

        ``on_show`` is called outside the tool. Inside, the tool could mistake a rejection for the provider's refusal.
        """
        try:
            if on_show is not None:
                await on_show(show)
        except BaseException:
            close(steps)
            raise
        run.shown = show
        return await self._advance(run, steps, partial(steps.send, None))

    async def _advance(self, run: ExecutionContext, steps: Steps, first: Callable[[], Step]) -> Preview | _Ended:
        """Handle the tool's steps until it returns, or until it yields its preview and pauses there."""
        closes, answered, cause, reason = True, False, None, NO_REASON
        try:
            step = await _next(run, first)
            while True:
                if isinstance(step, _Ended):
                    closes = False
                    return step
                if isinstance(step, Preview):
                    run.check_show()
                    closes = False
                    return step if not run.act.organisation else step.by(run.exchange.grant.account.name)
                try:
                    answer = await self._handler(run, step)(run, step)
                except DeputizeError as failure:
                    if run.ends:
                        raise
                    answered = False
                    step = await _next(run, partial(steps.throw, failure))
                else:
                    answered = isinstance(step, Request | list | PublicRequest | Try)
                    step = await _next(run, partial(steps.send, answer))
                answered = False
        except (DeputizeError, GrantLost, MissingScope) as failure:
            reason = _pass_on_reason(failure)
            if isinstance(failure, OutcomeUnknown | ApprovalRequired) or not run.began_to_write:
                raise
            if run.ends and isinstance(failure, RateLimited):  # the provider asked first, and the user cannot be asked
                raise
        except Exception as e:
            tool, kind = run.act.tool, type(e).__name__
            log.warning("%s: bug in the tool: %s", tool.name, locate_bug(tool, e, run.exchange.grant.access_token))
            cause = e if self.chain_bugs else None
            if answered and isinstance(e, _MISREAD) and not run.began_to_write:
                label = run.exchange.provider.label
                raise ProviderUnavailable(
                    f"{tool.name}: a response of {label} has another form than the tool expects ({kind}). "
                    "Nothing was changed.",
                    hint="The log has the place in the tool.",
                    sent=True,
                ) from cause
            if not run.began_to_write:
                said = f"{tool.name}: bug in the tool ({kind}). Nothing was changed."
                raise InvalidInput(said, hint="The log has the place in the tool.", fix_by="operator") from cause
        finally:
            if closes:
                close(steps)
        unknown = OutcomeUnknown(f"{run.act.tool.name} failed after a write was sent: part of it may have been done.")
        unknown.from_provider = reason
        raise unknown from cause

    def _handler(self, run: ExecutionContext, step: Step) -> Handler:
        """Return the handler for a step's class or a base class of it. Raises `InvalidInput` if there is none."""
        for kind in type(step).__mro__:
            if handler := self.handlers.get(kind):
                return handler
        raise run.fault(f"yields {type(step).__name__}, which is not a step")


async def _next(run: ExecutionContext, go: Callable[[], Step]) -> Step | _Ended:
    """Return the tool's next step, or its end. A tool that holds more than `LARGE` bytes runs on a thread."""
    if run.exchange.held <= LARGE:
        return _step_or_end(go)
    loop = asyncio.get_running_loop()
    turns = _readers.setdefault(loop, _Turns(READERS))
    turns.calls += 1
    try:
        await turns.acquire()
    except BaseException:
        _leave(turns, loop)
        raise
    try:
        context = copy_context()
        work = loop.run_in_executor(None, lambda: context.run(_step_or_end, go))
    except RuntimeError:  # the interpreter is ending and starts no thread any more
        turns.release()
        _leave(turns, loop)
        return _step_or_end(go)
    work.add_done_callback(partial(_is_over, turns))
    return await asyncio.shield(work)  # a cancelled call keeps its turn until its thread is free
