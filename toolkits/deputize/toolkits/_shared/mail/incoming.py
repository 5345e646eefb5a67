"""Mail as it arrives: a message of Gmail's API, of any quality, to what a reader needs of it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.headers import LONGEST, Person, decode_words, people_in
from deputize.toolkits._shared.mail.quotes import Line, plain_lines, without_history
from deputize.toolkits._shared.text import LARGEST, Outside, decode

Json = Mapping[str, Any]

_DEEPEST: Final = 50  # parts inside parts
_MOST_PARTS: Final = 500
_NAME: Final = 120  # characters of a file's name
_TOO_LONG: Final = "[the rest of this mail is too long to be shown]"
_STUB = re.compile(r"\b(?:view|read|open|see)\b.{0,60}\b(?:browser|online|web)\b|\bhtml\b", re.IGNORECASE | re.DOTALL)
_VERDICTS = frozenset({"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror", "policy"})


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a mail. ``id`` is its place in the mail; ``attachment`` where its bytes are, if not in ``data``."""

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
        """The part in a payload of Gmail's API."""
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
        """Whether a person sees it as an attachment rather than as text."""
        if self.type.startswith("multipart/"):
            return False
        disposition = header(self.headers, "Content-Disposition").strip().lower()
        named = bool(self.name) or disposition.startswith("attachment")
        return named or not self.type.startswith("text/")

    @property
    def content_id(self) -> str:
        """The name by which HTML refers to it, without its brackets."""
        return header(self.headers, "Content-ID").strip().strip("<>")

    @property
    def charset(self) -> str:
        """What the sender says the text is in."""
        return parameter(header(self.headers, "Content-Type"), "charset")


@dataclass
class Body:
    """A mail's text, cleaned: its lines, and whether a link in it shows another host than it leads to."""

    lines: list[Line] = field(default_factory=list)
    mismatch: bool = False

    @property
    def text(self) -> str:
        """All of it, quoted history included."""
        return "\n".join(line.text for line in self.lines).strip("\n")

    def own(self) -> tuple[str, int]:
        """Without quoted history, and how many characters that was."""
        return without_history(self.lines)


class Mail:
    """A message, read. What it says is cleaned on the way out; ``outside`` counts what was hidden."""

    def __init__(self, message: Json) -> None:
        self.message = message
        self.id = str(message.get("id", ""))
        self.thread = str(message.get("threadId", ""))
        self.labels: Sequence[str] = message.get("labelIds") or ()
        self.payload: Json = message.get("payload") or {}
        self.headers: Sequence[Json] = self.payload.get("headers") or ()
        self.outside = Outside()

    @property
    def date(self) -> str:
        """When Gmail took it in, in milliseconds; its own Date header is its sender's claim."""
        return str(self.message.get("internalDate", ""))

    def header(self, name: str) -> str:
        """The first header of this name as it stands, or ""."""
        return header(self.headers, name)

    def people(self, name: str) -> list[Person]:
        """The people in a header, their names cleaned."""
        return [
            Person(self.outside.line(one.name), self.outside.line(one.address)) for one in people_in(self.header(name))
        ]

    @property
    def sender(self) -> Person:
        """Who it says it is from."""
        return next(iter(self.people("From")), Person("", ""))

    def subject(self, limit: int = 1000) -> str:
        """Cleaned, on one line, within ``limit`` bytes."""
        return self.outside.line(decode_words(self.header("Subject")), limit)

    def snippet(self, limit: int) -> str:
        """The first words, which Gmail gives as HTML text."""
        return self.outside.line(read_html(str(self.message.get("snippet", ""))).text, limit)

    # ------------------------------------------------------------- parts

    def texts(self) -> list[Part]:
        """The parts that make up the body: of alternatives the plain one, if it says something."""
        return _texts(Part.of(self.payload), 0)

    def files(self) -> list[Part]:
        """The attachments, without pictures that the HTML body shows itself."""
        found = list(_leaves(self.payload))
        shown = "\n".join(decode(unpacked(p.data), p.charset) for p in found if p.type == "text/html" and not p.name)
        return [p for p in found if p.is_file and not (p.content_id and f"cid:{p.content_id}" in shown)]

    def file_name(self, part: Part) -> str:
        """A file's name as one path segment that shows all its characters."""
        name = self.outside.line(part.name).replace("\\", "/").rpartition("/")[2].strip(". ")
        stem, dot, end = name.rpartition(".")
        if len(name) > _NAME and dot and len(end) <= 10:
            name = f"{stem[: _NAME - len(end) - 1]}.{end}"
        return name[:_NAME] or ("message.eml" if part.type == "message/rfc822" else f"part-{part.id or 0}")

    def body(self, fetched: Mapping[str, str] | None = None) -> Body:
        """The text. ``fetched``: by part id, the data of parts that Gmail keeps apart."""
        body = Body()
        for part in self.texts():
            text = decode(unpacked((fetched or {}).get(part.id) or part.data), part.charset)
            if part.type == "text/html":
                page = read_html(text)
                lines = page.lines
                self.outside.hidden += page.hidden
                self.outside.doubts |= page.doubts
                body.mismatch = body.mismatch or page.mismatch
                cleaned = self.outside.text("\n".join(re.sub(r"[\r\n]", " ", line.text) for line in lines))
                pairs = zip(cleaned.split("\n"), lines, strict=False)
                body.lines += [Line(text.rstrip(), line.quoted) for text, line in pairs]
            else:
                body.lines += plain_lines(self.outside.text(text) + (f"\n{_TOO_LONG}" if len(text) > LARGEST else ""))
        return body

    # ------------------------------------------------------------- what Google and the sender say of it

    def auth(self) -> dict[str, str]:
        """SPF, DKIM and DMARC as Google found them (RFC 8601); empty if it says nothing.

        Only the topmost Authentication-Results counts, and only if it is Google's: others may be the sender's own.
        """
        said = _without_comments(self.header("Authentication-Results"))
        server, *results = said.split(";")
        verdicts: dict[str, str] = {}
        if server.split()[:1] != ["mx.google.com"]:
            return verdicts
        for result in results:
            found = re.match(r"\s*(spf|dkim|dmarc)\s*=\s*([a-z]+)\b", result, re.IGNORECASE)
            if found and found[2].lower() in _VERDICTS:
                method, verdict = found[1].lower(), found[2].lower()
                if method not in verdicts or (method == "dkim" and verdict == "pass"):
                    verdicts[method] = verdict
        return verdicts

    def unsubscribe(self) -> str:
        """How its list can be left: one_click (RFC 8058), mailto, link, or ""."""
        ways = re.findall(r"<\s*(https?:|mailto:)[^<>]*>", self.header("List-Unsubscribe")[:LONGEST], re.IGNORECASE)
        schemes = {way.lower() for way in ways}
        post = self.header("List-Unsubscribe-Post").strip() == "List-Unsubscribe=One-Click"
        if post and "https:" in schemes and self.auth().get("dkim") == "pass":
            return "one_click"
        if "mailto:" in schemes:
            return "mailto"
        return "link" if schemes else ""


def header(headers: Sequence[Json], name: str) -> str:
    """The first of these headers that has this name, or ""."""
    for one in headers:
        if str(one.get("name", "")).lower() == name.lower():
            return str(one.get("value", ""))
    return ""


def unpacked(data: str) -> bytes:
    """Gmail's base64url, with or without its padding; what is not base64 is left out."""
    kept = re.sub(r"[^A-Za-z0-9_-]", "", data.replace("+", "-").replace("/", "_"))
    kept = kept[:-1] if len(kept) % 4 == 1 else kept
    return base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4))


def parameter(value: str, name: str) -> str:
    """A parameter of a structured header, in any form of RFC 2045 and RFC 2231; "" if there is none."""
    pattern = rf';\s*{name}(?:\*(\d{{1,3}}))?(\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)'
    found = re.findall(pattern, value[:LONGEST], re.IGNORECASE | re.DOTALL)
    if not found:
        return ""
    charset, pieces = "", []
    for at, (_, extended, text) in enumerate(sorted(found, key=lambda piece: int(piece[0] or 0))):
        text = _unquoted(text.strip())
        if extended and at == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        pieces.append(unquote_to_bytes(text) if extended else text.encode(errors="replace"))
    plain = not any(extended for _, extended, _ in found)
    return decode(pieces[0] if plain and not found[0][0] else b"".join(pieces), charset)


def _unquoted(text: str) -> str:
    whole = len(text) > 1 and text[0] == text[-1] == '"'
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if whole else text


def _leaves(payload: Json) -> Iterator[Part]:
    """The parts that are no containers, in their order; what is inside an attached mail is that mail's own."""
    waiting: list[tuple[Json, int]] = [(payload, 0)]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        one, depth = waiting.pop()
        part = Part.of(one)
        if part.type.startswith("multipart/") and depth < _DEEPEST:
            waiting += [(child, depth + 1) for child in reversed(part.parts)]
        else:
            yield part


def _texts(part: Part, depth: int) -> list[Part]:
    if part.is_file or depth > _DEEPEST:
        return []
    if not part.type.startswith("multipart/"):
        return [part] if part.type in ("text/plain", "text/html") else []
    children = [_texts(Part.of(child), depth + 1) for child in part.parts[:_MOST_PARTS]]
    if part.type == "multipart/alternative":
        return _best([child for child in children if child])
    return [leaf for child in children for leaf in child]


def _best(alternatives: Sequence[list[Part]]) -> list[Part]:
    """The plain alternative if it says something, else the last one, which the sender likes best."""
    for leaves in alternatives:
        if all(leaf.type == "text/plain" and _says_something(leaf) for leaf in leaves):
            return leaves
    return alternatives[-1] if alternatives else []


def _says_something(part: Part) -> bool:
    if part.attachment and not part.data:
        return True
    text = decode(unpacked(part.data), part.charset).strip()
    return bool(re.search(r"\w", text)) and not (len(text) < 300 and _STUB.search(text))


def _without_comments(value: str) -> str:
    """A structured header without comments and quoted strings, in which a sender could write anything."""
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for c in value[:LONGEST]:
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = True
        elif quoted or c == '"':
            quoted = c != '"' if quoted else True
        elif c in "()":
            depth += 1 if c == "(" else -1 if depth else 0
        elif not depth:
            kept.append(c)
    return "".join(kept)
