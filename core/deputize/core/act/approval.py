"""A yes to one exact act. The stored row counts; a resume value or an event only says where to look.

An approval is bound to the act, to the account it acts from, to its arguments and to the digest of what was shown: what
is not as it was shown is another question, under another id, with what changed named. The user may change the
arguments with the yes: then it is a yes to those, as long as only words differ and only by the edit, and the act is
done with those, whatever was asked for. A yes is taken by the act that it lets happen, and given back if that was
refused before it did anything. A call that cannot be told from another needs a new one.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from types import EllipsisType
from typing import Any, Final, Literal

from deputize.core.act.act import Act
from deputize.core.act.approval_row import (
    Edit,
    agreed_to,
    asked_anew,
    edit_is_about,
    facts_of,
    fresh_id,
    is_about,
    is_same,
    is_spent,
    meant,
    public,
    refuse_yes_to_question,
    shown_in,
    waits,
)
from deputize.core.act.asked_of import AskedOf
from deputize.core.act.pending_limit import room_for_one_more
from deputize.core.act.show import Show
from deputize.core.act.too_late import outcome_of, row_of, too_late
from deputize.core.act.tool import Effect
from deputize.core.act.use_up import Claim, use_up
from deputize.core.audit.events import (
    ApprovalApproved,
    ApprovalAsked,
    ApprovalEdited,
    ApprovalRejected,
    ApprovalTooLate,
    ApprovalUsed,
    Event,
)
from deputize.core.engine import Engine
from deputize.core.errors import ApprovalRequired, Declined, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.pending import Approval
from deputize.core.vault.grant import Account, User
from deputize.core.vault.vault import Record
from deputize.core.vault.watching import watching

LIFE: Final = 3600.0
NO_ROW: Final[Mapping[str, Any]] = {}
_ID: Final = r"[0-9a-f]{40}-[0-9a-f]{8}"
Decision = Literal["approve", "reject", "edit"]
ROWS: Final = {"approve": ApprovalApproved, "reject": ApprovalRejected, "edit": ApprovalEdited}
STATUS: Final = {"approve": "approved", "reject": "rejected", "edit": "approved"}


class Approvals:
    """Approvals of all users, in one vault."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.vault, self.audit, self.clock = engine, engine.vault, engine.audit, engine.clock
        listed = AskedOf(engine)
        self.waiting, self.wait_already, self.of_step = listed.waiting, listed.wait_already, listed.of_step

    async def require(
        self,
        act: Act,
        account: Account,
        seen: Record | EllipsisType | None = ...,
        unedited: Show | None = None,
    ) -> Mapping[str, Any] | None:
        """Return if the user has approved exactly this act; the arguments, if the user changed them. ``seen``: its row,
        or that there is none, where that was just looked at. ``unedited``: as `edit_is_about` has it.

        Raises `ApprovalRequired`, `Declined` after a no, or `RateLimited` where too many wait for the user already.
        """
        content = (await self._asked(act, account, seen, unedited)).json
        if content["status"] == "rejected":
            raise Declined(f"The user declined: {act.tool.name}.", hint=content["reason"])
        if content["status"] == "pending":
            waits = await self._public(act.user, content)
            raise ApprovalRequired(f"{act.tool.name} waits for the user's approval.", approval=waits)
        return content.get("edited")

    async def unspent(self, act: Act, account: Account) -> Mapping[str, Any]:
        """What the row of this act holds, expired or not, unless another act used it up; ``edited`` counts unasked.
        `NO_ROW` where there is none."""
        record = await self.vault.get("approval", self._key(act, account))
        if record is None:
            return NO_ROW
        return {} if is_spent(act, content := record.json) else content

    async def standing(self, act: Act, account: Account) -> Record | None:
        """The row of this act, as long as it says something about it."""
        record = await self.vault.get("approval", self._key(act, account))
        return None if record is None or self._over(act, record.json) else record

    async def _asked(
        self,
        act: Act,
        account: Account,
        seen: Record | EllipsisType | None = ...,
        unedited: Show | None = None,
    ) -> Record:
        """The row about just this act, asked anew where there is none, or one about something else. A row that
        changes meanwhile is looked at again: no yes to something else is ever taken for this one."""
        key = self._key(act, account)
        while True:
            record, seen = await self.vault.get("approval", key) if seen is ... else seen, ...
            if record is None or self._over(act, record.json):
                made = await self._ask(act, account, key, record, None)
            elif is_about(act, record.json):
                return record
            elif edit_is_about(act, record.json, unedited):
                made = await self.vault.swap(record, record.json | shown_in(act) | {"settled": True})
            else:
                made = await self._ask(act, account, key, record, agreed_to(record.json))
            if made is not None:
                return made

    def _over(self, act: Act, content: Mapping[str, Any]) -> bool:
        """Whether an approval says nothing about this act any more."""
        return is_spent(act, content) or bool(content["expires"] <= self.clock())

    async def _ask(
        self, act: Act, account: Account, key: str, old: Record | None, agreed: Mapping[str, Any] | None
    ) -> Record | None:
        """A new question; None where somebody was quicker. ``agreed``: what the user had said yes to before."""
        arguments = {"arguments": meant(act.tool, act.arguments)}
        content = asked_anew(act, account, key, self.clock(), LIFE) | arguments | shown_in(act)
        if agreed is not None and act.show is not None:
            content |= {"agreed": agreed, "changed": act.show.differs(Show.of(agreed))}
        if old is not None and act.asked is not None:
            content |= {"edited": old.json["edited"], "settled": True}
        async with self._room(act.user, old):
            made = await (self.vault.swap(old, content) if old else self.vault.insert("approval", key, content))
        if made is not None:
            await self.audit.tell(ApprovalAsked(facts_of(act.user, content)))
        return made

    def _room(self, user: User, old: Record | None) -> AbstractAsyncContextManager[None]:
        """For one more question to this user; none is needed for another one in place of one that waits."""
        if old is not None and waits(old.json, self.clock()):
            return nullcontext()
        return room_for_one_more(self.vault, user, self.wait_already, LIFE, self.engine.home)

    async def decide(
        self, approval_id: str, decision: Decision, *, by: User, reason: str = "", edit: Edit | None = None
    ) -> Approval:
        """Record the user's answer. Raises `NotFound` for an approval that is not this user's, or has expired.

        The same answer twice is one answer. A no counts until the act has begun, whatever was said before; any other
        answer to a decided approval is a `Conflict`, which says what became of the act.
        """
        status = STATUS.get(decision) if isinstance(decision, str) else None
        if status is None or (edit is None) == (decision == "edit"):
            raise InvalidInput("A decision is approve, reject, or edit with arguments.", fix_by="operator")
        changed = {"edited": edit.arguments, "arguments": edit.meant, "settled": False} if edit else {}
        while True:
            record = await self.row(approval_id, by)
            content = record.json
            refuse_yes_to_question(content, decision)
            if content["status"] != "pending" and (content["status"], status) != ("approved", "rejected"):
                if content["status"] == status and is_same(content, edit):
                    return await self._public(by, content)
                if (content["status"], status) == ("used", "rejected"):
                    await self.audit.tell(ApprovalTooLate(facts_of(by, content)))
                shown, zone = await self._with_outcome(by, content), await self.engine.zones.of(by)
                raise await too_late(self.vault, by, content, shown, decision, self.clock(), zone)
            content |= {"status": status, "reason": reason[:200], **changed}
            if await asyncio.shield(self._decided(record, content, ROWS[decision](facts_of(by, content)))):
                return await self._public(by, content)

    async def _decided(self, record: Record, content: dict[str, Any], event: Event) -> bool:
        """Write the decision and then its audit event, both to the end if the caller is cancelled. Returns whether the
        row was still as it was."""
        swapped = await self.vault.swap(record, content) is not None
        if swapped:
            await self.audit.tell(event)
        return swapped

    async def get(self, approval_id: str, *, by: User) -> Approval | None:
        """The approval of this id, decided or not, if it is this user's; a question only as long as it counts."""
        record = await self._of(approval_id, by)
        gone = record is None or ("question" in record.json and record.json["expires"] <= self.clock())
        return None if record is None or gone else await self._with_outcome(by, record.json)

    async def decided(self, approval_id: str, by: User, timeout: float) -> Approval | None:
        """The same once it waits for its user no longer, wherever that is decided, or after so many seconds."""
        ends = time.monotonic() + timeout
        if (now := await self.get(approval_id, by=by)) is None or now.status != "pending" or timeout <= 0:
            return now
        async with watching(self.vault.store, ("approval", self._place(approval_id, by))) as watch:
            while (now := await self.get(approval_id, by=by)) is not None and now.status == "pending":
                if (left := ends - time.monotonic()) <= 0:
                    break
                await watch.changed(left)
        return now

    async def _public(self, user: User, content: Mapping[str, Any]) -> Approval:
        return public(content, self.engine.home, await self.engine.zones.of(user))

    async def _with_outcome(self, user: User, content: Mapping[str, Any]) -> Approval:
        """As a person sees it, with what became of its act."""
        outcome, at = outcome_of(await row_of(self.vault, user, content))
        return replace(await self._public(user, content), outcome=outcome, ended_at=at)

    async def row(self, approval_id: str, user: User) -> Record:
        """The row of an approval that is this user's and still counts. Raises `NotFound`."""
        record = await self._of(approval_id, user)
        if record is None or record.json["expires"] <= self.clock():
            raise NotFound("No approval of this id is pending for this user.", hint="Make the call again.")
        return record

    async def _of(self, approval_id: str, user: User) -> Record | None:
        place = self._place(approval_id, user)
        record = await self.vault.get("approval", place) if re.fullmatch(_ID, approval_id) else None
        return record if record and record.json["id"] == approval_id else None

    def _place(self, approval_id: str, user: User) -> str:
        return self.vault.place(user) + approval_id.partition("-")[0]

    async def renew(self, approval_ids: Iterable[str], user: User) -> None:
        """Somebody else tried to answer: what still waits gets new ids, so that no kept answer of theirs fits."""
        for approval_id in approval_ids:
            record = await self._of(approval_id, user)
            if record and record.json["status"] == "pending":
                await self.vault.swap(record, record.json | {"id": fresh_id(record.key)})

    async def take(self, act: Act, account: Account, claim: Claim | None = None) -> str:
        """The approved act is about to happen: nothing else can happen on this approval; its id. For one run at a time.

        ``claim``: what has to be durable before the yes is used up. A row that moved meanwhile is looked at once more.
        Raises `ApprovalRequired` where another call that looks the same was quicker, or what is shown has changed, and
        `OutcomeUnknown` where an earlier run took the yes and left no word of what became of it.
        """
        mine = None if act.asked is None else meant(act.tool, act.arguments)
        content = (record := await self._asked(act, account)).json
        for _ in range(2):
            if act.call.known and content["status"] == "used":
                if act.effect is Effect.READS:
                    return str(content["id"])
                if claim is not None:
                    await claim.make()  # what becomes of this run is known for longer than the yes
                raise OutcomeUnknown(
                    "An earlier run of this act used the user's approval and was interrupted: it may have been done.",
                    hint="Look whether it was done before asking for it again.",
                )
            if content["status"] == "rejected":
                raise Declined(f"The user declined: {act.tool.name}.", hint=content["reason"])
            edited = content.get("edited") is not None and content.get("arguments") != mine  # meanwhile: not that
            if content["status"] != "approved" or edited or not is_about(act, content):
                break
            if await use_up(
                self.vault, record, content | {"status": "used", "act": act.key.hex, "was": "approved"}, claim
            ):
                await self.audit.tell(ApprovalUsed(facts_of(act.user, content)))
                return str(content["id"])
            content = (record := await self.vault.get("approval", record.key) or record).json
        raise ApprovalRequired(f"{act.tool.name} needs a new approval.", approval=await self._public(act.user, content))

    async def pass_over(self, act: Act, account: Account) -> bool:
        """The act is about to happen under a mandate, or since the policy asks no more: what was asked about it needs
        no answer; whether anything was. Raises `Declined` after a no, which holds whatever lets the act happen now."""
        while act.call.known:
            record = await self.vault.get("approval", self._key(act, account))
            if record is None or self._over(act, record.json) or record.json["status"] == "used":
                return False
            if record.json["status"] == "rejected":
                raise Declined(f"The user declined: {act.tool.name}.", hint=record.json["reason"])
            used = {"status": "used", "act": act.key.hex, "was": record.json["status"]}
            if await self.vault.swap(record, record.json | used):
                return True
        return False

    async def give_back(self, act: Act, account: Account) -> None:
        """Nothing happened: the approval stands as it was."""
        record = await self.vault.get("approval", self._key(act, account))
        if record and record.json["status"] == "used":
            await self.vault.swap(record, record.json | {"status": record.json.get("was", "approved")})

    def _key(self, act: Act, account: Account) -> str:
        """Of the act, its account and its exact arguments, under the vault's key: nobody can guess or build one."""
        who = act.key.hex if act.call.known else f"{act.call.thread}/{act.tool.name}"
        exact = json.dumps([who, account.subject, act.said]).encode()
        return self.vault.place(act.user) + hmac.digest(self.vault.keys.index, b"approval" + exact, "sha256").hex()[:40]
