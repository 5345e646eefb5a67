"""Acceptance of a restore by an operator. After it, the audit counts as whole except for the rows that it names.

A restore of the audit's files, of a whole machine, or of a whole database leaves permanent traces: chains end before
the heads in the vault or the anchors, and grants are older than in the audit. To the audit this looks like an attack.
An operator who knows better accepts it with a reason. The acceptance is a row of the audit, so only somebody with the
vault's key can make it. It names the lost rows by their chain, their numbers and the macs on both sides: it accepts
neither other rows nor a further cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deputize.core.audit import Audit
from deputize.core.audit.events import RestoreAccepted
from deputize.core.audit.rows import ITEMS
from deputize.core.audit.trail import Trail
from deputize.core.audit.verification import Finding, Gap
from deputize.core.audit.verify_permissions import Misuse
from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.chain_heads import verify_audit
from deputize.core.vault.restore import Enqueue, distrust, record_generations
from deputize.core.vault.rollback import AuditedGenerations, GenerationMismatch, find_rolled_back
from deputize.core.vault.vault import Vault

RESTORED: Final = "restored"


@frozen
class Acceptable(ValueObject):
    """The traces of a restore. ``gaps``: lost rows of the audit. ``older``: grants older than in the audit.
    ``restored``: findings of backups that were put in the vault's place. ``replayed``: acts that were repeated under a
    permission that the restored vault took for unused."""

    gaps: tuple[Gap, ...]
    older: tuple[GenerationMismatch, ...]
    restored: tuple[Finding, ...]
    replayed: tuple[Misuse, ...]

    @property
    def empty(self) -> bool:
        """True if there is nothing to accept."""
        return not (self.gaps or self.older or self.restored or self.replayed)


async def find_acceptable(vault: Vault, trail: Trail, anchors: Sequence[str] = ()) -> Acceptable:
    """Return the traces of a restore. Raises `SettingsError` if a restore does not explain all findings."""
    report = await verify_audit(vault, trail, anchors)
    findings = [one for one in report.findings if one.kind != "partial"]
    if others := sorted({one.kind for one in findings if one.gap is None and one.kind != RESTORED}):
        raise SettingsError(
            f"The audit has findings that no restore explains: {', '.join(others)}.",
            hint="deputize audit verify names them. Only rows that are gone can be accepted.",
        )
    if misuse := next((one for one in report.misuses if not one.replayed), None):
        raise SettingsError(
            f"The audit has an act without a permission, which no restore explains: {misuse.detail}.",
            hint="deputize audit verify names all of them. Only repeats after a restore can be accepted.",
        )
    older = await find_rolled_back(vault, trail)
    gaps = tuple(one.gap for one in findings if one.gap)
    restored = tuple(one for one in findings if one.kind == RESTORED)
    return Acceptable(gaps, tuple(older), restored, report.misuses)


async def accept_restore(
    vault: Vault, audit: Audit, trail: Trail, enqueue: Enqueue, found: Acceptable, reason: str, now: float
) -> None:
    """Accept these traces, durably. If grants are older than in the audit, treat the vault as a restored backup first.
    ``now``: Unix seconds."""
    if found.older:
        doubted = await distrust(vault, await AuditedGenerations.read(trail, vault), enqueue)
        await record_generations(vault, audit, now, doubted)
    gaps = [str(gap) for gap in found.gaps]
    replayed = [one.ref for one in found.replayed]
    for begin in range(0, max(len(gaps), len(replayed)) or 1, ITEMS):
        await audit.record(RestoreAccepted(reason, gaps[begin : begin + ITEMS], replayed[begin : begin + ITEMS]))
    await audit.settle()
