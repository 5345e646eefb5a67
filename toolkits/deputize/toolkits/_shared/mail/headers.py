"""Mail headers, received and sent: encoded words (RFC 2047), people, and the values that may be written.

Python's own header classes decode encoded words when they write, including line ends, so that a subject could add
headers (observed with 3.11.7). So values are encoded here, and an `Encoded` is always printable ASCII on one line.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Self

import idna

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.text import decode

LONGEST: Final = 65_536  # characters of one header that are read
_WORD = re.compile(r"=\?([!->@-~]{1,60}?)\?([bBqQ])\?([^?]*)\?=")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_LONG_WORD: Final = 200  # longest word that is written unencoded
_BYTES_A_WORD: Final = 45  # bytes in one encoded word of at most 75 characters
_LINE: Final = 78


class Encoded(str):
    """A header's value in wire form, on one line. Created by `text_value`, `people_value` and `ids_value`."""

    __slots__ = ()

    @classmethod
    def of(cls, value: str) -> Self:
        """Return the value. Raises `InvalidInput` unless it is printable ASCII: nothing else can reach a header."""
        if not (value.isascii() and value.isprintable()):
            raise InvalidInput("A header cannot hold line ends or control characters.", hint="Remove line ends.")
        return cls(value)

    def fold(self) -> str:
        """Return the value broken at blanks into lines of 78 characters if possible."""
        lines = [""]
        for word in re.findall(r"\s*\S+", self):
            if lines[-1] and len(lines[-1]) + len(word) > _LINE and word[0] == " ":
                lines.append("")
            lines[-1] += word
        return "\r\n".join(lines)


def single_line(text: str, field: str) -> str:
    """Return a header text that a model wrote. Raises `InvalidInput` for line ends and control characters."""
    text = text.strip()
    if len(text) > 1000 or any(map(_is_break, text)):
        raise InvalidInput(
            f"{field}: must be one line of at most 1000 characters, without control characters.",
            hint="Shorten it, and remove line ends.",
        )
    return text


def _is_break(character: str) -> bool:
    """True if a character could end a line or is not text."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _on_one_line(text: str) -> str:
    """Replace characters that a receiver could read as line ends after decoding."""
    return "".join(" " if _is_break(character) else character for character in text)


def text_value(text: str) -> Encoded:
    """Encode a subject or name: plain if possible, else as encoded words."""
    text = _on_one_line(text)
    plain = text.isascii() and text.isprintable() and "=?" not in text
    if plain and all(len(word) <= _LONG_WORD for word in text.split(" ")):
        return Encoded.of(text)
    return Encoded.of(" ".join(_words(text)))


def _words(text: str) -> Iterator[str]:
    piece = b""
    for character in text:
        more = character.encode(errors="replace")
        if len(piece) + len(more) > _BYTES_A_WORD:
            yield f"=?utf-8?b?{base64.b64encode(piece).decode()}?="
            piece = b""
        piece += more
    yield f"=?utf-8?b?{base64.b64encode(piece).decode()}?="


def decode_words(value: str, most: int = LONGEST) -> str:
    """Return a value with its encoded words decoded. Neighbours of one charset are decoded together, as bytes.

    ``most``: number of characters that are read.
    """
    value = re.sub(r"\r?\n(?=[ \t])", "", value[:most])
    read: list[str] = []
    pending, charset, end = b"", "", 0
    for word in _WORD.finditer(value):
        between, name = value[end : word.start()], word[1].partition("*")[0].lower()
        if end == 0 or between.strip() or name != charset:
            read.append(decode(pending, charset))
            pending = b""
        if end == 0 or between.strip():
            read.append(between)
        pending, charset, end = pending + _word_bytes(word[2], word[3]), name, word.end()
    return "".join((*read, decode(pending, charset), value[end:]))


def _word_bytes(encoding: str, text: str) -> bytes:
    raw = text.encode(errors="replace")
    if encoding in "qQ":
        return re.sub(rb"=([0-9A-Fa-f]{2})", lambda hexed: bytes([int(hexed[1], 16)]), raw.replace(b"_", b" "))
    try:
        kept = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
        return base64.b64decode(kept + b"=" * (-len(kept) % 4))
    except binascii.Error:
        return raw


class Person(NamedTuple):
    """A sender or recipient. The name is only the sender's claim; mail is sent to the address."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name and self.address else self.address or self.name

    @property
    def key(self) -> str:
        """The address in lower case."""
        return self.address.lower()

    @property
    def reachable(self) -> bool:
        """True if mail can be sent to the address."""
        return _is_valid(self.address)


def _is_valid(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    sized = 0 < len(local) <= 64 and 0 < len(domain) <= 253 and "=?" not in local
    return bool(sized and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain))


def person(text: str, field: str) -> Person:
    """Return a recipient that a model gave: an address or ``Name <address>``, nothing else.

    Raises `InvalidInput` that names ``field`` for groups, lists, invalid addresses and header injection.
    """
    text = single_line(text, field)
    named = _NAMED.fullmatch(text)
    name, address = (named["name"].strip(), named["address"]) if named else ("", text)
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    local, _, domain = address.strip().rpartition("@")
    found = Person(name, f"{local}@{_ascii_domain(domain, field)}")
    if not found.reachable:
        raise InvalidInput(
            f"{field}: not a single email address.", hint="Give one per entry: a@b.example or Name <a@b.example>."
        )
    return found


def _ascii_domain(domain: str, field: str) -> str:
    """Return a domain in ASCII: IDNA 2008 (RFC 5891), mapping only case and composition (RFC 5895, 1 and 3).

    Broader mappings, as in IDNA 2003 and UTS 46, could lead to another domain than the displayed one. Raises
    `InvalidInput` for a domain that IDNA 2008 does not allow.
    """
    try:
        return ascii_host(domain)
    except UnicodeError:
        raise InvalidInput(
            f"{field}: {domain[:80]!r} is not allowed as an international domain (IDNA 2008).",
            hint="Write the domain in its usual spelling, or in its ASCII form (xn--...).",
        ) from None


def ascii_host(host: str) -> str:
    """Return a host with A-labels for international labels. Raises UnicodeError if IDNA 2008 refuses one."""
    return ".".join(label if label.isascii() else _a_label(label) for label in host.split("."))


def network_host(host: str) -> str:
    """Return a link's host as browsers resolve it, as far as possible. For comparison and display only."""
    for form in (ascii_host, lambda name: name.encode("idna").decode()):
        try:
            return form(host)
        except UnicodeError:
            continue
    return host


def _a_label(label: str) -> str:
    lower = "".join(one.lower() if len(one.lower()) == 1 else one for one in label)
    composed = unicodedata.normalize("NFC", lower)
    return idna.alabel(label if composed.isascii() else composed).decode()  # a Kelvin sign is not a k


def parse_people(value: str, most: int = LONGEST) -> list[Person]:
    """Return the people in an untrusted address header. Groups are flattened, comments become names.

    ``most``: number of characters that are read.
    """
    return [Person(decode_words(name, most).strip(), address) for name, address in _mailboxes(value[:most])]


def _mailboxes(value: str) -> Iterator[tuple[str, str]]:
    """Yield names and addresses in one pass; an invalid address becomes a name."""
    bare: list[str] = []
    angle: list[str] = []
    comment: list[str] = []
    quoted = escaped = inside = False
    depth = 0
    for c in value:
        target = comment if depth else angle if inside else bare
        if escaped or (quoted and c not in '\\"'):
            target.append(c)
            escaped = False
        elif c == "\\":
            escaped = quoted or depth > 0
        elif c in "()" and not quoted:
            depth = depth + 1 if c == "(" else max(depth - 1, 0)
        elif depth:
            comment.append(c)
        elif c == '"':
            quoted = not quoted
        elif c in "<>":
            inside = c == "<"
        elif c in ",;:" and not inside:
            if c != ":":
                yield from _mailbox(bare, angle, comment)
            bare, angle, comment = [], [], []
        else:
            target.append(c)
    yield from _mailbox(bare, angle, comment)


def _mailbox(bare: list[str], angle: list[str], comment: list[str]) -> Iterator[tuple[str, str]]:
    name, address, remark = "".join(bare).strip(), re.sub(r"\s", "", "".join(angle)), "".join(comment)
    if address:
        yield name or remark, address
    elif "@" in name and " " not in name:
        yield remark, name
    elif name:
        yield name, ""


def people_value(people: Iterable[Person]) -> Encoded:
    return Encoded.of(", ".join(_format_person(one) for one in people))


def _format_person(one: Person) -> str:
    name = _on_one_line(one.name)
    if not name.strip():
        return one.address
    if "=?" in name or not name.isascii() or len(name) > _LONG_WORD:
        return f"{' '.join(_words(name))} <{one.address}>"
    if _ATOMS.fullmatch(name):
        return f"{name} <{one.address}>"
    escaped = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{escaped}" <{one.address}>'


def ids_value(value: str, last: int = 20) -> Encoded:
    """Return the last ``last`` message ids in an untrusted value."""
    return Encoded.of(" ".join(re.findall(r"<[!-;=?-~]{3,250}>", value[-LONGEST:])[-last:]))
