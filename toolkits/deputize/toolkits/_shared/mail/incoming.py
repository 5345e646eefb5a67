"""Received mail: a message of Gmail's API, of any quality, in the form that a reader needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.headers import LONGEST, Person, decode_words, parse_people
from deputize.toolkits._shared.mail.languages import FORWARDED
from deputize.toolkits._shared.mail.parts import INVITATION, Json, Part, decode_base64, header, leaves_in_once, texts_in
from deputize.toolkits._shared.mail.quotes import Line, plain_lines, without_history
from deputize.toolkits._shared.text import LARGEST, Outside, decode

_NAME: Final = 120  # characters of a file's name
_ADDRESS = re.compile(r"https?://[^\s<>\"]{1,4000}[^\s<>\".,;:!?)\]']")
_UNNAMED: Final = {"message/rfc822": "message.eml", INVITATION: "invite.ics"}
_TOO_LONG: Final = "[the rest of this mail is too long to be shown]"
_VERDICTS = frozenset({"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror", "policy"})


@dataclass
class Body:
    """A mail's cleaned text: its lines, whether a link's words name another host than its own, whether it has a style
    sheet, the words of its links by address, and whether its subject marks it as forwarded."""

    lines: list[Line] = field(default_factory=list)
    mismatch: bool = False
    styled: bool = False
    links: dict[str, str] = field(default_factory=dict)
    passed_on: bool = False

    @property
    def text(self) -> str:
        """All lines, including quoted history."""
        return "\n".join(line.text for line in self.lines).strip("\n")

    def own_text(self) -> tuple[str, int]:
        """Return the text without quoted history, and how many characters that was."""
        return without_history(self.lines, passed_on=self.passed_on)


class Mail:
    """A parsed message. Its texts are cleaned when they are read; ``outside`` counts the hidden text."""

    def __init__(self, message: Json) -> None:
        self.message = message
        self.id = str(message.get("id", ""))
        self.thread = str(message.get("threadId", ""))
        self.labels: Sequence[str] = message.get("labelIds") or ()
        self.payload: Json = message.get("payload") or {}
        self.headers: Sequence[Json] = self.payload.get("headers") or ()
        self.outside = Outside()
        self._bodies: dict[tuple[bool, tuple[tuple[str, str], ...]], Body] = {}

    @property
    def date(self) -> str:
        """The time when Gmail received it, in milliseconds; the Date header is only the sender's claim."""
        return str(self.message.get("internalDate", ""))

    def header(self, name: str) -> str:
        """Return the first header of this name unparsed, or ""."""
        return header(self.headers, name)

    def people(self, name: str) -> list[Person]:
        """Return the people in a header, cleaned."""
        line = self.outside.line
        return [Person(line(one.name), line(one.address)) for one in parse_people(self.header(name))]

    @property
    def sender(self) -> Person:
        """The sender that the mail claims."""
        return next(iter(self.people("From")), Person("", ""))

    def subject(self, limit: int = 1000) -> str:
        """Return the subject cleaned, on one line, in ``limit`` bytes."""
        return self.outside.line(decode_words(self.header("Subject")), limit)

    def snippet(self, limit: int) -> str:
        """Return the first words, which Gmail returns as HTML text."""
        return self.outside.line(read_html(str(self.message.get("snippet", ""))).text, limit)

    @property
    def encrypted(self) -> bool:
        """True if the text is encrypted for its receiver (RFC 8551, RFC 3156), so that it cannot be read here."""
        kind = str(self.payload.get("mimeType", "")).lower()
        sealed = kind.endswith("pkcs7-mime") and "signed-data" not in self.header("Content-Type").lower()
        return sealed or kind == "multipart/encrypted"

    # ------------------------------------------------------------- parts

    def texts(self) -> list[Part]:
        """Return the parts of the body. Of alternatives, this is the HTML, which people see."""
        return [part for one in texts_in(Part.of(self.payload)) for part in one.shown]

    def files(self) -> list[Part]:
        """Return the attachments, without pictures that the HTML body shows."""
        found = leaves_in_once(self.payload)
        shown = "\n".join(
            decode(decode_base64(p.data), p.charset) for p in found if p.type == "text/html" and not p.name
        )
        return [p for p in found if p.is_file and not (p.content_id and f"cid:{p.content_id}" in shown)]

    def file_name(self, part: Part) -> str:
        """Return a file's name as one path segment without invisible characters."""
        name = self.outside.line(part.name).replace("\\", "/").rpartition("/")[2].strip(". ")
        stem, dot, end = name.rpartition(".")
        if len(name) > _NAME and dot and len(end) <= 10:
            name = f"{stem[: _NAME - len(end) - 1]}.{end}"
        return name[:_NAME] or _UNNAMED.get(part.type) or f"part-{part.id or 0}"

    def body(self, fetched: Mapping[str, str] | None = None, *, whole_links: bool = False) -> Body:
        """Return the text, parsed once. ``fetched``: data of parts that Gmail stores separately, by part id.

        If the HTML has no text or cannot be read, the plain alternative is used and marked as unseen.
        """
        how = whole_links, tuple((fetched or {}).items())
        if how not in self._bodies:
            self._bodies[how] = self._read_body(fetched or {}, whole_links)
        return self._bodies[how]

    def _read_body(self, fetched: Mapping[str, str], whole_links: bool) -> Body:
        is_forwarded = bool(FORWARDED.match(decode_words(self.header("Subject")).strip()))
        body, pages, styled = Body(passed_on=is_forwarded), 0, False
        for one in texts_in(Part.of(self.payload)):
            self.outside.doubts |= one.doubts
            read = [self._read(part, fetched, whole_links) for part in one.shown]
            if one.unseen and not any(line.text for own in read for line in own.lines):
                read = [self._read(part, fetched, whole_links) for part in one.unseen]
                if any(line.text for own in read for line in own.lines):
                    self.outside.doubts.add("a text/plain part that people do not see")
            styled = styled or any(own.styled for own in read)
            pages += sum(part.type == "text/html" for part in one.shown)
            body.lines += [line for own in read for line in own.lines]
            body.mismatch = body.mismatch or any(own.mismatch for own in read)
            for own in read:
                body.links |= own.links
        if pages > 1 and styled:
            self.outside.doubts.add("styles of another part")
        return body

    def _read(self, part: Part, fetched: Mapping[str, str], whole_links: bool) -> Body:
        text = text_of(part, fetched)
        if part.type != "text/html":
            shown = self.outside.text(text) + (f"\n{_TOO_LONG}" if len(text) > LARGEST else "")
            return Body(plain_lines(shown), links=dict.fromkeys(_ADDRESS.findall(shown), ""))
        page = read_html(text, whole_links=whole_links)
        self.outside.hidden += page.hidden
        self.outside.doubts |= page.doubts
        cleaned = self.outside.text("\n".join(re.sub(r"[\r\n]", " ", line.text) for line in page.lines))
        pairs = zip(cleaned.split("\n"), page.lines, strict=False)
        lines = [Line(text.rstrip(), line.quoted) for text, line in pairs]
        links = {self.outside.line(address): self.outside.line(words) for address, words in page.links.items()}
        return Body(lines, page.mismatch, "<style" in text.lower(), links)

    # ------------------------------------------------------------- authentication and mailing lists

    def auth(self) -> dict[str, str]:
        """Return SPF, DKIM and DMARC results of Google (RFC 8601); empty if there are none.

        Only the topmost Authentication-Results counts, and only if it is Google's: the sender may have written others.
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

    def unsubscribe_way(self) -> str:
        """Return how to leave its mailing list: one_click (RFC 8058), mailto, link, or ""."""
        ways = re.findall(r"<\s*(https?:|mailto:)[^<>]*>", self.header("List-Unsubscribe")[:LONGEST], re.IGNORECASE)
        schemes = {way.lower() for way in ways}
        post = self.header("List-Unsubscribe-Post").strip() == "List-Unsubscribe=One-Click"
        if post and "https:" in schemes and self.auth().get("dkim") == "pass":
            return "one_click"
        if "mailto:" in schemes:
            return "mailto"
        return "link" if schemes else ""


def text_of(part: Part, fetched: Mapping[str, str]) -> str:
    """Return the decoded text of a part."""
    return decode(decode_base64(fetched.get(part.id) or part.data), part.charset)


def _without_comments(value: str) -> str:
    """Return a structured header without comments and quoted strings, which a sender can choose freely."""
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
