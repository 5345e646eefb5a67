"""One call to Gmail's API, and the refusals it may meet."""

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
    """Who asks what of which mailbox: all that a method needs."""

    ask: Ask = field(repr=False)
    world: World = field(repr=False)
    person: Person
    scopes: frozenset[str]
    ids: Mapping[str, str]

    @property
    def box(self) -> Mailbox:
        """The caller's own mailbox; there is no way to another."""
        return self.world.mailbox(self.person.email)

    @property
    def now_ms(self) -> int:
        """The time as Gmail counts it."""
        return int(self.world.clock() * 1000)

    def json(self) -> Json:
        """The JSON body; refused where it is not an object."""
        try:
            body = json.loads(self.ask.body or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise invalid("Invalid JSON payload received.")
        return body

    def mail(self, id: str) -> Mail:
        """A mail of the caller's."""
        mail = self.box.mails.get(id)
        if mail is None:
            raise invalid("Invalid id value") if set(id) - HEX else missing()
        return mail

    def thread(self, id: str) -> list[Mail]:
        """A thread of the caller's, oldest first."""
        mails = self.box.thread(id)
        if not mails:
            raise invalid("Invalid id value") if set(id) - HEX else missing()
        return mails

    def message(self, mail: Mail) -> Json:
        """A mail in the format asked for, as far as the token may see it."""
        form = self.ask.one("format", "full").lower()
        if form not in mime.FORMATS:
            raise invalid(f"Invalid value at 'format': {form!r}")
        if self.sees_metadata_only() and form in ("full", "raw"):
            raise forbidden(f"Metadata scope doesn't allow format {form.upper()}")
        return mime.show(mail, form, self.ask.every("metadataHeaders"))

    def sees_metadata_only(self) -> bool:
        """gmail.metadata holds back bodies and ``q`` for the whole token, whatever else it was granted."""
        return PREFIX + "metadata" in self.scopes

    def query(self) -> str:
        """The ``q`` parameter, where the token may search."""
        q = self.ask.one("q")
        if q and self.sees_metadata_only():
            raise forbidden("Metadata scope does not support 'q' parameter")
        return q

    def flag(self, name: str) -> bool:
        """A boolean query parameter."""
        return self.ask.one(name).lower() == "true"

    def labels(self, body: Json, name: str) -> list[str]:
        """Label ids in a body; refused where one is unknown or only Gmail itself may set it."""
        wanted = body.get(name, [])
        if not isinstance(wanted, list):
            raise invalid(f"Invalid value at '{name}'")
        for label in wanted:
            if label in ("SENT", "DRAFT") or not isinstance(label, str) or not self.box.knows_label(label):
                raise invalid(f"Invalid label: {label}")
        return wanted


def page(call: Call, rows: list[Any], *, most: int = 500) -> tuple[list[Any], Json]:
    """One page of rows by ``maxResults`` and ``pageToken``, and the fields that tell of the rest."""
    size, token = call.ask.one("maxResults", "100"), call.ask.one("pageToken", "0")
    if not size.isdecimal() or not token.isdecimal():
        raise invalid("Invalid pageToken" if size.isdecimal() else "Invalid value at 'maxResults'")
    start = int(token) // PAGE_FACTOR
    end = start + min(int(size) or 100, most)
    return rows[start:end], {"nextPageToken": str(end * PAGE_FACTOR)} if end < len(rows) else {}


PAGE_FACTOR = 10**15  # page tokens look like Gmail's: long numbers that mean nothing to the caller


def invalid(message: str) -> Refused:
    """400: the request makes no sense."""
    return Refused(api_error(400, message, "invalidArgument", "INVALID_ARGUMENT"))


def missing() -> Refused:
    """404: not here, or not this person's."""
    return Refused(api_error(404, "Requested entity was not found.", "notFound", "NOT_FOUND"))


def forbidden(message: str) -> Refused:
    """403: alive, but not allowed this."""
    return Refused(api_error(403, message, "forbidden", "PERMISSION_DENIED"))
