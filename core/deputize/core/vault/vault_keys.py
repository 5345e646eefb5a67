"""The vault's own keys: random, kept in its first record, sealed there by the root keys that may change."""

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
    """Keys that belong to the vault and outlive the root keys that seal it. Each has one purpose.

    ``old_audit``: earlier audit keys, newest first. ``sealers``: ids of the root keys that have sealed this vault, the
    newest last. ``copied_at``: Unix seconds, where this is a backup that nobody has taken into use; else 0.
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
        """Four fresh 256-bit keys, sealed by the root key of this id."""
        index, ticket, web, audit = (secrets.token_bytes(32) for _ in _NAMES)
        return cls(index, ticket, web, audit, sealers=(sealer,))

    @property
    def audits(self) -> list[bytes]:
        """All audit keys, the one in use first."""
        return [self.audit, *self.old_audit]

    def with_new_audit(self) -> VaultKeys:
        """The same with a fresh audit key in front of those before it."""
        return replace(self, audit=secrets.token_bytes(32), old_audit=tuple(self.audits))

    def sealed_by(self, sealer: str) -> VaultKeys:
        """The same, known to be sealed by the root key of this id now. Raises `SettingsError` for a replaced one."""
        self.check_order(sealer)
        return self if sealer in self.sealers else replace(self, sealers=(*self.sealers, sealer))

    def check_order(self, newest: str) -> None:
        """Raise `SettingsError` where a root key that was replaced stands in front of the one that replaced it."""
        if newest in self.sealers[:-1]:
            raise SettingsError(
                "The keys are in the wrong order: an older one is in front.",
                hint=f"Newest first: put the key with the id {self.sealers[-1]} in front.",
            )

    def pack(self) -> SecretBytes:
        """As JSON, to be sealed."""
        content: dict[str, Any] = {name: getattr(self, name).hex() for name in _NAMES}
        content["old_audit"] = [key.hex() for key in self.old_audit]
        return SecretBytes(json.dumps(content | {"sealers": self.sealers, "copied_at": self.copied_at}).encode())

    @classmethod
    def unpack(cls, plain: SecretBytes) -> VaultKeys:
        """What `pack` made. Raises `VaultError` for anything else."""
        if (keys := _unpacked(plain)) is None:
            raise VaultError("The vault's first record has a form this version does not know.")
        return keys


def _unpacked(plain: SecretBytes) -> VaultKeys | None:
    """Raises nothing: its frame has the keys."""
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
