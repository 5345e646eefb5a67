"""Notes of acts for the operator, encrypted. `deputize doctor` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deputize.core.vault.vault import Vault


class OperatorNotes:
    """One note to the operator for each key. A new note replaces the old one."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    async def read(self, key: str) -> dict[str, Any]:
        """Return the note, or an empty dict if there is none."""
        record = await self.vault.get("meta", _key(key))
        return record.json if record else {}

    async def write(self, key: str, said: Mapping[str, Any]) -> None:
        """Store the note in place of the old one, or delete the old one if the note is empty."""
        while True:
            record = await self.vault.get("meta", _key(key))
            if (record.json if record else {}) == said:
                return
            if record and not said:
                done: object = await self.vault.delete(record)
            elif record:
                done = await self.vault.swap(record, dict(said))
            else:
                done = await self.vault.insert("meta", _key(key), dict(said))
            if done:
                return


def _key(key: str) -> str:
    return f"told.{key}"
