"""Search of the user's sent mail for given addresses, before the user is asked about a first contact."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from deputize.core import Request, Run, Steps
from deputize.core.provenance.contacts import canonical_address
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.base import GETS, GMAIL, KNOWS_ALIASES, reads
from deputize.toolkits.gmail.query import build_query
from deputize.toolkits.gmail.senders import list_senders
from deputize.toolkits.gmail.sent import recipients

_NEWEST: Final = 3
"""Mails to one address that are looked at."""
_HEADERS: Final = (*api.HEADERS, "Bcc")


@GMAIL.correspondents(needs=[reads("messages.list"), GETS])
def correspondents(addresses: list[str], *, run: Run) -> Steps:
    """Those of the addresses to which the user has sent a mail."""
    pages = yield [_find(one) for one in addresses]
    ids = dict.fromkeys(str(mail["id"]) for page in pages for mail in page.get("messages") or ())
    mails = (yield [api.get_message(one, "metadata", _HEADERS) for one in ids]) if ids else []
    found = _written_to(addresses, mails, {run.account.name.lower()})
    if ids and len(found) < len(addresses) and not KNOWS_ALIASES.accepts.isdisjoint(run.granted):
        senders = yield from list_senders()
        found = _written_to(addresses, mails, {run.account.name.lower(), *(one.person.key for one in senders)})
    return {"written_to": found}


def _written_to(addresses: Sequence[str], mails: Iterable[Any], own: Collection[str]) -> list[str]:
    """Return the addresses among the recipients of these mails."""
    written = {canonical_address(one) for mail in mails if isinstance(mail, Mapping) for one in recipients(mail, own)}
    return [one for one in addresses if canonical_address(one) in written]


def _find(address: str) -> Request:
    """Return a search for sent mail to this address, deleted mail included."""
    asked: dict[str, Any] = {"q": f"in:sent {build_query(written_to=address)}", "maxResults": _NEWEST}
    return Request("GET", "/users/me/messages", params={**asked, "includeSpamTrash": True})
