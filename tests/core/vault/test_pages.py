"""Code that reads all records reads them a page at a time, however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.core import SettingsError, User
from deputize.core.audit import Audit
from deputize.core.from_settings import _refuse_real_grants
from deputize.core.grants.token_families import families
from deputize.core.vault.restore import Replaced, distrust, record_generations
from deputize.core.vault.rollback import AuditedGenerations, all_grants, find_rolled_back, grant_states
from deputize.core.vault.rotation import key_uses, reseal
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import PAGE, Vault
from tests.core.grants.test_mass_revocation import filled
from tests.support.faults import FaultyStore
from tests.support.sandbox_deputy import build

NUMBER = 2 * PAGE + 1
LARGE = frozenset({"grant", "outbox", "act", "received", "session"})


async def opened() -> tuple[Vault, list[tuple[str, int | None]]]:
    """Return a vault with many grants, one of them damaged, and the scans of its store."""
    store, asked = FaultyStore(MemoryStore()), list[tuple[str, int | None]]()
    vault = await Vault.open(store, [b"k" * 32])
    await filled(vault, NUMBER)
    scan = store.scan

    async def scanning(kind: str, prefix: str = "", *, after: str = "", most: int | None = None) -> Any:
        asked.append((kind, most))
        return await scan(kind, prefix, after=after, most=most)

    store.scan = scanning  # type: ignore[method-assign]
    return vault, asked


async def damage(vault: Vault) -> str:
    """Make one grant unreadable; return its key."""
    [(key, sealed)] = await vault.store.scan("grant", most=1)
    assert await vault.store.swap("grant", key, sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    return key


async def restored(vault: Vault, folder: Path) -> None:
    """Do what a restore does with the copy and the vault."""
    deputy = await build(vault=vault)
    audited = await AuditedGenerations.read(folder, vault)
    assert await distrust(vault, audited, deputy.revocation_queue.enqueue_in) == NUMBER
    await Replaced(vault).hand_over(vault, deputy.revocation_queue.enqueue_in)
    await record_generations(vault, Audit(None, b"a" * 32), 1.0, 0)


async def drop(vault: Vault, _: Path) -> None:
    await damage(vault)
    assert await vault.count_openable("grant") == (NUMBER - 1, 1)
    assert await vault.delete_damaged() == 1 and await vault.count_openable("grant") == (NUMBER - 1, 0)


async def look(vault: Vault, folder: Path) -> None:
    assert len([grant async for grant in all_grants(vault)]) == len(await families(vault)) == NUMBER
    assert len(await find_rolled_back(vault, folder)) == 0 and await grant_states(vault) == {"active": NUMBER}
    await vault.ended.begin(None)
    assert await grant_states(vault) == {"revoked": NUMBER}


async def keys(vault: Vault, _: Path) -> None:
    vault.rekey([b"n" * 32, b"k" * 32])
    assert (await reseal(vault)).anew == NUMBER and len(await key_uses(vault)) == 1


async def sandbox(vault: Vault, _: Path) -> None:
    with pytest.raises(SettingsError):
        await _refuse_real_grants(vault)


@pytest.mark.parametrize("work", [restored, drop, look, keys, sandbox], ids=lambda work: work.__name__)
async def test_scans_never_request_more_than_one_page(
    work: Callable[[Vault, Path], Awaitable[None]], tmp_path: Path
) -> None:
    vault, asked = await opened()
    (tmp_path / "audit").mkdir()
    await work(vault, tmp_path / "audit")
    assert asked and [one for one in asked if one[0] in LARGE and (one[1] or NUMBER) > PAGE] == []


async def test_unreadable_grant_stops_operations_that_need_all_grants() -> None:
    vault, _ = await opened()
    key = await damage(vault)
    with pytest.raises(Exception, match="cannot be opened"):
        await grant_states(vault)
    unharmed = next(one for one in map(User, ("u000000", "u000001")) if not key.startswith(vault.key_prefix(one)))
    [other] = await vault.list_grants(unharmed)
    assert await vault.replace(other, replace(other, default=False))
