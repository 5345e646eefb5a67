"""The accounts of an AgentDojo environment in the sandbox, and their comparison with the environment."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from functools import lru_cache
from typing import Any, Final

from deputize.sandbox import Person, Sandbox
from deputize.sandbox.google.contacts import person as contact
from deputize.sandbox.google.gmail.mailbox import Mail, Mailbox
from deputize.sandbox.google.gmail.seed import _settings
from deputize.sandbox.people import DECOY
from deputize.sandbox.slack.seed import channel_row, user_id

Json = dict[str, Any]

NOW: Final = datetime(2024, 5, 15, 8, tzinfo=UTC).timestamp()
"""AgentDojo's current day."""
BOT: Final = "bot@slack.example"
"""Who posts in AgentDojo's Slack. Its messages have the sender "bot"."""
ASSISTANT: Final = "front.desk@venues.example"
"""Who wrote the events in which somebody planted text, and of which the user is the only guest."""


class World:
    """The sandbox with one user's accounts. ``events``, ``mails``, ``trash``, ``channels``: the sandbox's id of
    each of AgentDojo's."""

    def __init__(self, env: Any, default: Any, *, booked: bool = False) -> None:
        """``default``: the same environment without an attack. ``booked``: the user alone organizes all events, and
        guests wrote into them by way of a booking page."""
        self.env, self.booked = env, booked
        self.sandbox = Sandbox(clock=lambda: NOW)
        self.events: dict[str, str] = {}
        self.mails: dict[str, str] = {}
        self.trash: dict[str, str] = {}  # AgentDojo gives the id of a deleted mail to the next one
        self.channels: dict[str, str] = {}
        self.email = BOT if hasattr(env, "slack") else "emma.johnson@bluesparrowtech.com"
        self.name = "Bot" if hasattr(env, "slack") else "Emma Johnson"
        self._state = self.sandbox._world
        self._state.people = (DECOY, Person(self.email, self.name, "100000000000000000010"), *self._colleagues())
        self._state.mailboxes = {one.email: Mailbox(one.email) for one in self._state.people}
        for one in self._state.people:
            self._state.mailboxes[one.email].settings = _settings(one, ())
        if hasattr(env, "inbox"):
            self._fill_inbox()
        if hasattr(env, "calendar"):
            self._fill_calendar(default)
        if hasattr(env, "slack"):
            self._fill_slack()

    @property
    def account(self) -> Person:
        """The person whose accounts these are."""
        return self._state.people[1]

    # ------------------------------------------------------------------ what is there at the beginning

    def _colleagues(self) -> list[Person]:
        users = self.env.slack.users if hasattr(self.env, "slack") else []
        return [
            Person(f"{name.lower()}@slack.example", name, f"10000000000000000010{n}") for n, name in enumerate(users)
        ]

    def _fill_inbox(self) -> None:
        box = self._state.mailboxes[self.email]
        for mail in self.env.inbox.emails.values():
            at = mail.timestamp.replace(tzinfo=UTC)
            raw = _written(mail.model_dump_json(exclude={"attachments", "read", "status"}))
            labels = {"sent": ["SENT"], "draft": ["DRAFT"]}.get(str(mail.status.value), ["INBOX"])
            labels += [] if mail.read or labels != ["INBOX"] else ["UNREAD"]
            made = box.add(raw, labels, int(at.timestamp() * 1000))
            self.mails[mail.id_] = made.id
            if labels == ["DRAFT"]:
                box.drafts[f"r{made.id}"] = made.id
        own = [contact(f"c{n}", "CONTACT", one.name, one.email) for n, one in enumerate(self.env.inbox.contact_list)]
        self._state.services["contacts"] = {
            "own": {self.email: own},
            "other": {self.email: []},
            "directory": [],
            "cached": {},
        }

    def _fill_calendar(self, default: Any) -> None:
        people = self._state.people
        calendars = {
            one.email: {
                **{"summary": one.email, "description": "", "timeZone": "UTC", "owner": one.email, "acl": []},
                **{"free_busy": True, "made_by_app": False},
            }
            for one in people
        }
        settings = {one.email: {"timezone": "UTC", "format24HourTime": "true", "weekStart": "1"} for one in people}
        events = dict(self._event(one, default) for one in self.env.calendar.events.values())
        self._state.services["calendar"] = {
            **{"calendars": calendars, "lists": {one.email: {one.email: {"selected": True}} for one in people}},
            **{"settings": settings, "events": events, "mails": [], "etag": 100},
        }

    def _event(self, event: Any, default: Any) -> tuple[str, Json]:
        """Return an event in the user's calendar. Guests can change what they take part in, so its text may be theirs.
        An attack in an event without guests is the text of somebody who keeps the user's calendar."""
        id, others = f"dojo{int(event.id_):05}", [one for one in event.participants if one != self.email]
        self.events[event.id_] = id
        usual = default.calendar.events.get(event.id_)
        planted = usual is None or usual.description != event.description
        writer = self.email if self.booked or others or not planted else ASSISTANT
        data: Json = {
            **{"summary": event.title, "description": event.description, "location": event.location or ""},
            **{"status": "cancelled" if event.status.value == "canceled" else "confirmed", "eventType": "default"},
            **{"created": "2024-05-01T09:00:00.000Z", "updated": "2024-05-01T09:00:00.000Z", "sequence": 0},
            **{"creator": {"email": writer}, "organizer": {"email": self.email}, "iCalUID": f"{id}@google.com"},
            **{"start": _at(event.start_time), "end": _at(event.end_time)},
        }
        guests = [{"email": one, "responseStatus": "accepted"} for one in (self.email, *others)]
        data |= {"attendees": guests} if others else {}
        data |= {"guestsCanModify": True} if others and not self.booked else {}
        row: Json = {"id": id, "home": self.email, "data": data, "exceptions": {}, "own": {}, "removed": [], "etag": 1}
        return f"{self.email}/{id}", row

    def _fill_slack(self) -> None:
        slack, bot = self.env.slack, user_id(BOT)
        users = {name: user_id(f"{name.lower()}@slack.example") for name in slack.users}
        rows: dict[str, Json] = {}
        for number, name in enumerate(slack.channels):
            id = f"C0DOJO{number:05}"
            self.channels[name] = id
            members = [bot, *(users[one] for one in slack.users if name in slack.user_channels[one])]
            rows[id] = channel_row(id, name, name == "private", "", members, members[-1], int(NOW) - 9_000_000)
            rows[id]["messages"] = [
                self._message(users.get(one.sender, bot), one.body, 72 - n)
                for n, one in enumerate(slack.channel_inbox.get(name, []))
            ]
        for number, (name, user) in enumerate(users.items()):
            id = f"D0DOJO{number:05}"
            self.channels[f"@{name}"] = id
            rows[id] = channel_row(id, "", True, "", [bot, user], bot, int(NOW) - 8_000_000) | {"kind": "im"}
        self._state.services["slack"] = {
            **{"channels": rows, "posted": 0, "made": 0, "files": {}, "usergroups": [], "profiles": {}},
        }

    def _message(self, user: str, text: str, hours: float) -> Json:
        return {"type": "message", "user": user, "text": text, "ts": f"{int(NOW - hours * 3600)}.000100"}

    # ------------------------------------------------------------------ what is there at the end

    def differences(self) -> list[str]:
        """Return how the environment differs from the sandbox, one sentence for each difference."""
        found: list[str] = []
        for kind in ("inbox", "calendar", "slack"):
            if hasattr(self.env, kind):
                ours, theirs = getattr(self, f"_sandbox_{kind}")(), getattr(self, f"_mirror_{kind}")()
                found += [
                    f"{kind} {name}: the sandbox has {ours.get(name)!r}, AgentDojo has {theirs.get(name)!r}"
                    for name in sorted(ours.keys() | theirs.keys())
                    if ours.get(name) != theirs.get(name)
                ]
        return found

    def _sandbox_inbox(self) -> dict[str, Any]:
        names = {ours: theirs for theirs, ours in self.mails.items()}
        names |= {ours: f"{theirs} in the trash" for theirs, ours in self.trash.items()}
        box = self._state.mailboxes[self.email]
        return {
            names.get(mail.id, f"unknown {mail.id}"): (
                *_parsed(mail.raw),
                *("TRASH" in mail.labels, "UNREAD" not in mail.labels or "SENT" in mail.labels, "DRAFT" in mail.labels),
            )
            for mail in box.mails.values()
        }

    def _mirror_inbox(self) -> dict[str, Any]:
        inbox = self.env.inbox
        live = {id: mail for id, mail in inbox.emails.items() if id in self.mails or not _is_notice(mail)}
        return {  # without Calendar's own mails to guests, which are in no mailbox here
            name: (
                *([mail.sender], sorted(mail.recipients), sorted(mail.cc), sorted(mail.bcc)),
                *(_plain(mail.subject), _plain(mail.body), "trash" in name),
                *(mail.read or mail.status.value != "received", mail.status.value == "draft"),
            )
            for name, mail in (live | {f"{id} in the trash": mail for id, mail in inbox.trash.items()}).items()
        }

    def _sandbox_calendar(self) -> dict[str, Any]:
        names = {ours: theirs for theirs, ours in self.events.items()}
        rows = self._state.services["calendar"]["events"].values()
        return {
            names.get(row["id"], f"unknown {row['id']}"): (
                *(data["summary"], data.get("description") or "", data.get("location") or ""),
                *(_when(data["start"]), _when(data["end"]), data["status"] == "cancelled"),
                frozenset(one["email"] for one in data.get("attendees") or [{"email": self.email}]) | {self.email},
            )
            for row in rows
            for data in [row["data"]]
        }

    def _mirror_calendar(self) -> dict[str, Any]:
        return {
            one.id_: (
                *(one.title, one.description, one.location or "", f"{one.start_time}", f"{one.end_time}"),
                *(one.status.value == "canceled", frozenset(one.participants)),
            )
            for one in self.env.calendar.events.values()
        }

    def _sandbox_slack(self) -> dict[str, Any]:
        names = {user_id(one.email): one.name for one in self._state.people}
        rows = self._state.services["slack"]["channels"]
        return {
            name: (
                frozenset(names[one] for one in rows[id]["members"] if one != user_id(BOT)),
                [(names[one["user"]].replace("Bot", "bot"), _said(one["text"])) for one in rows[id]["messages"]],
            )
            for name, id in self.channels.items()
        } | {f"unknown {id}": row for id, row in rows.items() if id not in self.channels.values()}

    def _mirror_slack(self) -> dict[str, Any]:
        slack = self.env.slack
        channels = {
            name: (
                frozenset(user for user, ones in slack.user_channels.items() if name in ones),
                [(one.sender, _said(one.body)) for one in slack.channel_inbox.get(name, [])],
            )
            for name in slack.channels
        }
        return channels | {
            f"@{name}": (
                frozenset({name}),
                [(one.sender, _said(one.body)) for one in slack.user_inbox.get(name, []) if one.sender == "bot"],
            )
            for name in slack.users
        }


@lru_cache(maxsize=4096)
def _written(mail: str) -> bytes:
    """Return the bytes of one of AgentDojo's mails."""
    row = json.loads(mail)
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = row["sender"], ", ".join(row["recipients"]), row["subject"]
    for name in ("cc", "bcc"):
        if row[name]:
            message[name.title()] = ", ".join(row[name])
    message["Date"] = format_datetime(datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC))
    message["Message-ID"] = f"<{row['id_']}@mail.example>"
    message.set_content(row["body"])
    return message.as_bytes()


@lru_cache(maxsize=4096)
def _parsed(raw: bytes) -> tuple[Any, ...]:
    """Return what the comparison needs of a mail's bytes."""
    mail = Mail("", "", raw, [], 0, 0)
    people = (getaddresses([mail.header(name)]) for name in ("From", "To", "Cc", "Bcc"))
    return *(sorted(one for _, one in some) for some in people), _plain(mail.subject), _plain(mail.text)


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a result of deputize or of AgentDojo."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield str(name)
            yield from texts(one)
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from texts(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield f"{value:g}"


def squeezed(text: str) -> str:
    """Return a text as it is compared: without white space and formatting, which providers change."""
    return "".join(one for one in html.unescape(text) if one.isalnum() or ord(one) > 127).casefold()


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.replace("\r", "").strip().split("\n"))


def _said(text: str) -> str:
    return html.unescape(text).replace("<", "").replace(">", "")


def _is_notice(mail: Any) -> bool:
    return any(not isinstance(one, str) for one in mail.attachments)


def _at(moment: datetime) -> Json:
    return {"dateTime": moment.replace(tzinfo=UTC).isoformat(timespec="seconds"), "timeZone": "UTC"}


def _when(point: Json) -> str:
    return f"{datetime.fromisoformat(point['dateTime']).astimezone(UTC).replace(tzinfo=None)}"
