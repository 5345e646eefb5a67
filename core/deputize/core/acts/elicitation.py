"""Questions that a provider asks the user during an act: to open a page, or to fill in a form.

    ask        stores the question, bound to user, act and account; the run ends in `ApprovalRequired`
    reply      the signed-in user accepts, declines or cancels on deputize's page, with the form's content
    hear       a later run of the same act receives the reply, once

A question is an approval record of another ``kind``, so code that waits for approvals waits for questions too. Its
``question`` field contains the full question (an address, a form, the provider's own state) and the reply, encrypted.
Only the page and the tool read this field. `Deputy.decide` can only reject a question.

Only one run of a write receives the reply. If that run left no record of its outcome, the outcome is unknown.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, get_args

from deputize.core.acts.execution_context import ExecutionContext
from deputize.core.approvals.record import ApprovalRecord, Change, Question, Reply, Status
from deputize.core.approvals.service import Approvals
from deputize.core.errors import ApprovalRequired, Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.steps import AskUser, Heard, UserSaid
from deputize.core.tools.tool import Effect
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import Account, User

HINT: Final = (
    "Show the user the approval's link: they answer on that page, when they are signed in. Then make this same call."
)


class Questions:
    """The questions to all users in one vault."""

    def __init__(self, services: Services, approvals: Approvals) -> None:
        self.vault, self.clock, self.approvals, self.rows = services.vault, services.clock, approvals, approvals.rows

    async def handle_step(self, run: ExecutionContext, step: AskUser | Heard) -> UserSaid | None:
        """Return the reply to an earlier run's question, or store the question of this run. Until the user replies, the
        run ends in `ApprovalRequired`, which the tool cannot suppress."""
        run.check_change()
        act, account, entry = run.act, run.exchange.grant.account, run.entry
        run.ends = True
        if isinstance(step, Heard):
            said = await self.hear(act, account, asked=bool(entry and entry.noted))
            run.ends = False
            if entry is not None:
                entry.heard = said is not None
            return said
        if not act.can_ask:
            raise run.fault("asks the user in a call that cannot ask")
        waits = await self.ask(act, account, step)
        if entry is not None:  # last: the ledger must not report a question that was not stored
            await entry.note({"asked": waits.approval.digest})
            entry.asks = True
        raise waits

    async def ask(self, act: Act, account: Account, step: AskUser) -> ApprovalRequired:
        """Store the question in place of an earlier question of the same act, and return the error that ends the run.

        Raises `RateLimited` if too many approvals are pending for the user.
        """
        key, show = self._key(act), step.show
        question = Question(dict(step.kept), step.seconds)
        async with self.approvals.room_for_one_more(act.user, step.seconds):
            while True:
                old = await self.rows.load(key)
                asked, event = ApprovalRecord.ask(
                    *(act, account, key, self.clock(), step.seconds, old),
                    label=self.approvals.label_of(act),
                    show=show.kept,
                    digest=show.digest,
                    question=question,
                )
                data_key = await self.vault.data_keys.get(act.user.tenant)
                if (made := await self.rows.put(key, asked, data_key)) is not None:
                    break
        await self.rows.audit.record(event)
        if old is not None and old.waits(self.clock()):
            await self.approvals.tell("superseded", act.user, old)
        await self.approvals.tell("asked", act.user, made)
        return await self._waits(act, made)

    async def refuse_if_open(self, act: Act) -> None:
        """Raise `ApprovalRequired` if an earlier run of this act asked a question that is still pending."""
        record = await self._record(act)
        if record is not None and record.status is Status.PENDING:
            raise await self._waits(act, record)

    async def hear(self, act: Act, account: Account, *, asked: bool) -> UserSaid | None:
        """Return the user's reply and mark it as used, or None if no question was asked.

        ``asked``: True if the act's ledger record says that a question was asked. If the question was deleted, or was
        for another account, the reply is ``late``. Raises `ApprovalRequired` while the question is pending, and
        `OutcomeUnknown` if an earlier run received the reply.
        """

        def pass_reply_on(found: ApprovalRecord) -> Change | None:
            if self._is_expired(found) or found.subject != account.subject or found.status is Status.PENDING:
                return None
            if found.status is Status.USED and act.effect is not Effect.READS:
                raise OutcomeUnknown(
                    "An earlier run of this act passed the user's answer on and was interrupted: it may have been done."
                )
            return found.pass_on(act)

        record, heard = await self._record(act), False
        if record is not None:
            record, heard = await self.rows.swap(record, pass_reply_on)
        if record is not None and heard:
            return _reply_in(record)
        if record is None or self._is_expired(record) or record.subject != account.subject:
            return UserSaid("late") if asked else None
        raise await self._waits(act, record)

    async def release(self, act: Act) -> None:
        """Make the reply available again, because the run that received it did nothing."""
        await self.rows.release(self._key(act), act.user)

    # ------------------------------------------------------------- the page

    async def load_kept(self, question_id: str, by: User) -> Mapping[str, Any]:
        """Return the data that the tool stored with this question. Raises `NotFound` if it is another user's."""
        return _question_of(await self.approvals.row(question_id, by)).kept

    async def reply(
        self, question_id: str, said: Reply, *, by: User, content: Mapping[str, Any] | None = None
    ) -> Approval:
        """Record the user's reply from the page. ``content``: plain JSON that the tool expects with an ``accept``.

        Raises `NotFound` for an expired question or one of another user, and `Conflict` for a question already
        answered, or one that has changed.
        """
        if said not in get_args(Reply):
            raise InvalidInput(f"{said!r} is not a valid reply.", fix_by="user", reason="invalid_form")

        def apply_reply(found: ApprovalRecord) -> Change:
            question = _question_of(self.approvals.require_valid(found))
            found.refuse_changed(question_id, said)
            if found.status is not Status.PENDING:
                raise Conflict("This question was answered already.", reason="already_decided")
            given = dict(content or {}) if said == "accept" else {}
            return found.reply(by, replace(question, reply=said, content=given), self.clock())

        record, _ = await self.rows.swap(await self.approvals.row(question_id, by), apply_reply)
        record = self.approvals.require_valid(record)
        await self.approvals.tell("decided", by, record)
        return await self.approvals.public(by, record)

    # ------------------------------------------------------------- rows

    async def _record(self, act: Act) -> ApprovalRecord | None:
        """Return the record of this act's question, or None if there is none or it has expired."""
        record = await self.rows.load(self._key(act))
        return None if record is None or self._is_expired(record) else record

    def _is_expired(self, record: ApprovalRecord) -> bool:
        return record.expires <= self.clock()

    async def _waits(self, act: Act, record: ApprovalRecord) -> ApprovalRequired:
        waits = await self.approvals.public(act.user, record)
        where = waits.preview.get("where", "Its provider")
        message, alone = f"{where} asks the user something first.", act.user.unattended
        return ApprovalRequired(message, approval=waits, hint=HINT, unattended=alone)

    def _key(self, act: Act) -> str:
        """Return the record key of an act's question. A read without an id is identified by conversation, tool and
        arguments."""
        which = (
            act.key.hex if act.call.has_id else json.dumps([act.call.thread, act.tool.name, act.canonical_arguments])
        )
        found = hmac.digest(self.vault.keys.index, b"question" + which.encode(), "sha256").hex()[:40]
        return self.vault.key_prefix(act.user) + found


def _question_of(record: ApprovalRecord) -> Question:
    if record.question is None:
        raise NotFound("No question of this id is pending for this user.")
    return record.question


def _reply_in(record: ApprovalRecord) -> UserSaid:
    """Return the reply. A rejection of the approval counts as a decline, even after an accept."""
    question = _question_of(record)
    if (record.decision is Status.APPROVED) != (question.reply == "accept"):
        return UserSaid("decline", question.kept)
    return UserSaid(question.reply or "decline", question.kept, question.content)
