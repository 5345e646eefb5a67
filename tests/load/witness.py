"""What the provider sees of all requests: whose token each has, what each changes, which refresh tokens are used.

It stands before the sandbox as an ASGI application, and keeps its own account of all of it: a token is known by the
consent that it came from, an effect by its subject, which names the user who wanted it. The product is asked nothing.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from starlette.types import Receive, Scope, Send

from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID

MARK: Final = re.compile(r"(user\d+)-(draft|send|read)-\d+")
"""A subject of the load test: the user and the purpose."""
CONSENT, TOKEN, GMAIL = "/accounts.google.com/", "/oauth2.googleapis.com/token", "/gmail.googleapis.com/"
DRAFTS: Final = "/users/me/drafts"
SENDING: Final = ("/users/me/messages/send", "/users/me/drafts/send")


@dataclass(eq=False)
class Family:
    """All tokens of one consent. ``ended``: when its disconnect had returned, 0 before that."""

    user: str
    ended: float = 0.0


@dataclass
class Exchange:
    """A request, and its response."""

    method: str
    path: str
    query: str
    body: bytes
    bearer: str
    status: int = 0
    location: str = ""
    answer: bytes = b""

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode(errors="replace"))


@dataclass
class Witness:
    """``troubles``: the intervals of outages, in which a reply may have been lost.

    ``effects``: how often each subject was saved or sent.
    """

    sandbox: Sandbox
    codes: dict[str, Family] = field(default_factory=dict)
    tokens: dict[str, Family] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    troubles: list[tuple[float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    drafts: dict[str, str] = field(default_factory=dict)
    """Ids of drafts, and their subjects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.sandbox.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        bearer = headers.get(b"authorization", "").removeprefix("Bearer ")
        body = await _whole(receive)
        seen = Exchange(scope["method"], scope["path"], scope["query_string"].decode(), body, bearer)

        async def again() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def answering(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                seen.location = dict(message["headers"]).get(b"location", b"").decode()
            seen.answer += message.get("body", b"")
            await send(message)

        family = self.arrives(seen)
        await self.sandbox.app(scope, again, answering)
        self.answered(seen, family)

    def disconnected(self, user: str) -> None:
        """Record that a disconnect has returned: from now on no token granted before may be used."""
        for family in self.codes.values():
            if family.user == user and not family.ended:
                family.ended = time.time()

    def removed(self, user: str) -> bool:
        """Remove the access at the provider as the user; return whether there was any. No party is notified."""
        world = self.sandbox._world
        with world.lock:
            person = world.person(f"{user}@example.test")
            assert person
            had = world.authority.live(person.sub, world.clock()) > 0
            world.authority.end_grant(GOOGLE_CLIENT_ID, person.sub)
        return had

    # ------------------------------------------------------------- requests

    def arrives(self, seen: Exchange) -> Family | None:
        """Judge a request; return its consent."""
        if seen.path == TOKEN:
            return self._wants_tokens(seen)
        if not seen.path.startswith(GMAIL):
            return None
        self.counts["API requests"] += 1
        family = self.tokens.get(seen.bearer)
        if family is None:
            self.wrong.append(f"{seen.method} {seen.path} with a token that no consent brought")
            return None
        if family.ended:
            late = time.time() - family.ended
            self.wrong.append(f"{seen.method} {seen.path} as {family.user}, {late:.1f} s after the disconnect")
        subjects = self._subjects(seen) + [found[0] for found in MARK.finditer(seen.query)]
        for subject in subjects:
            if subject.partition("-")[0] != family.user:
                self.wrong.append(f"{subject} was asked with the token of {family.user}")
        return family

    def _wants_tokens(self, seen: Exchange) -> Family | None:
        if code := seen.form.get("code", [""])[0]:
            return self.codes.get(code)
        token = seen.form.get("refresh_token", [""])[0]
        if (before := self.used.get(token)) is not None:
            excused = any(start <= before <= end for start, end in self.troubles)
            self.counts["refresh tokens used again after a lost reply"] += excused
            if not excused:
                self.wrong.append(f"a refresh token of {self.tokens[token].user} was used a second time")
        return self.tokens.get(token)

    def answered(self, seen: Exchange, family: Family | None) -> None:
        """Record the response."""
        if seen.path.startswith(CONSENT) and seen.location:
            self._consented(seen)
        elif family is None or seen.status != 200:
            self.counts["token requests refused"] += seen.path == TOKEN
        elif seen.path == TOKEN:
            self._gave(seen, family)
        elif seen.method == "POST":
            self._changed(seen)

    def _consented(self, seen: Exchange) -> None:
        code = parse_qs(urlsplit(seen.location).query).get("code", [""])[0]
        if code:
            self.counts["consents"] += 1
            self.codes[code] = Family(seen.form["account"][0].partition("@")[0])

    def _gave(self, seen: Exchange, family: Family) -> None:
        given = json.loads(seen.answer)
        for name in ("access_token", "refresh_token"):
            if given.get(name):
                self.tokens[given[name]] = family
        if token := seen.form.get("refresh_token", [""])[0]:
            self.used.setdefault(token, time.time())
            self.counts["refreshes"] += 1

    def _changed(self, seen: Exchange) -> None:
        [subject] = self._subjects(seen) or [""]
        sends = seen.path.endswith(SENDING)
        if seen.path.endswith(DRAFTS):
            self.drafts[json.loads(seen.answer)["id"]] = subject
        if sends or "-draft-" in subject:
            self.effects[subject] += 1

    def _subjects(self, seen: Exchange) -> list[str]:
        """Return the subjects of the mail in a request, or of the draft it names."""
        if seen.method != "POST" or not seen.path.endswith((DRAFTS, *SENDING)):
            return []
        said = json.loads(seen.body)
        raw = said.get("raw") or said.get("message", {}).get("raw", "")
        if not raw:
            return [self.drafts.get(said.get("id", ""), "")]
        mail = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)).decode(errors="replace")
        return [found[0] for found in MARK.finditer(mail)][:1]


async def _whole(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
