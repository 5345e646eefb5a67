"""The sandbox itself: one world, its served faces, and what a test can see and turn."""

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

# A built-in provider is a mapping of its hosts to what answers there; others join by `Sandbox.play`.
HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {**GOOGLE, **SLACK, **GITHUB, **LINEAR, **SALESFORCE}
DOWN = {"error": {"code": 503, "message": "Service unavailable.", "status": "UNAVAILABLE"}}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it went by: no query, no body, so nothing secret. ``path`` is percent-encoded.

    ``status`` is None where the caller never saw the reply; ``who`` is the address of the person behind the token,
    or nothing.
    """

    method: str
    host: str
    path: str
    status: int | None
    who: str


class Sandbox:
    """A stand-in for Google with Gmail and Calendar, Slack, GitHub, Linear and Salesforce, and for their APIs.

    ``state`` names a file that keeps everything over a restart (tokens only as hashes); without it all stays in
    memory. ``clock`` gives epoch seconds and decides every date and lifetime.
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
        """An httpx transport that reaches the played hosts in this process, and nothing else."""
        return SandboxTransport(self._play, self._hosts)

    def play(self, row: Provider, api: Api = nothing_here) -> App:
        """Play one more provider, from its row alone; ``api`` answers what goes to its API.

        ``api`` is called with an `ApiCall` of a live token and returns JSON. A deputy that is made afterwards by the
        `deputy` fixture knows the provider. Returns its OAuth client. Raises ValueError for a name or host that is
        played already.
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
        """How many requests went to ``host`` under ``path_prefix``, with this method or any."""
        return sum(
            seen.host == host and seen.path.startswith(path_prefix) and method in ("", seen.method)
            for seen in self.requests
        )

    @property
    def people(self) -> tuple[Person, ...]:
        """Who has accounts here; the first one is a decoy with an empty mailbox."""
        return self._world.people

    def mailbox(self, email: str) -> MailboxView:
        """A person's mailbox as a test may see it; KeyError for an address that nobody here has."""
        self._world.mailbox(email)
        return MailboxView(self._world, email)

    def sent(self, email: str) -> list[Mail]:
        """What this person has sent since the sandbox began, oldest first."""
        return self.mailbox(email).sent()

    def service(self, provider: str) -> dict[str, Any]:
        """A copy of what calendar, slack, github, linear or salesforce keeps, as plain JSON; KeyError for others."""
        with self._world.lock:
            return copy.deepcopy(self._world.services[provider])

    def register(self, app: App) -> None:
        """Add an OAuth client, or replace the one with its id (for another redirect URI, say)."""
        with self._world.lock:
            self._world.apps[app.client_id] = app

    def give(self, provider: str, email: str, scopes: Iterable[str]) -> dict[str, Any]:
        """Consent without a page: the token reply that this person's yes would have brought the provider's own app.

        Keys as in RFC 6749 5.1, beside ``app`` (the client id), ``instance_url`` at Salesforce. LookupError for a
        person or provider that is not here.
        """
        with self._world.lock:
            played = self.played.get(provider)
            how = (played.app, played.maker) if played else None
            given = give(self._world, provider, email, list(scopes), how)
            self._world.save()
            return given

    def live_tokens(self) -> dict[str, int]:
        """How many tokens would be accepted now, access and refresh together, for each person's address."""
        with self._world.lock:
            now = self._world.clock()
            return {person.email: self._world.authority.live(person.sub, now) for person in self.people}

    def expire_access_tokens(self) -> None:
        """Every access token given out so far ends now."""
        with self._world.lock:
            self._world.authority.expire_access_tokens(self._world.clock())
            self._world.save()

    def reset(self) -> None:
        """Back to the first day, with an empty list of requests. Switches and registered apps stay."""
        with self._world.lock:
            self._seen.clear()
            self._world.begin()

    def _play(self, ask: Ask) -> Outcome:
        """Act on one request, durably, before anybody hears of it."""
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
    """What a test sees of one mailbox, and how it puts mail there. Mails given out are copies."""

    def __init__(self, world: World, email: str) -> None:
        self._world = world
        self._email = email

    def mails(self, *labels: str) -> list[Mail]:
        """The mails with all these label ids, newest first; trash, spam and drafts too."""
        with self._world.lock:
            found = self._world.mailbox(self._email).newest_first()
            return [replace(mail, labels=list(mail.labels)) for mail in found if set(labels) <= set(mail.labels)]

    def drafts(self) -> list[Mail]:
        """The drafts, newest first."""
        return self.mails("DRAFT")

    def sent(self) -> list[Mail]:
        """What was sent from here through the API, oldest first; not what the sandbox was seeded with."""
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
        """Lay a mail in, taken in ``age`` seconds ago; it joins the thread it answers."""
        raw = message if isinstance(message, bytes) else message.as_bytes(policy=SMTP)
        with self._world.lock:
            box, at = self._world.mailbox(self._email), int((self._world.clock() - age) * 1000)
            incoming = Mail("", "", raw, [], at, 0)
            mail = box.add(raw, labels, at, thread_id=box.thread_of_reply(incoming))
            self._world.save()
            return replace(mail, labels=list(mail.labels))
