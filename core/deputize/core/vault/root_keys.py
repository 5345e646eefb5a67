"""Root keys as text. `key_sources` provide the root keys."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from itertools import pairwise
from typing import Final

from deputize.core.errors import SettingsError
from deputize.core.vault.seal import KEY_BYTES

NEW: Final = "Make one with: deputize key new"


def new_key() -> str:
    """Return a new root key as text: 32 random bytes in base64url."""
    while True:
        key = secrets.token_bytes(KEY_BYTES)
        if not _weakness(key):
            return key_text(key)


def parse_keys(text: str) -> list[bytes]:
    """Return the keys in a list separated by commas or new lines, newest first.

    Raises `SettingsError` for an empty list, or for a key that is malformed, short, weak or listed twice; the message
    names the key's position.
    """
    entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
    if not entries:
        raise SettingsError("There is no key.", hint=NEW)
    keys: list[bytes] = []
    for number, entry in enumerate(entries, 1):
        key = _decoded(entry)
        fault = "listed twice" if key in keys else _weakness(key) if key else "not base64url of 32 bytes"
        if key is None or fault:
            raise SettingsError(f"Key {number} of {len(entries)} is {fault}.", hint=NEW)
        keys.append(key)
    return keys


def key_text(key: bytes) -> str:
    """Return a root key as base64url text."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def _decoded(entry: str) -> bytes | None:
    """Return the 32 bytes of a base64 text, in either alphabet, with or without padding; None for others."""
    plain = entry.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _weakness(key: bytes) -> str:
    """Return why these 32 bytes cannot be random, or "". A random key is rejected less than once in 10^13."""
    if len(set(key)) < KEY_BYTES // 2:
        return "too regular to be random"
    if len({(b - a) % 256 for a, b in pairwise(key)}) == 1:
        return "a sequence, not random"
    if all(0x20 <= byte < 0x7F for byte in key):
        return "typed text, not random"
    return ""
