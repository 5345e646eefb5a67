"""Linear: notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Audience, Continuation, Effect, Instant, Preview, Run, Steps, Undo
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.text import Outside
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.linear import filter_checks as known
from deputize.toolkits.linear import scalars
from deputize.toolkits.linear.api import Listing, change, nodes
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json
from deputize.toolkits.linear.matching import is_id
from deputize.toolkits.linear.rows import mark, minute, name
from deputize.toolkits.linear.texts import cut


@LINEAR.tool(needs=[READ], toolset="inbox")
def list_notifications(
    unread_only: bool = True,
    category: Annotated[str | None, Field(description="such as mentions, assignments, reviews")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """My inbox."""

    def wanted(node: Json) -> bool:
        fits = category is None or str(node.get("category") or "").casefold() == category.strip().casefold()
        return fits and not (unread_only and node.get("readAt"))

    filters = (unread_only, category)
    listing = Listing("linear_list_notifications", run.account, filters, limit, cursor, _row, wanted)
    return (yield from known.when_empty((yield from listing.of("Notifications")), cursor, known.category(category)))


def _row(node: Json) -> Json:
    outside = Outside()
    return mark(
        {
            "notification_id": node.get("id"),
            "type": node.get("type"),
            "category": node.get("category"),
            "title": outside.line(str(node.get("title") or ""), 120),
            "issue": (node.get("issue") or {}).get("identifier"),
            "project": outside.line(name(node.get("project")), 60),
            "initiative": outside.line(name(node.get("initiative")), 60),
            **_text_in_it(node, outside),
            "actor": outside.line(name(node.get("actor")), 40),
            "time": minute(node.get("createdAt")),
            "read": bool(node.get("readAt")),
            "snoozed_until": minute(node.get("snoozedUntilAt")),
            "url": node.get("url"),
        },
        outside,
    )


def _text_in_it(node: Json, outside: Outside) -> Json:
    """Return the beginning of the notification's comment or update, with the id that a call needs to read it whole."""
    update = node.get("projectUpdate") or node.get("initiativeUpdate")
    what, called = (node["comment"], "comment_id") if node.get("comment") else (update, "update_id")
    if not what:
        return {}
    tool = "linear_list_comments" if called == "comment_id" else "linear_list_updates"
    return {called: what["id"], **cut(outside, what.get("body"), more=Continuation(tool, **{called: str(what["id"])}))}


_ARCHIVE: Final = "NotificationArchive"
Action = Literal["read", "unread", "snooze", "archive"]


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.WRITES, toolset="inbox")
def update_notifications(
    notification_ids: Annotated[list[str], Field(min_length=1, max_length=50)],
    action: Action,
    until: Annotated[str | None, Field(description="snooze")] = None,
    *,
    run: Run,
) -> Steps:
    """Mark notifications read or unread, snooze or archive them."""
    if (action == "snooze") != (until is not None):
        raise InvalidInput(
            "until: needed for action=snooze, and only there.", hint="Add until for that, or leave it out."
        )
    run = yield from in_zone(run, scalars.ask_zone, until=until)
    values: dict[str, Json] = {
        "read": {"readAt": scalars.time_filter("now", run, "now")},
        "unread": {"readAt": None},
        "snooze": {"snoozedUntilAt": scalars.time_filter(until or "now", run, "until")},
    }
    wanted = values.get(action)
    ids = list(dict.fromkeys(notification_ids))
    known = {str(row["id"]): row for row in (yield from nodes("Notifications", first=len(ids), filter=_ids(ids)))}
    yield Preview(
        _DOES[action],
        audience=Audience.SELF,
        notifications=[_title(known.get(id)) for id in ids],
        until=Instant.of(values["snooze"]["snoozedUntilAt"]) if action == "snooze" else None,
        pins={"notification_ids": ids, "readAt": (wanted or {}).get("readAt")},
        beside={"state": [_state(known.get(id)) for id in ids]},
    )
    done: list[str] = []
    failed: list[Json] = []
    for number, id in enumerate(ids):
        try:
            yield from change("NotificationUpdate", id=id, input=wanted) if wanted else change(_ARCHIVE, id=id)
            done.append(id)
        except (NotFound, InvalidInput) as refused:  # a missing one does not stop the others
            failed.append({"id": id, "why": str(refused)})
        except DeputizeError as stopped:
            if not done:
                raise
            failed += [{"id": one, "why": str(stopped)} for one in ids[number:]]
            break
    turned = [id for id in done if action in _TURNED and _state(known.get(id)) == _TURNED[action]]
    if turned:
        back = {"notification_ids": turned, "action": _TURNED[action]}
        yield Undo("linear_update_notifications", back, {"state": [action] * len(turned)})
    return {"done": done, "failed": failed}


_DOES: Final = {
    "read": "Mark these notifications as read",
    "unread": "Mark these notifications as unread",
    "snooze": "Snooze these notifications",
    "archive": "Archive these notifications",
}
_TURNED: Final[dict[str, Action]] = {"read": "unread", "unread": "read"}


def _ids(ids: Sequence[str]) -> Json:
    """Return a filter for the valid ones of these ids."""
    return {"id": {"in": [id for id in ids if is_id(id)]}}


def _title(notification: Json | None) -> str:
    """Return a notification's title in words."""
    if notification is None:
        return "one that is not there"
    who = name(notification.get("actor"))
    return f"{notification.get('title')}{f' ({who})' if who else ''}"


def _state(notification: Json | None) -> str:
    return "read" if (notification or {}).get("readAt") else "unread"
