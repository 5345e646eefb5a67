"""Which emails a change is about, and what of it is new to them: planned before anything is done."""

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
from deputize.toolkits.gmail.label_lookup import Label, label_called, labels_in
from deputize.toolkits.gmail.query import out_of_sight

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
_NARROWED: Final = {  # what a query adds to find only what would change, where Gmail has a term for it
    **{"read": "is:unread", "unread": "is:read", "unstar": "is:starred", "archive": "in:inbox"},
    **{"not_important": "is:important", "not_spam": "in:spam", "untrash": "in:trash"},
}


@dataclass(frozen=True, slots=True)
class Change:
    """Labels to add and to remove, by id, and what people call the same."""

    add: Sequence[str]
    remove: Sequence[str]
    action: str | None
    names: Mapping[str, list[str]]

    def touches(self, labels: Collection[str]) -> bool:
        """Whether a mail with these labels would change."""
        return not set(self.add) <= set(labels) or bool(set(self.remove) & set(labels))

    def is_whole(self, labels: Collection[str]) -> bool:
        """Whether all of it is new to such a mail, so that the opposite brings it back."""
        return not set(self.add) & set(labels) and set(self.remove) <= set(labels)


@dataclass
class Plan:
    """What will be done to which emails, in a form that can be noted and worked off by a later run.

    ``shown``: the emails as a person knows them; ``messages``: the ids of all messages of the conversations.
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


def change_of(action: str | None, add: Sequence[str], remove: Sequence[str]) -> Asks[Change]:
    """The change as labels by id. Raises `InvalidInput` for names that are not the user's own labels."""
    added, removed = (list(part) for part in _STATES.get(action or "", ((), ())))
    labels = labels_in((yield api.LIST_LABELS)) if add or remove else []
    puts, takes = (
        [_own(labels, one, name) for one in part] for name, part in (("add_labels", add), ("remove_labels", remove))
    )
    added += [str(label["id"]) for label in puts]
    removed += [str(label["id"]) for label in takes]
    if set(added) & set(removed):
        raise InvalidInput("add_labels, remove_labels: a label is in both.")
    return Change(added, removed, action, {"add_labels": _called(puts), "remove_labels": _called(takes)})


def _own(labels: Sequence[Label], name: str, field: str) -> Label:
    label = label_called(labels, name, field)
    if label.get("type") == "system":
        raise InvalidInput(f"{field}: {label['name']} is a system label of Gmail's.", hint="Use action for it.")
    return label


def _called(labels: Sequence[Label]) -> list[str]:
    return [str(label["name"]) for label in labels]


def planned(kind: str, given: Sequence[str], query: str, limit: int, change: Change, zone: tzinfo) -> Asks[Plan]:
    """Which of the emails would really change: only those are touched, and only those can be undone.

    ``zone``: the user's, for what is shown.
    """
    ids, remaining = (given, False) if given else (yield from ids_of(query, change.action, limit))
    look = api.get_thread if kind == "threads" else api.get_message
    answers = yield from api.many([look(one, "metadata") for one in ids])
    pairs = list(zip(ids, answers, strict=True))
    touched = {one: parts for one, answer in pairs if (parts := _touched(answer, change))}
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
        shown=[_known_as(answer, zone) for answer in changed],
        messages=sorted(str(one.get("id")) for answer in changed for one in answer.get("messages", ())),
    )


def _known_as(answer: Mapping[str, Any], zone: tzinfo) -> str:
    """An email, or the newest of a conversation: when on the user's clock, from whom, about what."""
    parts = answer.get("messages", [answer])
    mail = Mail(parts[-1])
    more = f" ({len(parts)} emails)" if len(parts) > 1 else ""
    when = times.short(mail.date)
    when = when.there(zone) if isinstance(when, UserTime) else when
    return f"{when} {mail.sender}: {mail.subject(200)}{more}"


def _touched(answer: Any, change: Change) -> Sequence[Collection[str]]:
    """The labels of each message, of a message or conversation, if one of them would change."""
    if isinstance(answer, DeputizeError):
        return []
    labels = [one.get("labelIds") or () for one in answer.get("messages", [answer])]
    return labels if any(change.touches(one) for one in labels) else []


def ids_of(query: str, action: str | None, limit: int) -> Asks[tuple[list[str], bool]]:
    """The ids that a query finds, and whether there are more than were asked for."""
    q = " ".join(part for part in (query.strip(), _NARROWED.get(action or "", "")) if part)
    ids: list[str] = []
    token: Any = None
    while len(ids) < limit:
        params = {"q": q, "maxResults": min(limit - len(ids), 500)}
        params |= {"includeSpamTrash": True} if out_of_sight(q) else {}
        page = yield Request("GET", "/users/me/messages", params=params | ({"pageToken": token} if token else {}))
        ids += [str(one["id"]) for one in page.get("messages") or ()]
        token = page.get("nextPageToken")
        if not token:
            break
    return ids[:limit], bool(token)
