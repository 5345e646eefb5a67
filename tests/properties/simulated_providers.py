"""The providers of the property tests: Google with Gmail, and two that are played from their rows, whose tokens rotate.

Each has a tool that reads, and one that posts a note for somebody else to see; what was posted is kept at the provider.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from email import message_from_bytes
from typing import Any, Final

from deputize.core import (
    PROVIDERS,
    ApiRules,
    Audience,
    Effect,
    Identity,
    OAuthEndpoints,
    Preview,
    Provider,
    Request,
    Steps,
    Toolkit,
    any_of,
)
from deputize.sandbox import Sandbox
from deputize.sandbox.any_provider import Api, ApiCall
from tests.support.gmail_toolkit import READ, SEND, SENDING, raw
from tests.support.sandbox_deputy import Clock

PAL: Final = "pal@acme.example"
"""Who is told: what goes to somebody is asked about."""
NAMES: Final = ("acme", "birch", "google")
SCOPES: Final[Mapping[str, tuple[str, str]]] = {
    "acme": ("notes:read", "notes:write"),
    "birch": ("notes:read", "notes:write"),
    "google": (READ, SEND),
}
"""What reading needs, and what posting does."""
POSTING: Final = {"acme": "/v1/notes", "birch": "/v1/notes", "google": f"/gmail/v1{SENDING}"}


def _row(name: str, *, ends_all: bool) -> Provider:
    login = f"https://{name}.example"
    return Provider(
        name=name,
        label=name.title(),
        oauth=OAuthEndpoints(
            authorize_url=f"{login}/oauth/authorize",
            token_url=f"{login}/oauth/token",
            revoke_url=f"{login}/oauth/revoke",
            revokes_all=ends_all,
        ),
        apis=ApiRules(
            roots={name: f"https://api.{name}.example/v1"},
            hosts=frozenset({f"api.{name}.example"}),
            identity=Identity(f"https://api.{name}.example/v1/me", "{user.id}", "{email}"),
        ),
        scope_descriptions={"notes:read": "read your notes", "notes:write": "post notes"},
    )


ROWS: Final = {"acme": _row("acme", ends_all=False), "birch": _row("birch", ends_all=True)}


def _kit(name: str) -> Toolkit:
    kit = Toolkit(name, provider=name, api=name, shows=True)
    reads, writes = SCOPES[name]

    @kit.tool(needs=[any_of(reads, writes)])
    def read() -> Steps:
        """Whose notes these are."""
        return (yield Request("GET", "/notes"))

    @kit.tool(needs=[any_of(writes)], effect=Effect.SENDS)
    def post(text: str, to: str = PAL) -> Steps:
        """Post a note for somebody."""
        yield Preview("Post a note", audience=Audience.PEOPLE, people=[to], text=text)
        return (yield Request("POST", "/notes", json={"text": text}))

    return kit


def _gmail() -> Toolkit:
    kit = Toolkit("google", provider="google", api="gmail", shows=True)

    @kit.tool(needs=[any_of(READ)])
    def read() -> Steps:
        """Search mails."""
        return (yield Request("GET", "/users/me/messages"))

    @kit.tool(needs=[any_of(SEND)], effect=Effect.SENDS)
    def post(text: str, to: str = PAL) -> Steps:
        """Send a mail."""
        yield Preview("Send a mail", audience=Audience.PEOPLE, people=[to], text=text)
        sent = yield Request("POST", SENDING, json={"raw": raw(to, text, text)})
        return {"id": sent["id"]}

    return kit


def toolkits() -> list[Toolkit]:
    """The tools, by provider."""
    return [_kit("acme"), _kit("birch"), _gmail()]


class Stage:
    """The sandbox with all of them, whose refresh tokens are good once: a second use ends all that came of them."""

    def __init__(self) -> None:
        self.clock = Clock(1_900_000_000.0)
        self.sandbox = Sandbox(clock=self.clock)
        self.posted: list[tuple[str, str, str]] = []
        switches = self.sandbox.switches
        switches.rotate = switches.reuse_kills_family = True
        for name, row in ROWS.items():
            self.sandbox.play(row, self._board(name))
        self.providers = {**PROVIDERS, **{name: one.row for name, one in self.sandbox.played.items()}}

    def _board(self, name: str) -> Api:
        def api(call: ApiCall) -> Any:
            if call.method == "GET":
                call.need(*SCOPES[name])
                return {"who": call.person.email}
            call.need(SCOPES[name][1])
            self.posted.append((name, call.person.email, str(call.json["text"])))
            return {"id": len(self.posted)}

        return api

    def effects(self) -> list[tuple[str, str, str]]:
        """What was posted: where, as whom, and the text."""
        people = [one.email for one in self.sandbox.people]
        sent = [(email, mail) for email in people for mail in self.sandbox.sent(email)]
        mails = [("google", email, str(message_from_bytes(mail.raw)["Subject"])) for email, mail in sent]
        return [*self.posted, *mails]


def text_of(provider: str, body: bytes) -> str:
    """What a request to post says."""
    content = json.loads(body)
    if provider != "google":
        return str(content["text"])
    return str(message_from_bytes(base64.urlsafe_b64decode(content["raw"]))["Subject"])
