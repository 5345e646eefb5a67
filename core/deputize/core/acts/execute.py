"""From a permitted act to its outcome, once: claimed before the first byte of a write, recorded after the last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from deputize.core.acts.audit_record import CallRow
from deputize.core.acts.elicitation import Questions
from deputize.core.acts.preview import Previewer
from deputize.core.acts.response_errors import MissingScope
from deputize.core.acts.runner import Planned
from deputize.core.approvals.repository import Claim
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import ActIntent, LedgerSaveFailed
from deputize.core.engine import Engine
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, OutcomeUnknown, StoreUnavailable
from deputize.core.grants.refresh import GrantLost, Refresher
from deputize.core.idempotency.ledger import Entry, Ledger, Recorded, recordable
from deputize.core.idempotency.undo import kept_of
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Preview
from deputize.core.tools.tool import Effect
from deputize.core.vault.grant import Grant

log = logging.getLogger("deputize.core.acts")


class Executor:
    """Performs acts that were decided, with a token that is good now. Reads are not recorded, writes happen once."""

    def __init__(
        self, engine: Engine, ledger: Ledger, previewer: Previewer, questions: Questions, refresher: Refresher
    ) -> None:
        self.audit, self.clock, self.ledger, self.previewer = engine.audit, engine.clock, ledger, previewer
        self.approvals, self.mandates, self.questions = previewer.approvals, previewer.mandates, questions
        self.runner, self.refresher, self.provenance = previewer.runner, refresher, previewer.provenance

    async def execute(self, act: Act, grant: Grant, row: CallRow) -> Any:
        """The act's result. ``row``, for the audit, is told what was shown and what the provider left out.

        What was read for other acts at the same provider does not outlive one that writes. Raises what the tool or the
        provider let it come to, ``GrantLost`` and ``MissingScope`` included.
        """
        if act.effect is Effect.READS:
            grant = await self.refresher.live(grant)
            read = self._approved_read if act.approved else self.runner.run
            result = _plain(await read(act, grant, row))
            await self.provenance.learn(act, grant.account, result)
            return result
        plans = self.previewer.plans
        planned = plans.take(act, grant) if act.shows else None
        plans.drop(act, self.clock())
        try:
            result = await self._once(act, grant, row, planned)
        finally:
            plans.drop(act, self.clock())
        try:
            await self.provenance.learn(act, grant.account, result)
        except StoreUnavailable:  # it is done, and nobody may take it for undone
            log.warning("What strangers have named in the result of %s could not be remembered.", act.tool.name)
        return result

    async def _once(self, act: Act, grant: Grant, row: CallRow, planned: Planned | None) -> Any:
        """The result of a write, done here or by whoever was first. ``planned``: it has shown what it will do."""
        grant = await self.refresher.live(grant)
        async with self.ledger.once(act, grant.account.subject) as entry:
            if isinstance(entry, Recorded):
                return entry.result
            return await self._write(_Beginning(self, act, grant, row, entry), planned)

    async def _approved_read(self, act: Act, grant: Grant, row: CallRow) -> Any:
        """What the user has said yes to: the yes is for one read, too."""
        row.begins(await self.approvals.consume(act, grant.account))
        try:
            return await self.runner.run(act, grant, row)
        except (DeputizeError, GrantLost, MissingScope):
            await self.approvals.release(act, grant.account)
            raise

    async def _write(self, begins: _Beginning, planned: Planned | None) -> Any:
        """Perform an act, and leave a row that tells every later run how it ended."""
        act, entry = begins.act, begins.entry
        if planned and entry.taken_up:  # it knows nothing of what an earlier run has noted
            planned.close()
            planned = None
        try:
            if entry.taken_up or not act.shows:
                await begins.now(act)
            result = await self.runner.run(act, begins.grant, begins.row, entry, begins.at_show, planned)
        except OutcomeUnknown:
            await self._leave(entry.unknown, act)
            raise
        except (DeputizeError, GrantLost, MissingScope):
            await self._leave(begins.abandon, act)
            raise
        except BaseException:
            await self._leave(entry.unknown, act)  # cancelled in the middle
            raise
        try:
            kept = kept_of(act, begins.grant, begins.shown, entry.undo, self.clock())
            result, kept = recordable([_with_edit(result, act), kept])
        except InvalidInput:
            await self._leave(entry.unknown, act)
            raise OutcomeUnknown(f"{act.tool.name} was done, but its result could not be recorded.") from None
        await self._leave(lambda: entry.done(result, kept), act)
        return result

    async def _leave(self, write: Callable[[], Coroutine[Any, Any, None]], act: Act) -> None:
        """Write how an act ended. A store that cannot take it leaves the claim, which no later run repeats, until it
        takes something again; where another run has taken up the row, after the lock was lost, that one says how it
        ended."""
        try:
            await write()
        except (Conflict, StoreUnavailable) as failure:
            if isinstance(failure, StoreUnavailable):
                self.ledger.keep_ending(act, write)
            await self.audit.record(LedgerSaveFailed(OfUser(tenant=act.user.tenant, user=act.user.id), act.tool.name))


class _Beginning:
    """How an act comes to its first write: its row is claimed, then the yes is taken, then the audit says so. So there
    is no moment with a yes that is used up and nothing that tells by whom. A mandate is spent before that: its own row
    tells by whom, and no more acts than it allows come as far as a claim."""

    def __init__(self, executor: Executor, act: Act, grant: Grant, row: CallRow, entry: Entry) -> None:
        self.executor, self.act, self.grant, self.row, self.entry = executor, act, grant, row, entry
        self.taken: Act | None = None
        self.passed: Act | None = None
        self.spent: Act | None = None
        self.shown: Preview | None = None

    async def at_show(self, show: Preview) -> None:
        """Let it do what it has shown, if it may; a run that was taken up, if an earlier one has shown the same."""
        self.shown = show
        if not self.entry.taken_up:
            self.entry.show, self.entry.began = show.digest, self.act.began
            await self.now(await self._answered(self.act.having(show=show)))
        elif show.digest != self.entry.show:
            raise OutcomeUnknown(
                "An earlier run of this act was interrupted, and what it was about has changed since.",
                hint="Look what became of it before asking for it again.",
            )

    async def _answered(self, act: Act) -> Act:
        """The act with what lets it begin. Where others have used up its mandate meanwhile, it needs another yes."""
        while True:
            allowed = await self.executor.previewer.allowed(act, self.grant)
            if not allowed.mandate:
                return allowed
            if await self.executor.mandates.spend(allowed, self.grant.account):
                self.spent = allowed
                return allowed

    async def now(self, act: Act) -> None:
        """From here on it may write. The intent is durable first where the audit is strict."""
        executor, entry = self.executor, self.entry
        if not entry.taken_up:
            entry.answered_by = await self._take(act)
        self.row.begins(entry.answered_by)
        if entry.show:
            self.row.showed(entry.show)
        mac = executor.audit.digest(act.key.hex, repr(act.arguments))
        record = executor.audit.digest(entry.key)
        await executor.audit.record(ActIntent(self.row.call, mac, record, entry.kept))
        if executor.audit.mode == "strict":
            await executor.audit.settle()
        else:
            await executor.audit.handed_over()  # known from here on, though this process be killed

    async def _take(self, act: Act) -> str:
        """Claim its row, then use up the yes, if it happens on one; what lets the act begin."""
        if act.approved:
            claim = Claim(self.entry.claim, partial(self.executor.ledger.keep_ending, act))
            approval = await self.executor.approvals.consume(act, self.grant.account, claim)
            self.taken = act
            return approval
        if act.shows:
            await self.entry.claim()
        if await self.executor.approvals.supersede(act, self.grant.account):
            self.passed = act
        return act.mandate or "policy"

    async def abandon(self) -> None:
        """Nothing final happened. What it has used up is there again, unless its provider asks the user something."""
        if not self.entry.asks:
            await self.refused()
        await self.entry.release()

    async def refused(self) -> None:
        """It was refused before it did anything: what it has used up is there again. A use that a later run goes on
        with, by what this one noted, stays spent."""
        if self.entry.heard:
            await self.executor.questions.release(self.act)
        if self.taken is not None:
            await self.executor.approvals.release(self.taken, self.grant.account)
        if self.entry.keeps_note:
            return
        if self.passed is not None:
            await self.executor.approvals.release(self.passed, self.grant.account)
        if self.spent is not None:
            await self.executor.mandates.release(self.spent)


def _with_edit(result: Any, act: Act) -> Any:
    """A result that says what the user has changed: who asked for the act knows only what it was before the edit."""
    changed = act.changed_by_user
    return {**recordable(result), "changed_by_user": changed} if changed and isinstance(result, Mapping) else result


def _plain(result: Any) -> Any:
    """A reading tool's result: plain JSON at least at the top, so that every adapter can carry it."""
    if result is None or isinstance(result, dict | list | str | int | float):
        return result
    return recordable(result)
