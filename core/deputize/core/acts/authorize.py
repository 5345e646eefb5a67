"""From an act to one that may happen: the one way in.

    policy    a no              -> PolicyDenied
    grant     none, lost, from elsewhere, too narrow -> MissingScopes
    approval  the policy asks, and no yes fits       -> ApprovalRequired

An act that shows what it will do is judged again, and asked about, where it has shown it: see `preview`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import EllipsisType
from typing import Any, TypeAlias

from deputize.core.acts.audit_record import CallRow
from deputize.core.acts.find_grant import GrantFinder, Known
from deputize.core.approvals.record import ApprovalRecord
from deputize.core.approvals.service import Approvals
from deputize.core.errors import PolicyDenied
from deputize.core.idempotency.undo import refuse_if_changed
from deputize.core.policy.policy import Judge, Verdict
from deputize.core.provenance.store import OutsideRecord
from deputize.core.tools.act import Act
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.tool import Effect
from deputize.core.vault.grant import Grant

Asked: TypeAlias = ApprovalRecord | EllipsisType | None
"""The approval of an act, expired or not, or that there is none; ``...`` where it says nothing or is not known."""


def current_approval(asked: Asked, now: float) -> ApprovalRecord | None:
    """What an approval says counts until it expires."""
    return asked if isinstance(asked, ApprovalRecord) and asked.expires > now else None


class Authorizer:
    """Lets acts pass that policy, grant and user allow. Every raise of it says what is in the way."""

    def __init__(
        self, catalog: Catalog, judge: Judge, grants: GrantFinder, approvals: Approvals, provenance: OutsideRecord
    ) -> None:
        self.catalog, self.judge, self.grants = catalog, judge, grants
        self.approvals, self.provenance, self.clock = approvals, provenance, approvals.clock

    async def authorize(self, act: Act, row: CallRow | None, known: Known | None = None) -> tuple[Act, Grant, Asked]:
        """Policy, then the grant, then the user's yes where the policy wants one; the act, as the user changed it, and
        what its approval says.

        An act that shows what it will do is asked about there, and only a denial counts before. ``row``, for the
        audit, is told of the grant. ``known``: for an act that is only looked at. Raises `PolicyDenied`,
        `MissingScopes`, `ApprovalRequired` or `Declined`.
        """
        act = await self._noticed(act)
        verdict, grant = await self._judged(act, known)
        self._note(row, act, grant)
        if not act.shows:
            refuse_if_changed(act)
        changed: Mapping[str, Any] | None = None
        asked: Asked = ...
        if verdict is Verdict.ASK and not act.shows:
            changed = await self.approvals.require(act, grant.account)
            act = act.having(approved=True)
        elif act.effect is not Effect.READS:
            asked = await self.approvals.unconsumed(act, grant.account)
            changed = asked.edited if isinstance(asked, ApprovalRecord) else None
            act = self._begun(act, asked) if act.shows else act
        if changed is None:
            return act, grant, asked
        act = await self._noticed(self._edited(act, changed))
        _, grant = await self._judged(act)
        self._note(row, act, grant)
        return act, grant, asked

    async def unasked(self, act: Act, row: CallRow) -> Grant:
        """The grant for an act that reads, about which nobody is asked anything. Raises `PolicyDenied` where the policy
        would ask, `MissingScopes` where the grant does not suffice."""
        verdict, grant = await self._judged(act)
        if verdict is Verdict.ASK:
            raise PolicyDenied(f"{act.tool.name} would need the user's yes here.")
        self._note(row, act, grant)
        return grant

    async def _noticed(self, act: Act) -> Act:
        """A write that will not show what it does, with those of its arguments that strangers have named."""
        return act if act.shows or act.effect is Effect.READS else await self.provenance.noticed(act)

    async def _judged(self, act: Act, known: Known | None = None) -> tuple[Verdict, Grant]:
        return await self.judge.verdict(act), await self.grants.find(act, known)

    def _begun(self, act: Act, asked: Asked) -> Act:
        """The act, with when it was first asked for: "in two hours" means the same in every run of it."""
        standing = current_approval(asked, self.clock())
        return act.having(began=(standing and standing.began) or self.clock())

    def _edited(self, act: Act, changed: Mapping[str, Any]) -> Act:
        """The act with what the user wrote, under the tool's own name: an alias would make something else of it."""
        valid = self.catalog.tool(act.tool.name).validate(changed)
        effect = act.tool.effect_of(valid)
        return replace(act, arguments=valid, effect=effect, asked=act.arguments, approved=True)

    def _note(self, row: CallRow | None, act: Act, grant: Grant) -> None:
        if row:
            row.permitted(act, grant)
