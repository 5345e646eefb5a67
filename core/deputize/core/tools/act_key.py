"""The identity of an act."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid

from deputize.core.value_object import ValueObject, frozen

_text = json.JSONEncoder(separators=(",", ":")).encode  # made once: `json.dumps` makes one for each call


@frozen
class ActKey(ValueObject):
    """The identity of an act as a digest, which providers can use as an idempotency key."""

    digest: bytes

    @classmethod
    def of(cls, *parts: str) -> ActKey:
        """Return the key for these parts. Other parts, or the same in another order, give another key."""
        canonical = _text(["deputize-act-1", *parts])
        return cls(hashlib.sha256(canonical.encode()).digest())

    def nth(self, n: int) -> ActKey:
        """Return the key of the n-th write inside this act."""
        return ActKey(hashlib.sha256(self.digest + n.to_bytes(4, "big")).digest())

    @property
    def hex(self) -> str:
        """64 hexadecimal characters."""
        return self.digest.hex()

    @property
    def base32(self) -> str:
        """26 characters of ``[0-9a-v]``, valid as the id of a Google Calendar event."""
        return base64.b32hexencode(self.digest[:16]).decode().rstrip("=").lower()

    @property
    def uuid(self) -> str:
        """A UUID in the form of version 4."""
        return str(uuid.UUID(bytes=self.digest[:16], version=4))
