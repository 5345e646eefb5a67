"""All that a sandbox remembers, and its one file on disk."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deputize.sandbox import google
from deputize.sandbox.google.gmail import mailbox
from deputize.sandbox.google.gmail.seed import seeded
from deputize.sandbox.oauth import App, Authority, Code, Token
from deputize.sandbox.people import SEEDED, Person
from deputize.sandbox.switches import Switches

VERSION = 1


class World:
    """People, apps, consents, tokens and mailboxes. Whoever changes or reads it holds ``lock``."""

    def __init__(self, state: Path | None, clock: Callable[[], float], switches: Switches) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.switches = switches
        self.apps: dict[str, App] = {google.APP.client_id: google.APP}
        self.people: tuple[Person, ...] = SEEDED
        self.authority = Authority()
        self.mailboxes: dict[str, mailbox.Mailbox] = {}
        self._state = state
        if state is not None and state.exists():
            self._load(state)
        else:
            self.begin()

    def begin(self) -> None:
        """Back to the first day: seeded mailboxes, nobody has consented to anything."""
        self.people, self.authority = SEEDED, Authority()
        self.mailboxes = seeded(self.people, self.clock())
        self.save()

    def person(self, email: str) -> Person | None:
        """The person with this address."""
        return next((person for person in self.people if person.email == email), None)

    def address_of(self, sub: str) -> str:
        """The address of the person with this subject id; nothing where there is none."""
        return next((person.email for person in self.people if person.sub == sub), "")

    def mailbox(self, email: str) -> mailbox.Mailbox:
        """A person's mailbox; KeyError for an address that nobody here has."""
        return self.mailboxes[email]

    def save(self) -> None:
        """Write everything, all or nothing: a new file (0600) that takes the old one's place."""
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
        }

    def _load(self, state: Path) -> None:
        try:
            row = json.loads(state.read_text("utf-8"))
            if row["version"] != VERSION:
                raise ValueError("another version")
            self.people = tuple(Person(**person) for person in row["people"])
            self.authority = _authority(row["authority"])
            self.mailboxes = {email: mailbox.from_json(box) for email, box in row["mailboxes"].items()}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{state} is not a sandbox's state: {error}. Move it away to start anew.") from None


def _authority(row: dict[str, Any]) -> Authority:
    codes = {key: Code(**code) for key, code in row["codes"].items()}
    tokens = {key: Token(**token) for key, token in row["tokens"].items()}
    return Authority(codes, tokens, row["granted"])
