"""A mail byte for byte: all that its receivers get, told apart but not cleaned. For what is about to be sent as it is.

Nothing here raises for any mail, and nothing in a mail is left out: every header that is no bookkeeping, every part
that is not the text or the HTML of the body as a file. What can be read in two ways is there as it is written, too.
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
from deputize.toolkits._shared.mail.headers import Person, decode_words, people_in
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
    """``people``: by field, whom it names. ``as_written``: fields whose value may be read in another way. ``other``:
    further headers. ``plain`` and ``html``: the body; ``files``: all other parts."""

    people: dict[str, list[Person]]
    as_written: dict[str, str]
    subject: str
    other: list[str]
    plain: str = ""
    html: str = ""
    files: list[File] = field(default_factory=list)

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """What is in these bytes."""
        message = message_from_bytes(raw, policy=cast("Policy[EmailMessage]", UNTOUCHED))
        written = {name: ", ".join(_all(message, name)) for name in WHOM}
        people = {name: people_in(value, len(value)) for name, value in written.items()}
        known = _BOOKKEEPING | {name.lower() for name in WHOM}
        mail = cls(
            people,
            {name: _read(value) for name, value in written.items() if _is_odd(value, people[name])},
            " ".join(_read(one) for one in _all(message, "Subject")),
            [f"{name}: {_read(str(value))}" for name, value in message.raw_items() if name.lower() not in known],
        )
        for part in _leaves(message, 0):
            mail._take(part)
        return mail

    @property
    def everybody(self) -> list[str]:
        """The addresses that it goes to."""
        return [one.address for name in ("To", "Cc", "Bcc") for one in self.people[name] if one.address]

    @property
    def is_doubtful(self) -> bool:
        """Whether it may go to others, too: a server may find an address where none was found here."""
        unsure = (one for name in ("To", "Cc", "Bcc") for one in self.people[name] if not one.address)
        return any("@" in one.name for one in unsure) or not self.as_written.keys().isdisjoint(("To", "Cc", "Bcc"))

    def _take(self, part: EmailMessage) -> None:
        kind = type_of(part)
        if kind in ("text/plain", "text/html") and not is_file(part):
            text = decode(_content(part), parameter(raw_header(part, "Content-Type"), "charset"))
            before = self.plain if kind == "text/plain" else self.html
            both = f"{before}\n\n{text}" if before else text
            self.plain, self.html = (both, self.html) if kind == "text/plain" else (self.plain, both)
        elif kind != "multipart/mixed" or _content(part):
            self.files.append(File(_name(part), kind, _content(part)))


def _all(message: Message[Any, Any], name: str) -> list[str]:
    """The values of every header of this name, each on one line: receivers differ in which of two they believe."""
    values = (str(value) for key, value in message.raw_items() if key.lower() == name.lower())
    return ["".join(value.splitlines()).strip() for value in values]


def _read(value: str) -> str:
    """A header's words to their end: whoever stands behind the part that is looked at elsewhere gets this mail, too."""
    return decode_words(value, len(value))


def _is_odd(value: str, people: list[Person]) -> bool:
    """Whether a header holds an address that is not one of these people's, nor in their names."""
    return _read(value).count("@") != sum(str(one).count("@") for one in people)


def _leaves(part: EmailMessage, depth: int) -> Iterator[EmailMessage]:
    inside = children(part) if type_of(part).startswith("multipart/") and depth < _DEEPEST else []
    for child in inside:
        yield from _leaves(child, depth + 1)
    if not inside:
        yield part


def content_at(raw: bytes, place: str) -> bytes:
    """The bytes of the part of a mail that is in this place, such as ``1.2``; none where there is no such part."""
    part = message_from_bytes(raw, policy=cast("Policy[EmailMessage]", UNTOUCHED))
    for step in filter(None, place.split(".")):
        inside = children(part)
        if not step.isdecimal() or int(step) >= len(inside):
            return b""
        part = inside[int(step)]
    return _content(part)


def _content(part: EmailMessage) -> bytes:
    """The bytes of a part; of one that holds others, such as an attached mail, as they stand."""
    if part.is_multipart():
        return b"".join(child.as_bytes() for child in children(part))
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _name(part: EmailMessage) -> str:
    named = parameter(raw_header(part, "Content-Disposition"), "filename")
    return decode_words(named or parameter(raw_header(part, "Content-Type"), "name")) or "file without a name"
