"""Gmail: changes in the mailbox since the last look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Need, Request, Run, Steps, any_of
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Limit
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import COMPOSE, GETS, GMAIL, KNOWS_LABELS, MAIL, MODIFY, READONLY, reads
from deputize.toolkits.gmail.label_lookup import own_names, parse_labels, require_label
from deputize.toolkits.gmail.rows import email_row

Kind = Literal["added", "deleted", "labels"]
_TYPES: Final[Mapping[str, Sequence[str]]] = {
    "added": ("messageAdded",),
    "deleted": ("messageDeleted",),
    "labels": ("labelAdded", "labelRemoved"),
}
_FIELDS: Final[Mapping[str, Kind]] = {
    "messagesAdded": "added",
    "messagesDeleted": "deleted",
    "labelsAdded": "labels",
    "labelsRemoved": "labels",
}


_PROFILE: Final = any_of(READONLY, COMPOSE, MODIFY, MAIL, method="gmail.users.getProfile")


def _needs(arguments: Arguments) -> Sequence[Need]:
    if not arguments["since"]:
        return [_PROFILE, reads("messages.list"), GETS]
    return [reads("history.list"), GETS, KNOWS_LABELS]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an email. ``added``, ``removed``: label ids."""

    mail: str
    kind: Kind
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@GMAIL.tool(needs=_needs, toolset="more")
def list_changes(
    since: Annotated[str | None, Field(description="next of the previous call; omit to start")] = None,
    kinds: Annotated[list[Kind] | None, Field(description="default: all")] = None,
    label: Annotated[str | None, Field(description="its name")] = None,
    limit: Limit = 50,
    *,
    run: Run,
) -> Steps:
    """What changed in the mailbox since the last look."""
    bound_to = ("gmail_list_changes", run.account.subject, sorted(kinds or ()), label)
    if not since:
        start = yield from _current_history_id()
        return {"items": [], "next": write_cursor(bound_to, [start, "", 0]), "summary": "Changes count from now on."}
    start, token, skip = read_cursor(bound_to, since, (str, str, int))
    labels = parse_labels((yield api.LIST_LABELS))
    chosen = str(require_label(labels, label, "label")["id"]) if label else ""
    page = yield from _history(start, token, kinds, chosen, limit)
    changes = list(_changes(page))
    names = own_names(labels)
    rows = Rows()
    done = yield from _rows(rows, changes[skip : skip + limit], names)
    following: list[str | int] = [str(page.get("historyId", start)), "", 0]
    if skip + done < len(changes):
        following = [start, token, skip + done]
    elif page.get("nextPageToken"):
        following = [start, str(page["nextPageToken"]), 0]
    return {
        "items": rows.items,
        "next": write_cursor(bound_to, following),
        "truncated": bool(following[1] or following[2]),
        "time_zone": times.ZONE,
    }


def _current_history_id() -> Asks[str]:
    """Return the mailbox's current history id, from its profile or else from its newest email."""
    try:
        profile = yield Request("GET", "/users/me/profile")
        return str(profile["historyId"])
    except NotFound:
        page = yield Request("GET", "/users/me/messages", params={"maxResults": 1})
    newest = next(iter(page.get("messages") or ()), None)
    if newest is None:
        raise InvalidInput("since: this mailbox has no history yet.", hint="Leave since out.")
    return str((yield api.get_message(str(newest["id"]), "minimal"))["historyId"])


def _history(start: str, token: str, kinds: Sequence[str] | None, label: str, limit: int) -> Asks[Mapping[str, Any]]:
    """Load a page of history. Raises `InvalidInput` for an id that Gmail forgot, after about a week or sooner."""
    params: dict[str, Any] = {"startHistoryId": start, "maxResults": limit}
    if kinds:
        params["historyTypes"] = [one for kind in dict.fromkeys(kinds) for one in _TYPES[kind]]
    params |= ({"labelId": label} if label else {}) | ({"pageToken": token} if token else {})
    try:
        return dict((yield Request("GET", "/users/me/history", params=params)))
    except NotFound:
        raise InvalidInput(
            "since: too long ago for Gmail to know.", hint="Search instead, and start again.", reason="cursor_expired"
        ) from None


def _changes(page: Mapping[str, Any]) -> Iterator[Change]:
    """Yield the changes in a page of history, oldest first."""
    for record in page.get("history") or ():
        for name, kind in _FIELDS.items():
            for one in record.get(name) or ():
                touched = [str(label) for label in one.get("labelIds") or ()]
                lists = ([], touched) if name == "labelsRemoved" else (touched, [])
                yield Change(str((one.get("message") or {}).get("id", "")), kind, *lists)


def _rows(rows: Rows, changes: Sequence[Change], names: Mapping[str, str]) -> Asks[int]:
    """Add rows for these changes until the budget is spent. Return the number of processed changes."""
    done = 0
    for start in range(0, len(changes), api.AT_ONCE):
        some = changes[start : start + api.AT_ONCE]
        alive = list(dict.fromkeys(one.mail for one in some if one.kind != "deleted"))
        answers = yield from api.many([api.get_message(one, "metadata") for one in alive])
        mails = dict(zip(alive, answers, strict=True))
        for one in some:
            if not rows.add(_row(one, mails.get(one.mail), names)):
                return done
            done += 1
    return done


def _row(change: Change, message: Any, names: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": change.mail, "change": change.kind}
    if message is not None and not isinstance(message, DeputizeError):
        row = email_row(Mail(message), names) | row
    called = {
        "labels_added": [names.get(one, one) for one in change.added],
        "labels_removed": [names.get(one, one) for one in change.removed],
    }
    return row | ({name: value[:5] for name, value in called.items()} if change.kind == "labels" else {})
