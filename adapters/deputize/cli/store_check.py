"""Checks of a vault's contents: a line for each fault, with the remedy."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

from deputize.cli.show import counted
from deputize.core import VaultError
from deputize.core.acts.reconcile import lost_records
from deputize.core.audit.trail import shown_trail
from deputize.core.settings import Settings
from deputize.core.vault.chain_heads import verify_audit
from deputize.core.vault.check_records import SHOWN, Openable, try_all
from deputize.core.vault.rollback import find_rolled_back
from deputize.core.vault.vault import Vault


async def contents(settings: Settings, vault: Vault, anchors: list[str]) -> AsyncIterator[tuple[bool, str, str]]:
    """Yield for each check whether it passed, its finding, and the remedy. Raises `StoreUnavailable`."""
    for line in await asyncio.to_thread(key_lines, settings):
        yield line
    found = await try_all(vault)
    for line in record_lines(found):
        yield line
    try:
        report = await verify_audit(vault, settings.audit_trail, anchors)
    except VaultError as damaged:  # the record of the chains' heads
        yield False, f"The audit cannot be compared with the vault: {damaged.message}", damaged.hint
        return
    where = shown_trail(settings.audit_trail)
    if report.ok:
        size = f"{counted(report.rows, 'row')}, {counted(report.writers, 'chain')}"
        yield True, f"The audit is whole: {size} in {where}", ""
    if report.misuses:
        todo = "deputize audit verify names them. A restored vault repeats acts; or somebody put older rows back."
        yield False, f"{counted(len(report.misuses), 'act')} without a permission that counted", todo
    for kind, number in Counter(one.kind for one in report.findings if one.kind != "partial").items():
        todo = "deputize audit verify says which rows. Find out who changed them: programs of this vault cannot."
        yield False, f"The audit is not whole: {counted(number, 'finding')} {kind!r}", todo
    try:
        older = await find_rolled_back(vault, settings.audit_trail)
        lost = Counter(one.kind for one in await lost_records(vault, settings.audit_trail, time.time()))
    except VaultError as damaged:
        yield False, f"The vault cannot be compared with its audit: {damaged.message}", damaged.hint
        return
    todo = "Somebody put older rows back, or a failover or damage lost newer ones: deputize doctor names them."
    if older:
        yield False, f"{counted(len(older), 'grant')} older than the audit saw them", todo
    for kind, number in lost.items():
        yield False, f"{counted(number, 'record')} of kind {kind} gone, or older than the audit saw", todo


def key_lines(settings: Settings) -> list[tuple[bool, str, str]]:
    """Return for each wrapped copy of a root key whether its KMS unwraps it now, the finding, and the remedy."""
    if not settings.kms:
        return []
    from deputize.core.vault.key_sources.wrapped import WrappedKeys

    source = settings.key_source
    if not isinstance(source, WrappedKeys):
        return []
    if not (copies := source.check()):
        return [
            (False, f"No root key is wrapped by a KMS: they come from {source.before.name}", "deputize key wrap NAME")
        ]
    return [
        (False, one.error.message.rstrip("."), one.error.hint)
        if one.error
        else (True, f"{one.kms} ({one.provider} {one.kms_key}) unwraps the key {one.key}, in {one.seconds:.2f} s", "")
        for one in copies
    ]


def record_lines(found: Openable) -> list[tuple[bool, str, str]]:
    """Return for each kind of finding about the records whether it is fine, the finding, and the remedy."""
    lines = [(False, what, todo) for what, todo in found.storage]
    for kind in found.unread:
        todo = "Restore a backup: deputize vault restore."
        lines.append((False, f"Records of kind {kind} cannot be read to their end: damaged", todo))
    if found.whole:
        return [(True, f"All {counted(found.records, 'record')} open", "")]
    if found.without_data_key:
        what = f"{counted(found.without_data_key, 'record')} of tenants whose data key is missing or damaged"
        lines.append((False, what, "Restore a backup: deputize vault restore."))
    for id, number in found.sealed_by.items():
        todo = "Put that key behind the newest (DEPUTIZE_KEY, or the key file). Nothing is to be removed."
        lines.append((False, f"{counted(number, 'record')} sealed with the key {id}, which is not given", todo))
    for kind, number in Counter(kind for kind, _ in found.damaged).items():
        places = [f"{one}/{key}" for one, key in found.damaged if one == kind]
        more = " ..." if len(places) > SHOWN else ""
        todo = f"Take them from a backup of the database, or remove them there: {', '.join(places[:SHOWN])}{more}"
        if kind == "grant":
            todo = "deputize doctor --drop removes them; their users connect again."
        what = f"{counted(number, 'record')} of kind {kind} not readable: damaged, or of another place"
        lines.append((False, what, todo))
    return lines
