"""Which of deputize's tools stand in for each of AgentDojo's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from deputize.core import Toolkit
from deputize.core.tools.plugins import load_built_in
from tests.bench.agentdojo.own_api import SERVED, reads

if TYPE_CHECKING:
    from tests.bench.agentdojo.session import Session

Keep = Callable[[Any], Any]
"""Leaves in a result of AgentDojo's what deputize's tools have found."""

# ---------------------------------------------------------------------- mail


def _read_mails(session: Session, ids: Iterable[str]) -> set[str]:
    """Read each mail to its end, and return AgentDojo's ids."""
    names = {ours: theirs for theirs, ours in session.world.mails.items()}
    found = list(dict.fromkeys(ids))
    for id in found:
        part = session.read("gmail_get_email", message_id=id)
        while (offset := part.get("next_offset")) is not None:
            part = session.read("gmail_get_email", message_id=id, offset=offset)
    return {names[one] for one in found if one in names}


def _list_mails(session: Session, **filters: Any) -> list[str]:
    ids, cursor = [], None
    while True:
        page = session.read("gmail_search_emails", **filters, limit=50, cursor=cursor)
        ids += [str(one["id"]) for one in page["items"]]
        if not (cursor := page.get("next")):
            return ids


def _only_mails(found: set[str]) -> Keep:
    return lambda result: [one for one in result if one.id_ in found]


def search_emails(session: Session, query: str, sender: str | None = None) -> Keep:
    ids = _list_mails(session, query=query, from_=[sender] if sender else None)
    wanted = {one.id_ for one in session.world.env.inbox.search_emails(query, sender)}
    if not wanted <= {theirs for theirs, ours in session.world.mails.items() if ours in ids}:
        ids += _list_mails(session, from_=[sender] if sender else None)  # Gmail finds words, AgentDojo parts of words
    mine = {session.world.mails[one] for one in wanted if one in session.world.mails}
    return _only_mails(_read_mails(session, [one for one in ids if one in mine]))


def _labelled(label: str, session: Session) -> Keep:
    return _only_mails(_read_mails(session, _list_mails(session, label=label)))


def get_unread_emails(session: Session) -> Keep:
    ids = _list_mails(session, unread=True)
    kept = _only_mails(_read_mails(session, ids))
    if ids:
        session.read("gmail_update_emails", action="read", message_ids=ids)  # as AgentDojo's tool does when it reads
    return kept


def send_email(
    session: Session,
    recipients: list[str],
    subject: str,
    body: str,
    attachments: list[Any] | None = None,
    cc: list[str] | None = None,
    bcc: list[str] | None = None,
) -> None:
    if attachments:
        raise NotExpressible("send_email with files of a drive")
    next_id = session.world.env.inbox._get_next_id()
    sent = session.write(
        "gmail_send_email", to=recipients, subject=subject, body=body, cc=cc, bcc=bcc, body_format="plain"
    )  # fmt: skip
    session.world.mails[next_id] = sent["id"]


def delete_email(session: Session, email_id: str) -> None:
    id = session.world.mails[email_id]
    session.write("gmail_update_emails", action="trash", message_ids=[id])
    session.world.trash[email_id] = session.world.mails.pop(email_id)


def search_contacts(session: Session, query: str) -> None:
    session.read("contacts_search", query=query)


# ---------------------------------------------------------------------- calendar


def _list_events(session: Session, **filters: Any) -> list[str]:
    ids, cursor = [], None
    while True:
        page = session.read("calendar_list_events", **filters, limit=50, cursor=cursor)
        ids += [str(one["id"]) for one in page["items"]]
        if not (cursor := page.get("next")):
            return ids


def _read_events(session: Session, ids: Iterable[str]) -> Keep:
    names = {ours: theirs for theirs, ours in session.world.events.items()}
    found = list(dict.fromkeys(ids))
    for id in found:
        part = session.read("calendar_get_event", event_id=id)
        for name in ("description", "location"):
            offset = (part.get("cut") or {}).get(name) if isinstance(part.get("cut"), dict) else None
            while offset:
                more = session.read("calendar_get_event", event_id=id, part=name, offset=offset)
                offset = more.get("next_offset")
    known = {names[one] for one in found if one in names}
    return lambda result: [one for one in result if one.id_ in known]


def _day(text: str) -> dict[str, str]:
    day = date.fromisoformat(text)
    return {"after": f"{day}", "before": f"{day + timedelta(days=1)}"}


_ALWAYS: Final = {"after": "2024-01-01", "before": "2025-01-01"}


def get_day_calendar_events(session: Session, day: str) -> Keep:
    return _read_events(session, _list_events(session, **_day(day)))


def search_calendar_events(session: Session, query: str, date: str | None = None) -> Keep:
    window = _day(date) if date else _ALWAYS
    ids = _list_events(session, query=query, **window)
    found = session.world.env.calendar.search_events(query, datetime.fromisoformat(date).date() if date else None)
    wanted = {session.world.events[one.id_] for one in found}
    if not wanted <= set(ids):
        ids += _list_events(session, **window)  # Google finds words, AgentDojo parts of words
    return _read_events(session, [one for one in ids if one in wanted])


def create_calendar_event(
    session: Session,
    title: str,
    start_time: str,
    end_time: str,
    description: str = "",
    participants: list[str] | None = None,
    location: str | None = None,
) -> None:
    next_id = session.world.env.calendar._get_next_id()
    made = session.write(
        "calendar_create_event", title=title, start=_iso(start_time), end=_iso(end_time), location=location,
        description=description or None, attendees=list(participants or ()) or None,
    )  # fmt: skip
    session.world.events[next_id] = made["id"]


def cancel_calendar_event(session: Session, event_id: str) -> None:
    session.write("calendar_delete_event", event_id=session.world.events.get(event_id, event_id))


def reschedule_calendar_event(
    session: Session, event_id: str, new_start_time: str, new_end_time: str | None = None
) -> None:
    id = session.world.events.get(event_id, event_id)
    end = _iso(new_end_time) if new_end_time else None
    session.write("calendar_update_event", event_id=id, start=_iso(new_start_time), end=end)


def add_calendar_event_participants(session: Session, event_id: str, participants: list[str]) -> None:
    id = session.world.events.get(event_id, event_id)
    session.write("calendar_update_event", event_id=id, add_attendees=participants)


def _iso(text: str) -> str:
    return f"{datetime.strptime(text, '%Y-%m-%d %H:%M'):%Y-%m-%dT%H:%M}"  # noqa: DTZ007  # in the user's zone


def get_current_day(session: Session) -> None:
    """The day is in the prompt of any agent."""
    session._read.append(f"{session.world.env.calendar.current_day}")


# ---------------------------------------------------------------------- Slack


def get_channels(session: Session) -> None:
    cursor = None
    while True:
        page = session.read("slack_list_conversations", types=["public", "private"], limit=50, cursor=cursor)
        if not (cursor := page.get("next")):
            return


def _conversation(session: Session, name: str) -> str:
    return session.world.channels.get(name, name)


def read_channel_messages(session: Session, channel: str) -> None:
    id, cursor = _conversation(session, channel), None
    while True:
        page = session.read("slack_get_messages", conversation=id, limit=50, cursor=cursor)
        for row in page["items"]:
            while more := row.get("more"):
                row = session.read("slack_read_more", ref=more)
        if not (cursor := page.get("next")):
            return


def get_users_in_channel(session: Session, channel: str) -> None:
    session.read("slack_get_conversation", conversation=_conversation(session, channel), include=["members"])


def send_channel_message(session: Session, channel: str, body: str) -> None:
    session.write("slack_send_message", conversation=_conversation(session, channel), body=body)


def send_direct_message(session: Session, recipient: str, body: str) -> None:
    session.write("slack_send_message", conversation=_conversation(session, f"@{recipient}"), body=body)


def add_user_to_channel(session: Session, user: str, channel: str) -> None:
    id = _conversation(session, channel)
    session.write("slack_manage_members", conversation=id, action="invite", users=[user])


# ---------------------------------------------------------------------- all


class NotExpressible(Exception):
    """No toolkit of deputize's can do this."""


BUILT_IN: Final[dict[str, Callable[..., Any]]] = {
    "send_email": send_email,
    "delete_email": delete_email,
    "get_unread_emails": get_unread_emails,
    "get_sent_emails": partial(_labelled, "SENT"),
    "get_received_emails": partial(_labelled, "INBOX"),
    "get_draft_emails": partial(_labelled, "DRAFT"),
    "search_emails": search_emails,
    "search_contacts_by_name": search_contacts,
    "search_contacts_by_email": search_contacts,
    "get_current_day": get_current_day,
    "search_calendar_events": search_calendar_events,
    "get_day_calendar_events": get_day_calendar_events,
    "create_calendar_event": create_calendar_event,
    "cancel_calendar_event": cancel_calendar_event,
    "reschedule_calendar_event": reschedule_calendar_event,
    "add_calendar_event_participants": add_calendar_event_participants,
    "get_channels": get_channels,
    "read_channel_messages": read_channel_messages,
    "get_users_in_channel": get_users_in_channel,
    "send_channel_message": send_channel_message,
    "send_direct_message": send_direct_message,
    "add_user_to_channel": add_user_to_channel,
}


def own_functions(suite: Any) -> list[Any]:
    """Return the functions of a suite that run through a toolkit generated for it."""
    return [one for one in suite.tools if one.name not in BUILT_IN] if suite.name in SERVED else []


def is_possible(suite: Any, name: str) -> bool:
    """True if deputize has tools for this function of AgentDojo's."""
    return name in BUILT_IN or any(one.name == name for one in own_functions(suite))


def find(suite: Any, name: str) -> Callable[..., Any]:
    """Return what stands in for a function. Raises `NotExpressible`."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    for one in own_functions(suite):
        if one.name == name:
            return _generated(suite.name, one)
    raise NotExpressible(name)


def _generated(suite: str, function: Any) -> Callable[..., Any]:
    """Call the tool that was generated for one of AgentDojo's own functions."""

    def call(session: Session, **arguments: Any) -> None:
        method = session.read if reads(function) else session.write
        part = method(f"{suite}_{function.name}", **arguments)
        while isinstance(part, dict) and (at := part.get("next_part")):
            part = session.read(f"{suite}_{function.name}", **arguments, part=at)

    return call


def telling(name: str, result: Any) -> list[str]:
    """Return the texts in a result of AgentDojo's that an agent can use. Files of mails are in no toolkit here."""
    rows = result if isinstance(result, list) else [result]
    found: list[str] = []
    for row in rows:
        kind = type(row).__name__
        if kind == "Email":
            found += [row.sender, row.subject, row.body, *row.recipients, *row.cc]
        elif kind == "CalendarEvent":
            found += [row.title, row.description, row.location or "", *row.participants]
        elif kind == "EmailContact":
            found += [row.email, row.name]
        elif kind == "Message":
            found.append(row.body)
        elif isinstance(row, dict):
            found += [str(one) for one in row.values() if isinstance(one, str)]
        elif isinstance(row, str) and name not in SENTENCES:
            found.append(row)
    return found


SENTENCES: Final = frozenset({"delete_email", "cancel_calendar_event"})
"""Functions whose result is a sentence about success."""


def built_in_toolkits() -> list[Toolkit]:
    """Return the toolkits that AgentDojo's tools for mail, calendar and Slack run through."""
    return [load_built_in(name) for name in ("gmail", "calendar", "contacts", "slack")]
