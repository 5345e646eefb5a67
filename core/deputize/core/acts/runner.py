"""Runs a tool's steps as a user, and keeps a tool to what it has declared and shown.

What a tool asks the provider for is sent by `deputize.core.acts.provider_requests`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from deputize.core.acts.provider_requests import Exchange, fault_of, undeclared_show
from deputize.core.acts.response_errors import MissingScope, unechoed
from deputize.core.errors import ApprovalRequired, DeputizeError, InvalidInput, OutcomeUnknown, ProviderUnavailable
from deputize.core.failures.redaction import redact
from deputize.core.grants.refresh import GrantLost
from deputize.core.idempotency.ledger import Entry
from deputize.core.tools.act import Act
from deputize.core.tools.only_from import Withheld, screened, without_texts
from deputize.core.tools.preview import Show
from deputize.core.tools.run import Run
from deputize.core.tools.steps import (
    AskUser,
    File,
    ForOperator,
    Heard,
    Keep,
    Note,
    Parse,
    PublicRequest,
    Request,
    Step,
    Steps,
    Take,
    TimeZone,
    Try,
    Undo,
    Wait,
    Whom,
)
from deputize.core.tools.tool import Effect, Tool
from deputize.core.tools.user_time import UserTime
from deputize.core.vault.grant import Secret
from deputize.core.zones import MachineZone, named_zone

if TYPE_CHECKING:
    from deputize.core.acts.execution_context import Sender

LONGEST_WAIT: Final = 10.0
MOST_WAITING: Final = 30.0
MOST_TRIED: Final = 10
LONGEST_BUG: Final = 300
"""Characters of an exception's message in the log."""
_ADDRESS: Final = r"(https?://[^\s?#'\"]+)([?#][^\s'\"]*)?"
_MISREAD: Final = (LookupError, TypeError, AttributeError, ValueError)
"""What Python raises if an answer has other fields or types than its reader expects."""
NO_REASON: Final[Mapping[str, Any]] = {}
LARGE: Final = 32 * 1024
"""Bytes of answers. A tool that has been given more works on a thread, so that the event loop keeps turning."""
READERS: Final = 2
"""Threads on which tools work at the same time, for each event loop. The loop waits for each of them in turn."""

log = logging.getLogger("deputize.core.acts")

OnShow = Callable[[Show], Awaitable[None]]
"""Lets an act go on that has shown what it will do, or raises: what it raises the tool never sees."""


class _Turns(asyncio.Semaphore):
    """The threads of one event loop. ``calls``: how many have a thread or wait for one."""

    calls = 0


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


def close(steps: Steps) -> None:
    """End a tool where it stands, whatever it yields or raises then. A tool that still works on a thread, because its
    call was cancelled, ends at its next step: nobody holds it any more."""
    with suppress(Exception):
        steps.close()


def locate_bug(tool: Tool, bug: Exception, token: Secret) -> str:
    """Return the kind, place and message of an exception of a tool, for the log.

    The place is the last line of the tool's own file, or where nothing of that ran, the line that raised. The message
    may quote what a provider answered: the call's token, whatever looks like a secret and the queries of addresses,
    which may be signed, are masked.
    """
    try:
        said = str(bug)[:100_000]
    except Exception:
        said = ""
    plain = unechoed(said.encode(errors="backslashreplace"), token).decode() if token else said
    masked = redact(re.sub(_ADDRESS, lambda url: url[1] + ("?[redacted]" if url[2] else ""), plain))[:LONGEST_BUG]
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(bug.__traceback__)]
    code = getattr(tool.steps, "__code__", None)
    own = [place for place in frames if code and place[0] == code.co_filename]
    file, line = (own or frames)[-1]
    return f"{type(bug).__name__} at {file}:{line}: {masked.encode('unicode_escape').decode()}"


def _pass_on_reason(failure: Exception) -> Mapping[str, Any]:
    """Give a tool's own error the provider's reason for the refusal that it was made of, and return that."""
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
    if not turns.calls:  # one in which a call has waited would keep its loop for ever
        _readers.pop(loop, None)


def _is_over(turns: _Turns, work: asyncio.Future[Any]) -> None:
    turns.release()
    _leave(turns, work.get_loop())
    if not work.cancelled():
        work.exception()  # of a cancelled call nobody asks


class Runner:
    """One tool's steps on their way.

    ``zone``: the user's, None for the machine's own; ``guessed_zone``: an argument was read in a zone that nobody said
    of the user; ``waited``: seconds the tool has waited; ``shown``: what the tool
    has shown and may now do; ``ends``: whatever the tool does with the next failure, the run ends with it: it has
    broken a rule, or its provider asks the user. ``people``: who was meant, by what it was asked; ``withheld``: texts
    that are not handed on.
    """

    def __init__(
        self, exchange: Exchange, sender: Sender, entry: Entry | None, zone: tzinfo | None, *, zone_known: bool
    ) -> None:
        self.exchange, self.sender, self.entry = exchange, sender, entry
        self.zone, self.zone_known, self.guessed_zone = zone, zone_known, False
        self.waited = 0.0
        self.shown: Show | None = None
        self.ends = False
        self.people: dict[str, str] = {}
        self.withheld = Withheld()

    @property
    def act(self) -> Act:
        """The act whose tool this is."""
        return self.exchange.act

    @property
    def _began_to_write(self) -> bool:
        return bool(self.exchange.wrote or self.exchange.doubt)

    def begin(self) -> Steps:
        """The tool's steps, before the first; of one that reads, behind the screen that the operator wants."""
        steps = self.act.tool.begin(self.act.arguments, self._run)
        screen = self.sender.only_from.screen(self.act.tool)
        if screen is None or self.act.effect is not Effect.READS:
            return steps
        return screened(steps, screen(self._run(), self.withheld), self.withheld)

    def narrowed(self, result: Any) -> Any:
        """The result without the texts of those whose texts the operator does not want a model to read."""
        word = self.sender.only_from.word(self.act.tool)
        if not word:
            return result
        if self.act.effect is Effect.READS:
            return self.withheld.taken_out(result)
        return without_texts(result, f"of a write nothing that others wrote is told: only_from is {word}")

    def _run(self) -> Run:
        """What a tool may know of it."""
        exchange, entry = self.exchange, self.entry
        return Run(
            key=self.act.key,
            granted=exchange.provider.covered(exchange.grant.scopes),
            account=exchange.grant.account,
            noted=entry.noted if entry else None,
            now=(entry.began if entry else 0.0) or self.act.began or self.sender.clock(),
            zone=self.zone or MachineZone(),
            only_from=self.sender.only_from.word(self.act.tool),
            grant=exchange.grant_name,
            can_ask=self.act.can_ask,
            zone_known=self.zone_known,
        )

    async def drive(self, steps: Steps, on_show: OnShow | None, show: Show | None = None) -> Any:
        """The tool's result. ``show``: where it stands already. ``on_show`` is asked outside of the tool, which could
        mistake a no for a provider's refusal."""
        found = show or await self.ahead(steps, lambda: next(steps))
        if isinstance(found, Show):
            try:
                if on_show is not None:
                    await on_show(found)
            except BaseException:
                close(steps)
                raise
            self.shown = found
            found = await self.ahead(steps, lambda: steps.send(None))
        return found.result if isinstance(found, _Ended) else None

    async def ahead(self, steps: Steps, first: Callable[[], Step]) -> Show | _Ended:
        """Send each step, hand its answer or its failure to the tool, until it returns or shows what it will do. There
        it is left standing."""
        stands, answered, cause, reason = False, False, None, NO_REASON
        try:
            step = await self._next(first)
            while True:
                if isinstance(step, _Ended):
                    return step
                if isinstance(step, Show):
                    self._may_show()
                    stands = True
                    return step if not self.act.organisation else step.by(self.exchange.grant.account.name)
                try:
                    answer = await self._step(step)
                except DeputizeError as failure:
                    if self.ends:
                        raise
                    answered = False
                    step = await self._next(partial(steps.throw, failure))
                else:
                    answered = isinstance(step, Request | list | PublicRequest | Try)
                    step = await self._next(partial(steps.send, answer))
                answered = False
        except (DeputizeError, GrantLost, MissingScope) as failure:
            reason = _pass_on_reason(failure)
            if isinstance(failure, OutcomeUnknown | ApprovalRequired) or not self._began_to_write:
                raise
        except Exception as e:
            tool, kind = self.act.tool, type(e).__name__
            log.warning("%s: bug in the tool: %s", tool.name, locate_bug(tool, e, self.exchange.grant.access_token))
            cause = e if self.sender.chain_bugs else None
            if answered and isinstance(e, _MISREAD) and not self._began_to_write:
                label = self.exchange.provider.label
                raise ProviderUnavailable(
                    f"{tool.name}: an answer of {label} has another form than the tool expects ({kind}). "
                    "Nothing was changed.",
                    hint="The log has the place in the tool.",
                    sent=True,
                ) from cause
            if not self._began_to_write:
                said = f"{tool.name}: bug in the tool ({kind}). Nothing was changed."
                raise InvalidInput(said, hint="The log has the place in the tool.", fix_by="operator") from cause
        finally:
            if not stands:
                close(steps)
        unknown = OutcomeUnknown(f"{self.act.tool.name} failed after a write was sent: part of it may have been done.")
        unknown.from_provider = reason
        raise unknown from cause

    async def _next(self, go: Callable[[], Step]) -> Step | _Ended:
        """The tool's next step, or its end. A tool that was given little answers at once, without a thread."""
        if self.exchange.held <= LARGE:
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

    def _may_show(self) -> None:
        if self.act.effect is Effect.READS or self.shown is not None or self._began_to_write:
            raise self._fault("yields a Show though this call only reads, a second one, or one after a write")
        if not self.act.shows:
            raise undeclared_show(self.act, "yields a Show")

    def _may_change(self) -> None:
        """Nothing is written, noted or kept before it was shown; but a run that goes on does what another one noted."""
        if self.act.shows and self.shown is None and not (self.entry and self.entry.taken_up):
            self.ends = True
            raise self._fault("writes, notes or keeps a file before it shows what it will do")

    async def _step(self, step: Step) -> Any:
        match step:
            case Request():
                return await self.exchange.send(step, self._claim)
            case list() if all(isinstance(one, Request) for one in step):
                return await self._together(step)
            case PublicRequest():
                self._has_provider("sends a request")
                self._may_change()  # its address may be a stranger's: it tells them
                return await self.exchange.fetch(step, self._claim)
            case Note():
                return await self._noted(step)
            case ForOperator():
                return await self.sender.operator_notes.write(step.place, step.said)
            case Keep():
                self._may_change()
                kept = await self.sender.files.keep(self.act.user, self._without_token(step.file))
                return kept | {"expires": UserTime.of(kept["expires"])}
            case Take():
                file = await self.sender.files.take(self.act.user, step.handle)
                self.exchange.held += len(file.content)
                return file
            case Parse():
                from deputize.core.tools.parser_sandbox import parsed  # few tools read what strangers made

                return await parsed(step)
            case TimeZone():
                self._has_provider("says in which zone the user is")
                return await self._zone(step)
            case Try():
                return await self._tried(step.requests)
            case Wait():
                return await self._wait(step.seconds)
            case Whom():
                return await self.sender.people().for_run(self, step)
            case Undo():
                return self._can_be_undone(step)
            case Heard() | AskUser():
                self._may_change()
                return await self.sender.questions.for_run(self, step)
        raise self._fault(f"yields {type(step).__name__}, which is no step")

    async def _zone(self, step: TimeZone) -> tzinfo | None:
        """The zone of this name; if an argument depends on it and nobody has named one, the one for all."""
        zone = None
        if self.act.organisation:  # no zone of the user's
            zone = None if step.argument else await named_zone(step.name)
        elif step.name:
            zone = await self.sender.zones.learn(self.act.user, self.act.provider, step.name)
        if zone is not None or not step.argument:
            return zone
        if guess := self.sender.zones.guess:
            return guess
        if self.act.effect is not Effect.READS:
            raise InvalidInput(
                f"{step.argument}: names a day or an hour, and the user's time zone is not known.",
                hint="Give a time with its offset from UTC, such as 2026-12-01T15:00+01:00. If only the day counts, a "
                "date is enough.",
            )
        self.guessed_zone = True
        return UTC

    def _without_token(self, file: File) -> File:
        """What a provider packs into base64 has been looked through by nobody yet."""
        token = self.exchange.grant.access_token
        return replace(file, content=unechoed(file.content, token)) if self.act.provider else file

    def _has_provider(self, what: str) -> None:
        if not self.act.provider:
            raise self._fault(f"{what}, and belongs to a toolkit without a provider")

    async def _noted(self, note: Note) -> None:
        self._may_change()
        if self.entry is None:
            raise self._fault("yields a Note, but is declared to read only")
        await self.entry.note(note.data)

    def _fault(self, what: str) -> InvalidInput:
        return fault_of(self.act, what)

    async def _together(self, requests: list[Request]) -> list[Any]:
        """All answers, in order; or the first failure, when all have ended."""
        sent = (self.exchange.send(one, self._claim) for one in requests)
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def _tried(self, requests: Sequence[Request]) -> list[Any]:
        """Of each read its answer, or None."""
        if len(requests) > MOST_TRIED or any(one.call != "read" for one in requests):
            raise self._fault(f"tries more than {MOST_TRIED} requests at once, or writes")
        sent = (self.exchange.send(one, self._claim) for one in requests)
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, DeputizeError | MissingScope):
                raise answer
        return [None if isinstance(one, BaseException) else one for one in answers]

    async def _wait(self, seconds: float) -> None:
        self.waited += seconds
        if not 0 <= seconds <= LONGEST_WAIT or self.waited > MOST_WAITING:
            raise self._fault(f"waits longer than {LONGEST_WAIT:g} seconds at once, or {MOST_WAITING:g} in all")
        await self.sender.sleep(seconds)

    def _can_be_undone(self, undo: Undo) -> None:
        goes_on = self.entry is not None and self.entry.taken_up  # an earlier run may have shown it
        if (self.shown is None and not goes_on) or self.entry is None or self.entry.undo is not None:
            raise self._fault("yields an Undo before it shows what it will do, or a second one")
        self.entry.undo = undo

    async def _claim(self, seconds: float) -> None:
        """A write needs a row in the ledger, durable before it leaves; a tool that only reads cannot send one."""
        self._may_change()
        if self.entry is None or self.act.effect is Effect.READS:
            raise self._fault("sends a write, but is declared to read only")
        await self.entry.claim(seconds)
