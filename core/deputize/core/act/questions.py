"""What a provider asks the user in the middle of an act, before it goes on: to open a page, or to fill in a form.

    ask        a row is written, bound to user, act and account; the run ends in `ApprovalRequired`
    reply      the signed-in user, on our page: accept, decline or cancel, and what the form holds
    hear       a later run of the same act is handed the answer, once

The row is an approval's, of another ``kind``, so that whoever waits for approvals waits for it, too. What was asked in
full (an address, a form, the provider's own state) and what was answered stand in its ``question``, sealed: nobody but
the page and the tool reads that. A decision about it can only be a no.

An answer that was handed to a run of a write is used: if that run left no word, nobody knows what came of it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from deputize.core.act.act import Act
from deputize.core.act.approval import Approvals
from deputize.core.act.approval_row import asked_anew, facts_of, public, status_before_use
from deputize.core.act.exchange import fault_of
from deputize.core.act.pending_limit import room_for_one_more
from deputize.core.act.request import AskUser, Heard, UserSaid
from deputize.core.act.tool import Effect
from deputize.core.audit.events import ApprovalApproved, ApprovalAsked, ApprovalRejected
from deputize.core.engine import Engine
from deputize.core.errors import ApprovalRequired, Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.pending import Approval
from deputize.core.vault.grant import Account, User
from deputize.core.vault.vault import Record

if TYPE_CHECKING:
    from deputize.core.act.runner import Runner

Reply = Literal["accept", "decline", "cancel"]
"""What a person does with a question: answers it, says no, or closes it without either."""
HINT: Final = (
    "Show the user the approval's link: they answer on that page, when they are signed in. Then make this same call."
)


class Questions:
    """Questions of all users, in one vault."""

    def __init__(self, engine: Engine, approvals: Approvals) -> None:
        self.engine, self.vault, self.audit, self.clock = engine, engine.vault, engine.audit, engine.clock
        self.approvals = approvals

    async def for_run(self, runner: Runner, step: AskUser | Heard) -> UserSaid | None:
        """What the user has said to an earlier run. Of a question, and as long as they have not answered, the run ends
        in `ApprovalRequired`, which its tool never outlives."""
        act, account, entry = runner.act, runner.exchange.grant.account, runner.entry
        runner.ends = True
        if isinstance(step, Heard):
            said = await self.hear(act, account, asked=bool(entry and entry.noted))
            runner.ends = False
            if entry is not None:
                entry.heard = said is not None
            return said
        if not act.can_ask:
            raise fault_of(act, "asks the user, where nobody could be asked")
        waits = await self.ask(act, account, step)
        if entry is not None:  # last: an act that is said to have asked has done so
            await entry.note({"asked": waits.approval.digest})
            entry.asks = True
        raise waits

    async def ask(self, act: Act, account: Account, step: AskUser) -> ApprovalRequired:
        """Write the question down, in the place of an earlier one of the same act; what the run ends in.

        Raises `RateLimited` where too many wait for the user already.
        """
        key = self._key(act)
        content = asked_anew(act, account, key, self.clock(), step.seconds) | {
            "show": step.show.kept,
            "digest": step.show.digest,
            "question": {"kept": dict(step.kept), "seconds": step.seconds},
        }
        async with room_for_one_more(self.vault, act.user, self.approvals.wait_already, step.seconds, self.engine.home):
            made = None
            while made is None:
                old = await self.vault.get("approval", key)
                made = await (self.vault.swap(old, content) if old else self.vault.insert("approval", key, content))
        await self.audit.tell(ApprovalAsked(facts_of(act.user, content)))
        return await self._waits(act, content)

    async def refuse_if_open(self, act: Act) -> None:
        """Raise `ApprovalRequired` where an earlier run of this act has asked something that waits for its answer."""
        record = await self._record(act)
        if record is not None and record.json["status"] == "pending":
            raise await self._waits(act, record.json)

    async def hear(self, act: Act, account: Account, *, asked: bool) -> UserSaid | None:
        """What the user has said, which from now on is used; None where nothing was asked. ``asked``: the act's row
        says that something was: if the question is gone, or was another account's, it is over.

        Raises `ApprovalRequired` as long as it waits, and `OutcomeUnknown` where an earlier run was given the answer.
        """
        while True:
            record = await self._record(act)
            if record is None or record.json["subject"] != account.subject:
                return UserSaid("late") if asked else None
            content = record.json
            if content["status"] == "pending":
                raise await self._waits(act, content)
            if content["status"] == "used" and act.effect is not Effect.READS:
                raise OutcomeUnknown(
                    "An earlier run of this act passed the user's answer on and was interrupted: it may have been done."
                )
            used = {"status": "used", "act": act.key.hex, "was": status_before_use(content)}
            if await self.vault.swap(record, content | used):
                return _reply_in(content)

    async def give_back(self, act: Act) -> None:
        """The run that was given the answer did nothing: a later one may have it."""
        record = await self.vault.get("approval", self._key(act))
        if record and record.json["status"] == "used":
            await self.vault.swap(record, record.json | {"status": record.json["was"]})

    # ------------------------------------------------------------- the page

    async def kept(self, question_id: str, by: User) -> Mapping[str, Any]:
        """What the tool has kept of its question, for the page. Raises `NotFound` where it is not this user's."""
        found: Mapping[str, Any] = (await self._question(question_id, by)).json["question"]["kept"]
        return found

    async def reply(
        self, question_id: str, said: Reply, *, by: User, content: Mapping[str, Any] | None = None
    ) -> Approval:
        """Record what the user said on our page. ``content``: what the tool wants of an accept, plain JSON.

        Raises `NotFound` for a question that is not theirs, or is over; `Conflict` for one that was answered.
        """
        if said not in get_args(Reply):
            raise InvalidInput("That is no answer.", fix_by="user", reason="odd_form")
        while True:
            record = await self._question(question_id, by)
            row = record.json
            if row["status"] != "pending":
                raise Conflict("This question was answered already.", reason="already_done")
            given = {"reply": said, "content": dict(content or {}) if said == "accept" else {}}
            changed = {
                "status": "approved" if said == "accept" else "rejected",
                "expires": self.clock() + row["question"]["seconds"],
                "question": row["question"] | {"said": given},
            }
            if await self.vault.swap(record, row | changed):
                event = ApprovalApproved if said == "accept" else ApprovalRejected
                await self.audit.tell(event(facts_of(by, row)))
                return await self._public(by, row | changed)

    async def _question(self, question_id: str, by: User) -> Record:
        record = await self.approvals.row(question_id, by)
        if "question" not in record.json:
            raise NotFound("No question of this id is pending for this user.")
        return record

    # ------------------------------------------------------------- rows

    async def _record(self, act: Act) -> Record | None:
        """The row of this act's question, as long as it counts."""
        record = await self.vault.get("approval", self._key(act))
        return None if record is None or record.json["expires"] <= self.clock() else record

    async def _waits(self, act: Act, content: Mapping[str, Any]) -> ApprovalRequired:
        waits = await self._public(act.user, content)
        where = waits.preview.get("where", "Its provider")
        return ApprovalRequired(f"{where} asks its user something first.", approval=waits, hint=HINT)

    async def _public(self, user: User, content: Mapping[str, Any]) -> Approval:
        return public(content, self.engine.home, await self.engine.zones.of(user))

    def _key(self, act: Act) -> str:
        """Of the act; of a read that nobody can name, of what it reads in its conversation."""
        which = act.key.hex if act.call.known else json.dumps([act.call.thread, act.tool.name, act.said])
        found = hmac.digest(self.vault.keys.index, b"question" + which.encode(), "sha256").hex()[:40]
        return self.vault.place(act.user) + found


def _reply_in(content: Mapping[str, Any]) -> UserSaid:
    """The answer of a row that has one. A no that was decided, also after an accept, is a no."""
    question, status = content["question"], status_before_use(content)
    said: Mapping[str, Any] = question.get("said", {"reply": "decline"})
    if (status == "approved") != (said.get("reply") == "accept"):
        said = {"reply": "decline"}
    return UserSaid(said["reply"], question["kept"], said.get("content", {}))
