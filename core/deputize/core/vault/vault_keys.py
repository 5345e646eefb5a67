"""The vault's own keys: random, stored in its first record, encrypted there by the root keys, which may change."""

from __future__ import annotations

import json
import secrets
from dataclasses import field, replace
from typing import Any, Final

from deputize.core.errors import SettingsError, VaultError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import SecretBytes

_NAMES: Final = ("index", "ticket", "web", "audit")


@frozen
class VaultKeys(ValueObject):
    """Keys that belong to the vault and outlive the root keys that encrypt them. Each has one purpose.

    ``old_audit``: earlier audit keys, newest first. ``sealers``: ids of the root keys that have encrypted this vault,
    newest last. ``copied_at``: if this is a backup that is not yet in use, its time in Unix seconds; else 0.
    """

    index: bytes = field(repr=False)
    ticket: bytes = field(repr=False)
    web: bytes = field(repr=False)
    audit: bytes = field(repr=False)
    old_audit: tuple[bytes, ...] = field(default=(), repr=False)
    sealers: tuple[str, ...] = ()
    copied_at: float = 0.0

    @classmethod
    def new(cls, sealer: str) -> VaultKeys:
        """Return four new 256-bit keys, encrypted by the root key with this id."""
        index, ticket, web, audit = (secrets.token_bytes(32) for _ in _NAMES)
        return cls(index, ticket, web, audit, sealers=(sealer,))

    @property
    def audits(self) -> list[bytes]:
        """All audit keys, the current one first."""
        return [self.audit, *self.old_audit]

    def with_new_audit(self) -> VaultKeys:
        """Return the keys with a new audit key in front of the earlier audit keys."""
        return replace(self, audit=secrets.token_bytes(32), old_audit=tuple(self.audits))

    def sealed_by(self, sealer: str) -> VaultKeys:
        """Return the keys, marked as encrypted by the root key with this id. Raises `SettingsError` if that key was
        replaced."""
        self.check_order(sealer)
        return self if sealer in self.sealers else replace(self, sealers=(*self.sealers, sealer))

    def check_order(self, newest: str) -> None:
        """Raise `SettingsError` if a replaced root key is listed before its replacement."""
        if newest in self.sealers[:-1]:
            raise SettingsError(
                "The keys are in the wrong order: an older one is first.",
                hint=f"Newest first: put the key with the id {self.sealers[-1]} first.",
            )

    def pack(self) -> SecretBytes:
        """Return the keys as JSON to encrypt."""
        content: dict[str, Any] = {name: getattr(self, name).hex() for name in _NAMES}
        content["old_audit"] = [key.hex() for key in self.old_audit]
        return SecretBytes(json.dumps(content | {"sealers": self.sealers, "copied_at": self.copied_at}).encode())

    @classmethod
    def unpack(cls, plain: SecretBytes) -> VaultKeys:
        """Return the keys in bytes from `pack`. Raises `VaultError` for other bytes."""
        if (keys := _unpacked(plain)) is None:
            raise VaultError("The vault's first record has a form this version does not know.")
        return keys


def _unpacked(plain: SecretBytes) -> VaultKeys | None:
    """Return the keys, or None for other bytes. An exception would keep the keys in its frame."""
    try:
        content = json.loads(plain.reveal())
        index, ticket, web, audit = (bytes.fromhex(content[name]) for name in _NAMES)
        return VaultKeys(
            index,
            ticket,
            web,
            audit,
            old_audit=tuple(map(bytes.fromhex, content.get("old_audit", ()))),
            sealers=tuple(content.get("sealers", ())),
            copied_at=content.get("copied_at", 0.0),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
