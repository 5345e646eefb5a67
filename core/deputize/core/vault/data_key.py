"""The data key of one tenant, which encrypts the tenant's records: AES-256-GCM, every record bound to its kind and key.

The data key is the key encryption key of the records: each is encrypted by a key derived from it and from the record's
kind and key. So no count of encryptions is needed.

    version      1 byte    2, where records of the root key have 1
    kid          8 bytes   the data key, as a one-way hash
    generation   8 bytes   number of times that the record was written
    nonce       12 bytes   random
    tenant      16 bytes   keyed digest of the tenant, which is the key of the data key's record
    ciphertext, and the tag of 16 bytes
"""

from __future__ import annotations

import os
from hashlib import blake2b
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deputize.core.errors import VaultError
from deputize.core.vault.grant import Secret, SecretBytes
from deputize.core.vault.seal import KEY_BYTES, frame_place, id_of

_VERSION: Final = b"\x02"
_HEAD: Final = Struct(">9sQ12s16s")  # version and kid, generation, nonce, tenant
_NONCE_BYTES: Final = 12
_TENANT: Final = slice(_HEAD.size - 16, _HEAD.size)


class DataKey:
    """The data key of one tenant. Encrypts and decrypts the tenant's records. Safe to use from any thread."""

    __slots__ = ("_key", "_mark", "_tenant")

    def __init__(self, key: Secret, place: str) -> None:
        self._key, self._tenant = key, bytes.fromhex(place)
        self._mark = _VERSION + bytes.fromhex(id_of(bytes.fromhex(key.reveal())))

    def seal(self, kind: str, key: str, generation: int, plain: SecretBytes) -> bytes:
        """Return ``plain``, encrypted for the record ``(kind, key)``."""
        nonce = os.urandom(_NONCE_BYTES)
        head, place = _HEAD.pack(self._mark, generation, nonce, self._tenant), frame_place(kind, key)
        return head + self._cipher(place).encrypt(nonce, plain.reveal(), head + place)

    def open(self, kind: str, key: str, sealed: bytes) -> tuple[int, SecretBytes]:
        """Return generation and plaintext. Raises the same `VaultError` for every mismatch."""
        try:
            _, generation, nonce, _ = _HEAD.unpack_from(sealed)
            head, place = sealed[: _HEAD.size], frame_place(kind, key)
            return generation, SecretBytes(self._cipher(place).decrypt(nonce, sealed[_HEAD.size :], head + place))
        except (InvalidTag, ValueError):
            raise VaultError("A record in the vault cannot be opened.") from None

    def has_sealed(self, sealed: bytes) -> bool:
        """Return whether this key is the one named in the record's head."""
        return sealed.startswith(self._mark)

    def _cipher(self, place: bytes) -> AESGCM:
        mac = blake2b(key=bytes.fromhex(self._key.reveal()), digest_size=KEY_BYTES, person=b"deputize.record")
        mac.update(place)
        return AESGCM(mac.digest())


def is_of_tenant(sealed: bytes) -> bool:
    """Return whether a data key has encrypted the record."""
    return sealed.startswith(_VERSION)


def tenant_place(sealed: bytes) -> str:
    """Return the key of the record that holds the data key of an encrypted record, or "" if a root key encrypted it."""
    return sealed[_TENANT].hex() if is_of_tenant(sealed) else ""
