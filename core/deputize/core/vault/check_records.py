"""Check of a vault: its storage is undamaged, and all records can be decrypted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from deputize.core.errors import VaultError
from deputize.core.vault.data_key import is_of_tenant
from deputize.core.vault.record import KINDS, PAGE
from deputize.core.vault.seal import key_id
from deputize.core.vault.stores import Inspects
from deputize.core.vault.vault import Vault

SHOWN: Final = 5
"""Maximum number of damaged records that are listed."""


@dataclass(eq=False)
class Openable:
    """The result of the check. ``opened``: number of records by kind. ``damaged``: kind and key of records that their
    key cannot decrypt. ``sealed_by``: number of records that need a missing key, by its id. ``unread``: kinds that
    cannot be read to their end. ``storage``: damage that the store found, each with a remedy. ``without_data_key``:
    number of records whose tenant's data key is missing or cannot be decrypted. ``erased``: number of records that a
    tenant's erasure has left: nobody can decrypt them, and they are no damage."""

    opened: Counter[str] = field(default_factory=Counter)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    sealed_by: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    storage: list[tuple[str, str]] = field(default_factory=list)
    without_data_key: int = 0
    erased: int = 0

    @property
    def records(self) -> int:
        """The number of records."""
        return self.opened.total() + len(self.damaged) + self.sealed_by.total() + self.without_data_key

    @property
    def whole(self) -> bool:
        """True if all records can be decrypted and no damage hides others."""
        return not (self.damaged or self.sealed_by or self.unread or self.storage or self.without_data_key)


async def try_all(vault: Vault) -> Openable:
    """Look for damage in the storage, and decrypt each record, a page at a time. Changes nothing. Raises
    `StoreUnavailable`."""
    found = Openable()
    if isinstance(vault.store, Inspects):
        found.storage = await vault.store.find_damage()
    for kind in KINDS:
        try:
            await _try_kind(vault, kind, found)
        except VaultError:
            found.unread.append(kind)
    return found


async def _try_kind(vault: Vault, kind: str, found: Openable) -> None:
    after = ""
    while page := await vault.store.scan(kind, after=after, most=PAGE):
        after = page[-1][0]
        await vault.find_keys(*(sealed for _, sealed in page))
        for key, sealed in page:
            if vault.data_keys.has_erased(sealed):
                found.erased += 1
                continue
            try:
                vault.unsealed(kind, key, sealed)
                found.opened[kind] += 1
            except VaultError:
                if vault.knows(sealed):
                    found.damaged.append((kind, key))
                elif is_of_tenant(sealed):
                    found.without_data_key += 1
                else:
                    found.sealed_by[key_id(sealed)] += 1
