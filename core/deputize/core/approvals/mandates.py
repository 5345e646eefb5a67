"""Mandates: approvals of several acts, such as "up to 20 mails to @acme.example until Friday, by this agent".

A mandate applies if the policy requires an approval and the act has no approval of its own. It does not override a
denial by the policy. Your application creates a mandate at the user's request, or the user creates it with the approval
of one act. In the second case, it has that act's tool, targets, audience, agent and account, and no caller can widen
it. No adapter, resume value or model affects it.

An act that uses a mandate adds its key to the mandate's record by compare-and-swap, before it claims its ledger record.
So no more acts begin than were allowed, even after races and crashes. A later run of the act finds its key in the
mandate's record, as long as the ledger has a record of the act. After that, the same call is another use. If the act is
refused without effect, its key is removed. An act that may have happened stays counted.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from deputize.core.approvals.mandate_record import (
    Change,
    Mandate,
    MandateOffer,
    MandateRecord,
    checked_audience,
    checked_offer,
    checked_targets,
    reached_digests,
    target_digests,
)
from deputize.core.approvals.record import Edit
from deputize.core.approvals.repository import Repository, record_before
from deputize.core.approvals.service import Approvals, Decision
from deputize.core.audit.events import MandateGiven, MandateReleased
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience, Preview
from deputize.core.tools.tool import Tool
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import Account, User
from deputize.core.vault.stores.protocol import RecordRead

_ID: Final = "[0-9a-f]{16}"


class Mandates:
    """The mandates of all users in one vault."""

    def __init__(self, services: Services, approvals: Approvals) -> None:
        self.vault, self.audit, self.clock, self.agent = services.vault, services.audit, services.clock, services.agent
        self.approvals, self.kept, self.rows = (
            approvals,
            services.outcome_retention,
            Repository(services, MandateRecord),
        )

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
        """Create a mandate for all of the user's accounts. Raises `InvalidInput` if it could cover no act."""
        if not tools:
            raise InvalidInput("A mandate needs at least one tool.", fix_by="operator")
        if blind := [tool.name for tool in tools if not tool.shows]:
            said = f"{blind[0]} does not show what it will do, so no mandate covers it."
            raise InvalidInput(said, hint="Let the user approve each.", fix_by="operator")
        return await self._insert(
            user,
            secrets.token_hex(8),
            checked_offer(offer, self.clock()),
            agent=agent or self.agent,
            tools=tuple(sorted({tool.name for tool in tools})),
            targets=checked_targets(targets),
            audience=checked_audience(audience),
            account="",
            destroys=bool(destroys),
        )

    async def approve(
        self, approval_id: str, decision: Decision, offer: MandateOffer, *, by: User, reason: str = ""
    ) -> Approval:
        """Approve an act and create a mandate for more acts like it. A repeat returns the same mandate, ended or not.

        Raises the errors of `Approvals.decide`, and `InvalidInput` if no mandate is possible for such acts.
        """
        if decision != "approve":
            raise InvalidInput(f"A mandate can be given with approve only, not {decision!r}.", fix_by="operator")
        offer, row = checked_offer(offer, self.clock()), await self.approvals.row(approval_id, by)
        approval_id = row.id  # the same was shown under both
        targets = row.repeatable()
        if not targets or row.show is None:
            raise InvalidInput("No mandate can be given for acts like this one.", hint="Approve each.", fix_by="user")
        approved = await self.approvals.decide(approval_id, decision, by=by, reason=reason)
        await self._insert(
            by,
            self._mandate_id(approval_id),
            offer,
            approval=approval_id,
            agent=row.agent,
            tools=(row.tool,),
            targets=tuple(sorted(targets)),
            audience=Preview.of(row.show).audience,
            account=row.account,
            subject=row.subject,
            destroys=False,
        )
        now = await self.approvals.get(approval_id, by=by)
        if now is not None and now.status == "rejected":  # meanwhile
            await self._end_mandates_of([approval_id], by)
        return approved

    async def reject(self, approval_id: str, *, by: User, reason: str, edit: Edit | None) -> Approval:
        """Reject an act and end the mandate of its approval, even if the rejection is too late for the act.

        The mandate is ended before the rejection, in case this process dies, and again after it, in case it was created
        in between.
        """
        now = await self.approvals.get(approval_id, by=by)
        ids = {approval_id, now.id if now else approval_id}
        await self._end_mandates_of(ids, by)
        try:
            return await self.approvals.decide(approval_id, "reject", by=by, reason=reason, edit=edit)
        finally:
            await self._end_mandates_of(ids, by)

    async def _end_mandates_of(self, approval_ids: Iterable[str], by: User) -> None:
        for approval_id in approval_ids:
            with suppress(NotFound):
                await self.end(by, self._mandate_id(approval_id))

    async def end_for_accounts(self, user: User, accounts: Collection[str] | None) -> None:
        """End the user's mandates for these accounts, or all of them if ``accounts`` is None."""
        for one in await self.list_valid(user):
            if accounts is None or one.account in accounts:
                with suppress(NotFound):
                    await self.end(user, one.id)

    async def end_all(self, tenant: str | None) -> None:
        """End all mandates of one tenant, or of all users if ``tenant`` is None, because their accounts are being
        disconnected."""
        async for rows, _ in self.vault.pages(MandateRecord.KIND):
            for found in MandateRecord.read_all(rows):
                if found.counts(self.clock()) and tenant in (None, found.tenant):
                    with suppress(NotFound):
                        await self.end(found.owner, found.id)

    def _mandate_id(self, approval_id: str) -> str:
        """Return the id of the one mandate that an approval can create."""
        return hmac.digest(
            self.vault.keys.index, b"mandate" + approval_id.encode(errors="surrogatepass"), "sha256"
        ).hex()[:16]

    def _digest(self, mandate_id: str, target: str) -> str:
        """Return a digest of a target for audit rows of this mandate. Nobody can guess the target from it."""
        content = json.dumps(["target", mandate_id, target]).encode()
        return hmac.digest(self.vault.keys.index, content, "sha256").hex()[:16]

    async def _insert(self, user: User, name: str, offer: MandateOffer, *, approval: str = "", **facts: Any) -> Mandate:
        facts |= {"most": offer.max_acts, "until": offer.expires_at, "expires": offer.expires_at}
        given = MandateRecord(id=name, tenant=user.tenant, user=user.id, approval=approval, **facts)
        key = self.vault.key_prefix(user) + name
        if await self.rows.put(key, given, await self.vault.data_keys.get(user.tenant)) is None:
            return (await self.rows.load(key) or given).public()
        audience, until = given.audience.name.lower(), round(given.until)
        targets = target_digests(given.targets, partial(self._digest, name))
        await self.audit.record(
            MandateGiven(given.facts(), given.tools, audience, given.most, until, approval, targets)
        )
        return given.public()

    async def list_valid(self, user: User) -> list[Mandate]:
        """Return the user's valid mandates, ordered by expiry."""
        return [one.public() for one in await self._load_valid(user)]

    async def end(self, user: User, mandate_id: str) -> None:
        """End a mandate: no further act begins under it. Raises `NotFound` if it has ended or is another user's."""
        now, record = self.clock(), await self._load(user, mandate_id)
        if record is None or not (await self.rows.swap(record, lambda m: m.end(now) if m.counts(now) else None))[1]:
            raise NotFound("No mandate of this id counts for this user.", hint="deputy.mandates(user) lists them.")

    # ------------------------------------------------------------- used

    async def find_covering(self, act: Act, account: Account, beside: Mapping[str, int]) -> str:
        """Return the id of a mandate that covers the act and has a use left, or "". Does not use the mandate.

        ``beside``: number of uses by other acts that are about to begin, by mandate.
        """
        if act.show is None:
            return ""
        fit = (one for one in await self._load_valid(act.user) if one.covers(act, account, self.clock()))
        return next((one.id for one in fit if one.is_left(act, beside, self._ledger_horizon)), "")

    async def spend(self, act: Act, account: Account) -> bool:
        """Use the act's mandate. Return False if the mandate no longer covers the act or has no use left."""
        known = False
        reached = reached_digests(act.show, partial(self._digest, act.mandate)) if act.show else ()

        def used(found: MandateRecord) -> Change | None:
            nonlocal known
            covered = found.covers(act, account, self.clock())
            known = covered and found.is_known(act, self._ledger_horizon)
            spends = covered and not known and found.is_left(act, {}, self._ledger_horizon)
            return found.use(act, self.clock(), reached) if spends else None

        record = await self._load(act.user, act.mandate)
        return record is not None and ((await self.rows.swap(record, used))[1] or known)

    async def release(self, act: Act) -> None:
        """Release the act's use of its mandate, because the act was refused before it did anything."""
        record = await self._load(act.user, act.mandate)
        if record and act.key.hex in record.spent:
            event = MandateReleased(record.facts(), act.tool.name, act.call.thread, act.call.id)
            await record_before(self.audit, event)
            await self.rows.swap(record, lambda found: found.release(act) if act.key.hex in found.spent else None)

    @property
    def _ledger_horizon(self) -> float:
        """The time before which the ledger no longer has records of acts."""
        return self.clock() - self.kept

    def reads(self, user: User) -> list[RecordRead]:
        """Return what `find_covering` reads."""
        return [("scan", MandateRecord.KIND, self.vault.key_prefix(user))]

    async def _load_valid(self, user: User) -> list[MandateRecord]:
        """Return the user's valid mandates, ordered by expiry. Records that this version cannot read are left out. They
        cover no act, and this version cannot end them."""
        rows = await self.vault.scan(MandateRecord.KIND, self.vault.key_prefix(user))
        counting = [one for one in MandateRecord.read_all(rows) if one.counts(self.clock())]
        return sorted(counting, key=lambda one: one.until)

    async def _load(self, user: User, mandate_id: str) -> MandateRecord | None:
        known = re.fullmatch(_ID, mandate_id)
        return await self.rows.load(self.vault.key_prefix(user) + mandate_id) if known else None
