"""Headers of mail, in and out: encoded words (RFC 2047), people, and what may be written at all.

Python's own header classes decode encoded words on the way out, line ends included, and so let a subject add headers
(observed with 3.11.7). So outgoing values are put into their wire form here, and `Encoded` holds printable ASCII on
one line or does not exist.
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

LONGEST: Final = 65_536  # characters of one header that are looked at
_WORD = re.compile(r"=\?([!->@-~]{1,60}?)\?([bBqQ])\?([^?]*)\?=")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_LONG_WORD: Final = 200  # characters without a blank that are not written as they are
_BYTES_A_WORD: Final = 45  # of text in one encoded word, which may be 75 characters long
_LINE: Final = 78


class Encoded(str):
    """A header's value in its wire form, on one line. Made by `text_value`, `people_value` and `ids_value`."""

    __slots__ = ()

    @classmethod
    def of(cls, value: str) -> Self:
        """Raises `InvalidInput` for what is not printable ASCII: nothing else can ever reach a header."""
        if not (value.isascii() and value.isprintable()):
            raise InvalidInput("A header cannot hold line ends or control characters.")
        return cls(value)

    def folded(self) -> str:
        """Broken at blanks into lines of 78 characters where there are blanks."""
        lines = [""]
        for word in re.findall(r"\s*\S+", self):
            if lines[-1] and len(lines[-1]) + len(word) > _LINE and word[0] == " ":
                lines.append("")
            lines[-1] += word
        return "\r\n".join(lines)


def single_line(text: str, field: str) -> str:
    """The text of a header that a model wrote. Raises `InvalidInput` for line ends and controls."""
    text = text.strip()
    if len(text) > 1000 or any(map(_breaks, text)):
        raise InvalidInput(f"{field}: must be one line of at most 1000 characters, without control characters.")
    return text


def _breaks(character: str) -> bool:
    """Whether a character could end a line or is no text at all."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _on_one_line(text: str) -> str:
    """Without what a receiver, having read the encoded words, could take for a line's end."""
    return "".join(" " if _breaks(character) else character for character in text)


def text_value(text: str) -> Encoded:
    """A subject or name as it is written: plain where it can be, else in encoded words."""
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
    """A header's value with its encoded words read. Neighbours of one charset are read together, as bytes.

    ``most``: characters of it that are read.
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
    """Who a mail is from or to. The name is what somebody claims; the address is where it goes."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name and self.address else self.address or self.name

    @property
    def key(self) -> str:
        """The same for two spellings of one address."""
        return self.address.lower()

    @property
    def reachable(self) -> bool:
        """Whether mail can be addressed to it."""
        return _valid(self.address)


def _valid(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    sized = 0 < len(local) <= 64 and 0 < len(domain) <= 253 and "=?" not in local
    return bool(sized and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain))


def person(text: str, field: str) -> Person:
    """Somebody a model wants to write to: an address or ``Name <address>``, nothing looser.

    Raises `InvalidInput`, naming ``field``: for groups, lists, addresses that do not exist, and header injection.
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
    """A domain as DNS knows it: IDNA 2008 (RFC 5891), and of mapping only case and composition (RFC 5895, 1 and 3).

    Anything that maps more, as IDNA 2003 and UTS 46 do, could lead to another domain than the one that was shown.
    Raises `InvalidInput`, naming it, for a domain that IDNA 2008 does not allow.
    """
    try:
        return ascii_host(domain)
    except UnicodeError:
        raise InvalidInput(
            f"{field}: {domain[:80]!r} is not allowed as an international domain (IDNA 2008).",
            hint="Write the domain in its usual spelling, or in its ASCII form (xn--...).",
        ) from None


def ascii_host(host: str) -> str:
    """A host's name with its international labels as A-labels. Raises UnicodeError for what IDNA 2008 refuses."""
    return ".".join(label if label.isascii() else _a_label(label) for label in host.split("."))


def network_host(host: str) -> str:
    """A link's host as browsers look it up, as far as it can be told: for comparing and showing, never for sending."""
    for form in (ascii_host, lambda name: name.encode("idna").decode()):
        try:
            return form(host)
        except UnicodeError:
            continue
    return host


def _a_label(label: str) -> str:
    lower = "".join(one.lower() if len(one.lower()) == 1 else one for one in label)
    composed = unicodedata.normalize("NFC", lower)
    return idna.alabel(label if composed.isascii() else composed).decode()  # a Kelvin sign is no k


def people_in(value: str, most: int = LONGEST) -> list[Person]:
    """The people in an address header somebody else wrote. Groups are flattened, comments become names.

    ``most``: characters of it that are read.
    """
    return [Person(decode_words(name, most).strip(), address) for name, address in _mailboxes(value[:most])]


def _mailboxes(value: str) -> Iterator[tuple[str, str]]:
    """Names and addresses, read in one pass; what cannot be an address comes back as a name."""
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
    """Recipients as they are written."""
    return Encoded.of(", ".join(_written(one) for one in people))


def _written(one: Person) -> str:
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
    """The message ids in a value somebody else wrote, at most the ``last`` ones, as they are written."""
    return Encoded.of(" ".join(re.findall(r"<[!-;=?-~]{3,250}>", value[-LONGEST:])[-last:]))
