"""Previews of mails before they are sent, saved or discarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deputize.core.tools.preview import Audience, Change, Preview, shown_file
from deputize.core.tools.steps import Undo
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.compose import File, Letter, Text, html_of
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.mail_raw import RawMail
from deputize.toolkits._shared.markdown import to_html

Fields = dict[str, Any]


def letter_fields(letter: Letter, *, html: bool, later: Sequence[Mapping[str, Any]] = ()) -> Fields:
    """Return the preview fields of a new letter. ``html``: True if the caller supplied its markup, whose source is
    displayed. ``later``: preview values of files that are fetched after the approval."""
    people = letter.people
    return {
        "from_": str(letter.sender) if letter.sender else None,
        "to": _texts(people.to),
        "cc": _texts(people.cc) or None,
        "bcc": _texts(people.bcc) or None,
        "subject": letter.subject,
        "text": letter.text.plain,
        **(html_fields(letter.text.html, letter.text.plain) if html else {}),
        "files": [*map(file_preview, letter.files), *later] or None,
    }


def preview_letter(what: str, letter: Letter, *, html: bool = False, later: Sequence[Any] = (), **more: Any) -> Preview:
    people = [one.address for one in letter.people.all]
    return Preview(
        what, audience=Audience.PEOPLE, people=people, **more, **letter_fields(letter, html=html, later=later)
    )


def html_fields(html: str, plain: str) -> Fields:
    """Return the preview fields of HTML: what a person sees of it, if ``plain`` says something else, then what hides in
    it, and its source."""
    page = read_html(html, whole_links=True)
    remarks = ["The words of a link name another site than the link leads to."] if page.mismatch else []
    remarks += [f"Styles may hide more of it: {', '.join(sorted(page.doubts))}."] if page.doubts else []
    return {
        "as_seen": page.text if page.text.split() != plain.split() else None,
        "hidden_text": page.unseen or None,
        "about_the_HTML": remarks or None,
        "html": html,
    }


def raw_fields(mail: RawMail) -> Fields:
    """Return the preview fields of a stored mail, not cleaned, because exactly these bytes are sent."""
    odd = {f"{name.lower().replace('-', '_')}_as_written": value for name, value in mail.as_written.items()}
    return {
        "from_": _texts(mail.people["From"]) or None,
        "to": _texts(mail.people["To"]),
        "cc": _texts(mail.people["Cc"]) or None,
        "bcc": _texts(mail.people["Bcc"]) or None,
        "answers_go_to": _texts(mail.people["Reply-To"]) or None,
        **odd,
        "subject": mail.subject,
        "text": mail.plain,
        **(html_fields(mail.html, mail.plain) if mail.html and not _is_generated(mail) else {}),
        "files": [file_preview(one) for one in mail.files] or None,
        "further_headers": mail.other or None,
    }


def changed_fields(before: Fields, after: Fields) -> Fields:
    """Return the fields after the change, each with its old value if it differs."""
    return {name: value if before.get(name) == value else _change(before, after, name) for name, value in after.items()}


def _change(before: Fields, after: Fields, name: str) -> Any:
    old, new = before.get(name), after[name]
    return Change(old or "", new or "") if old or name in ("to", "subject", "text") else new


def loses(fields: Fields) -> bool:
    """Return True if a text, person or file that was there before is not in the changed fields any more."""
    changes = [value for name, value in fields.items() if isinstance(value, Change) and name != "from_"]
    return any(not _contains(one.after, one.before) for one in changes)


def _contains(after: Any, before: Any) -> bool:
    return before.strip() in after if isinstance(before, str) else all(one in after for one in before)


def _is_generated(mail: RawMail) -> bool:
    """True if deputize generated the HTML from the text, so that it hides nothing."""
    plain = mail.plain.replace("\r\n", "\n").rstrip("\n")
    ours = html_of(Text(plain, to_html(plain)))
    return "".join(mail.html.split()) == "".join(ours.split())


def file_preview(file: File) -> dict[str, Any]:
    """Return a file's name, type, size, bytes and text for a preview."""
    return shown_file(file.name, file.type, file.data, text=file.text)


def undo_call(undo: Undo | None) -> dict[str, Any] | None:
    """Return the undo call for the model's result, or None without an undo."""
    return {"tool": undo.tool, "args": dict(undo.arguments)} if undo else None


def _texts(people: Sequence[Person]) -> list[str]:
    return [str(one) for one in people]
