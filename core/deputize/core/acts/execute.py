"""Execution of authorized acts. Each write is claimed in the ledger before its first byte is sent, and its outcome is
recorded afterwards, so that it happens once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from deputize.core.acts.audit_record import CallRow
from deputize.core.acts.elicitation import Questions
from deputize.core.acts.missing_scopes import as_missing_scopes
from deputize.core.acts.preview import Previewer
from deputize.core.acts.provider_errors import MissingScope
from deputize.core.acts.read_ahead import ActReads
from deputize.core.acts.runner import Planned
from deputize.core.approvals.record import ApprovalRecord
from deputize.core.approvals.repository import Claim
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import ActIntent, LedgerSaveFailed
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, OutcomeUnknown, PolicyDenied, StoreUnavailable
from deputize.core.grants.refresh import GrantLost, Refresher
from deputize.core.idempotency.ledger import Entry, Ledger, Recorded, no_longer_permitted, recordable
from deputize.core.idempotency.undo import undo_facts
from deputize.core.policy.policy import Counted, Judge, Verdict
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Preview
from deputize.core.tools.summary import object_link, summarize_arguments, summarize_preview
from deputize.core.tools.tool import Effect
from deputize.core.vault.grant import Grant

log = logging.getLogger("deputize.core.acts")

MAX_BUDGET_TRIES: Final = 5


class Executor:
    """Execution of authorized acts with a valid token. Reads are not recorded. Each write happens once."""

    def __init__(
        self,
        services: Services,
        ledger: Ledger,
        previewer: Previewer,
        questions: Questions,
        refresher: Refresher,
        act_reads: ActReads,
    ) -> None:
        self.audit, self.clock, self.providers = services.audit, services.clock, services.providers
        self.ledger, self.previewer, self.act_reads = ledger, previewer, act_reads
        self.approvals, self.mandates, self.questions = previewer.approvals, previewer.mandates, questions
        self.runner, self.refresher, self.provenance = previewer.runner, refresher, previewer.provenance

    async def execute(self, act: Act, grant: Grant, row: CallRow) -> Any:
        """Return the act's result. ``row``: the audit record, to which the preview and missing response data are added.

        Raises the errors of the tool and the provider, and `MissingScopes` if the provider ended the grant or reports
        missing scopes.
        """
        try:
            if act.effect is not Effect.READS:
                return await self._execute_once(act, grant, row)
            live = await self._get_live(act, grant, row)
            read = self._approved_read if act.approved else self.runner.run
            result = _plain(await read(act, live, row))
            await self.provenance.learn(act, live.account, result)
            return result
        except (GrantLost, MissingScope) as failure:
            raise as_missing_scopes(failure, self.providers, act, grant) from None

    async def _get_live(self, act: Act, grant: Grant, row: CallRow) -> Grant:
        """Return the grant with a valid token. The audit names it as it is now: while the call waited, the token may
        have been refreshed, or the user may have connected the account again."""
        live = await self.refresher.get_live(grant)
        if live is not grant:
            row.record_grant(act, live)
        return live

    async def _execute_once(self, act: Act, grant: Grant, row: CallRow) -> Any:
        """Return the result of a write, made now or by an earlier run. Discards the paused runs of the user's other
        acts at the same provider."""
        plans = self.previewer.plans
        planned = plans.take(act, grant) if act.shows else None
        plans.drop(act, self.clock())
        try:
            live = await self._get_live(act, grant, row)
            reads = self.act_reads.list_with_lock(act, live.account)
            async with self.ledger.perform_once(act, live.account.subject, *reads) as entry:
                if isinstance(entry, Recorded):
                    result = entry.result
                else:
                    result = await self._write(_Beginning(self, act, live, row, entry), planned)
        finally:
            plans.drop(act, self.clock())
        try:
            await self.provenance.learn(act, grant.account, result)
        except StoreUnavailable:  # the write is done, so an error here would be wrong
            log.warning("Untrusted content in the result of %s could not be recorded.", act.tool.name)
        return result

    async def _approved_read(self, act: Act, grant: Grant, row: CallRow) -> Any:
        """Run a read that needs the user's approval. One approval covers one read."""
        row.record_authorization(await self.approvals.consume(act, grant.account))
        try:
            return await self.runner.run(act, grant, row)
        except (DeputizeError, GrantLost, MissingScope):
            await self.approvals.release(act, grant.account)
            raise

    async def _write(self, begins: _Beginning, planned: Planned | None) -> Any:
        """Perform a write and record its outcome in the ledger for every later run. ``planned``: the run that is paused
        at the act's preview."""
        act, entry = begins.act, begins.entry
        if planned and entry.taken_up:  # the plan was made without the notes of the earlier run
            planned.close()
            planned = None
        try:
            if entry.taken_up or not act.shows:
                await begins.begin_write(act)
            if entry.taken_up and act.shows:
                entry.check_again = begins.check_again
            on_end = None if entry.taken_up else partial(self.previewer.refuse_without_preview, act)
            hooks = begins.authorize_preview, planned, on_end
            result = await self.runner.run(act, begins.grant, begins.row, entry, *hooks)
        except OutcomeUnknown:
            await self._leave(entry.mark_unknown, act)
            raise
        except (DeputizeError, GrantLost, MissingScope):
            await self._leave(begins.abandon, act)
            raise
        except BaseException:
            await self._leave(entry.mark_unknown, act)  # cancelled
            raise
        try:
            begins.row.record_link(object_link(result, begins.shown, self._own_hosts(act)))
            kept = undo_facts(act, begins.grant, begins.shown, entry.undo, self.clock(), begins.row.summary.about)
            result, kept = recordable([_with_edit(result, act), kept])
        except InvalidInput:
            await self._leave(entry.mark_unknown, act)
            raise OutcomeUnknown(f"{act.tool.name} was done, but its result could not be recorded.") from None
        await self._leave(lambda: entry.done(result, kept), act)
        if begins.taken is not None and begins.taken.show is not None:  # the user has approved these people
            await self.previewer.contacts.learn(act.user, begins.taken.show.people)
        return result

    def _own_hosts(self, act: Act) -> frozenset[str]:
        """Return the hosts whose pages belong to the act's provider."""
        if not act.provider:
            return frozenset()
        provider = self.providers[act.provider]
        return provider.apis.shared_hosts | provider.apis.hosts

    async def _leave(self, write: Callable[[], Coroutine[Any, Any, None]], act: Act) -> None:
        """Run ``write``, which stores how the act ended. If the store fails, the claim stays, so that no later run
        repeats the act, and the write is tried again later. If the lock was lost and another run took over the record,
        nothing is written, because the other run records the outcome."""
        try:
            await write()
        except (Conflict, StoreUnavailable) as failure:
            if isinstance(failure, StoreUnavailable):
                self.ledger.keep_ending(act, write)
            await self.audit.record(LedgerSaveFailed(OfUser(tenant=act.user.tenant, user=act.user.id), act.tool.name))


class _Beginning:
    """The steps before an act's first write: claim the ledger record, use the approval, write the audit. In this order,
    every used approval has a record of the act that used it. A mandate is used before the claim: the mandate's own
    record names the act, and only as many acts as it allows reach a claim."""

    def __init__(self, executor: Executor, act: Act, grant: Grant, row: CallRow, entry: Entry) -> None:
        self.executor, self.act, self.grant, self.row, self.entry = executor, act, grant, row, entry
        self.taken: Act | None = None
        self.passed: Act | None = None
        self.spent: Act | None = None
        self.counted: Counted = []
        self.shown: Preview | None = None

    async def authorize_preview(self, show: Preview) -> None:
        """Allow the act to carry out its preview, or raise. A resumed run may continue only if its preview is
        unchanged."""
        self.shown, self.row.summary = show, summarize_preview(show)
        if not self.entry.taken_up:
            self.entry.show, self.entry.preview, self.entry.began = show.digest, show, self.act.began
            await self.begin_write(*await self._authorize(self.act.having(show=show)))
        elif show.digest != self.entry.show:
            raise OutcomeUnknown(
                "An earlier run of this act was interrupted, and its preview has changed since.",
                hint="Check at the provider whether it was done before you request it again.",
            )

    async def check_again(self) -> None:
        """Raise `OutcomeUnknown` if the policy of now does not permit the preview of this resumed act: an earlier run
        may have done it, so its outcome may be looked up, but nothing is sent."""
        show, judge = self.entry.preview, self.executor.previewer.judge
        with suppress(PolicyDenied):
            if show is not None and await self._is_permitted(self.act.having(show=show), judge):
                return
        raise no_longer_permitted(self.act)

    async def _is_permitted(self, act: Act, judge: Judge) -> bool:
        """Return True if the policy allows the act, or if the permission that its first run used still answers the
        policy. Raises `PolicyDenied`."""
        executor, account, answered = self.executor, self.grant.account, self.entry.answered_by
        act, _, permitted = await executor.previewer.find_permission(act, account)
        if not permitted or act.mandate:
            if await executor.approvals.is_answer(answered, act, account):
                return True
            if act.mandate:  # the same as before, or another one
                return await executor.mandates.spend(act, account)
            named = await judge.decide(act.having(named_by_user=True)) if answered == "user_message" else None
            return named is not None and named.verdict is Verdict.ALLOW
        return not act.named_by_user or await executor.provenance.use_message(act)

    async def _authorize(self, act: Act) -> tuple[Act, ApprovalRecord | None]:
        """Return the act with its authorization, and its approval. If other acts used up its mandate, or the user's
        message, an approval is required."""
        while True:
            allowed, approval = await self.executor.previewer.authorize(act, self.grant)
            if allowed.named_by_user:
                if await self.executor.provenance.use_message(allowed):
                    return allowed, None
                continue
            if not allowed.mandate:
                return allowed, approval
            if await self.executor.mandates.spend(allowed, self.grant.account):
                self.spent = allowed
                return allowed, None

    async def begin_write(self, act: Act, approval: ApprovalRecord | None = None) -> None:
        """Record that the act may write, and the untrusted values that it writes. If the audit is strict, the intent is
        on disk before the write.

        ``approval``: the act's approval, if it was just loaded.
        """
        executor, entry = self.executor, self.entry
        await executor.provenance.carry(act)
        await entry.renew_data_key()
        if not act.shows:
            self.row.summary = summarize_arguments(act.arguments)
        if not entry.taken_up:
            act, approval = await self._count(act, approval)
            entry.answered_by = await self._take(act, approval)
        elif not entry.answered_by:
            entry.answered_by = await self._take_again(act)
        self.row.record_authorization(entry.answered_by)
        self.row.record_rule(act.decision.rule if act.decision else "")
        if entry.show:
            self.row.record_preview(entry.show)
        mac = executor.audit.digest(act.key.hex, repr(act.arguments))
        record = executor.audit.digest(entry.key)
        await executor.audit.record(ActIntent(self.row.call, mac, record, entry.kept))
        if executor.audit.mode == "strict":
            await executor.audit.settle()
        else:
            await executor.audit.hand_over_async()  # survives a kill of this process

    async def _count(self, act: Act, approval: ApprovalRecord | None) -> tuple[Act, ApprovalRecord | None]:
        """Count the act in the budgets of the policy. If other acts have used up a budget since the policy decided, ask
        the policy again. Raises `PolicyDenied` or `ApprovalRequired`."""
        judge, approvals = self.executor.previewer.judge, self.executor.approvals
        for _ in range(MAX_BUDGET_TRIES):
            if (counted := await judge.spend(act)) is not None:
                self.counted = counted
                return act, approval
            act = act.having(decision=await judge.decide(act))
            if act.decision is not None and act.decision.verdict is Verdict.ASK:
                approval = await approvals.require(act, self.grant.account)
                act = act.having(approved=True, mandate="", named_by_user=False)
        raise PolicyDenied(f"{act.tool.name} is not allowed here: a budget of the policy is used up.")

    async def _take(self, act: Act, approval: ApprovalRecord | None) -> str:
        """Claim the ledger record and use the approval, if any. Return the reason why the act may begin."""
        if act.approved:
            claim = Claim(self.entry.begin, partial(self.executor.ledger.keep_ending, act))
            used = await self.executor.approvals.consume(act, self.grant.account, claim, approval or ...)
            self.taken = act
            return used
        if act.shows:
            await self.entry.begin()
        if await self.executor.approvals.supersede(act, self.grant.account):
            self.passed = act
        return act.mandate or ("user_message" if act.named_by_user else "policy")

    async def _take_again(self, act: Act) -> str:
        """Use the approval again that an earlier run, which left a note, has released. Return the approval's id."""
        try:
            used = await self.executor.approvals.consume_again(act, self.grant.account, self.entry.show)
        except Conflict:
            self.entry.drop_notes()
            raise
        self.taken = act
        return used

    async def abandon(self) -> None:
        """End a run without effect. Releases what the run used, unless the provider asked the user a question."""
        if not self.entry.asks:
            await self.release_uses()
        await self.entry.release()

    async def release_uses(self) -> None:
        """Release the reply, approval and mandate of a run that was refused before it had any effect. If the run left a
        note for a later run, the mandate stays used."""
        if self.entry.heard:
            await self.executor.questions.release(self.act)
        if self.taken is not None:
            if self.entry.keeps_note:
                await self.entry.give_up_permission()
            await self.executor.approvals.release(self.taken, self.grant.account)
        if self.entry.keeps_note:
            return
        await self.executor.previewer.judge.release(self.act, self.counted)
        if self.passed is not None:
            await self.executor.approvals.release(self.passed, self.grant.account)
        if self.spent is not None:
            await self.executor.mandates.release(self.spent)


def _with_edit(result: Any, act: Act) -> Any:
    """Return the result with the user's edits added, because the caller only knows the arguments before the edit."""
    changed = act.changed_by_user
    return {**recordable(result), "changed_by_user": changed} if changed and isinstance(result, Mapping) else result


def _plain(result: Any) -> Any:
    """Return a read's result as JSON data, at least at the top level, so that every adapter can serialize it."""
    if result is None or isinstance(result, dict | list | str | int | float):
        return result
    return recordable(result)
