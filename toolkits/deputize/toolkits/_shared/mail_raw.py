"""A raw mail as its receivers get it: parsed but not cleaned, for previews of mail that is sent unchanged.

No mail raises an error, and no part is left out: every header except technical ones, and every part except the body as
a file. Ambiguous values are also given as written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import Policy
from typing import Any, Final, Self, cast

from deputize.toolkits._shared.mail.compose import UNTOUCHED, File
from deputize.toolkits._shared.mail.edit import children, is_file, raw_header, type_of
from deputize.toolkits._shared.mail.headers import Person, decode_words, parse_people
from deputize.toolkits._shared.mail.parts import parameter
from deputize.toolkits._shared.text import decode

WHOM: Final = ("From", "To", "Cc", "Bcc", "Reply-To")
_DEEPEST: Final = 50  # parts inside parts
_BOOKKEEPING: Final = frozenset(
    "subject date message-id in-reply-to references mime-version content-type content-transfer-encoding "
    "content-disposition x-deputize-key x-google-smtp-source x-gm-message-state received".split()
)


@dataclass
class RawMail:
    """A parsed raw mail. ``people``: people by header. ``as_written``: ambiguous headers unchanged. ``other``: further
    headers. ``plain``, ``html``: the body. ``files``: all other parts."""

    people: dict[str, list[Person]]
    as_written: dict[str, str]
    subject: str
    other: list[str]
    plain: str = ""
    html: str = ""
    files: list[File] = field(default_factory=list)

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Parse these bytes."""
        message = message_from_bytes(raw, policy=cast("Policy[EmailMessage]", UNTOUCHED))
        written = {name: ", ".join(_header_values(message, name)) for name in WHOM}
        people = {name: parse_people(value, len(value)) for name, value in written.items()}
        known = _BOOKKEEPING | {name.lower() for name in WHOM}
        mail = cls(
            people,
            {name: _decode(value) for name, value in written.items() if _is_odd(value, people[name])},
            " ".join(_decode(one) for one in _header_values(message, "Subject")),
            [f"{name}: {_decode(str(value))}" for name, value in message.raw_items() if name.lower() not in known],
        )
        for part in _leaves(message, 0):
            mail._add_part(part)
        return mail

    @property
    def all_recipients(self) -> list[str]:
        """The addresses of all recipients."""
        return [one.address for name in ("To", "Cc", "Bcc") for one in self.people[name] if one.address]

    @property
    def is_doubtful(self) -> bool:
        """True if a server may find more recipients in the headers than deputize did."""
        unsure = (one for name in ("To", "Cc", "Bcc") for one in self.people[name] if not one.address)
        return any("@" in one.name for one in unsure) or not self.as_written.keys().isdisjoint(("To", "Cc", "Bcc"))

    def _add_part(self, part: EmailMessage) -> None:
        kind = type_of(part)
        if kind in ("text/plain", "text/html") and not is_file(part):
            text = decode(_content(part), parameter(raw_header(part, "Content-Type"), "charset"))
            before = self.plain if kind == "text/plain" else self.html
            both = f"{before}\n\n{text}" if before else text
            self.plain, self.html = (both, self.html) if kind == "text/plain" else (self.plain, both)
        elif kind != "multipart/mixed" or _content(part):
            self.files.append(File(_name(part), kind, _content(part)))


def _header_values(message: Message[Any, Any], name: str) -> list[str]:
    """Return the value of every header of this name, each on one line. Receivers differ in which header they use."""
    values = (str(value) for key, value in message.raw_items() if key.lower() == name.lower())
    return ["".join(value.splitlines()).strip() for value in values]


def _decode(value: str) -> str:
    """Return a header decoded to its end, because later recipients get this mail too."""
    return decode_words(value, len(value))


def _is_odd(value: str, people: list[Person]) -> bool:
    """True if a header contains an address that none of these people has."""
    return _decode(value).count("@") != sum(str(one).count("@") for one in people)


def _leaves(part: EmailMessage, depth: int) -> Iterator[EmailMessage]:
    inside = children(part) if type_of(part).startswith("multipart/") and depth < _DEEPEST else []
    for child in inside:
        yield from _leaves(child, depth + 1)
    if not inside:
        yield part


def content_at(raw: bytes, place: str) -> bytes:
    """Return the bytes of the part at a position such as ``1.2``, or b""."""
    part = message_from_bytes(raw, policy=cast("Policy[EmailMessage]", UNTOUCHED))
    for step in filter(None, place.split(".")):
        inside = children(part)
        if not step.isdecimal() or int(step) >= len(inside):
            return b""
        part = inside[int(step)]
    return _content(part)


def _content(part: EmailMessage) -> bytes:
    """Return the bytes of a part. A part that contains others, such as an attached mail, is returned as written."""
    if part.is_multipart():
        return b"".join(child.as_bytes() for child in children(part))
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _name(part: EmailMessage) -> str:
    named = parameter(raw_header(part, "Content-Disposition"), "filename")
    return decode_words(named or parameter(raw_header(part, "Content-Type"), "name")) or "file without a name"
