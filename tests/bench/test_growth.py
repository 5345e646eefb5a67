"""A vault filled for the growth table is a vault like any other."""

from __future__ import annotations

from pathlib import Path

from deputize.core import User
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.bench.growth import KEYS, fill


async def test_bulk_filled_vault_equals_one_that_grew(tmp_path: Path) -> None:
    url = str(tmp_path / "vault" / "vault.sqlite")
    await fill(url, 40)
    vault = await Vault.open(open_store(url, create=False), [KEYS[1]])
    assert await vault.count_openable("grant") == (40, 0) and await vault.count_openable("act") == (4, 0)
    grant = await vault.find_grant(User("user7"), "google", "google")
    assert grant and grant.account.name == "user7@example.test" and grant.status == "active"
    await vault.close()
