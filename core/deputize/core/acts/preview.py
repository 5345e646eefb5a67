"""Previews of authorized acts: making them, judging them by the policy, and submitting them for approval.

If an act may continue after its preview, its run is paused there, so that nothing is read twice. A paused run is kept
in this process only, for `PLAN_TTL` seconds, for one use, and within the limits below. It is dropped as soon as the
same user writes at the same provider, because the write may change the data that was read. A run that needs an approval
is dropped, because a user's decision takes longer than `PLAN_TTL`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import EllipsisType
from typing import Final, TypeAlias

from deputize.core.acts.authorize import Asked, current_approval
from deputize.core.acts.provider_errors import MissingScope
from deputize.core.acts.provider_requests import fault_of
from deputize.core.acts.runner import Planned, Runner
from deputize.core.approvals.mandates import Mandates
from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.approvals.service import Approvals
from deputize.core.errors import DeputizeError, PolicyDenied
from deputize.core.idempotency.undo import refuse_if_changed
from deputize.core.policy.policy import PLAIN, Decision, Judge, Verdict
from deputize.core.provenance.contacts import KnownContacts
from deputize.core.provenance.store import UntrustedRecord, message_use
from deputize.core.provenance.user_message import is_named
from deputize.core.tools.act import Act
from deputize.core.tools.first_contact import FirstContact
from deputize.core.tools.preview import Preview
from deputize.core.vault.grant import Account, Grant, User

PLAN_TTL: Final = 10.0
MAX_PLANS: Final = 64
MAX_PLAN_BYTES: Final = 64 * 2**20
_SHOW: Final = (
    'Let the tool yield a Preview in every run. If all its GETs read, and it found nothing to change: shows="changes". '
    'A GET that changes something says repeat="write".'
)
NONE: Final[Mapping[str, int]] = {}
"""No other acts in the same message."""


class Plans:
    """Paused runs that may continue. If a limit is exceeded, the oldest are dropped."""

    def __init__(self, most: int = MAX_PLANS, most_bytes: int = MAX_PLAN_BYTES) -> None:
        self.most, self.most_bytes = most, most_bytes
        self._kept = dict[str, tuple[float, Planned]]()
        self._wrote = dict[tuple[User, str], float]()

    def keep(self, plan: Planned) -> None:
        """Keep a run for `take`. Closes it instead if its call has no id, because no later call could use it."""
        self._forget(lambda until, _: time.monotonic() > until)
        key = plan.run.act.key.hex
        self._end(key)
        if not plan.run.act.call.has_id or plan.run.exchange.held > self.most_bytes:
            plan.close()
            return
        self._kept[key] = (time.monotonic() + PLAN_TTL, plan)
        while len(self._kept) > self.most or self._bytes() > self.most_bytes:
            self._end(next(iter(self._kept)))

    def _bytes(self) -> int:
        return sum(plan.run.exchange.held for _, plan in self._kept.values())

    def take(self, act: Act, grant: Grant) -> Planned | None:
        """Return the paused run of exactly this act, or None if it has expired. A run is returned once."""
        until, plan = self._kept.pop(act.key.hex, (0.0, None))
        if plan is None:
            return None
        account = plan.run.exchange.grant.account
        same = plan.run.act.arguments == act.arguments and account.subject == grant.account.subject
        if time.monotonic() > until or not same:
            plan.close()
            return None
        return plan

    def drop(self, act: Act, now: float) -> None:
        """Drop the user's paused runs at this provider, because this act may change the data that they read."""
        whose = act.user, act.provider
        self._wrote.pop(whose, None)
        self._wrote[whose] = now  # added last, so that expired ones come first
        while next(iter(self._wrote.values())) <= now - PLAN_TTL:
            del self._wrote[next(iter(self._wrote))]
        self._forget(lambda _, plan: (plan.run.act.user, plan.run.act.provider) == whose)

    def has_written_since(self, act: Act, at: float) -> bool:
        """Return True if this user has begun a write at this provider since ``at``, in this process."""
        return self._wrote.get((act.user, act.provider), -1.0) >= at

    def close(self) -> None:
        """Close all paused runs."""
        self._forget(lambda *_: True)

    def _forget(self, over: Callable[[float, Planned], bool]) -> None:
        for key, (until, plan) in list(self._kept.items()):
            if over(until, plan):
                self._end(key)

    def _end(self, key: str) -> None:
        _, plan = self._kept.pop(key, (0.0, None))
        if plan is not None:
            plan.close()


Search: TypeAlias = Callable[[Act], Awaitable[tuple[FirstContact, ...] | None]]


class Previewer:
    """Runs acts up to their preview, then authorizes the preview or submits it for approval."""

    def __init__(
        self,
        judge: Judge,
        approvals: Approvals,
        mandates: Mandates,
        runner: Runner,
        provenance: UntrustedRecord,
        contacts: KnownContacts,
        search: Search,
    ) -> None:
        """``search``: finds the act's first contacts among those that were not checked."""
        self.judge, self.approvals, self.mandates, self.clock = judge, approvals, mandates, approvals.clock
        self.runner, self.provenance, self.plans = runner, provenance, Plans()
        self.contacts, self.search = contacts, search

    async def preview(self, act: Act, grant: Grant, asked: Asked, beside: Counter[str]) -> bool:
        """Make the preview and request an approval if one is needed. Return True if the user has approved the act.

        ``beside``: by mandate, the number of acts of the same message that will use it. This act is added if it will
        use a mandate.

        The preview is not made again if its approval was requested a moment ago. After an approval, the data is read
        again, so that a new approval is requested if the data has changed. Raises `ApprovalRequired`, `Declined`,
        `PolicyDenied` and the errors of the reads.
        """
        standing = current_approval(asked, self.clock())
        if standing and standing.status is Status.USED:
            return True
        if standing and standing.show and self._is_fresh(act, standing):
            await self.authorize(act.having(show=Preview.of(standing.show)), grant, beside)
        plan = await self.runner.preview(act, grant)
        if plan is None:
            await self.refuse_without_preview(act)
            return False
        try:
            stands = None if asked is None else ...
            allowed, _ = await self.authorize(act.having(show=plan.show), grant, beside, stands)
        except BaseException:
            plan.close()
            raise
        self.plans.keep(plan)
        beside.update([allowed.mandate] if allowed.mandate else [])
        beside.update([_message_key(allowed)] if allowed.named_by_user else [])
        return allowed.approved

    async def refuse_without_preview(self, act: Act) -> None:
        """Raise `InvalidInput` if the policy requires the user's approval of this act, which ended without a preview
        although its tool declares previews. Its requests looked like reads, but only the provider knows what they
        did."""
        if not act.shows or act.tool.may_end_unshown:
            return
        decision = await self.judge.decide(await self.provenance.mark_untrusted(act))
        if decision.verdict is not Verdict.ALLOW:
            raise fault_of(act, "ended without a Preview, though its effect needs the user's approval", _SHOW)

    def _is_fresh(self, act: Act, standing: ApprovalRecord) -> bool:
        """Return True if the preview need not be made again, because it was rejected or its approval was just
        requested."""
        at, pending = standing.asked, standing.status is Status.PENDING
        fresh = 0 <= self.clock() - at < PLAN_TTL and not self.plans.has_written_since(act, at)
        return standing.status is Status.REJECTED or (pending and act.asked is None and fresh)

    async def authorize(
        self,
        act: Act,
        grant: Grant,
        beside: Mapping[str, int] = NONE,
        stands: ApprovalRecord | EllipsisType | None = ...,
    ) -> tuple[Act, ApprovalRecord | None]:
        """Return the act, and its approval if it has one. Request an approval unless the act is approved, covered by a
        mandate, or needs none.

        An act that the user edited always needs an approval. An act that the user's own message names needs none if the
        policy says so; `Act.named_by_user` is then True. A decision about this act takes precedence over any mandate.

        The policy and the user see which targets untrusted content has named, and which people are first contacts. The
        user's sent mail is searched for these people only if the policy does not allow the act anyway and the user has
        not approved it already. The policy is asked again after the search. ``stands``: the act's approval, or None if
        there is none; if left out, it is loaded.
        """
        act, stands, permitted = await self.find_permission(act, grant.account, beside, stands)
        if permitted:
            return act, None
        waits = stands is not None and stands.status is Status.PENDING
        unedited = await self._preview_before_edit(act, grant, stands)
        seen = ... if waits else stands  # the user may have decided by now
        approval = await self.approvals.require(act, grant.account, seen, unedited)
        return act.having(approved=True), approval

    async def find_permission(
        self,
        act: Act,
        account: Account,
        beside: Mapping[str, int] = NONE,
        stands: ApprovalRecord | EllipsisType | None = ...,
        search: Search | None = None,
    ) -> tuple[Act, ApprovalRecord | None, bool]:
        """Return the act, its approval if it was read, and True if the act may begin without one: the policy allows it,
        a mandate covers it, or the user's own message names it. Asks nobody and writes nothing.

        ``search``: in place of the search for first contacts. Raises `PolicyDenied`.
        """
        refuse_if_changed(act)
        act = await self.mark_targets(act, account)
        act = act.having(decision=await self._decide(act))
        if _is_allowed(act) and act.asked is None:
            return act.having(approved=False), None, True
        if stands is ...:
            stands = await self.approvals.current_approval(act, account)
        if act.first_contacts and not (_asks(act) and _is_approved(act, stands)):
            found = await (search or self.search)(act)
            act = act.having(first_contacts=found or (), first_contacts_known=found is not None)
            act = act.having(decision=await self.judge.decide(act))
            if _is_allowed(act) and act.asked is None:
                return act.having(approved=False), stands, True
        if stands is None or stands.status is Status.PENDING:
            if _asks(act) and (named := await self._with_user_message(act, beside)):
                return named, stands, True
            asks = act.decision  # a mandate answers only for the user, and for no budget
            own = not asks or not (asks.approvers or asks.over_budget)
            if own and (mandate := await self.mandates.find_covering(act, account, beside)):
                return act.having(approved=False, mandate=mandate), stands, True
        return act, stands, False

    async def _with_user_message(self, act: Act, beside: Mapping[str, int]) -> Act | None:
        """Return the act with `Act.named_by_user` set if the user's own message names it and the policy then allows it;
        else None."""
        if not act.call.user_message:
            return None
        zone, known = await self.runner.zones.find(act.user)
        if (
            not is_named(act, zone if known else None)
            or beside.get(_message_key(act))
            or not await self.provenance.may_use_message(act)
        ):
            return None
        named = act.having(approved=False, named_by_user=True)
        named = named.having(decision=await self._decide(named))
        return named if _is_allowed(named) else None

    async def mark_targets(self, act: Act, account: Account) -> Act:
        """Return the act with its untrusted targets, and with the people who are not among the user's known
        contacts."""
        act = await self.provenance.mark_untrusted(act)
        unknown = await self.contacts.unknown(act, account)
        found = tuple(FirstContact(one, checked=False) for one in unknown or ())
        return act.having(first_contacts=found, first_contacts_known=unknown is not None)

    async def _decide(self, act: Act) -> Decision:
        """Return the policy's decision. A denial is not final if the search may remove a first contact from the act."""
        try:
            return await self.judge.decide(act)
        except PolicyDenied:
            if not act.first_contacts:
                raise
            return PLAIN[Verdict.DENY]

    async def _preview_before_edit(self, act: Act, grant: Grant, stands: ApprovalRecord | None) -> Preview | None:
        """Return the preview of the arguments before the user's edit, or None if it is not needed or cannot be read.

        This preview is made after the preview of the edit, so that it includes changes by others until then.
        """
        if act.asked is None or stands is None or not stands.is_unseen_edit:
            return None
        before = replace(act, arguments=act.asked, effect=act.tool.effect_of(act.asked), show=None)
        try:
            plan = await self.runner.preview(before, grant)
        except (DeputizeError, MissingScope):
            return None
        if plan is None:
            return None
        plan.close()
        return plan.show


def _is_allowed(act: Act) -> bool:
    return act.decision is not None and act.decision.verdict is Verdict.ALLOW


def _asks(act: Act) -> bool:
    return act.decision is not None and act.decision.verdict is Verdict.ASK


def _message_key(act: Act) -> str:
    """Return the key under which the acts of one message count the use of the user's message by this act."""
    return " ".join(message_use(act))


def _is_approved(act: Act, stands: ApprovalRecord | EllipsisType | None) -> bool:
    """Return True if the user has approved exactly this act."""
    return isinstance(stands, ApprovalRecord) and stands.status is Status.APPROVED and stands.is_about(act)
