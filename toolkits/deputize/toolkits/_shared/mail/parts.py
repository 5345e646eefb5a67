"""The parts of a mail: its texts, its files, and parameters of structured headers."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from deputize.toolkits._shared.mail.headers import LONGEST, decode_words
from deputize.toolkits._shared.text import decode

Json = Mapping[str, Any]

INVITATION: Final = "text/calendar"
"""The extra part of invitations, mostly repeated as a named file."""
_DEEPEST: Final = 50  # nested parts
_MAX_PARTS: Final = 500


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a mail. ``id``: position in the mail. ``attachment``: id to fetch the bytes, if not in ``data``."""

    id: str
    type: str
    name: str
    size: int
    attachment: str
    data: str
    headers: Sequence[Json]
    parts: Sequence[Json]

    @classmethod
    def of(cls, payload: Json) -> Part:
        """Return the part of a payload of Gmail's API."""
        body = payload.get("body") or {}
        headers = payload.get("headers") or ()
        disposition = header(headers, "Content-Disposition")
        name = payload.get("filename") or parameter(disposition, "filename")
        name = name or parameter(header(headers, "Content-Type"), "name")
        return cls(
            id=str(payload.get("partId") or ""),
            type=str(payload.get("mimeType") or "text/plain").lower(),
            name=decode_words(name),
            size=int(body.get("size") or 0),
            attachment=str(body.get("attachmentId") or ""),
            data=str(body.get("data") or ""),
            headers=headers,
            parts=payload.get("parts") or (),
        )

    @property
    def is_file(self) -> bool:
        """True if a person sees an attachment, not text."""
        if self.type.startswith("multipart/"):
            return False
        disposition = header(self.headers, "Content-Disposition").strip().lower()
        named = bool(self.name) or disposition.startswith("attachment")
        return named or not self.type.startswith("text/") or self.type == INVITATION

    @property
    def content_id(self) -> str:
        """The content id by which HTML refers to the part, without brackets."""
        return header(self.headers, "Content-ID").strip().strip("<>")

    @property
    def charset(self) -> str:
        """The declared charset."""
        return parameter(header(self.headers, "Content-Type"), "charset")


@dataclass
class Texts:
    """Parts with the same text: ``shown`` to people, and the plain alternative, which they do not see."""

    shown: list[Part] = field(default_factory=list)
    unseen: list[Part] = field(default_factory=list)
    doubts: set[str] = field(default_factory=set)


def texts_in(part: Part, depth: int = 0) -> list[Texts]:
    """Return the texts of a mail in order. Of alternatives, the last HTML counts, else the last part."""
    if part.is_file or depth > _DEEPEST:
        return []
    if not part.type.startswith("multipart/"):
        return [Texts([part])] if part.type in ("text/plain", "text/html") else []
    children = [Part.of(child) for child in part.parts[:_MAX_PARTS]]
    if part.type == "multipart/related" and children:
        root = _root(part, children)
        found = texts_in(root, depth + 1)
        if any(child is not root and texts_in(child, depth + 1) for child in children):
            found = [*found, Texts(doubts={"a part that nothing shows"})]
        return found
    inner = [found for child in children if (found := texts_in(child, depth + 1))]
    if part.type == "multipart/alternative" and inner:
        return _choose_alternative(inner)
    return [one for found in inner for one in found]


def _root(part: Part, children: Sequence[Part]) -> Part:
    """Return the part of a multipart/related that is displayed and refers to the others (RFC 2387)."""
    start = parameter(header(part.headers, "Content-Type"), "start").strip().strip("<>")
    return next((child for child in children if start and child.content_id == start), children[0])


def _choose_alternative(alternatives: Sequence[list[Texts]]) -> list[Texts]:
    """Return the alternative that people see, and the last other one in case it has no text."""
    pages = [one for one in alternatives if any(part.type == "text/html" for texts in one for part in texts.shown)]
    best = (pages or alternatives)[-1]
    others = [one for one in alternatives if one is not best]
    if others and pages:
        shown = [part for texts in best for part in texts.shown]
        unseen = [part for texts in others[-1] for part in texts.shown]
        return [Texts(shown, unseen, {doubt for texts in best for doubt in texts.doubts})]
    return best


def leaves_in(payload: Json) -> Iterator[Part]:
    """Yield the parts that are not containers, in order. An attached mail is one part."""
    waiting: list[tuple[Json, int]] = [(payload, 0)]
    for _ in range(_MAX_PARTS):
        if not waiting:
            return
        one, depth = waiting.pop()
        part = Part.of(one)
        if part.type.startswith("multipart/") and depth < _DEEPEST:
            waiting += [(child, depth + 1) for child in reversed(part.parts)]
        else:
            yield part


def leaves_in_once(payload: Json) -> list[Part]:
    """Return the leaves, without an invitation that is also attached as a named file."""
    found = list(leaves_in(payload))
    named = any(part.name.lower().endswith(".ics") for part in found)
    return [part for part in found if not (named and part.type == INVITATION and not part.name)]


def header(headers: Sequence[Json], name: str) -> str:
    """Return the first header of this name, or ""."""
    for one in headers:
        if str(one.get("name", "")).lower() == name.lower():
            return str(one.get("value", ""))
    return ""


def decode_base64(data: str) -> bytes:
    """Decode Gmail's base64url, with or without padding; other characters are ignored."""
    kept = re.sub(r"[^A-Za-z0-9_-]", "", data.replace("+", "-").replace("/", "_"))
    kept = kept[:-1] if len(kept) % 4 == 1 else kept
    return base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4))


def parameter(value: str, name: str) -> str:
    """Return a parameter of a structured header, in any form of RFC 2045 and RFC 2231, or ""."""
    pattern = rf';\s*{name}(?:\*(\d{{1,3}}))?(\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)'
    found = re.findall(pattern, value[:LONGEST], re.IGNORECASE | re.DOTALL)
    if not found:
        return ""
    charset, pieces = "", []
    for at, (_, extended, text) in enumerate(sorted(found, key=lambda piece: int(piece[0] or 0))):
        text = _unquote(text.strip())
        if extended and at == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        pieces.append(unquote_to_bytes(text) if extended else text.encode(errors="replace"))
    plain = not any(extended for _, extended, _ in found)
    return decode(pieces[0] if plain and not found[0][0] else b"".join(pieces), charset)


def _unquote(text: str) -> str:
    whole = len(text) > 1 and text[0] == text[-1] == '"'
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if whole else text
