"""Check of a vault: whether all records open."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from deputize.core.errors import VaultError
from deputize.core.vault.record import KINDS, PAGE
from deputize.core.vault.seal import key_id
from deputize.core.vault.vault import Vault

SHOWN: Final = 5
"""Maximum number of damaged records that are listed."""


@dataclass(eq=False)
class Openable:
    """The result of the check. ``records``: their number; ``damaged``: kind and key of those that their key does not
    open; ``sealed_by``: number of records that need a missing key, by its id."""

    records: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    sealed_by: Counter[str] = field(default_factory=Counter)

    @property
    def whole(self) -> bool:
        """True if all records open."""
        return not self.damaged and not self.sealed_by


async def try_all(vault: Vault) -> Openable:
    """Open each record, a page at a time. Changes nothing. Raises `StoreUnavailable`."""
    found = Openable()
    for kind in KINDS:
        after = ""
        while page := await vault.store.scan(kind, after=after, most=PAGE):
            after = page[-1][0]
            await vault.find_keys(*(sealed for _, sealed in page))
            for key, sealed in page:
                found.records += 1
                try:
                    vault.unsealed(kind, key, sealed)
                except VaultError:
                    if vault.sealer.knows(sealed):
                        found.damaged.append((kind, key))
                    else:
                        found.sealed_by[key_id(sealed)] += 1
    return found
