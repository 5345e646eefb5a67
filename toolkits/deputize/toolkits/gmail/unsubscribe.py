"""Gmail: leave a mailing list in the way that its mail offers (RFC 2369, RFC 8058).

One-click unsubscription is used only if the list offers it over https in a mail that Google authenticated. The sender
chose the address, so the request carries none of the user's data, and the content of the response is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from email.utils import getaddresses
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field

from deputize.core import ActKey, Alias, Audience, Effect, Need, Preview, PublicRequest, Request, Run, Steps
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OrgBlocked
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.mail.compose import Letter, Recipients, Text
from deputize.toolkits._shared.mail.headers import LONGEST, person
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import DRAFTING, GETS, GMAIL, MODIFY, SEND, SENDS, modifies
from deputize.toolkits.gmail.deliver import Outgoing, deliver, key_header
from deputize.toolkits.gmail.preview import letter_fields

_ONE_CLICK: Final = b"List-Unsubscribe=One-Click"
_ANSWER: Final = 65_536  # bytes of an answer whose content is ignored


class Way(NamedTuple):
    """A way to leave the list, and its URL."""

    how: str
    url: str

    @property
    def host(self) -> str:
        """The host of the URL, or the domain of the mail address."""
        if self.how == "mailto":
            return unquote(urlsplit(self.url).path).rpartition("@")[2]
        return urlsplit(self.url).hostname or ""


def _needs(arguments: Arguments) -> Sequence[Need]:
    needs = [GETS, *([SENDS] if arguments["by_email"] else [])]
    if arguments["trash"]:  # its scope is enough for the rest
        return [modifies("messages.trash"), *(replace(need, ask=MODIFY) for need in needs)]
    return needs


@GMAIL.tool(
    needs=_needs,
    effect=Effect.SENDS,
    aliases=[Alias("Gmail.UnsubscribeFromEmail", {"trash_existing": "trash"})],
    toolset="more",
)
def unsubscribe(
    message_id: str,
    trash: Annotated[bool, Field(description="bin this email after it")] = False,
    by_email: Annotated[bool, Field(description="send an email if the list wants one")] = False,
    *,
    run: Run,
) -> Steps:
    """Ask a mailing list to stop: one-click or mailto; may trash the message."""
    mail = Mail((yield api.get_message(message_id, "metadata", _HEADERS)))
    if not run.noted and {"SPAM", "TRASH"} & set(mail.labels):
        raise InvalidInput(
            "message_id: this email is in spam or trash; unsubscribing would tell the spammer that it was read.",
            hint="gmail_update_emails can delete it.",
        )
    way = _find_way(mail)
    result: dict[str, Any] = {"how": way.how, "host": mail.outside.line(way.host, 100), "untrusted": True}
    bin_too = "the email goes into the bin: deleted after 30 days" if trash else None
    if way.how == "one_click":
        yield _make_preview(mail, [way.host], message_id, request=way.url, then=bin_too)
        refused = yield from _send_one_click(way.url)
        if refused:
            return result | {"status": "refused", "summary": refused}
    elif way.how == "mailto" and (by_email or run.granted & (DRAFTING | {SEND})):
        letter = _letter(way.url, run.key)
        if not run.noted:
            people = [one.address for one in letter.people.all]
            yield _make_preview(mail, people, message_id, **letter_fields(letter, html=False), then=bin_too)
        yield from deliver(
            Outgoing(letter.content(), run.key, "", letter.people.all[0].address),
            run,
        )
    else:
        return result | {"status": "manual", "url": mail.outside.line(way.url, 300), "summary": _BY_HAND[way.how]}
    summary = "The list was asked to stop."
    if trash:
        summary += yield from _trash(message_id)
    return result | {"status": "requested", "summary": summary}


_HEADERS: Final = ("From", "List-Unsubscribe", "List-Unsubscribe-Post", "Authentication-Results")
_BY_HAND: Final = {
    "mailto": "The list wants an email: call again with by_email=true.",
    "link": "The list has only a page; the user may open it.",
}


def _find_way(mail: Mail) -> Way:
    """Return the way to leave this mail's list. Raises `InvalidInput` if the mail offers none."""
    urls = [one.strip() for one in re.findall(r"<([^<>]*)>", mail.header("List-Unsubscribe")[:LONGEST])]
    how = mail.unsubscribe_way()
    start = {"one_click": "https:", "mailto": "mailto:", "link": "http"}.get(how)
    found = next((one for one in urls if start and one.lower().startswith(start)), "")
    if not found or not _is_address(found):
        raise InvalidInput(
            "message_id: this email has no unsubscribe link or address (List-Unsubscribe).",
            hint="Read the email: it may have a link for people.",
        )
    return Way(how, found)


def _is_address(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname) or url.lower().startswith("mailto:")
    except ValueError:  # invalid brackets or characters in the host
        return False


def _send_one_click(url: str) -> Asks[str]:
    """Send the request. Return the reason of a refusal, or "". A redirect counts as a refusal (RFC 8058 3.1).

    Raises `OutcomeUnknown` if the response was lost.
    """
    try:
        answer = yield PublicRequest(
            url,
            "POST",
            content=_ONE_CLICK,
            content_type="application/x-www-form-urlencoded",
            max_bytes=_ANSWER,
        )
    except (InvalidInput, NotFound, OrgBlocked, Conflict):
        return "The list's server refused."
    return "" if 200 <= answer.status < 300 else "The list's server answered with something else."


def _make_preview(mail: Mail, people: list[str], message_id: str, **fields: Any) -> Preview:
    who = str(mail.sender)
    pins = {"message": message_id}
    return Preview(
        "Leave this mailing list",
        audience=Audience.PEOPLE,
        people=people,
        pins=pins,
        list=who,
        **fields,
    )


def _letter(url: str, key: ActKey) -> Letter:
    """Return the mail that leaves the list. Only address, subject and text are taken from the link."""
    parts = urlsplit(url)
    named = [address for _, address in getaddresses([unquote(parts.path)]) if address]
    if len(named) != 1:
        raise InvalidInput(
            "message_id: the unsubscribe address is not a single email address.",
            hint="Read the email: it may have a link for people.",
        )
    fields = _fields(parts.query)
    to = [person(named[0], "the list's address")]
    return Letter(
        " ".join(fields.get("subject", "unsubscribe").split())[:200],
        Text(fields.get("body", "unsubscribe")[:500]),
        Recipients(to),
        extra=key_header(key),
    )


def _fields(query: str) -> dict[str, str]:
    """Return the fields of a mailto URL, the first of each name. A plus sign stays a plus sign (RFC 6068 5)."""
    try:
        return dict(reversed([(k.lower(), v) for k, v in parse_qsl(query.replace("+", "%2B"), max_num_fields=20)]))
    except ValueError:
        raise InvalidInput(
            "message_id: the unsubscribe address asks for more than a recipient, a subject and a body.",
            hint="Read the email: it may have a link for people.",
        ) from None


def _trash(message_id: str) -> Asks[str]:
    """Move the message to the bin and return a sentence about it. This step comes last: its failure undoes nothing."""
    try:
        yield Request("POST", "/users/me/messages/{id}/trash", at={"id": message_id}, repeat="idem")
    except DeputizeError:
        return " The message could not be moved to the bin."
    return " The message is in the bin."
