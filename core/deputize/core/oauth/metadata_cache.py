"""Metadata of issuers (RFC 8414), kept in the vault: a server that is down at start does not stop the program."""

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
    """Metadata by issuer, sealed like everything there; for `deputize.core.discover`."""

    vault: Vault

    async def read(self, issuer: str) -> Mapping[str, Any] | None:
        """Its metadata as of when it could last be reached; None if it never was."""
        if (kept := await self.vault.get("meta", _place(issuer))) is None:
            return None
        log.warning("%s cannot be reached: going on with the metadata that it had before.", issuer)
        return kept.json

    async def write(self, issuer: str, metadata: Mapping[str, Any]) -> None:
        """Keep its metadata."""
        content = dict(metadata)
        while not await self.vault.insert("meta", _place(issuer), content):
            old = await self.vault.get("meta", _place(issuer))
            if old and (old.json == content or await self.vault.swap(old, content)):
                return


def _place(issuer: str) -> str:
    return f"issuer.{fingerprint(issuer)}"
