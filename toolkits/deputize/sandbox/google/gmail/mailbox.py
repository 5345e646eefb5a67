"""One person's mailbox: mails, drafts, labels, settings, and the history of what changed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cached_property
from typing import Any

from deputize.sandbox.google.gmail import text

Json = dict[str, Any]

CATEGORIES = ("PERSONAL", "SOCIAL", "PROMOTIONS", "UPDATES", "FORUMS")
SYSTEM_LABELS = (
    *("INBOX", "SENT", "DRAFT", "TRASH", "SPAM", "UNREAD", "STARRED", "IMPORTANT", "CHAT"),
    *(f"CATEGORY_{name}" for name in CATEGORIES),
)
FIRST_HISTORY = 7000
RE = re.compile(r"^\s*((re|fwd?|aw|wg)\s*:\s*)+", re.IGNORECASE)
MESSAGE_ID = re.compile(r"<[^<>\s]+>")


@dataclass
class Mail:
    """One mail in its owner's mailbox: the bytes, and the owner's labels. ``at``: when it arrived, epoch ms."""

    id: str
    thread_id: str
    raw: bytes = field(repr=False)
    labels: list[str]
    at: int
    history_id: int

    @cached_property
    def message(self) -> EmailMessage:
        """The parsed mail."""
        parsed = message_from_bytes(self.raw, policy=default)
        assert isinstance(parsed, EmailMessage)  # noqa: S101  # what this policy makes
        return parsed

    def header(self, name: str) -> str:
        """Return a header's decoded value, or "" if it is absent."""
        return text.header(self.message, name)

    @property
    def subject(self) -> str:
        """The decoded subject."""
        return self.header("Subject")

    @property
    def sender(self) -> str:
        """The ``From`` header."""
        return self.header("From")

    @property
    def to(self) -> str:
        """The ``To`` header."""
        return self.header("To")

    @property
    def text(self) -> str:
        """The readable text, without markup."""
        return text.readable(self.message)

    @cached_property
    def snippet(self) -> str:
        """The first words, HTML-escaped."""
        return text.snippet(self.message)

    @property
    def cited_ids(self) -> set[str]:
        """The Message-IDs of the mails that this mail answers."""
        return set(MESSAGE_ID.findall(self.header("References") + self.header("In-Reply-To")))


@dataclass
class Label:
    """A label that the person created."""

    id: str
    name: str
    messageListVisibility: str = "show"
    labelListVisibility: str = "labelShow"


@dataclass
class Change:
    """One entry of the history; ``kind`` is messagesAdded, messagesDeleted, labelsAdded or labelsRemoved."""

    id: int
    kind: str
    mail: str
    thread: str
    labels: list[str]
    touched: list[str] = field(default_factory=list)


@dataclass
class Mailbox:
    """One person's mailbox; no method reads another's. ``sent``: the ids of mails sent through the API."""

    owner: str
    mails: dict[str, Mail] = field(default_factory=dict)
    drafts: dict[str, str] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    history_id: int = FIRST_HISTORY
    settings: Json = field(default_factory=dict)

    def add(self, raw: bytes, labels: Iterable[str], at: int, *, thread_id: str = "", id: str = "") -> Mail:
        """Add a mail; without ``thread_id`` it starts a thread."""
        new = id or secrets.token_hex(8)
        mail = Mail(new, thread_id or new, raw, list(labels), at, 0)
        self.mails[new] = mail
        self._add_history(mail, "messagesAdded")
        return mail

    def relabel(self, mail: Mail, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Add and remove labels. Only real changes enter the history."""
        added = [label for label in dict.fromkeys(add) if label not in mail.labels]
        removed = [label for label in dict.fromkeys(remove) if label in mail.labels and label not in added]
        mail.labels = [label for label in mail.labels if label not in removed] + added
        if added:
            self._add_history(mail, "labelsAdded", added)
        if removed:
            self._add_history(mail, "labelsRemoved", removed)

    def remove(self, mail: Mail) -> None:
        """Remove the mail for good."""
        del self.mails[mail.id]
        self._add_history(mail, "messagesDeleted")

    def thread(self, thread_id: str) -> list[Mail]:
        """Return the mails of a thread, oldest first."""
        found = [mail for mail in self.mails.values() if mail.thread_id == thread_id]
        return sorted(found, key=lambda mail: mail.at)

    def newest_first(self) -> list[Mail]:
        """Return all mails, newest first."""
        return sorted(self.mails.values(), key=lambda mail: (mail.at, mail.history_id), reverse=True)

    def thread_of_reply(self, reply: Mail, within: str = "") -> str:
        """Return the id of the thread with a mail that the reply cites under the same subject, or "".

        ``within`` limits the search to one thread. Gmail's rules are in its API's guide to threads.
        """
        for mail in self.mails.values():
            fits = mail.thread_id == within if within else True
            if (
                fits
                and mail.header("Message-ID") in reply.cited_ids
                and bare_subject(mail.subject) == bare_subject(reply.subject)
            ):
                return mail.thread_id
        return ""

    def find_label(self, name: str) -> str:
        """Return a label's id by its id or name, ignoring case; ``-`` may stand for spaces and slashes."""
        wanted = _dash(name)
        for system in SYSTEM_LABELS:
            if wanted == _dash(system):
                return system
        return next((label.id for label in self.labels.values() if wanted in _names(label)), "")

    def knows_label(self, label_id: str) -> bool:
        """Return True if this mailbox has a label with this id."""
        return label_id in SYSTEM_LABELS or label_id in self.labels

    def _add_history(self, mail: Mail, kind: str, touched: list[str] | None = None) -> None:
        self.history_id += 1
        mail.history_id = self.history_id
        self.history.append(Change(self.history_id, kind, mail.id, mail.thread_id, list(mail.labels), touched or []))


def bare_subject(subject: str) -> str:
    """Return a subject without ``Re:`` and similar prefixes."""
    return RE.sub("", subject).strip().lower()


def to_json(box: Mailbox) -> Json:
    """Return a mailbox as plain data; bytes become text one to one (latin-1)."""
    row = asdict(box)
    for mail in row["mails"].values():
        mail["raw"] = mail["raw"].decode("latin-1")
    return row


def from_json(row: Json) -> Mailbox:
    """Return the mailbox that `to_json` wrote."""
    mails = {key: Mail(**(mail | {"raw": mail["raw"].encode("latin-1")})) for key, mail in row["mails"].items()}
    labels = {key: Label(**label) for key, label in row["labels"].items()}
    return Mailbox(**(row | {"mails": mails, "labels": labels, "history": [Change(**c) for c in row["history"]]}))


def _dash(name: str) -> str:
    return re.sub(r"[\s/]", "-", name.lower())


def _names(label: Label) -> set[str]:
    return {_dash(label.id), _dash(label.name)}
