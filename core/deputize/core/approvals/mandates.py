"""A yes for more than once: "up to 20 mails to @acme.example until Friday, by this agent". Given by the user alone.

A mandate answers where the policy asks and no approval of the act does; a denial stays one. Who gives it is the host's
own code on the user's order, or the user beside the yes to one act, whose tool, targets, audience, agent and account it
then has: no caller can widen it. No adapter, resume value or model says anything about mandates.

An act that uses one writes its key into the mandate's row, by compare-and-swap, before its own row in the ledger is
claimed: whatever races or dies, no more acts than were allowed begin, and a later run of an act finds itself there, for
as long as the ledger would know that act: the same call after that is one more. A refusal that leaves nothing behind
takes the key out again; what may have happened stays spent.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from deputize.core.approvals.mandate_record import (
    Mandate,
    MandateOffer,
    checked,
    checked_audience,
    checked_targets,
    covers,
    facts_of,
    is_known,
    left,
    public,
    with_use,
    without_use,
)
from deputize.core.approvals.record import Edit
from deputize.core.approvals.service import Approvals, Decision
from deputize.core.audit.events import MandateEnded, MandateGiven, MandateUsed
from deputize.core.engine import Engine
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience, Show
from deputize.core.tools.tool import Tool
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import Account, User
from deputize.core.vault.vault import Record


class Mandates:
    """Mandates of all users, in one vault."""

    def __init__(self, engine: Engine, approvals: Approvals, kept: float) -> None:
        """``kept``: seconds that the ledger keeps outcomes, in which a call is the same act."""
        self.vault, self.audit, self.clock, self.agent = engine.vault, engine.audit, engine.clock, engine.agent
        self.approvals, self.kept = approvals, kept

    # ------------------------------------------------------------- given, listed, ended

    async def give(
        self,
        user: User,
        tools: Sequence[Tool],
        targets: Sequence[str],
        audience: Audience,
        offer: MandateOffer,
        agent: str,
        destroys: bool,
    ) -> Mandate:
        """A new mandate, for each of the user's accounts. Raises `InvalidInput` for one that could cover nothing."""
        if not tools:
            raise InvalidInput("A mandate names its tools.", fix_by="operator")
        if blind := [tool.name for tool in tools if not tool.shows]:
            said = f"{blind[0]} does not show what it will do, so no mandate covers it."
            raise InvalidInput(said, hint="Let the user approve each.", fix_by="operator")
        content = {
            "agent": agent or self.agent,
            "tools": sorted({tool.name for tool in tools}),
            "targets": checked_targets(targets),
            "audience": checked_audience(audience),
            "account": "",
            "subject": None,
            "destroys": bool(destroys),
        }
        return await self._insert(user, secrets.token_hex(8), content, checked(offer, self.clock()))

    async def approve(
        self, approval_id: str, decision: Decision, offer: MandateOffer, *, by: User, reason: str = ""
    ) -> Approval:
        """A yes to the act of an approval, and to more like it. Said again it is the same mandate, ended or not.

        Raises as `Approvals.decide` does, and `InvalidInput` where there can be none for such acts, or none like that.
        """
        if decision != "approve":
            raise InvalidInput("A mandate goes with approve.", fix_by="operator")
        offer, row = checked(offer, self.clock()), await self.approvals.row(approval_id, by)
        targets = row.repeatable()
        if not targets or row.show is None:
            raise InvalidInput("No mandate can be given for acts like this one.", hint="Approve each.", fix_by="user")
        content = {
            "agent": row.agent,
            "tools": [row.tool],
            "targets": sorted(targets),
            "audience": int(Show.of(row.show).audience),
            "account": row.account,
            "subject": row.subject,
            "destroys": False,
        }
        approved = await self.approvals.decide(approval_id, decision, by=by, reason=reason)
        await self._insert(by, self._beside(approval_id), content, offer, approval_id)
        now = await self.approvals.get(approval_id, by=by)
        if now is not None and now.status == "rejected":  # meanwhile
            await self._end_beside(approval_id, by)
        return approved

    async def reject(self, approval_id: str, *, by: User, reason: str, edit: Edit | None) -> Approval:
        """A no to the act of an approval, which ends the mandate for more like it, also where it comes too late for the
        act. Before the no, so that it holds if this process dies; and after it, for one that was given in between."""
        await self._end_beside(approval_id, by)
        try:
            return await self.approvals.decide(approval_id, "reject", by=by, reason=reason, edit=edit)
        finally:
            await self._end_beside(approval_id, by)

    async def _end_beside(self, approval_id: str, by: User) -> None:
        with suppress(NotFound):
            await self.end(by, self._beside(approval_id))

    async def end_of(self, user: User, accounts: Collection[str] | None) -> None:
        """No mandate for one of these accounts counts any more; None: none of the user's at all."""
        for one in await self.all_of(user):
            if accounts is None or one.account in accounts:
                with suppress(NotFound):
                    await self.end(user, one.id)

    async def end_all(self, tenant: str | None) -> None:
        """No mandate of anybody counts any more, or of nobody in one tenant: all of them are disconnected."""
        async for records, _ in self.vault.pages("mandate"):
            for content in (record.json for record in records if self._counts(record)):
                if tenant in (None, content["tenant"]):
                    with suppress(NotFound):
                        await self.end(User(content["user"], content["tenant"]), content["id"])

    def _beside(self, approval_id: str) -> str:
        """The id of the one mandate that an approval can lead to."""
        return hmac.digest(
            self.vault.keys.index, b"mandate" + approval_id.encode(errors="surrogatepass"), "sha256"
        ).hex()[:16]

    async def _insert(
        self, user: User, name: str, content: dict[str, Any], offer: MandateOffer, approval_id: str = ""
    ) -> Mandate:
        row = content | {"id": name, "most": offer.most, "until": offer.until, "expires": offer.until}
        row |= {
            "tenant": user.tenant,
            "user": user.id,
            "spent": [],
            "latest": {},
            "ended": 0.0,
            "approval": approval_id,
        }
        if await self.vault.insert("mandate", self.vault.place(user) + name, row) is None:
            record = await self._of(user, name)
            return public(user, record.json if record else row)
        who, audience = facts_of(user, row), Audience(row["audience"]).name.lower()
        tools, until = tuple(row["tools"]), round(offer.until)
        await self.audit.tell(MandateGiven(who, tools, audience, offer.most, until, approval_id))
        return public(user, row)

    async def all_of(self, user: User) -> list[Mandate]:
        """The user's mandates that count, the one that ends first at the beginning."""
        return [public(user, record.json) for record in await self._counting(user)]

    async def end(self, user: User, mandate_id: str) -> None:
        """No act begins under it any more. Raises `NotFound` for one that is not this user's, or has ended."""
        while True:
            record = await self._of(user, mandate_id)
            if record is None or not self._counts(record):
                raise NotFound("No mandate of this id counts for this user.", hint="deputy.mandates(user) lists them.")
            if await self.vault.swap(record, record.json | {"ended": self.clock()}):
                await self.audit.tell(MandateEnded(facts_of(user, record.json)))
                return

    # ------------------------------------------------------------- used

    async def covering(self, act: Act, account: Account, beside: Mapping[str, int]) -> str:
        """The id of a mandate that covers an act and is not used up; "" where none does. Nothing is spent.

        ``beside``: by mandate, how many other acts are about to use it.
        """
        if act.show is None:
            return ""
        found = (record.json for record in await self._counting(act.user))
        fit = (content for content in found if covers(content, act, account, self.clock()))
        return next((str(content["id"]) for content in fit if left(content, act, beside, self._known_since)), "")

    async def spend(self, act: Act, account: Account) -> bool:
        """Use the act's mandate for it; False where that covers it no more, or others have used it up."""
        while True:
            record = await self._of(act.user, act.mandate)
            content: dict[str, Any] = record.json if record else {}
            if record is None or not covers(content, act, account, self.clock()):
                return False
            if is_known(content, act, self._known_since):
                return True
            if not left(content, act, {}, self._known_since):
                return False
            if await self.vault.swap(record, with_use(content, act, self.clock())):
                digest = act.show.digest if act.show else ""
                who = facts_of(act.user, content)
                await self.audit.tell(MandateUsed(who, act.tool.name, act.call.thread, act.call.id, digest))
                return True

    async def give_back(self, act: Act) -> None:
        """The act was refused before it did anything."""
        while (record := await self._of(act.user, act.mandate)) and act.key.hex in record.json["spent"]:
            if await self.vault.swap(record, without_use(record.json, act)):
                return

    @property
    def _known_since(self) -> float:
        """Whatever was begun before that, the ledger does not know any more."""
        return self.clock() - self.kept

    async def _counting(self, user: User) -> list[Record]:
        found = [r for r in await self.vault.scan("mandate", self.vault.place(user)) if self._counts(r)]
        return sorted(found, key=lambda record: float(record.json["until"]))

    def _counts(self, record: Record) -> bool:
        return not record.json["ended"] and bool(record.json["until"] > self.clock())

    async def _of(self, user: User, mandate_id: str) -> Record | None:
        return await self.vault.get("mandate", self.vault.place(user) + mandate_id)
