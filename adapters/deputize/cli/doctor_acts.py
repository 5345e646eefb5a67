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
    ("act", True): "its outcome is gone from the vault: the same call, run again, would be done again",
    ("approval", False): "the yes to it is unused again in the vault: somebody put an older record back",
    ("approval", True): "the question about it is gone from the vault: the user will be asked again",
    ("mandate", False): "the mandate has forgotten that, or that it ended: somebody put an older record back",
    ("mandate", True): "the mandate is gone from the vault: the user will be asked again",
    ("consent", True): "the consent is gone from the vault: its link leads nowhere, and the user will be asked again",
    ("outbox", True): "a queued revocation is gone from the vault: the tokens may live on at the provider",
}
"""By kind, and whether the record is missing."""
TODO: Final = {
    "consent": "Find out what changed the vault, damage or somebody.",
    "outbox": "Remove the access at the provider, and find out what changed the vault.",
}


def acts(settings: Settings, vault: Vault) -> Iterator[Finding]:
    """Yield a finding for each record that the audit requires and the vault lacks, or a single good one."""
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
        at = f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M}Z"
        todo = TODO.get(one.kind, "Find out who wrote to the vault; do not run that call again.")
        yield Finding("acts", "bad", f"{one.tool} of {whose} at {at}: {FOUND[one.kind, one.gone]}", todo)
    if not lost:
        yield Finding("acts", "ok", "the vault knows all that was done")
