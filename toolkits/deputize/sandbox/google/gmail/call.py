"""One call to Gmail's API, and the errors it can raise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deputize.sandbox.google.errors import api_error
from deputize.sandbox.google.gmail import mime
from deputize.sandbox.google.gmail.mailbox import Json, Mail, Mailbox
from deputize.sandbox.google.gmail.methods import PREFIX
from deputize.sandbox.http_types import Ask, Refused
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Call:
    """A call: its request, person, token scopes and ids."""

    ask: Ask = field(repr=False)
    world: World = field(repr=False)
    person: Person
    scopes: frozenset[str]
    ids: Mapping[str, str]

    @property
    def box(self) -> Mailbox:
        """The caller's own mailbox; a call cannot reach another."""
        return self.world.mailbox(self.person.email)

    @property
    def now_ms(self) -> int:
        """The sandbox's time in epoch milliseconds."""
        return int(self.world.clock() * 1000)

    def json(self) -> Json:
        """Return the JSON body. Raise 400 unless it is an object."""
        try:
            body = json.loads(self.ask.body or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise invalid("Invalid JSON payload received.")
        return body

    def mail(self, id: str) -> Mail:
        """Return a mail of the caller. Raise 404 if there is none with this id."""
        mail = self.box.mails.get(id)
        if mail is None:
            raise invalid("Invalid id value") if set(id) - HEX else not_found()
        return mail

    def thread(self, id: str) -> list[Mail]:
        """Return a thread of the caller, oldest mail first."""
        mails = self.box.thread(id)
        if not mails:
            raise invalid("Invalid id value") if set(id) - HEX else not_found()
        return mails

    def message(self, mail: Mail) -> Json:
        """Return a mail in the requested format, as far as the token may see it."""
        form = self.ask.one("format", "full").lower()
        if form not in mime.FORMATS:
            raise invalid(f"Invalid value at 'format': {form!r}")
        if self.sees_metadata_only() and form in ("full", "raw"):
            raise forbidden(f"Metadata scope doesn't allow format {form.upper()}")
        return mime.format_mail(mail, form, self.ask.every("metadataHeaders"))

    def sees_metadata_only(self) -> bool:
        """True for the scope gmail.metadata: it hides bodies and forbids ``q``, whatever else the token was granted."""
        return PREFIX + "metadata" in self.scopes

    def query(self) -> str:
        """Return the ``q`` parameter. Raise 403 if the token may not search."""
        q = self.ask.one("q")
        if q and self.sees_metadata_only():
            raise forbidden("Metadata scope does not support 'q' parameter")
        return q

    def flag(self, name: str) -> bool:
        """Return a boolean of the query."""
        return self.ask.one(name).lower() == "true"

    def labels(self, body: Json, name: str) -> list[str]:
        """Return the label ids in a body. Raise 400 for one that is unknown or that only Gmail may set."""
        wanted = body.get(name, [])
        if not isinstance(wanted, list):
            raise invalid(f"Invalid value at '{name}'")
        for label in wanted:
            if label in ("SENT", "DRAFT") or not isinstance(label, str) or not self.box.knows_label(label):
                raise invalid(f"Invalid label: {label}")
        return wanted


def page(call: Call, rows: list[Any], *, most: int = 500) -> tuple[list[Any], Json]:
    """Return one page of rows by ``maxResults`` and ``pageToken``, and the field with the next page's token."""
    size, token = call.ask.one("maxResults", "100"), call.ask.one("pageToken", "0")
    if not size.isdecimal() or not token.isdecimal():
        raise invalid("Invalid pageToken" if size.isdecimal() else "Invalid value at 'maxResults'")
    start = int(token) // PAGE_FACTOR
    end = start + min(int(size) or 100, most)
    return rows[start:end], {"nextPageToken": str(end * PAGE_FACTOR)} if end < len(rows) else {}


PAGE_FACTOR = 10**15  # page tokens look like Gmail's: long opaque numbers


def invalid(message: str) -> Refused:
    """Return a 400 error."""
    return Refused(api_error(400, message, "invalidArgument", "INVALID_ARGUMENT"))


def not_found() -> Refused:
    """Return the 404 of a record that does not exist or belongs to another person."""
    return Refused(api_error(404, "Requested entity was not found.", "notFound", "NOT_FOUND"))


def forbidden(message: str) -> Refused:
    """Return the 403 of a valid token that is not allowed this."""
    return Refused(api_error(403, message, "forbidden", "PERMISSION_DENIED"))
