"""Authorization of acts by policy, grant and approval. Every act passes through this module.

    policy    denies                                    -> PolicyDenied
    grant     missing, lost, moved or too narrow        -> MissingScopes
    approval  required by the policy, but missing       -> ApprovalRequired

For an act with a preview, the policy and the approval are checked again after the preview was made: see `preview`.
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
from deputize.core.policy.policy import Decision, Judge, Verdict
from deputize.core.provenance.store import UntrustedRecord
from deputize.core.tools.act import Act
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.tool import Effect
from deputize.core.vault.grant import Grant

Asked: TypeAlias = ApprovalRecord | EllipsisType | None
"""The approval of an act, expired or not; None if there is none; ``...`` if it does not apply or was not loaded."""


def current_approval(asked: Asked, now: float) -> ApprovalRecord | None:
    """Return the approval if it has not expired, or None."""
    return asked if isinstance(asked, ApprovalRecord) and asked.expires > now else None


class Authorizer:
    """Authorization of acts. Each error names the check that failed."""

    def __init__(
        self, catalog: Catalog, judge: Judge, grants: GrantFinder, approvals: Approvals, provenance: UntrustedRecord
    ) -> None:
        self.catalog, self.judge, self.grants = catalog, judge, grants
        self.approvals, self.provenance, self.clock = approvals, provenance, approvals.clock

    async def authorize(self, act: Act, row: CallRow | None, known: Known | None = None) -> tuple[Act, Grant, Asked]:
        """Check the policy, the grant and, if the policy requires it, the user's approval. Return the act with the
        user's edits, its grant and its approval.

        For an act with a preview, only a denial is checked here; its approval is checked after the preview. ``row``:
        the audit record, to which the grant is added. ``known``: grants already loaded, for acts that are only checked.
        Raises `PolicyDenied`, `MissingScopes`, `ApprovalRequired` or `Declined`.
        """
        act, decision, grant = await self._judge(act, row, known)
        if not act.shows:
            refuse_if_changed(act)
        changed: Mapping[str, Any] | None = None
        asked: Asked = ...
        if decision.verdict is Verdict.ASK and not act.shows:
            found = await self.approvals.find_unconsumed(act, grant.account)
            standing = current_approval(found, self.clock())
            if standing and standing.edited is not None:  # the policy may ask somebody else for the edit
                act, _, grant = await self._judge(self._with_edit(act, standing.edited), row)
            await self.approvals.require(act, grant.account, found)
            return act.having(approved=True), grant, asked
        if act.effect is not Effect.READS:
            asked = await self.approvals.find_unconsumed(act, grant.account)
            changed = asked.edited if isinstance(asked, ApprovalRecord) else None
            act = self._with_start_time(act, asked) if act.shows else act
        if changed is None:
            return act, grant, asked
        act, _, grant = await self._judge(self._with_edit(act, changed), row)
        return act, grant, asked

    async def authorize_without_asking(self, act: Act, row: CallRow) -> Grant:
        """Return the grant for a read that must not ask the user anything. Raises `PolicyDenied` if the policy requires
        an approval, and `MissingScopes` if the grant is not enough."""
        _, decision, grant = await self._judge(act, row)
        if decision.verdict is Verdict.ASK:
            raise PolicyDenied(f"{act.tool.name} would need the user's approval here.")
        return grant

    async def find_stored(self, act: Act) -> tuple[Act, Grant]:
        """Return the act with the policy's decision, and its grant as it is stored. Nothing is requested, obtained or
        ended. Raises `PolicyDenied` or `MissingScopes`."""
        act, _, grant = await self._judge(act, None, stored_only=True)
        return act, grant

    async def _judge(
        self, act: Act, row: CallRow | None, known: Known | None = None, *, stored_only: bool = False
    ) -> tuple[Act, Decision, Grant]:
        """Return the act, the policy's decision and the grant. If the act has no preview, it lists its arguments that
        untrusted content has named. ``stored_only``: as in `GrantFinder.find`."""
        if not act.shows:
            act = await self.provenance.mark_untrusted(act)
        decision = await self.judge.decide(act)
        grant = await self.grants.find(act, known, stored_only=stored_only)
        act = act.having(decision=decision, acting_as=grant.account.name)
        if self.judge.needs_account:
            vars(act)["decision"] = decision = await self.judge.decide(act)  # of this copy, which nobody has yet
        if row:
            row.record_grant(act, grant)
            row.record_rule(decision.rule)
        return act, decision, grant

    def _with_start_time(self, act: Act, asked: Asked) -> Act:
        """Return the act with the time of its first request, so that "in two hours" means the same in every run."""
        standing = current_approval(asked, self.clock())
        return act.having(began=(standing and standing.began) or self.clock())

    def _with_edit(self, act: Act, changed: Mapping[str, Any]) -> Act:
        """Return the act with the user's edited arguments. They are validated under the tool's own name, because an
        alias would change them."""
        valid = self.catalog.tool(act.tool.name).validate(changed)
        effect = act.tool.effect_of(valid)
        return replace(act, arguments=valid, effect=effect, asked=act.arguments, approved=True)
