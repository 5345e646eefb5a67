"""Performs acts: runs a tool's steps as a user, and keeps a tool to what it has declared and shown.

What a tool asks the provider for is sent by `deputize.core.act.exchange`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deputize.core.act.act import Act
from deputize.core.act.budget import Budgets
from deputize.core.act.call_row import CallRow
from deputize.core.act.exchange import Exchange, fault_of
from deputize.core.act.files import Files
from deputize.core.act.ledger import Entry
from deputize.core.act.request import Keep, Note, PublicRequest, Request, Step, Steps, Take, Undo, Wait, Whom
from deputize.core.act.results import MissingScope
from deputize.core.act.run import Run
from deputize.core.act.show import Show
from deputize.core.act.tool import Effect
from deputize.core.act.unauthenticated import PublicSender
from deputize.core.engine import Engine
from deputize.core.errors import DeputizeError, InvalidInput, OutcomeUnknown
from deputize.core.grants.refresh import GrantLost, Refresher
from deputize.core.providers.origin import at_home
from deputize.core.vault.grant import Grant

if TYPE_CHECKING:
    from deputize.core.act.people_search import PeopleSearch

LONGEST_WAIT: Final = 10.0
MOST_WAITING: Final = 30.0

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
        self.people: PeopleSearch  # it works with this

    async def perform(
        self,
        act: Act,
        grant: Grant,
        row: CallRow,
        entry: Entry | None = None,
        on_show: OnShow | None = None,
        planned: Planned | None = None,
    ) -> Any:
        """The tool's result. ``entry`` is the act's row in the ledger; without one nothing but reads can be sent.
        ``planned``: the act as it stands at what it has shown, so that it does not read twice.

        What the provider left out of good answers is noted in ``row``, for the audit, and added to a result that is an
        object and does not say so itself.
        Raises the `DeputizeError` that the tool let pass, `MissingScope`, or the refresher's ``GrantLost``.
        """
        runner, steps = (planned.runner, planned.steps) if planned else self._begun(act, grant, entry)
        exchange = runner.exchange
        runner.entry, exchange.act, exchange.grant = entry, act, grant  # a plan may be older than the token
        if entry is not None:
            entry.people = runner.people = runner.people | entry.people
        result = await runner.drive(steps, on_show, planned.show if planned else None)
        if not exchange.incomplete:
            return result
        incomplete = "; ".join(dict.fromkeys(exchange.incomplete))
        row.left_out(incomplete)
        return {"incomplete": incomplete, **result} if isinstance(result, dict) else result

    async def plan(self, act: Act, grant: Grant) -> Planned | None:
        """The act up to where it shows what it will do; None where there is nothing to do. Nothing is written."""
        runner, steps = self._begun(act, grant, None)
        found = await runner.ahead(steps, lambda: next(steps))
        return Planned(runner, steps, found) if isinstance(found, Show) else None

    def _begun(self, act: Act, grant: Grant, entry: Entry | None) -> tuple[Runner, Steps]:
        row = at_home(self.providers[act.provider], grant, self.refresher.apps[act.app])
        runner = Runner(Exchange(self, act, row.for_grant(grant.extra), grant), self.files, self.sleep, entry)
        return runner, runner.begin()


@dataclass(eq=False, repr=False)
class Planned:
    """An act that stands where it has shown what it will do."""

    runner: Runner
    steps: Steps
    show: Show

    @property
    def act(self) -> Act:
        """Which one."""
        return self.runner.act

    @property
    def grant(self) -> Grant:
        """As which account it was begun."""
        return self.runner.exchange.grant

    @property
    def held(self) -> int:
        """Bytes of the answers and files that it holds."""
        return self.runner.exchange.held

    def close(self) -> None:
        """It does not go on."""
        _close(self.steps)


def _close(steps: Steps) -> None:
    """End a tool where it stands. One that yields in spite of it has said its last word."""
    with suppress(RuntimeError):
        steps.close()


class _Ended(NamedTuple):
    result: Any


@dataclass(repr=False, eq=False)
class Runner:
    """One tool's steps on their way.

    ``waited``: seconds the tool has waited; ``shown``: what the tool has shown and may now do; ``at_fault``: it
    has broken a rule, and may not talk itself out of it. ``people``: who was meant, by what it was asked.
    """

    exchange: Exchange
    files: Files
    sleep: Sleep
    entry: Entry | None
    waited: float = 0.0
    shown: Show | None = None
    at_fault: bool = False
    people: dict[str, str] = field(default_factory=dict)

    @property
    def act(self) -> Act:
        """The act whose tool this is."""
        return self.exchange.act

    @property
    def _began_to_write(self) -> bool:
        return bool(self.exchange.wrote or self.exchange.doubt)

    def begin(self) -> Steps:
        """The tool's steps, before the first."""
        return self.act.tool.begin(self.act.arguments, self._run)

    def _run(self) -> Run:
        """What a tool may know of it."""
        exchange, entry = self.exchange, self.entry
        return Run(
            key=self.act.key,
            granted=exchange.provider.covered(exchange.grant.scopes),
            account=exchange.grant.account,
            noted=entry.noted if entry else None,
            now=(entry.began if entry else 0.0) or self.act.began or exchange.sender.clock(),
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
                    answer = await self._step(step)
                except DeputizeError as failure:
                    if self.at_fault:
                        raise
                    step = steps.throw(failure)
                else:
                    step = steps.send(answer)
        except StopIteration as stop:
            return _Ended(stop.value)
        except (DeputizeError, GrantLost, MissingScope) as failure:
            if isinstance(failure, OutcomeUnknown) or not self._began_to_write:
                raise
        except Exception as e:
            log.debug("%s: bug in the tool: %s", self.act.tool.name, type(e).__name__)
            if not self._began_to_write:
                said = f"{self.act.tool.name}: bug in the tool ({type(e).__name__}). Nothing was changed."
                raise InvalidInput(said, fix_by="operator") from None
        finally:
            if not stands:
                _close(steps)
        raise OutcomeUnknown(f"{self.act.tool.name} failed after a write was sent: part of it may have been done.")

    def _may_show(self) -> None:
        if not self.act.shows or self.shown is not None or self._began_to_write:
            raise self._fault(
                "yields a Show though it reads only or says shows=False, a second one, or one after a write"
            )

    def _may_change(self) -> None:
        """Nothing is written, noted or kept before it was shown; but a run that goes on does what another one noted."""
        if self.act.shows and self.shown is None and not (self.entry and self.entry.taken_up):
            self.at_fault = True
            raise self._fault("writes, notes or keeps a file before it shows what it will do")

    async def _step(self, step: Step) -> Any:
        match step:
            case Request():
                return await self.exchange.send(step, self._claim)
            case list() if all(isinstance(one, Request) for one in step):
                return await self._together(step)
            case PublicRequest():
                self._may_change()  # its address may be a stranger's: it tells them
                return await self.exchange.fetch(step, self._claim)
            case Note():
                return await self._noted(step)
            case Keep():
                self._may_change()
                return await self.files.keep(self.act.user, step.file)
            case Take():
                file = await self.files.take(self.act.user, step.handle)
                self.exchange.held += len(file.content)
                return file
            case Wait():
                return await self._wait(step.seconds)
            case Whom():
                return await self.exchange.sender.people.for_run(self, step)
            case Undo():
                return self._can_be_undone(step)
        raise self._fault(f"yields {type(step).__name__}, which is no step")

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

    async def _wait(self, seconds: float) -> None:
        self.waited += seconds
        if not 0 <= seconds <= LONGEST_WAIT or self.waited > MOST_WAITING:
            raise self._fault(f"waits longer than {LONGEST_WAIT:g} seconds at once, or {MOST_WAITING:g} in all")
        await self.sleep(seconds)

    def _can_be_undone(self, undo: Undo) -> None:
        goes_on = self.entry is not None and self.entry.taken_up  # an earlier run may have shown it
        if (self.shown is None and not goes_on) or self.entry is None or self.entry.undo is not None:
            raise self._fault("yields an Undo before it shows what it will do, or a second one")
        self.entry.undo = undo

    async def _claim(self) -> None:
        """A write needs a row in the ledger, durable before it leaves; a tool that only reads cannot send one."""
        self._may_change()
        if self.entry is None or self.act.effect is Effect.READS:
            raise self._fault("sends a write, but is declared to read only")
        await self.entry.claim()
