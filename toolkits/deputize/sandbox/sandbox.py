"""The sandbox: its state, its transports, and the methods and switches for tests."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from deputize.core import PROVIDERS, Provider
from deputize.sandbox.any_provider import Api, Played, nothing_here
from deputize.sandbox.asgi import AsgiApp, Outcome, asgi_app
from deputize.sandbox.github.hosts import HOSTS as GITHUB
from deputize.sandbox.google.gmail.mailbox import Mail
from deputize.sandbox.google.hosts import HOSTS as GOOGLE
from deputize.sandbox.grants import give
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.linear.hosts import HOSTS as LINEAR
from deputize.sandbox.oauth import App
from deputize.sandbox.people import Person
from deputize.sandbox.salesforce.hosts import HOSTS as SALESFORCE
from deputize.sandbox.slack.hosts import HOSTS as SLACK
from deputize.sandbox.switches import Switches
from deputize.sandbox.transport import SandboxTransport
from deputize.sandbox.world import World

# A built-in provider is a mapping from its hosts to handlers; others are added by `Sandbox.play`.
HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {**GOOGLE, **SLACK, **GITHUB, **LINEAR, **SALESFORCE}
DOWN = {"error": {"code": 503, "message": "Service unavailable.", "status": "UNAVAILABLE"}}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, without query or body and so without secrets. ``path`` is percent-encoded.

    ``status`` is None if the caller never saw the reply; ``who`` is the address of the token's person, or "".
    """

    method: str
    host: str
    path: str
    status: int | None
    who: str


class Sandbox:
    """A simulation of Google with Gmail and Calendar, Slack, GitHub, Linear and Salesforce, and of their APIs.

    ``state``: a file that stores everything across restarts (tokens as hashes only); without it all stays in memory.
    ``clock``: returns epoch seconds and decides all dates and lifetimes.
    """

    def __init__(
        self,
        *,
        state: Path | None = None,
        clock: Callable[[], float] = time.time,
        switches: Switches | None = None,
    ) -> None:
        self.switches = switches or Switches()
        self.clock = clock
        self._world = World(state, clock, self.switches)
        self._seen: list[Seen] = []
        self._hosts = dict(HOSTS)
        self.played: dict[str, Played] = {}
        self.app: AsgiApp = asgi_app(self._play)

    def transport(self) -> SandboxTransport:
        """Return an httpx transport that reaches the simulated hosts in this process, and nothing else."""
        return SandboxTransport(self._play, self._hosts)

    def play(self, row: Provider, api: Api = nothing_here) -> App:
        """Simulate one more provider, from its definition alone; ``api`` handles the requests to its API.

        ``api`` is called with an `ApiCall` of a valid token and returns JSON. A deputy that the `deputy` fixture
        creates later knows the provider. Returns its OAuth client. Raises ValueError for a name or host that is already
        simulated.
        """
        played = Played.of(row, api)
        taken = sorted(played.hosts & self._hosts.keys()) or [row.name] * (row.name in PROVIDERS)
        if taken:
            raise ValueError(f"the sandbox plays {', '.join(taken)} already")
        with self._world.lock:
            self.played[row.name] = played
            self._hosts |= dict.fromkeys(played.hosts, played.handle)
        self.register(played.app)
        return played.app

    @property
    def requests(self) -> list[Seen]:
        """All requests so far, in order."""
        with self._world.lock:
            return list(self._seen)

    def count(self, host: str, path_prefix: str = "/", *, method: str = "") -> int:
        """Return the number of requests to ``host`` under ``path_prefix``, with this method or any."""
        return sum(
            seen.host == host and seen.path.startswith(path_prefix) and method in ("", seen.method)
            for seen in self.requests
        )

    @property
    def people(self) -> tuple[Person, ...]:
        """The account holders; the first one is a decoy with an empty mailbox."""
        return self._world.people

    def mailbox(self, email: str) -> MailboxView:
        """Return a view of a person's mailbox. Raise KeyError for an unknown address."""
        self._world.mailbox(email)
        return MailboxView(self._world, email)

    def sent(self, email: str) -> list[Mail]:
        """Return the mails that this person has sent since the sandbox began, oldest first."""
        return self.mailbox(email).sent()

    def service(self, provider: str) -> dict[str, Any]:
        """Return a copy of the state of calendar, slack, github, linear or salesforce as JSON. Raise KeyError else."""
        with self._world.lock:
            return copy.deepcopy(self._world.services[provider])

    def register(self, app: App) -> None:
        """Add an OAuth client, or replace the one with its id (for another redirect URI, say)."""
        with self._world.lock:
            self._world.apps[app.client_id] = app

    def give(self, provider: str, email: str, scopes: Iterable[str]) -> dict[str, Any]:
        """Return the token reply of a consent of this person to the provider's own app, without a page.

        Keys as in RFC 6749 5.1, with ``app`` (the client id), and ``instance_url`` at Salesforce. Raises LookupError
        for an unknown person or provider.
        """
        with self._world.lock:
            played = self.played.get(provider)
            how = (played.app, played.maker) if played else None
            given = give(self._world, provider, email, list(scopes), how)
            self._world.save()
            return given

    def live_tokens(self) -> dict[str, int]:
        """Return the number of valid tokens, access and refresh together, by each person's address."""
        with self._world.lock:
            now = self._world.clock()
            return {person.email: self._world.authority.live(person.sub, now) for person in self.people}

    def expire_access_tokens(self) -> None:
        """End all access tokens now."""
        with self._world.lock:
            self._world.authority.expire_access_tokens(self._world.clock())
            self._world.save()

    def reset(self) -> None:
        """Reset all data to the seed, and clear the list of requests. Switches and registered apps stay."""
        with self._world.lock:
            self._seen.clear()
            self._world.begin()

    def _play(self, ask: Ask) -> Outcome:
        """Handle one request, and store its effects before the reply is sent."""
        world = self._world
        with world.lock:
            caller = world.authority.access(ask.bearer(), world.clock())
            reply = self._handle(ask)
            if ask.method != "GET":
                world.save()
            lost = self.switches.take_loss(ask, reply)
            who = reply.who or (world.address_of(caller.sub) if caller else "")
            if ask.host in self._hosts:
                self._seen.append(Seen(ask.method, ask.host, ask.path, None if lost else reply.status, who))
        return Outcome(reply, lost=lost, delay=self.switches.token_delay if reply.gives_tokens else 0)

    def _handle(self, ask: Ask) -> Reply:
        if ask.host not in self._hosts:
            return in_json({"error": "no such host in the sandbox", "hosts": sorted(self._hosts)}, 404)
        if self.switches.down:
            return in_json(DOWN, 503)
        fault = self.switches.take_fault(ask)
        if fault is not None:
            return fault
        try:
            return self._hosts[ask.host](ask, self._world)
        except Refused as refused:
            return refused.reply


class MailboxView:
    """A test's access to one mailbox. Returned mails are copies."""

    def __init__(self, world: World, email: str) -> None:
        self._world = world
        self._email = email

    def mails(self, *labels: str) -> list[Mail]:
        """Return the mails with all these label ids, newest first; trash, spam and drafts too."""
        with self._world.lock:
            found = self._world.mailbox(self._email).newest_first()
            return [replace(mail, labels=list(mail.labels)) for mail in found if set(labels) <= set(mail.labels)]

    def drafts(self) -> list[Mail]:
        return self.mails("DRAFT")

    def sent(self) -> list[Mail]:
        """Return the mails that were sent through the API, oldest first, without the seeded ones."""
        with self._world.lock:
            ids = self._world.mailbox(self._email).sent
            return [mail for mail in reversed(self.mails()) if mail.id in ids]

    def add(
        self,
        message: EmailMessage | bytes,
        *,
        labels: Iterable[str] = ("INBOX", "UNREAD", "CATEGORY_PERSONAL"),
        age: float = 0,
    ) -> Mail:
        """Add a mail that arrived ``age`` seconds ago; it joins the thread that it answers."""
        raw = message if isinstance(message, bytes) else message.as_bytes(policy=SMTP)
        with self._world.lock:
            box, at = self._world.mailbox(self._email), int((self._world.clock() - age) * 1000)
            incoming = Mail("", "", raw, [], at, 0)
            mail = box.add(raw, labels, at, thread_id=box.thread_of_reply(incoming))
            self._world.save()
            return replace(mail, labels=list(mail.labels))
