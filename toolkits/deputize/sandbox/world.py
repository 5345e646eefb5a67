"""The sandbox's state, and its file on disk."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deputize.sandbox import github, google, linear, salesforce, slack
from deputize.sandbox.github.seed import seed_github
from deputize.sandbox.google.calendar.seed import seed_calendars
from deputize.sandbox.google.contacts import seed_contacts
from deputize.sandbox.google.drive.seed import seed_drive
from deputize.sandbox.google.gmail import mailbox
from deputize.sandbox.google.gmail.seed import seed_mailboxes
from deputize.sandbox.linear.seed import seed_linear
from deputize.sandbox.oauth import App, Authority, Code, Token
from deputize.sandbox.people import SEEDED, Person
from deputize.sandbox.salesforce.seed import seed_salesforce
from deputize.sandbox.slack.seed import seed_slack
from deputize.sandbox.switches import Switches

VERSION = 1
APPS = (google.APP, *slack.APPS, *github.APPS, *linear.APPS, *salesforce.APPS)
SEEDS: dict[str, Callable[[tuple[Person, ...], float], dict[str, Any]]] = {
    "calendar": seed_calendars,
    "contacts": seed_contacts,
    "drive": seed_drive,
    "slack": seed_slack,
    "github": seed_github,
    "linear": seed_linear,
    "salesforce": seed_salesforce,
}


class SeededServices(dict[str, dict[str, Any]]):
    """Each service's records, seeded on first access.

    ``people``: their owners. ``now`` (Unix seconds): the time to which seeded times are relative.
    """

    def __init__(self, people: tuple[Person, ...], now: float) -> None:
        super().__init__()
        self._people, self._now = people, now

    def __missing__(self, name: str) -> dict[str, Any]:
        self[name] = SEEDS[name](self._people, self._now)
        return self[name]

    def whole(self) -> dict[str, dict[str, Any]]:
        return {name: self[name] for name in (*SEEDS, *self)}


class World:
    """People, apps, consents, tokens, mailboxes and workspaces. Callers hold ``lock`` while they read or change it.

    ``services``: the records of Google Calendar, contacts, Drive and the other providers, as plain JSON.
    """

    def __init__(self, state: Path | None, clock: Callable[[], float], switches: Switches) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.switches = switches
        self.apps: dict[str, App] = {app.client_id: app for app in APPS}
        self.people: tuple[Person, ...] = SEEDED
        self.authority = Authority()
        self.mailboxes: dict[str, mailbox.Mailbox] = {}
        self.services = SeededServices((), 0.0)
        self._state = state
        if state is not None and state.exists():
            self._load(state)
        else:
            self.begin()

    def begin(self) -> None:
        """Reset to the seeded data, without any consent."""
        self.people, self.authority = SEEDED, Authority()
        self.mailboxes = seed_mailboxes(self.people, self.clock())
        self.services = SeededServices(self.people, self.clock())
        self.save()

    def person(self, email: str) -> Person | None:
        """Return the person with this address."""
        return next((person for person in self.people if person.email == email), None)

    def address_of(self, sub: str) -> str:
        """Return the address of the person with this subject id, or ""."""
        return next((person.email for person in self.people if person.sub == sub), "")

    def app(self, client_id: str, provider: str) -> App | None:
        """Return the app with this id at this provider."""
        app = self.apps.get(client_id)
        return app if app is not None and app.provider == provider else None

    def access(self, secret: str, provider: str) -> Token | None:
        """Return the access token if it is valid and this provider issued it."""
        token = self.authority.access(secret, self.clock())
        return token if token is not None and self.app(token.app, provider) else None

    def revoke(self, secret: str, provider: str, *, alone: bool = False) -> Token | None:
        """End the grant of a valid token that this provider issued; ``alone``: only the tokens of its code."""
        token = self.authority.find(secret)
        known = token is not None and self.app(token.app, provider) is not None
        return self.authority.revoke(secret, self.clock(), alone=alone) if known else None

    def access_ttl(self, usual: float) -> float:
        """Return an access token's lifetime in seconds: the switch's, or the provider's usual one."""
        return usual if self.switches.access_ttl is None else self.switches.access_ttl

    def mailbox(self, email: str) -> mailbox.Mailbox:
        """Return a person's mailbox. Raise KeyError for an unknown address."""
        return self.mailboxes[email]

    def save(self) -> None:
        """Write everything atomically: a new file (0600) replaces the old one."""
        if self._state is None:
            return
        self._state.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._state.parent, prefix=self._state.name, suffix=".new")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(self._to_json(), file)
            os.replace(name, self._state)
        except BaseException:
            os.unlink(name)
            raise

    def _to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "people": [person._asdict() for person in self.people],
            "authority": asdict(self.authority),
            "mailboxes": {email: mailbox.to_json(box) for email, box in self.mailboxes.items()},
            "services": self.services.whole(),
        }

    def _load(self, state: Path) -> None:
        try:
            row = json.loads(state.read_text("utf-8"))
            if row["version"] != VERSION:
                raise ValueError("another version")
            self.people = tuple(Person(**person) for person in row["people"])
            self.authority = _authority(row["authority"])
            self.mailboxes = {email: mailbox.from_json(box) for email, box in row["mailboxes"].items()}
            self.services = SeededServices(self.people, self.clock())
            self.services.update(row.get("services", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{state} is not a sandbox's state: {error}. Move it away to start anew.") from None


def _authority(row: dict[str, Any]) -> Authority:
    codes = {key: Code(**code) for key, code in row["codes"].items()}
    tokens = {key: Token(**token) for key, token in row["tokens"].items()}
    return Authority(codes, tokens, row["granted"])
