"""Approvals of exact acts. Only the stored record counts: a resume value or an event merely triggers a read of it.

An approval is bound to the act, the account, the arguments and the digest of the preview. Its id is
``<question>-<generation>``. If the preview changes, the next generation of the question names the changes. Every
generation's id leads to the question as it is now, but decides it only if exactly the same was shown: see
`ApprovalRecord.refuse_changed`. The user may edit the arguments. The approval then applies to the edit, as
long as the preview differs only in the edited words. The act is done with the edited arguments, not with those that the
caller requested. An act uses its approval when it begins, and releases it if it was refused before it did anything. A
call without an id needs a new approval each time.

If the policy names approvers, members of that role in the same tenant are asked instead of the user, and the user's own
approval does not count ("four eyes"). The role of the person who decides is checked at that moment.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from types import EllipsisType
from typing import Any, Final, Literal, get_args

from deputize.core.approvals.outcome import LedgerRecord, State, describe_outcome
from deputize.core.approvals.pending import ApprovalLists
from deputize.core.approvals.record import (
    APPROVAL_TTL,
    UNATTENDED_APPROVAL_TTL,
    ApprovalRecord,
    Change,
    Edit,
    Status,
    meant,
    preview_fields,
    waiting_words,
)
from deputize.core.approvals.repository import ApprovalRepository, Claim, Repository
from deputize.core.approvals.role_requests import RoleRequests
from deputize.core.audit.events import ApprovalTooLate
from deputize.core.errors import ApprovalRequired, Conflict, Declined, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.question_feed import QuestionStatus
from deputize.core.roles import Roles
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Preview
from deputize.core.tools.tool import Effect
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import Account, User
from deputize.core.vault.notify import deadline, watch_records
from deputize.core.vault.stores.protocol import RecordRead

_ID: Final = r"[0-9a-f]{40}-[0-9a-f]{8}"
Decision = Literal["approve", "reject", "edit"]


class Approvals:
    """The approvals of all users in one vault."""

    def __init__(self, services: Services, roles: Roles, unattended_life: float = UNATTENDED_APPROVAL_TTL) -> None:
        self.roles, self.services, self.vault, self.clock = roles, services, services.vault, services.clock
        self.unattended_life = unattended_life
        self.rows, self.acts = ApprovalRepository(services), Repository(services, LedgerRecord)
        listed, self.role_requests = ApprovalLists(services, self.rows), RoleRequests(services, self.rows)
        self.list_pending, self.room_for_one_more = listed.list_pending, listed.room_for_one_more
        self.records_by_request, self.count_approved_alike = listed.records_by_request, listed.count_approved_alike

    async def require(
        self,
        act: Act,
        account: Account,
        seen: ApprovalRecord | EllipsisType | None = ...,
        unedited: Preview | None = None,
    ) -> ApprovalRecord:
        """Return the user's approval of exactly this act.

        ``seen``: the act's record, or None, if the caller has just loaded it. ``unedited``: as in
        `ApprovalRecord.edit_is_about`. Raises `ApprovalRequired`, `Declined` after a rejection, or `RateLimited` if too
        many approvals are pending for the user.
        """
        record = await self._load_or_ask(act, account, seen, unedited)
        _refuse_declined(act, record)
        if record.status is Status.PENDING:
            waits = await self.public(act.user, record)
            message = waiting_words(act.tool.name, record.approvers)
            raise ApprovalRequired(message, approval=waits, unattended=act.user.unattended)
        return record

    async def find_unconsumed(self, act: Act, account: Account) -> ApprovalRecord | EllipsisType | None:
        """Return the act's record, even if expired; None if there is none; or ``...`` if an equal act used it. The
        caller needs the record even if the policy requires no approval, because the user's edit applies anyway."""
        record = await self.rows.load(self._key(act, account.subject))
        return ... if record and record.is_consumed(act) else record

    async def current_approval(self, act: Act, account: Account) -> ApprovalRecord | None:
        """Return the act's record if it still applies, or None."""
        record = await self.rows.load(self._key(act, account.subject))
        return None if record is None or self._is_over(act, record) else record

    async def _load_or_ask(
        self,
        act: Act,
        account: Account,
        seen: ApprovalRecord | EllipsisType | None = ...,
        unedited: Preview | None = None,
    ) -> ApprovalRecord:
        """Return the record for exactly this act. Requests a new approval if there is no record, or if it is for
        another preview. A record that changes in between is checked again, so an approval of another act never
        counts."""
        key = self._key(act, account.subject)
        while True:
            record, seen = await self.rows.load(key) if seen is ... else seen, ...
            if record is None or self._is_over(act, record):
                made = await self._ask(act, account, key, record, None)
            elif record.is_about(act):
                return record
            elif record.edit_is_about(act, unedited):
                made = await self.rows.put(key, record.settle(act)[0])
            else:
                made = await self._ask(act, account, key, record, record.approved_preview())
            if made is not None:
                return made

    def _is_over(self, act: Act, record: ApprovalRecord) -> bool:
        """Return True if the record no longer applies to this act."""
        return record.is_consumed(act) or record.expires <= self.clock()

    async def _ask(
        self, act: Act, account: Account, key: str, old: ApprovalRecord | None, agreed: Mapping[str, Any] | None
    ) -> ApprovalRecord | None:
        """Store a new approval and return it, or None if another process was faster. ``agreed``: the preview that the
        user approved before."""
        changed = act.show.differs(Preview.of(agreed)) if act.show and agreed else ()
        edited = old.edited if old is not None and act.asked is not None else None
        asked, event = ApprovalRecord.ask(
            *(act, account, key, self.clock(), self._life(act.user), old),
            label=self.label_of(act),
            arguments=meant(act.tool, act.arguments),
            agreed=agreed if act.show else None,
            changed=tuple(changed),
            edited=edited,
            settled=edited is not None,
            **preview_fields(act),
        )
        async with self._room(act.user, old):
            if asked.approvers:
                await self.role_requests.announce(key, act.user.tenant, asked.approvers, asked.expires)
            made = await self.rows.put(key, asked, await self.vault.data_keys.get(act.user.tenant))
        if made is not None:
            await self.rows.audit.record(event)
            if old is not None and old.waits(self.clock()):
                await self.tell("superseded", act.user, old)
            await self.tell("asked", act.user, made)
        return made

    def label_of(self, act: Act) -> str:
        """Return the name of the act's product for people, "" for tools without a provider."""
        provider = self.services.providers.get(act.provider)
        return act.tool.label or (provider.label if provider else act.provider)

    def _room(self, user: User, old: ApprovalRecord | None) -> AbstractAsyncContextManager[None]:
        """Return the lock of the limit. Replacing a pending approval needs no lock."""
        if old is not None and old.waits(self.clock()):
            return nullcontext()
        return self.room_for_one_more(user, self._life(user))

    def _life(self, user: User) -> float:
        """Return the seconds for which a new approval of this user waits."""
        return self.unattended_life if user.unattended else APPROVAL_TTL

    async def decide(
        self, approval_id: str, decision: Decision, *, by: User, reason: str = "", edit: Edit | None = None
    ) -> Approval:
        """Record the decision of the user, or of a member of the role that decides instead. Raises `NotFound` if the
        approval has expired, or belongs to another user and no role of this person may decide it. Raises `Conflict` if
        the user approves an act that a role must approve.

        The same decision twice counts once. A rejection counts until the act has begun, even after an approval. Any
        other decision about a decided approval raises `Conflict`, which states the outcome of the act. So does a
        decision about something else than what is asked now (``reason`` "changed").
        """
        if decision not in get_args(Decision) or (edit is None) == (decision == "edit"):
            raise InvalidInput("A decision is approve, reject, or edit with arguments.", fix_by="operator")

        def decided(found: ApprovalRecord) -> Change | None:
            self.require_valid(found).refuse_yes_to_question(decision)
            found.refuse_own_decision(by, decision)
            found.refuse_changed(approval_id, decision)
            if not found.may(decision):
                return None
            if decision == "reject":
                return found.reject(by, reason[:200])
            return found.edit(by, reason[:200], edit) if edit else found.approve(by, reason[:200])

        record, done = await self.rows.swap(await self.load_decidable(approval_id, by), decided)
        if record is None:
            raise _not_pending()
        status = Status.REJECTED if decision == "reject" else Status.APPROVED
        record.refuse_own_decision(by, decision)
        if done:
            await self.tell("decided", record.owner(by), record)
        if done or (record.status is status and record.is_same(edit)):
            return await self.public(record.owner(by), record)
        if (record.status, status) == (Status.USED, Status.REJECTED):
            await self.rows.audit.record(ApprovalTooLate(record.facts(by)))
        raise await self._too_late_error(by, record, decision)

    async def _too_late_error(self, by: User, record: ApprovalRecord, decision: Decision) -> Conflict:
        """Return the error for a decision about a decided approval. If the act is done, also record the rejection,
        which every later run reports: see `LedgerRecord.result_now`."""
        if record.status is not Status.USED:
            return Conflict(f"This approval was already {record.status}.", reason="already_decided")
        owner = record.owner(by)
        shown, act = await self._with_outcome(owner, record), await self._act_of(owner, record)
        if decision == "reject" and act is not None:
            now = self.clock()
            await self.acts.swap(
                act, lambda found: (found.reject(now, record.effect), None) if found.state is State.DONE else None
            )
        hint = "Check at the provider whether it was done." if shown.outcome != "done" else ""
        said = describe_outcome(shown, await self.services.zones.of(by))
        return Conflict(f"Too late: {said}.", reason="already_decided", hint=hint)

    async def get(self, approval_id: str, *, by: User) -> Approval | None:
        """Return the user's approval, decided or pending, or None. An expired question counts as None. An id of an
        earlier generation leads to the approval as it is now, with the fields that have changed since."""
        record = await self._load(approval_id, by)
        gone = record is None or (record.question is not None and record.expires <= self.clock())
        return None if record is None or gone else await self._found(by, record, approval_id)

    async def get_for_approver(self, approval_id: str, person: User) -> Approval | None:
        """Return another user's approval, decided or pending, that the person may decide by one of the person's roles,
        or None. It is the same object that the other user gets."""
        record = await self._load_for_approver(approval_id, person)
        return await self._found(record.owner(person), record, approval_id) if record else None

    async def list_for_approver(self, person: User, after: float = 0.0) -> tuple[list[Approval], float]:
        """Return one page of the pending approvals of other users that the person may decide by a role, and the
        ``after`` of the next page: see `RoleRequests.list_pending`."""
        roles = await self.roles.of_person(person)
        found, more = await self.role_requests.list_pending(person, roles, after) if roles else ([], 0.0)
        return [await self.public(one.owner(person), one) for one in found], more

    async def _load_for_approver(self, approval_id: str, person: User) -> ApprovalRecord | None:
        roles = await self.roles.of_person(person) if re.fullmatch(_ID, approval_id) else None
        return await self.role_requests.find(approval_id, person, roles) if roles else None

    async def load_decidable(self, approval_id: str, by: User) -> ApprovalRecord:
        """Return the user's record, or another user's record that this person may decide by a role. Raises `NotFound`
        otherwise."""
        own = await self._load(approval_id, by)
        return self.require_valid(own or await self._load_for_approver(approval_id, by))

    async def wait_for_decision(self, approval_id: str, by: User, timeout: float) -> Approval | None:
        """Return the approval once it is decided or asked again under another id, in any process, or unchanged after
        ``timeout`` seconds."""
        ends = deadline(timeout)
        if not _is_waiting(approval_id, now := await self.get(approval_id, by=by)) or not timeout > 0:
            return now
        async with watch_records(self.vault.store, ("approval", self._place(approval_id, by))) as watch:
            while _is_waiting(approval_id, now := await self.get(approval_id, by=by)):
                if (left := ends - time.monotonic()) <= 0:
                    break
                await watch.changed(left)
        return now

    async def tell(self, change: QuestionStatus, user: User, record: ApprovalRecord) -> None:
        """Report a change of the user's approval to the application: see `QuestionFeed`."""
        if self.services.question_feed.functions:
            self.services.question_feed.tell(change, user, await self.public(user, record))

    async def public(self, user: User, record: ApprovalRecord) -> Approval:
        """Return the approval in its public form."""
        return record.public(self.services.home, await self.services.zones.of(user))

    async def _found(self, user: User, record: ApprovalRecord, approval_id: str) -> Approval:
        """Return the approval for somebody who knows it by this id."""
        found, changed = await self._with_outcome(user, record), record.changed_since(approval_id)
        return found if changed is None else replace(found, changed_fields=changed)

    async def _with_outcome(self, user: User, record: ApprovalRecord) -> Approval:
        """Return the approval in its public form, with the outcome of its act."""
        shown, act = await self.public(user, record), await self._act_of(user, record)
        return replace(shown, outcome=act.outcome, ended_at=act.at) if act else shown

    async def _act_of(self, user: User, record: ApprovalRecord) -> LedgerRecord | None:
        """Return the ledger record of the act that used this approval, or None."""
        used = record.act and record.status is Status.USED
        return await self.acts.load(self.vault.key_prefix(user) + record.act) if used else None

    async def row(self, approval_id: str, user: User) -> ApprovalRecord:
        """Return the user's record as it was shown under this id. Raises `NotFound` if there is none or it has expired,
        and `Conflict` if something else is asked now."""
        record = self.require_valid(await self._load(approval_id, user))
        record.refuse_changed(approval_id, "approve")
        return record

    def require_valid(self, record: ApprovalRecord | None) -> ApprovalRecord:
        """Return the record if it has not expired. Raises `NotFound` otherwise."""
        if record is None or record.expires <= self.clock():
            raise _not_pending()
        return record

    async def _load(self, approval_id: str, user: User) -> ApprovalRecord | None:
        return await self.rows.load(self._place(approval_id, user)) if re.fullmatch(_ID, approval_id) else None

    def _place(self, approval_id: str, user: User) -> str:
        return self.vault.key_prefix(user) + approval_id.partition("-")[0]

    async def dismiss(self, approval_id: str, by: User) -> None:
        """Put a pending question to the user again, under the id of its next generation, because the user closed this
        one without a decision. Another id, or another user's, changes nothing."""
        if record := await self._load(approval_id, by):
            again, done = await self.rows.swap(
                record, lambda found: found.dismiss() if found.id == approval_id and found.may("dismiss") else None
            )
            if again is not None and done and again.waits(self.clock()):
                await self.tell("superseded", by, record)
                await self.tell("asked", by, again)

    async def consume(
        self,
        act: Act,
        account: Account,
        claim: Claim | None = None,
        seen: ApprovalRecord | EllipsisType | None = ...,
    ) -> str:
        """Use the approval for the act that begins, and return its id. Only one run may call this at a time.

        ``claim``: made durable before the approval is used. ``seen``: the act's record, if it was just loaded.
        A record that changed in between is loaded once more.
        Raises `ApprovalRequired` if another equal call used the approval or the preview has changed, and
        `OutcomeUnknown` if an earlier run used it and left no outcome.
        """
        mine = None if act.asked is None else meant(act.tool, act.arguments)
        record = await self._load_or_ask(act, account, seen)
        for _ in range(2):
            if act.call.has_id and record.status is Status.USED:
                if act.effect is Effect.READS:
                    return record.id
                if claim is not None:
                    await claim.make(None)  # the ledger keeps the outcome for longer than the approval lives
                raise OutcomeUnknown(
                    "An earlier run of this act used the user's approval and was interrupted: it may have been done.",
                    hint="Check at the provider whether it was done before you request it again.",
                )
            _refuse_declined(act, record)
            edited = record.edited is not None and record.arguments != mine  # edited in between
            if record.status is not Status.APPROVED or edited or not record.is_about(act):
                break
            if await self.rows.consume(record, act, claim):
                return record.id
            record = await self.rows.load(record.place.key) or record
        waits = await self.public(act.user, record)
        message = f"{act.tool.name} needs a new approval."
        raise ApprovalRequired(message, approval=waits, unattended=act.user.unattended)

    async def consume_again(self, act: Act, account: Account, digest: str) -> str:
        """Use the approval for a run that continues from the notes of a run that released it, and return its id.

        ``digest``: digest of the earlier run's preview. Raises `Declined` if the user has rejected the act since, and
        `Conflict` if the approval has expired or is for another preview.
        """

        def apply_consume(found: ApprovalRecord) -> Change | None:
            _refuse_declined(act, found)
            if found.act == act.key.hex:  # killed before it was released
                return None
            if self._is_over(act, found) or found.digest != digest or not found.may("consume"):
                raise Conflict("The user's approval of this act has expired.", hint="Make the call again.")
            return found.consume(act)

        record = await self.rows.load(self._key(act, account.subject))
        record = (await self.rows.swap(record, apply_consume))[0] if record else None
        if record is None:
            raise Conflict("The user's approval of this act has expired.", hint="Make the call again.")
        return record.id

    async def is_answer(self, approval_id: str, act: Act, account: Account) -> bool:
        """Return True if this is the id of the approval that the act has used, and those whom the policy asks now have
        given it."""
        if not re.fullmatch(_ID, approval_id):
            return False
        record = await self.rows.load(self._key(act, account.subject))
        return (record.approvers if record and record.id == approval_id else "") == act.approvers

    async def supersede(self, act: Act, account: Account) -> bool:
        """Close the act's approval, because the act begins under a mandate or without an approval. Return True if there
        was one. Raises `Declined` after a rejection, which overrides every other permission."""
        record = await self.rows.load(self._key(act, account.subject)) if act.call.has_id else None

        def apply_supersede(found: ApprovalRecord) -> Change | None:
            if self._is_over(act, found):
                return None
            _refuse_declined(act, found)
            return found.supersede(act) if found.may("supersede") else None

        record, done = await self.rows.swap(record, apply_supersede) if record is not None else (None, False)
        if record is not None and done and record.decision is Status.PENDING:
            await self.tell("superseded", act.user, record)
        return done

    async def release(self, act: Act, account: Account) -> None:
        """Release the approval, because the act did nothing."""
        await self.rows.release(self._key(act, account.subject), act.user)

    def reads(self, act: Act, subject: str) -> list[RecordRead]:
        """Return what these methods read about an act with the account of this subject."""
        return [("get", "approval", self._key(act, subject))]

    def _key(self, act: Act, subject: str) -> str:
        """Return a record key from the act, its account and its exact arguments. Nobody can guess them from it."""
        who = act.key.hex if act.call.has_id else f"{act.call.thread}/{act.tool.name}"
        exact = json.dumps([who, subject, act.canonical_arguments]).encode()
        return (
            self.vault.key_prefix(act.user)
            + hmac.digest(self.vault.keys.index, b"approval" + exact, "sha256").hex()[:40]
        )


def _not_pending() -> NotFound:
    return NotFound("No approval of this id is pending for this user.", hint="Make the call again.")


def _is_waiting(approval_id: str, now: Approval | None) -> bool:
    """Return True if the approval is pending under this id."""
    return now is not None and now.status == "pending" and now.id == approval_id


def _refuse_declined(act: Act, record: ApprovalRecord) -> None:
    if record.status is Status.REJECTED:
        person = f"Somebody with the role {record.approvers}" if record.approver else "The user"
        raise Declined(f"{person} declined: {act.tool.name}.", hint=record.reason)
