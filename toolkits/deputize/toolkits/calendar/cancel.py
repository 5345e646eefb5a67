"""Calendar: cancel and answer events; in a series: one, the following or all occurrences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Alias, Audience, Change, Effect, Need, Preview, Request, Run, SaveNote, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.argument_values import mail_params
from deputize.toolkits.calendar.base import (
    CALENDAR,
    PRIMARY,
    VALUES,
    Json,
    Notify,
    writes,
)
from deputize.toolkits.calendar.event_times import full
from deputize.toolkits.calendar.rows import ANSWERS, guests, mark_row, offset_of, own_guest, start_of, title, zone_name
from deputize.toolkits.calendar.show_fields import (
    KNOWN_BY,
    CalendarRef,
    audience_of,
    calendar_text,
    event_fields,
    mail_text,
    other_addresses,
    preview_cancelled,
    reached_addresses,
    repeats_in_words,
    undo_call,
)
from deputize.toolkits.calendar.split_series import Split, cut_off, find_split
from deputize.toolkits.calendar.target import Reach, load_target, not_allowed, write_changes
from deputize.toolkits.calendar.texts import LONGEST


def _delete_needs(arguments: Arguments) -> Sequence[Need]:
    patched = arguments["apply_to"] == "following" or arguments["message"]
    return writes("patch" if patched else "delete", arguments["calendar"])


@CALENDAR.tool(
    needs=_delete_needs,
    effect=Effect.DESTRUCTIVE | Effect.SENDS,
    aliases=[Alias("GoogleCalendar.DeleteEvent", {"send_updates": "notify"}, values=VALUES)],
)
def delete_event(
    event_id: str,
    apply_to: Reach = "this",
    message: Annotated[str | None, Field(max_length=1_000, description="why, for the guests")] = None,
    calendar: str = PRIMARY,
    notify: Notify = "all",
    *,
    run: Run,
) -> Steps:
    """Cancel an event or occurrences of a series, and tell the guests why."""
    message = (message or "").strip()
    if message and (notify == "none" or apply_to == "following"):
        raise InvalidInput(
            f"message: cannot be sent with {'notify=none' if notify == 'none' else 'apply_to=following'}.",
            hint="Write to the guests with gmail_send_email, or change notify." if notify == "none" else _BY_MAIL,
        )
    (found,) = yield from api.calendar_ids(calendar)
    if apply_to == "following" and (not run.noted or "ended" in run.noted):
        split = yield from find_split(found, event_id, run.noted)
        if split is not None:
            yield _preview_rest(split, found, calendar, notify)
            yield from cut_off(found, split, None, None, notify, run.noted)
            rest = split.rest | {"id": split.series["id"]}
            return {**_result(rest, notify), "summary": "Cancelled from this occurrence on."}
    try:
        event = (yield from load_target(found, event_id, apply_to, run.now)).event
    except NotFound:
        if not run.noted:
            raise
        return {"id": run.noted["event"], "deleted": True, "summary": "It is gone already."}
    if message:
        _check_message(event)
    show = _preview_cancel(event, found, calendar, notify, message)
    yield show
    if not run.noted:
        yield SaveNote({"event": event.get("id")})
    for again in (True, False):
        try:
            yield _cancellation(found, event, message, notify)
            return {**_result(event, notify), "summary": "Cancelled."}
        except NotFound as refused:
            if refused.reason == "user_lacks_rights":
                raise not_allowed(event) from None
            return {**_result(event, notify), "summary": "It is gone already."}
        except Conflict as conflict:
            if conflict.reason != "stale":
                return {**_result(event, notify), "summary": "It is gone already."}
            there = yield api.get_event(found, str(event["id"]))
            if there.get("status") == "cancelled":
                return {**_result(event, notify), "summary": "It is gone already."}
            if not again or _preview_cancel(there, found, calendar, notify, message).digest != show.digest:
                raise
        event = dict(there)
    return {**_result(event, notify)}


_BACK: Final = "cannot be taken back from here"
_BY_MAIL: Final = "Write to the guests with gmail_send_email."


def _check_message(event: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` if no guest would read the message."""
    organizer = event.get("organizer") or {}
    if organizer.get("email") and not organizer.get("self"):
        raise InvalidInput(
            "message: somebody else organizes this event.", hint="Decline with calendar_respond_to_event and comment."
        )
    if not other_addresses(event):
        raise InvalidInput("message: the event has no guests.", hint="Leave it out.")


def _cancellation(calendar: str, event: Mapping[str, Any], message: str, notify: str) -> Request:
    """Return the request that cancels the event. Only a patch can carry a message, at the head of the description."""
    params = mail_params(notify, guests=bool(guests(event)))
    if not message:
        return api.delete_event(calendar, event, params)
    description = f"{message}\n\n{event.get('description') or ''}".strip()[:LONGEST]
    return api.patch_event(calendar, event, {"status": "cancelled", "description": description}, params)


def _preview_cancel(event: Mapping[str, Any], calendar: str, name: str, notify: str, message: str = "") -> Preview:
    """Preview the whole cancellation, or the removal of the user's copy if somebody else organizes the event."""
    organizer = event.get("organizer") or {}
    if organizer.get("email") and not organizer.get("self"):
        what = "Decline this event and remove it from the calendar"
    elif event.get("recurrence"):
        what = "Cancel this whole series"
    else:
        what = "Cancel this occurrence" if event.get("recurringEventId") else "Cancel this event"
    pins = {"calendar": calendar, "event": event.get("id")}
    place, told = CalendarRef(calendar, name, notify), message or None
    return preview_cancelled(what, event, place, message=told, destroys=True, undo=_BACK, pins=pins)


def _preview_rest(split: Split, calendar: str, name: str, notify: str) -> Preview:
    """Return the preview of the cancelled occurrences of a series, by the first of them, and of the remaining rule."""
    whom = {name: split.series.get(name) for name in ("attendees", "organizer")}
    rest = {**split.rest, "recurrence": split.lines, **whom}
    pins = {"calendar": calendar, "event": split.series.get("id"), "repeats": list(split.ended)}
    what = "Cancel this event and all later ones of its series"
    left = {"what_is_left_repeats": repeats_in_words(split.ended, start_of(split.series, UTC)), "undo": _BACK}
    return preview_cancelled(what, rest, CalendarRef(calendar, name, notify), destroys=True, pins=pins, **left)


def _result(event: Mapping[str, Any], notify: str) -> Json:
    outside = Outside()
    notified = bool(guests(event)) and notify != "none"
    start = start_of(event, offset_of(event))
    row = {"id": event.get("id"), "title": title(event, outside, 60), "start": full(start)}
    row |= {"time_zone": zone_name(start)}
    return {**mark_row(row, outside, event), "notified": notified, "deleted": True}


# ----------------------------------------------------------------- answer

_COMMENT: Final = 500  # characters


@CALENDAR.tool(
    needs=lambda arguments: writes("patch", arguments["calendar"]),
    effect=Effect.SENDS,
    aliases=[
        Alias(
            "GoogleCalendar.RespondToEvent",
            {"response_status": "response", "send_updates": "notify", "send_notifications_to_attendees": "notify"},
            values=VALUES,
        )
    ],
)
def respond_to_event(
    event_id: str,
    response: Literal["accepted", "declined", "tentative"],
    comment: str | None = None,
    apply_to: Literal["this", "series"] = "this",
    calendar: str = PRIMARY,
    notify: Notify = "all",
    *,
    run: Run,
) -> Steps:
    """Answer an invitation. Other times can only be proposed in the comment."""
    if comment and len(comment.strip()) > _COMMENT:
        raise InvalidInput(
            f"comment: has {len(comment.strip())} characters, and at most {_COMMENT} fit.",
            hint="Shorten it, or write an email.",
        )
    (found,) = yield from api.calendar_ids(calendar)
    event = (yield from load_target(found, event_id, apply_to, run.now)).event
    own = own_guest(event)
    if own is None:
        raise InvalidInput(
            "event_id: the user is not invited to this event.",
            hint="An event of the user's own is changed with calendar_update_event or calendar_delete_event.",
        )
    answer: Json = {"email": own["email"], "responseStatus": response}
    answer |= {"comment": comment.strip()} if comment else {}
    was = str((run.noted or {}).get("was") or own.get("responseStatus") or "")
    outside = Outside()
    row = {
        "id": event.get("id"),
        "title": title(event, outside, 60),
        "my_response": response,
        "was": ANSWERS.get(was, was),
    }
    outside.mark(row)
    if _is_answered(event, answer):
        return {**row, "summary": "It is so already."}
    show = _preview_answer(event, answer, found, calendar, notify)
    yield show
    if not run.noted:
        yield SaveNote({"event": event.get("id"), "was": own.get("responseStatus")})
    body = {"attendeesOmitted": True, "attendees": [answer]}
    yield from write_changes(
        found,
        event,
        lambda event: {} if _is_answered(event, answer) else body,
        lambda event: _preview_answer(event, answer, found, calendar, notify).digest == show.digest,
        notify,
    )
    if undo := _undo(event, own, answer, apply_to, calendar, notify):
        yield undo
        row["undo"] = undo_call(undo)
    return {**row, "summary": "Answered."}


def _is_answered(event: Mapping[str, Any], answer: Json) -> bool:
    own = own_guest(event) or {}
    return all(own.get(name, "") == value for name, value in answer.items())


def _preview_answer(event: Mapping[str, Any], answer: Json, calendar: str, name: str, notify: str) -> Preview:
    """Return the preview of the user's answer beside the earlier one, and of the people who are notified."""
    own, others, fields = own_guest(event) or {}, other_addresses(event), event_fields(event)
    before, comment = str(own.get("responseStatus") or "needsAction"), answer.get("comment")
    previous = str(own.get("comment") or "")
    return Preview(
        _ANSWER[answer["responseStatus"]] + (" to a whole series" if event.get("recurrence") else ""),
        audience=max(Audience.PEOPLE, audience_of(calendar, others, event)),
        people=reached_addresses(notify, event),
        where=calendar_text(name, calendar),
        answer=Change(ANSWERS.get(before, before), ANSWERS[answer["responseStatus"]]),
        comment=Change(previous, comment) if comment and previous and comment != previous else comment,
        destroys=bool(comment and previous and comment != previous),
        mail=mail_text(notify, others),
        context={name: fields[name] for name in KNOWN_BY} | {"link": event.get("htmlLink")},
        pins={"calendar": calendar, "event": event.get("id"), "as": own.get("email")},
    )


_ANSWER: Final = {
    "accepted": "Accept this invitation",
    "declined": "Decline this invitation",
    "tentative": "Answer maybe to this invitation",
}


def _undo(event: Mapping[str, Any], own: Json, answer: Json, apply_to: str, calendar: str, notify: str) -> Undo | None:
    """Return the call that restores the earlier answer, or None: no call removes an answer or a comment."""
    before = str(own.get("responseStatus") or "")
    if before not in ("accepted", "declined", "tentative") or answer.get("comment"):
        return None
    args = {"event_id": event.get("id"), "response": before, "apply_to": apply_to, "calendar": calendar}
    return Undo("calendar_respond_to_event", args | {"notify": notify}, {"answer": ANSWERS[answer["responseStatus"]]})
