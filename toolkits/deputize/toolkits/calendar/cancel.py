"""Calendar: cancel and answer events, of a series one, the following or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final, Literal

from deputize.core import Alias, Effect, Need, Note, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import (
    CALENDAR,
    PRIMARY,
    CalendarName,
    Json,
    Notify,
    writes,
)
from deputize.toolkits.calendar.following import cut_off, split_of
from deputize.toolkits.calendar.rows import ANSWERS, guests, marked, mine, start_of, title
from deputize.toolkits.calendar.target import Reach, not_yours, patched, target_of
from deputize.toolkits.calendar.when import full
from deputize.toolkits.calendar.words import updates


def _delete_needs(arguments: Arguments) -> Sequence[Need]:
    return writes("patch" if arguments["apply_to"] == "following" else "delete", arguments["calendar"])


@CALENDAR.tool(
    needs=_delete_needs,
    effect=Effect.DESTRUCTIVE | Effect.SENDS,
    aliases=[
        Alias("GoogleCalendar.DeleteEvent", {"send_updates": "notify"}, values={"notify": {"externalOnly": "external"}})
    ],
)
def delete_event(
    event_id: str,
    apply_to: Reach = "this",
    calendar: CalendarName = PRIMARY,
    notify: Notify = "all",
    *,
    run: Run,
) -> Steps:
    """Cancel an event: one, the following or all occurrences."""
    (found,) = yield from api.calendar_ids(calendar)
    if apply_to == "following" and (not run.noted or "ended" in run.noted):
        split = yield from split_of(found, event_id, run.noted)
        if split is not None:
            yield from cut_off(found, split, None, None, notify, run.noted)
            rest = split.rest | {"id": split.series["id"]}
            return {**_gone(rest, notify), "summary": "Cancelled from this occurrence on."}
    try:
        event = (yield from target_of(found, event_id, apply_to, run.now)).event
    except NotFound:
        if not run.noted:
            raise
        return {"id": run.noted["event"], "deleted": True, "summary": "It is gone already."}
    if not run.noted:
        yield Note({"event": event.get("id")})
    for again in (True, False):
        try:
            yield api.delete_event(found, event, updates(notify, guests=bool(guests(event))))
            return {**_gone(event, notify), "summary": "Cancelled."}
        except NotFound as refused:
            if refused.reason == "user_lacks_rights":
                raise not_yours(event) from None
            return {**_gone(event, notify), "summary": "It is gone already."}
        except Conflict as conflict:
            if conflict.reason != "stale":
                return {**_gone(event, notify), "summary": "It is gone already."}
            if not again:
                raise
        event = dict((yield api.get_event(found, str(event["id"]))))
    return {**_gone(event, notify)}


def _gone(event: Mapping[str, Any], notify: str) -> Json:
    outside = Outside()
    told_ = bool(guests(event)) and notify != "none"
    row = {"id": event.get("id"), "title": title(event, outside, 60), "start": full(start_of(event, UTC))}
    return {**marked(row, outside, event), "notified": told_, "deleted": True}


# ----------------------------------------------------------------- answer

_COMMENT: Final = 500  # characters


@CALENDAR.tool(
    needs=lambda arguments: writes("patch", arguments["calendar"]),
    effect=Effect.SENDS,
    aliases=[
        Alias(
            "GoogleCalendar.RespondToEvent",
            {"response_status": "response", "send_notifications_to_attendees": "notify"},
            values={"notify": {"externalOnly": "external"}},
        )
    ],
)
def respond_to_event(
    event_id: str,
    response: Literal["accepted", "declined", "tentative"],
    comment: str | None = None,
    apply_to: Literal["this", "series"] = "this",
    calendar: CalendarName = PRIMARY,
    notify: Notify = "all",
    *,
    run: Run,
) -> Steps:
    """Answer an invitation. Other times can only be proposed in the comment."""
    if comment and len(comment.strip()) > _COMMENT:
        raise InvalidInput(f"comment: longer than {_COMMENT} characters.")
    (found,) = yield from api.calendar_ids(calendar)
    event = (yield from target_of(found, event_id, apply_to, run.now)).event
    own = mine(event)
    if own is None:
        raise InvalidInput("event_id: the user is not invited to this event.")
    answer: Json = {"email": own["email"], "responseStatus": response}
    answer |= {"comment": comment.strip()} if comment else {}
    if not run.noted:
        yield Note({"event": event.get("id"), "was": own.get("responseStatus")})
    was = str((run.noted or {}).get("was") or own.get("responseStatus") or "")
    outside = Outside()
    row = {
        "id": event.get("id"),
        "title": title(event, outside, 60),
        "my_response": response,
        "was": ANSWERS.get(was, was),
    }
    outside.mark(row)
    if all(own.get(name, "") == value for name, value in answer.items()):
        return {**row, "summary": "It is so already."}
    body = {"attendeesOmitted": True, "attendees": [answer]}
    yield from patched(found, event, lambda _: body, notify)
    return {**row, "summary": "Answered."}
