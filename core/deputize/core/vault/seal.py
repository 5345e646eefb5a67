"""Encryption of records: AES-256-GCM with a list of keys, and every record bound to its kind and key. Records of a
tenant are encrypted by `data_keys`.

    version      1 byte    so that the format can change
    kid          8 bytes   the key that encrypted it, as a one-way hash
    generation   8 bytes   number of times that the record was written
    nonce       12 bytes   random (NIST SP 800-38D, 8.2.2)
    ciphertext, and the tag of 16 bytes

The head, kind and key are the associated data: a record that was moved to another key, or given another generation,
cannot be decrypted. The key of a grant is an HMAC over tenant, user, provider, app and account, so those are bound too.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from struct import Struct
from struct import error as StructError

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deputize.core.errors import SettingsError, StoreUnavailable, VaultError
from deputize.core.vault.grant import SecretBytes
from deputize.core.vault.key_source import KeySource, read_keys

KEY_BYTES = 32
SEALS_PER_KEY = 2**28
"""Encryptions with one key in one process. Random nonces allow 2^32 in all (SP 800-38D, 8.3), and no process knows how
many others made with the same key: this leaves room for fifteen more."""

_VERSION = b"\x01"
_KID_BYTES, _NONCE_BYTES = 8, 12
_HEAD = Struct(">9sQ12s")  # version and kid, generation, nonce
_CIPHERTEXT = _HEAD.size
_NONCE = _CIPHERTEXT - _NONCE_BYTES
_LENGTHS = Struct(">HH")


class Sealer:
    """Encrypts with the newest key and decrypts with all of them. Safe to use from any thread.

    ``keys``: 32 bytes each, newest first; ``ids``: their ids in the same order. ``source``: the key source that can be
    read again. Raises `SettingsError` without keys, for a wrong length or for a key listed twice.
    """

    def __init__(self, keys: Sequence[bytes], source: KeySource | None = None) -> None:
        if not keys:
            raise SettingsError("No encryption key was given.", hint="Give at least one key: deputize key new.")
        if any(len(key) != KEY_BYTES for key in keys):
            raise SettingsError(f"An encryption key must be {KEY_BYTES} bytes.")
        if len(set(keys)) != len(keys):
            raise SettingsError("An encryption key is listed twice.", hint="List each key once, the newest first.")
        self.source = source
        ciphers = {_VERSION + _kid(key): AESGCM(key) for key in keys}
        self._decrypt = {mark: cipher.decrypt for mark, cipher in ciphers.items()}
        self.ids = [mark[1:].hex() for mark in ciphers]
        self._newest = next(iter(ciphers))
        self._encrypt = ciphers[self._newest].encrypt
        self._seals = count(1)

    @classmethod
    def from_source(cls, source: KeySource) -> Sealer:
        """Return a sealer with a source's keys. Call it in a thread. Raises `SettingsError` or `StoreUnavailable`."""
        return cls(read_keys(source), source)

    def seal(self, kind: str, key: str, generation: int, plain: SecretBytes) -> bytes:
        """Return ``plain``, encrypted for the record ``(kind, key)``. Raises `SettingsError` at the key's limit."""
        if next(self._seals) > SEALS_PER_KEY:
            raise SettingsError(
                "The newest key has encrypted as many records as is safe.",
                hint="Put a new key first in the list (deputize key new), keep the old ones behind it, and restart.",
            )
        head = self._newest + generation.to_bytes(8)
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + self._encrypt(nonce, plain.reveal(), head + frame_place(kind, key))

    def open(self, kind: str, key: str, sealed: bytes) -> tuple[int, SecretBytes]:
        """Return generation and plaintext. Raises the same `VaultError` for every mismatch."""
        try:
            mark, generation, nonce = _HEAD.unpack_from(sealed)
            decrypt = self._decrypt[mark]
            record_key = sealed[:_NONCE] + frame_place(kind, key)
            return generation, SecretBytes(decrypt(nonce, sealed[_CIPHERTEXT:], record_key))
        except (StructError, KeyError, InvalidTag, ValueError):
            raise VaultError("A record in the vault cannot be opened.") from None

    def knows(self, sealed: bytes) -> bool:
        """Return whether the key named in the record's head is known."""
        return sealed[: 1 + _KID_BYTES] in self._decrypt

    def stale(self, sealed: bytes) -> bool:
        """Return whether the record should be encrypted again, because its key is not the newest."""
        return not sealed.startswith(self._newest)


class ClosedSealer(Sealer):
    """A sealer without keys, after their time limit. ``source`` is read again for the next record to decrypt."""

    def __init__(self, last: Sealer) -> None:
        self.source, self.ids, self._newest, self._decrypt = last.source, last.ids, last._newest, {}

    def seal(self, kind: str, key: str, generation: int, plain: SecretBytes) -> bytes:
        """Raise `StoreUnavailable`."""
        raise StoreUnavailable(
            "The root keys may not be used any more: their KMS has not unwrapped them in time.",
            hint="deputize doctor says what it answers. Programs continue when it unwraps them again.",
        )


def key_id(sealed: bytes) -> str:
    """Return the id of the key in a record's head: 16 hexadecimal digits, not a secret."""
    return sealed[1 : 1 + _KID_BYTES].hex()


def generation_of(sealed: bytes) -> int:
    """Return the generation in a record's head, or 0 for an impossible value. It is unproven until decryption."""
    found = int.from_bytes(sealed[1 + _KID_BYTES : 9 + _KID_BYTES], "big")
    return found if found < 2**63 else 0


def id_of(key: bytes) -> str:
    """Return the id of a key."""
    return _kid(key).hex()


def _kid(key: bytes) -> bytes:
    return hmac.digest(key, b"deputize key id", "sha256")[:_KID_BYTES]


@lru_cache(maxsize=4096)
def frame_place(kind: str, key: str) -> bytes:
    """Return kind and key, each after its length, so that different pairs never give the same bytes."""
    a, b = kind.encode(), key.encode()
    return _LENGTHS.pack(len(a), len(b)) + a + b
