"""Composition of mail: a letter as the bytes that are sent. Headers come from `headers`, in wire form only."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any, Final, Literal, NamedTuple

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.html_tree import TooComplex, parse
from deputize.toolkits._shared.mail.headers import Encoded, Person, ids_value, people_value, person, text_value
from deputize.toolkits._shared.markdown import to_html

MAX_RECIPIENTS: Final = 100
BodyFormat = Literal["auto", "plain", "html"]

_BODY: Final = 500_000  # characters of a body that a model writes
_QUOTE: Final = 50_000  # characters of a quoted original
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,100}")
_DAYS: Final = "Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_LOADING = frozenset({"src", "srcset", "background", "poster", "data", "style"})
_ELSEWHERE = re.compile(r"(?:^|[,('\"])(?:https?:)?//|https?:|url\(['\"]?(?!data:|cid:)|@import", re.IGNORECASE)


class _Wire(EmailPolicy):
    """A policy that writes `Encoded` headers unchanged and keeps headers of parsed mail."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return (name, value) if isinstance(value, Encoded) else super().header_store_parse(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        if isinstance(value, Encoded):
            return f"{name}: {value.fold()}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


class _Untouched(_Wire):
    """A policy that returns headers of a parsed mail unparsed, because parsing may fail."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return value if hasattr(value, "name") else "".join(str(value).splitlines())


WIRE: Final = _Wire(linesep="\r\n", cte_type="7bit")
UNTOUCHED: Final = _Untouched(linesep="\r\n", refold_source="none")
"""For mail that is parsed, edited and written again."""


class Text(NamedTuple):
    """A body as plain text and as HTML; without HTML it is sent as plain text only."""

    plain: str
    html: str = ""

    def followed_by(self, other: Text) -> Text:
        """Return this text followed by another text."""
        if not self.plain and not self.html:
            return other
        plain = "\n\n".join(part for part in (self.plain.rstrip(), other.plain) if part)
        if not self.html:
            return Text(plain)
        end = self.html.lower().rfind("</body")
        head, tail = (self.html[:end], self.html[end:]) if end >= 0 else (self.html, "")
        return Text(plain, f"{head}\n<br>\n{other.html or _as_html(other.plain)}\n{tail}")


class File(NamedTuple):
    """A file to send: its cleaned name, its declared type, its bytes. ``text``: what a person reads in an office file
    or PDF, for previews."""

    name: str
    type: str
    data: bytes
    text: str | None = None


class Picture(NamedTuple):
    """A picture that the HTML of a mail shows, by its content id."""

    content_id: str
    file: File


class Recipients(NamedTuple):
    """The recipients of a mail."""

    to: Sequence[Person] = ()
    cc: Sequence[Person] = ()
    bcc: Sequence[Person] = ()

    @property
    def all(self) -> list[Person]:
        """All recipients, to before cc before bcc."""
        return [*self.to, *self.cc, *self.bcc]


@dataclass(frozen=True)
class Letter:
    """A mail to send. ``answers``: the Message-ID of the mail that it answers, and the References of that mail."""

    subject: str
    text: Text
    people: Recipients
    sender: Person | None = None
    answers: tuple[str, str] = ("", "")
    extra: tuple[tuple[str, str], ...] = ()
    files: Sequence[File] = ()
    pictures: Sequence[Picture] = ()

    def content(self) -> bytes:
        return self.message().as_bytes()

    def message(self) -> EmailMessage:
        """Return the built mail. Raises `InvalidInput` for a value that no header can contain."""
        message = EmailMessage(policy=WIRE)
        for name, value in self._headers():
            if value:
                message[name] = value
        write_text(message, self.text, self.pictures)
        for file in self.files:
            attach(message, file)
        return message

    def _headers(self) -> list[tuple[str, Encoded]]:
        answered, before = self.answers
        return [
            ("From", people_value([self.sender] if self.sender else [])),
            ("To", people_value(self.people.to)),
            ("Cc", people_value(self.people.cc)),
            ("Bcc", people_value(self.people.bcc)),
            ("Subject", text_value(self.subject)),
            ("In-Reply-To", ids_value(answered, last=1)),
            ("References", ids_value(f"{before} {answered}" if ids_value(answered) else "")),
            *((name, text_value(value)) for name, value in self.extra),
        ]


def attach(message: EmailMessage, file: File) -> None:
    maintype, _, subtype = file_type(file.type).partition("/")
    message.add_attachment(file.data, maintype=maintype, subtype=subtype, filename=file.name.replace("=?", "= ?"))


def base64url(data: bytes) -> str:
    """Return bytes in the form in which Gmail expects them in JSON."""
    return base64.urlsafe_b64encode(data).decode()


def file_type(name: str) -> str:
    """Return a valid media type for a declared one. Nested mails are sent as plain files."""
    name = name.strip().lower()
    composite = name.startswith(("multipart/", "message/"))
    return name if _TYPE.fullmatch(name) and not composite else "application/octet-stream"


def write_text(part: EmailMessage, text: Text, pictures: Sequence[Picture] = ()) -> None:
    """Replace a part's content with this text. ``pictures``: the pictures that its HTML displays."""
    part.set_content(_sendable(text.plain))
    if not text.html:
        return
    part.add_alternative(html_of(text), subtype="html")
    page = list(part.iter_parts())[-1]
    for content_id, file in pictures:
        maintype, _, subtype = file_type(file.type).partition("/")
        name = file.name.replace("=?", "= ?")
        page.add_related(
            file.data,
            maintype=maintype,
            subtype=subtype,
            disposition="inline",
            filename=name,
            cid=f"<{content_id}>",
        )


def html_of(text: Text) -> str:
    """Return the text as a whole HTML document."""
    markup = _sendable(text.html or _as_html(text.plain))
    return markup if re.search(r"<html\b", markup, re.IGNORECASE) else f"<html><body>\n{markup}\n</body></html>"


def _sendable(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace").decode()


def recipients(
    to: Sequence[str] | None, cc: Sequence[str] | None, bcc: Sequence[str] | None, me: str = ""
) -> Recipients:
    """Return the recipients that a model named. ``me``: the user's own address.

    Raises `InvalidInput` that names the wrong entry.
    """
    read = []
    for field, entries in {"to": to, "cc": cc, "bcc": bcc}.items():
        said = [me if "@" in me and one.strip().lower() == "me" else one for one in entries or ()]
        read.append([person(one, f"{field}[{at}]") for at, one in enumerate(said)])
    return deduplicate(*read)


def deduplicate(to: Sequence[Person], cc: Sequence[Person], bcc: Sequence[Person]) -> Recipients:
    """Return each person once, in the first field that names the person.

    Raises `InvalidInput` for more than a hundred people.
    """
    seen = set[str]()
    kept: list[list[Person]] = []
    for people in (to, cc, bcc):
        kept.append([])
        for one in people:
            if one.key not in seen:
                seen.add(one.key)
                kept[-1].append(one)
    if len(seen) > MAX_RECIPIENTS:
        raise InvalidInput(
            f"to, cc, bcc: at most {MAX_RECIPIENTS} recipients in all.",
            hint="Send to fewer people, or to a group address.",
        )
    return Recipients(*kept)


def render_body(body: str, body_format: BodyFormat) -> Text:
    """Return a model's body as it is sent: Markdown with its HTML, plain text, or HTML with its text.

    Raises `InvalidInput` for a very long one, and for HTML that would load remote content.
    """
    if len(body) > _BODY:
        raise InvalidInput(f"body: longer than {_BODY} characters.", hint="Shorten it, or attach it as a file.")
    if body_format == "html":
        _refuse_loading(body)
        return Text(read_html(body, whole_links=True).text, body)
    return Text(body, to_html(body) if body_format == "auto" else "")


def _refuse_loading(body: str) -> None:
    """Raise `InvalidInput` for HTML that loads remote content, which would reveal who opened the mail, and when."""
    try:
        elements = list(parse(body).root.walk())
    except TooComplex as error:
        raise InvalidInput("body: HTML that is too complex to be checked.", hint="Use plainer HTML.") from error
    for element in elements:
        values = [value for name, value in element.attributes.items() if name in _LOADING or element.tag == "link"]
        for value in [*values, *([element.text()] if element.tag == "style" else [])]:
            if _ELSEWHERE.search("".join(value.split()).replace("\\", "/")):
                raise InvalidInput("body: HTML may not load pictures or styles from elsewhere.", hint="Use a link.")


def format_date(milliseconds: str | int, zone: tzinfo = UTC) -> str:
    """Return a date such as ``Tue, 24 Nov 2026 at 15:00``, with its zone only if that is UTC; "" if invalid."""
    try:
        at = datetime.fromtimestamp(int(milliseconds) // 1000, zone)
    except (ValueError, OverflowError, OSError):
        return ""
    named = " UTC" if zone is UTC else ""
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year} at {at:%H:%M}{named}"


def quote_text(attribution: str, original: str, markup: str = "") -> Text:
    """Return the quote of a reply. ``markup``: the original's HTML, dropped if the original is very long."""
    markup = markup if len(original) <= _QUOTE else ""
    plain = "\n".join(f"> {line}".rstrip() for line in original[:_QUOTE].split("\n"))
    marked = (
        f'<div class="gmail_quote"><div class="gmail_attr">{html.escape(attribution)}</div>\n'
        f'<blockquote class="gmail_quote" style="margin:0 0 0 .8ex;border-left:1px solid #ccc;padding-left:1ex">\n'
        f"{markup or _as_html(original[:_QUOTE])}\n</blockquote></div>"
    )
    return Text(f"{attribution}\n{plain}", marked)


def forward_original(headers: Sequence[tuple[str, str]], original: str, markup: str = "") -> Text:
    """Return the forwarded original: headers and text. ``markup``: the original's HTML, if any."""
    block = "\n".join(("---------- Forwarded message ---------", *(f"{name}: {value}" for name, value in headers)))
    head = f'<div class="gmail_attr">{_as_html(block)}</div>\n<br>'
    return Text(f"{block}\n\n{original}", f'<div class="gmail_quote">\n{head}\n{markup or _as_html(original)}\n</div>')


def _as_html(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>\n")
