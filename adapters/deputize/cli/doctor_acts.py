"""Findings that compare the acts in the audit with the vault's records of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from deputize.cli.doctor_findings import Finding, bad
from deputize.core import DeputizeError
from deputize.core.acts.reconcile import lost_records
from deputize.core.audit.trail import is_there
from deputize.core.background_loop import portal
from deputize.core.settings import Settings
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.vault import Vault

FOUND: Final = {
    "act": "its outcome is gone from the vault: the same call, run again, would be done again",
    "approval": "the yes to it is unused again in the vault: somebody put an older record back",
    "mandate": "the mandate has forgotten that, or that it ended: somebody put an older record back",
}


def acts(settings: Settings, vault: Vault) -> Iterator[Finding]:
    """Yield a finding for each record that the audit requires and the vault lacks, or one that none is missing."""
    if not is_there(settings.audit_trail) or vault.keys.copied_at:
        return
    try:
        lost = portal().run(lost_records(vault, settings.audit_trail, time.time()))
        people = portal().run(People.of(vault))
    except DeputizeError as e:
        yield bad("acts", e)
        return
    for one in lost:
        whose = people.resolve_row({"user": one.user}).get("user", "")
        words = f"{one.tool} of {whose} at {datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M}Z: {FOUND[one.kind]}"
        yield Finding("acts", "bad", words, "Find out who wrote to the vault; do not run that call again.")
    if not lost:
        yield Finding("acts", "ok", "the vault knows all that was done")
