"""A source of root keys that deputize does not know: keys in memory, counted calls, and failures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from deputize.core.errors import SettingsError
from deputize.core.vault.seal import id_of


@dataclass(eq=False)
class KeysInMemory:
    """A service that holds root keys, newest first. ``fails``: the exception that it raises instead of an answer."""

    keys: list[bytes] = field(default_factory=list, repr=False)
    fails: Exception | None = None
    reads: int = 0
    removed: list[bytes] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        return "the test's own source"

    def exists(self) -> bool:
        return bool(self.keys)

    def read_keys(self) -> list[bytes]:
        self.reads += 1
        if self.fails:
            raise self.fails
        return list(self.keys)

    def make_key(self) -> list[bytes]:
        if self.keys:
            raise SettingsError("There is a key already.")
        return self.add_key()

    def add_key(self) -> list[bytes]:
        if self.fails:
            raise self.fails
        self.keys.insert(0, os.urandom(32))
        return list(self.keys)

    def remove_key(self, id: str) -> str:
        [gone] = [key for key in self.keys[1:] if id_of(key) == id]
        self.keys.remove(gone)
        self.removed.append(gone)
        return "memory"
