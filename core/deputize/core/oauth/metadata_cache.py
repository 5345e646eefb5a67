"""Metadata of issuers (RFC 8414) in the vault, so that the program starts while a server is down."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deputize.core.oauth.pkce import fingerprint
from deputize.core.value_object import ValueObject
from deputize.core.vault.vault import Vault

log = logging.getLogger("deputize")


@dataclass(frozen=True, eq=False, repr=False)
class KnownIssuers(ValueObject):
    """Metadata by issuer, encrypted like all records; for `deputize.core.discover`."""

    vault: Vault

    async def read(self, issuer: str) -> Mapping[str, Any] | None:
        """Return an issuer's metadata as of when it was last reached; None if it never was."""
        if (kept := await self.vault.get("meta", _record_key(issuer))) is None:
            return None
        log.warning("%s cannot be reached: using its stored metadata.", issuer)
        return kept.json

    async def write(self, issuer: str, metadata: Mapping[str, Any]) -> None:
        """Store an issuer's metadata."""
        content = dict(metadata)
        while not await self.vault.insert("meta", _record_key(issuer), content):
            old = await self.vault.get("meta", _record_key(issuer))
            if old and (old.json == content or await self.vault.swap(old, content)):
                return


def _record_key(issuer: str) -> str:
    return f"issuer.{fingerprint(issuer)}"
