"""A record of the vault as it is once it is opened, and the kinds of records there are."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Final, TypeAlias

from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.encoding import unpacked
from deputize.core.vault.grant import SecretBytes

EXPIRING = (
    *("consent", "asked", "ticket", "state", "approval", "act", "browser", "mandate", "outside", "call", "session"),
    *("obtaining", "session_names", "logged_out", "erased"),
)
"""Kinds of records that carry ``expires`` (Unix seconds) and are swept."""
LASTING: Final = (
    *("meta", "grant", "intent", "received", "outbox", "chosen", "file", "filepart", "person", "zone", "mcp_pins"),
)
KINDS = (*LASTING, *EXPIRING)
"""All kinds of records there are. Another is refused: it would be left behind when keys change."""
PAGE: Final = 100
"""Records that are opened between two turns of the event loop, where there are many: about two milliseconds."""
FIRST: Final = ("meta", "vault")
"""Kind and key of the first record, which holds the vault's own keys."""

MARK: Final = 16

Content: TypeAlias = SecretBytes | bytes | dict[str, Any]
"""What a record is to hold: JSON, in which a `Secret` may stand, or bytes."""


@frozen
class Record(Frozen):
    """One opened record, and the sealed bytes that a swap must still find."""

    kind: str
    key: str
    generation: int
    plain: SecretBytes = field(repr=False)
    sealed: bytes = field(repr=False)
    _content: dict[str, Any] | None = field(default=None, init=False, repr=False)

    @property
    def json(self) -> dict[str, Any]:
        """The record's content, where it is JSON; see `content` for what in it is opaque. It is read once: what is
        inside of it is never changed."""
        content = self._content
        if content is None:
            content = unpacked(self.kind, self.plain)
            object.__setattr__(self, "_content", content)
        return {**content}

    @property
    def mark(self) -> bytes:
        """What tells it from every other record, and from itself in other bytes: see `mark_of`."""
        return mark_of(self.sealed)


def mark_of(sealed: bytes) -> bytes:
    """16 bytes to remember a record by: its tag of AES-GCM, which no other that opens in its place has."""
    return sealed[-MARK:]
