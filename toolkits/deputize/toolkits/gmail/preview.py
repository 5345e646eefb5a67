"""What a person is shown of a mail before it leaves, is saved or is thrown away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deputize.core.tools.preview import Audience, Change, Preview, shown_file
from deputize.core.tools.steps import Undo
from deputize.toolkits._shared.mail.compose import File, Letter, Text, html_of
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.mail_raw import RawMail
from deputize.toolkits._shared.markdown import to_html

Fields = dict[str, Any]


def letter_fields(letter: Letter, *, html: bool, later: Sequence[Mapping[str, Any]] = ()) -> Fields:
    """A letter of our own. ``html``: somebody else wrote its markup, so that its source is shown. ``later``: files
    that are fetched after the yes, as they are shown."""
    people = letter.people
    return {
        "from_": str(letter.sender) if letter.sender else None,
        "to": _named(people.to),
        "cc": _named(people.cc) or None,
        "bcc": _named(people.bcc) or None,
        "subject": letter.subject,
        "text": letter.text.plain,
        "html": letter.text.html if html else None,
        "files": [*map(file_shown, letter.files), *later] or None,
    }


def show_letter(what: str, letter: Letter, *, html: bool = False, later: Sequence[Any] = (), **more: Any) -> Preview:
    """A letter that is about to be sent."""
    people = [one.address for one in letter.people.all]
    return Preview(
        what, audience=Audience.PEOPLE, people=people, **more, **letter_fields(letter, html=html, later=later)
    )


def raw_fields(mail: RawMail) -> Fields:
    """A mail as it lies there, byte for byte: nothing is cleaned, since just this is sent."""
    odd = {f"{name.lower().replace('-', '_')}_as_written": value for name, value in mail.as_written.items()}
    return {
        "from_": _named(mail.people["From"]) or None,
        "to": _named(mail.people["To"]),
        "cc": _named(mail.people["Cc"]) or None,
        "bcc": _named(mail.people["Bcc"]) or None,
        "answers_go_to": _named(mail.people["Reply-To"]) or None,
        **odd,
        "subject": mail.subject,
        "text": mail.plain,
        "html": mail.html if mail.html and not _is_ours(mail) else None,
        "files": [file_shown(one) for one in mail.files] or None,
        "further_headers": mail.other or None,
    }


def changed_fields(before: Fields, after: Fields) -> Fields:
    """What will be, beside what is there now where that differs."""
    return {name: value if before.get(name) == value else _change(before, after, name) for name, value in after.items()}


def _change(before: Fields, after: Fields, name: str) -> Any:
    old, new = before.get(name), after[name]
    return Change(old or "", new or "") if old or name in ("to", "subject", "text") else new


def _is_ours(mail: RawMail) -> bool:
    """Whether the HTML says just what the text says, as we write it: then nothing hides in it."""
    plain = mail.plain.replace("\r\n", "\n").rstrip("\n")
    ours = html_of(Text(plain, to_html(plain)))
    return "".join(mail.html.split()) == "".join(ours.split())


def file_shown(file: File) -> dict[str, Any]:
    """A file by its name, type, size and bytes."""
    return shown_file(file.name, file.type, file.data)


def call_of(undo: Undo | None) -> dict[str, Any] | None:
    """How an act is undone, as its result says it to the model."""
    return {"tool": undo.tool, "args": dict(undo.arguments)} if undo else None


def _named(people: Sequence[Person]) -> list[str]:
    return [str(one) for one in people]
