"""Selection of the emails to which a change applies, before anything is changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, Literal

from deputize.core import Request, UserTime
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._shared import times
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.label_lookup import Label, parse_labels, require_label
from deputize.toolkits.gmail.query import includes_hidden

Action = Literal[
    "read",
    "unread",
    "star",
    "unstar",
    "archive",
    "to_inbox",
    "important",
    "not_important",
    "spam",
    "not_spam",
    "trash",
    "untrash",
]
_STATES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {  # labels to add and to remove
    "read": ((), ("UNREAD",)),
    "unread": (("UNREAD",), ()),
    "star": (("STARRED",), ()),
    "unstar": ((), ("STARRED",)),
    "archive": ((), ("INBOX",)),
    "to_inbox": (("INBOX",), ()),
    "important": (("IMPORTANT",), ()),
    "not_important": ((), ("IMPORTANT",)),
    "spam": (("SPAM",), ("INBOX",)),
    "not_spam": (("INBOX",), ("SPAM",)),
    "trash": (("TRASH",), ()),
    "untrash": ((), ("TRASH",)),
}
_NARROWED: Final = {  # search terms that find only emails that the action would change
    **{"read": "is:unread", "unread": "is:read", "unstar": "is:starred", "archive": "in:inbox"},
    **{"not_important": "is:important", "not_spam": "in:spam", "untrash": "in:trash"},
}


@dataclass(frozen=True, slots=True)
class Change:
    """Labels to add and to remove, by id, and the arguments that named them."""

    add: Sequence[str]
    remove: Sequence[str]
    action: str | None
    names: Mapping[str, list[str]]

    def touches(self, labels: Collection[str]) -> bool:
        """True if an email with these labels would change."""
        return not set(self.add) <= set(labels) or bool(set(self.remove) & set(labels))

    def is_whole(self, labels: Collection[str]) -> bool:
        """True if every part of the change is new to such an email, so that the opposite change restores it."""
        return not set(self.add) & set(labels) and set(self.remove) <= set(labels)


@dataclass
class Plan:
    """The change and its emails, serializable so that a later run can continue it.

    ``shown``: one line per email for the preview. ``messages``: the ids of all messages of the conversations.
    """

    kind: str
    ids: list[str]
    add: list[str]
    remove: list[str]
    action: str | None
    names: dict[str, list[str]]
    requested: int
    unchanged: int
    failed: list[dict[str, str]]
    exact: bool
    remaining: bool
    shown: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def resolve_change(action: str | None, add: Sequence[str], remove: Sequence[str]) -> Asks[Change]:
    """Return the change with label ids. Raises `InvalidInput` for names that are not the user's own labels."""
    added, removed = (list(part) for part in _STATES.get(action or "", ((), ())))
    labels = parse_labels((yield api.LIST_LABELS)) if add or remove else []
    puts, takes = (
        [_own_label(labels, one, name) for one in part]
        for name, part in (("add_labels", add), ("remove_labels", remove))
    )
    added += [str(label["id"]) for label in puts]
    removed += [str(label["id"]) for label in takes]
    if set(added) & set(removed):
        raise InvalidInput("add_labels, remove_labels: a label is in both.", hint="Name it in one of them.")
    return Change(added, removed, action, {"add_labels": _names(puts), "remove_labels": _names(takes)})


def _own_label(labels: Sequence[Label], name: str, field: str) -> Label:
    label = require_label(labels, name, field)
    if label.get("type") == "system":
        raise InvalidInput(f"{field}: {label['name']} is a system label of Gmail's.", hint="Use action for it.")
    return label


def _names(labels: Sequence[Label]) -> list[str]:
    return [str(label["name"]) for label in labels]


def make_plan(kind: str, given: Sequence[str], query: str, limit: int, change: Change, zone: tzinfo) -> Asks[Plan]:
    """Return a plan of the emails that would really change, because only those can be undone.

    ``zone``: the user's, for the preview.
    """
    ids, remaining = (given, False) if given else (yield from find_ids(query, change.action, limit))
    look = api.get_thread if kind == "threads" else api.get_message
    answers = yield from api.many([look(one, "metadata") for one in ids])
    pairs = list(zip(ids, answers, strict=True))
    touched = {one: parts for one, answer in pairs if (parts := _labels_if_changed(answer, change))}
    changed = [answer for one, answer in pairs if one in touched]
    failed = [{"id": one, "error": answer.message} for one, answer in pairs if isinstance(answer, DeputizeError)]
    return Plan(
        kind=kind,
        ids=list(touched),
        add=list(change.add),
        remove=list(change.remove),
        action=change.action,
        names=dict(change.names),
        requested=len(ids),
        unchanged=len(ids) - len(touched) - len(failed),
        failed=failed,
        exact=all(change.is_whole(labels) for parts in touched.values() for labels in parts),
        remaining=remaining,
        shown=[_describe(answer, zone) for answer in changed],
        messages=sorted(str(one.get("id")) for answer in changed for one in answer.get("messages", ())),
    )


def _describe(answer: Mapping[str, Any], zone: tzinfo) -> str:
    """Return a description of an email, or of a conversation's newest: date in ``zone``, sender, subject."""
    parts = answer.get("messages", [answer])
    mail = Mail(parts[-1])
    more = f" ({len(parts)} emails)" if len(parts) > 1 else ""
    when = times.short(mail.date)
    when = when.there(zone) if isinstance(when, UserTime) else when
    return f"{when} {mail.sender}: {mail.subject(200)}{more}"


def _labels_if_changed(answer: Any, change: Change) -> Sequence[Collection[str]]:
    """Return the labels of each message of an email or conversation, or [] if none of them would change."""
    if isinstance(answer, DeputizeError):
        return []
    labels = [one.get("labelIds") or () for one in answer.get("messages", [answer])]
    return labels if any(change.touches(one) for one in labels) else []


def find_ids(query: str, action: str | None, limit: int) -> Asks[tuple[list[str], bool]]:
    """Return up to ``limit`` ids that match the query, and whether more match."""
    q = " ".join(part for part in (query.strip(), _NARROWED.get(action or "", "")) if part)
    ids: list[str] = []
    token: Any = None
    while len(ids) < limit:
        params = {"q": q, "maxResults": min(limit - len(ids), 500)}
        params |= {"includeSpamTrash": True} if includes_hidden(q) else {}
        page = yield Request("GET", "/users/me/messages", params=params | ({"pageToken": token} if token else {}))
        ids += [str(one["id"]) for one in page.get("messages") or ()]
        token = page.get("nextPageToken")
        if not token:
            break
    return ids[:limit], bool(token)
