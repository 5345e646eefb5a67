"""The recipients of mail that the user sent, for the record of people whom the user knows.

Only Gmail can put the label SENT on a mail ("SENT: applied automatically"). A mail that a stranger sends in the user's
name gets INBOX or SPAM instead. A mail with several of these labels is left out, and so is an automatic answer, because
a stranger can cause one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from deputize.toolkits._shared.mail.headers import parse_people

_RECIPIENTS: Final = frozenset({"to", "cc", "bcc"})
_NOT_SENT: Final = frozenset({"INBOX", "SPAM", "DRAFT"})
_MAX_RECIPIENTS: Final = 100


def people_written_to(response: Any, account: str, now: float) -> list[str]:
    """Return the recipients of all sent mails in a response of messages.get or threads.get."""
    return [one for mail in _mails(response) for one in recipients(mail, {account.lower()})]


def recipients(mail: Mapping[str, Any], own: Collection[str]) -> list[str]:
    """Return the recipients of a mail, or none if the user did not send it. ``own``: the user's addresses, in lower
    case."""
    labels, payload = mail.get("labelIds"), mail.get("payload")
    if not isinstance(labels, list) or "SENT" not in labels or not isinstance(payload, Mapping):
        return []
    headers = payload.get("headers")
    headers = [one for one in headers if isinstance(one, Mapping)] if isinstance(headers, list) else []
    named = [(str(one.get("name")).lower(), str(one.get("value"))) for one in headers]
    writers = [one.key for name, value in named if name == "from" for one in parse_people(value)]
    automatic = any(name == "auto-submitted" and value.strip().lower() != "no" for name, value in named)
    if automatic or len(writers) != 1 or writers[0] not in own or not _NOT_SENT.isdisjoint(map(str, labels)):
        return []
    found = [one.address for name, value in named if name in _RECIPIENTS for one in parse_people(value)]
    return [one for one in found if one][:_MAX_RECIPIENTS]


def _mails(response: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the mails of a response. A mail inside a mail is content, and is not one of them."""
    if isinstance(response, Mapping):
        listed = response.get("messages")
        for one in (response, *(listed if isinstance(listed, list) else ())):
            if isinstance(one, Mapping):
                yield one
