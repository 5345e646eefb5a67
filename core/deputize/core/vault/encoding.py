"""Encoding of record contents as JSON bytes, and decoding. Tokens in them are never printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from deputize.core.errors import VaultError
from deputize.core.vault.grant import Secret, SecretBytes

SECRET_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "consent": frozenset({"code", "verifier"}),
    "received": frozenset({"access", "refresh", "id_token", "proof_key"}),
    "outbox": frozenset({"token", "refresh", "leaked"}),
    "meta": frozenset({"client_secret"}),
    "person": frozenset({"key"}),
    "data_key": frozenset({"key", "older"}),
    "session": frozenset({"id_token"}),
}
"""Fields of records, by kind and at any depth, that are a `Secret` or a list of them."""


def encode(content: SecretBytes | bytes | Mapping[str, Any]) -> SecretBytes:
    """Return the content as bytes to encrypt."""
    if isinstance(content, SecretBytes):
        return content
    if isinstance(content, bytes):
        return SecretBytes(content)
    return SecretBytes(_text(content).encode())


def _reveal(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"a record keeps no {type(value).__name__}")


_text = json.JSONEncoder(separators=(",", ":"), default=_reveal).encode  # made once: `json.dumps` makes one per call


def decode(kind: str, plain: SecretBytes) -> dict[str, Any]:
    """Return the content of a record of this kind. Raises `VaultError` if it is not a JSON object."""
    try:
        content = json.loads(plain.reveal(), object_hook=_secret_hook(kind))
    except ValueError:  # not chained: the error holds the whole text
        content = None
    if not isinstance(content, dict):
        raise VaultError("A record in the vault has a form this version does not know.")
    return content


def _secret_hook(kind: str) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    if (fields := SECRET_FIELDS.get(kind)) is None:
        return None

    def hide(found: dict[str, Any]) -> dict[str, Any]:
        return {name: _as_secret(value) if name in fields else value for name, value in found.items()}

    return hide


def _as_secret(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_secret(item) for item in value]
    return Secret(value) if isinstance(value, str) else value
