"""Performs acts: with a token that is good now, over one pooled client. The steps of a tool runs `Runner`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from deputize.core.acts.audit_record import CallRow
from deputize.core.acts.batched_reads import InStep
from deputize.core.acts.operator_notes import OperatorNotes
from deputize.core.acts.provider_requests import Exchange
from deputize.core.acts.public_requests import PublicSender
from deputize.core.acts.rate_limit import Budgets
from deputize.core.acts.runner import OnShow, Runner, close
from deputize.core.engine import Engine
from deputize.core.grants.refresh import Refresher
from deputize.core.idempotency.ledger import Entry
from deputize.core.oauth.provider import Provider
from deputize.core.provenance.store import OutsideRecord
from deputize.core.providers.origin import at_home
from deputize.core.tools.act import Act
from deputize.core.tools.continuation import References
from deputize.core.tools.files import Files
from deputize.core.tools.local_provider import NO_PROVIDER
from deputize.core.tools.only_from import OnlyFrom
from deputize.core.tools.postprocess import handed_on
from deputize.core.tools.preview import Show
from deputize.core.tools.steps import Steps
from deputize.core.vault.grant import Grant

if TYPE_CHECKING:
    from deputize.core.acts.elicitation import Questions
    from deputize.core.acts.people_search import PeopleSearch

Sleep = Callable[[float], Awaitable[None]]


class Sender:
    """Performs acts: over one pooled client, with tokens that are good now.

    ``chain_bugs``: an error that a tool's bug ends in has the bug as its cause. Its frames hold what the provider
    answered, so this is for tests.
    """

    chain_bugs = False

    def __init__(
        self,
        engine: Engine,
        refresher: Refresher,
        outside: PublicSender,
        files: Files,
        budgets: Budgets,
        only_from: OnlyFrom,
        named: OutsideRecord,
    ) -> None:
        self.http, self.providers, self.refresher = engine.http, engine.providers, refresher
        self.outside, self.files, self.budgets, self.only_from = outside, files, budgets, only_from
        self.named = named
        self.clock, self.sleep = engine.clock, engine.sleep
        self.people: Callable[[], PeopleSearch]  # it works with this
        self.questions: Questions
        self.zones, self.references = engine.zones, References(engine.vault.keys.index)
        self.operator_notes, self.in_step = OperatorNotes(engine.vault), InStep()

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
        object and does not say so itself. Times stand in it in the user's zone.
        Raises the `DeputizeError` that the tool let pass, `MissingScope`, or the refresher's ``GrantLost``.
        """
        runner, steps = (planned.runner, planned.steps) if planned else await self._begun(act, grant, entry)
        exchange = runner.exchange
        runner.entry, exchange.act, exchange.grant = entry, act, grant  # a plan may be older than the token
        if entry is not None:
            entry.people = runner.people = runner.people | entry.people
        result = runner.narrowed(await runner.drive(steps, on_show, planned.show if planned else None))
        zone = await self.zones.of(act.user)  # as the tool may have told it
        seal = partial(self.references.sealed, act=act)
        result = handed_on(result, zone, self.clock(), seal, named=runner.guessed_zone)
        if not exchange.incomplete:
            return result
        incomplete = "; ".join(dict.fromkeys(exchange.incomplete))
        row.left_out(incomplete)
        return {"incomplete": incomplete, **result} if isinstance(result, dict) else result

    async def plan(self, act: Act, grant: Grant) -> Planned | None:
        """The act up to where it shows what it will do; None where there is nothing to do. Nothing is written."""
        runner, steps = await self._begun(act, grant, None)
        found = await runner.ahead(steps, lambda: next(steps))
        return Planned(runner, steps, found) if isinstance(found, Show) else None

    async def _begun(self, act: Act, grant: Grant, entry: Entry | None) -> tuple[Runner, Steps]:
        zone, known = await self.zones.find(act.user)
        exchange = Exchange(self, act, self._provider(act, grant), grant)
        runner = Runner(exchange, self, entry, zone, zone_known=known)
        return runner, runner.begin()

    def _provider(self, act: Act, grant: Grant) -> Provider:
        if not act.provider:
            return NO_PROVIDER
        return at_home(self.providers[act.provider], grant, self.refresher.apps[act.app]).for_grant(grant.extra)


class Planned:
    """An act that stands where it has shown what it will do."""

    def __init__(self, runner: Runner, steps: Steps, show: Show) -> None:
        self.runner, self.steps, self.show = runner, steps, show

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
        close(self.steps)
