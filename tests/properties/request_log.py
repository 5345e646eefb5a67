"""What the providers see of all requests, and what of that must not be: kept apart from all that the product keeps.

A token is known by the consent it came from (its family): whose of our users that was for, and at which account. Every
request is made on somebody's behalf, which the test says (`Acting`), and carries what the product chose to carry.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import parse_qs

import httpx

from tests.properties.simulated_providers import POSTING, text_of
from tests.support.kill_points import Died, Fate

IDENTITY: Final = ("/v1/me", "/oauth2/v3/userinfo", "/v1/userinfo")


class Violated(AssertionError):
    """Something happened that must not."""


@dataclass(frozen=True)
class Acting:
    """On whose behalf a step of the test runs, at which provider ("": any), and when it began."""

    user: str
    provider: str
    began: int


ACTING: Final = ContextVar[Acting | None]("acting", default=None)


@dataclass(eq=False)
class Family:
    """All tokens of one consent. ``ended``: when a disconnect of it had returned, 0 while none has; ``refused``: the
    consent was said to have failed; ``lost``: a reply with its tokens never arrived; ``refreshes``: how often."""

    user: str
    provider: str
    email: str
    code: str
    began: int
    ended: int = 0
    refused: bool = False
    lost: bool = False
    refreshes: int = 0


@dataclass
class Witness:
    """Stands between all programs of one trial and the providers."""

    now: int = 0
    codes: dict[str, Family] = field(default_factory=dict)
    tokens: dict[str, Family] = field(default_factory=dict)
    used: dict[str, bool] = field(default_factory=dict)
    """Refresh tokens that were good once, and whether whoever used it may not have heard the answer."""
    posted: list[tuple[Family, str]] = field(default_factory=list)
    """What was posted, with whose token."""
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def tick(self) -> int:
        """The next moment."""
        self.now += 1
        return self.now

    @contextmanager
    def acting(self, user: str, provider: str = "") -> Iterator[Acting]:
        """What follows is on this user's behalf."""
        acting = Acting(user, provider, self.tick())
        token = ACTING.set(acting)
        try:
            yield acting
        finally:
            ACTING.reset(token)

    def consented(self, code: str, user: str, provider: str, email: str) -> Family:
        """This person has said yes, for this user of ours, and the browser brings this code."""
        self.codes[code] = family = Family(user, provider, email, code, self.tick())
        return family

    def families(self, user: str, provider: str = "") -> list[Family]:
        """Those of a user, at one provider or all."""
        return [one for one in self.codes.values() if one.user == user and provider in ("", one.provider)]

    def violated(self, said: str) -> NoReturn:
        """Keep it, also where whoever meets the exception swallows it."""
        self.wrong.append(said)
        raise Violated(said)

    # ------------------------------------------------------------- requests

    def arrives(self, request: httpx.Request) -> Family | None:
        """Judge a request that a provider is about to take; the family that it is about."""
        path, form = request.url.path, parse_qs(request.content.decode(errors="replace"))
        if path.endswith("/token"):
            return self._token_request(form)
        if path.endswith("/revoke"):
            return None
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not bearer:
            return None
        if (family := self.tokens.get(bearer)) is None:
            self.violated(f"{request.method} {path} with a token that no consent brought")
        if path not in IDENTITY:
            self._api_request(request, family)
        return family

    def _token_request(self, form: dict[str, list[str]]) -> Family | None:
        if "code" in form:
            family = self.codes.get(form["code"][0])
            if family is None:
                self.violated("a code was redeemed that no browser brought")
            return family
        token = form.get("refresh_token", [""])[0]
        if (family := self.tokens.get(token)) is None:
            self.violated("a refresh token that no consent brought")
        if self.used.get(token) is False:
            self.violated(f"a refresh token of {family.user}'s {family.provider} was used a second time")
        acting = ACTING.get()
        if acting and acting.user and acting.user != family.user:
            self.violated(f"{acting.user}'s step refreshed {family.user}'s {family.provider}")
        return family

    def _api_request(self, request: httpx.Request, family: Family) -> None:
        acting, host = ACTING.get(), request.url.host
        self.counts["api"] += 1
        if acting is None:
            self.violated(f"{request.method} {request.url.path} on nobody's behalf")
        if acting.user != family.user:
            self.violated(f"{acting.user} acted with {family.user}'s token")
        if acting.provider != family.provider or (host == "gmail.googleapis.com") != (family.provider == "google"):
            self.violated(f"{family.provider}'s token went to {host}")
        if family.provider != "google" and host != f"api.{family.provider}.example":
            self.violated(f"{family.provider}'s token went to {host}")
        if family.refused:
            self.violated(f"{acting.user} acted as {family.email}, whose consent was refused")
        if family.ended and acting.began > family.ended:
            self.violated(f"{acting.user} acted as {family.email} at {family.provider} after the disconnect")

    def answered(
        self, request: httpx.Request, family: Family | None, reply: httpx.Response, *, heard: bool
    ) -> list[str]:
        """What a provider said, and whether the program that asked is there to hear it. A token that names what came:
        the one that was used, or that was given."""
        path = request.url.path
        if reply.status_code != 200 or family is None:
            return []
        if request.method == "POST" and path == POSTING[family.provider]:
            self.posted.append((family, text_of(family.provider, request.content)))
        if not path.endswith("/token"):
            return []
        form, body = parse_qs(request.content.decode()), reply.json()
        for name in ("access_token", "refresh_token"):
            if body.get(name):
                self.tokens[body[name]] = family
        family.lost |= not heard
        if "refresh_token" in form:
            token = form["refresh_token"][0]
            self.used[token] = not heard
            family.refreshes += 1
            self.counts["refreshes"] += 1
            return [token]
        self.counts["codes"] += 1
        return [body["refresh_token"]]


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """The network of one program, as long as it lives. What the line loses, the provider has done."""

    inner: httpx.AsyncBaseTransport
    fate: Fate
    witness: Witness
    losses: list[str]
    """Paths of requests whose replies are lost, one use each."""
    heard: list[str] = field(default_factory=list)
    """Refresh tokens whose answers this program heard lately: where it dies, it may not have written them down."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        family, reply, heard = None, None, False
        try:
            async with self.fate.step(f"{request.method} {request.url.host}{request.url.path}"):
                await asyncio.sleep(0)
                family = self.witness.arrives(request)
                reply = await self.inner.handle_async_request(request)
                await reply.aread()
                await asyncio.sleep(0)
                with suppress(ValueError):
                    self.losses.remove(request.url.path)
                    raise httpx.ReadError("the connection broke before the reply", request=request)
            heard = True
            return reply
        except (Died, httpx.ReadError):
            self.witness.counts["replies lost"] += reply is not None
            raise
        except asyncio.CancelledError:
            if reply is not None and request.url.path.endswith("/token"):
                self.witness.wrong.append("a caller who was cancelled took a token request with it")
            raise
        finally:
            if reply is not None:
                self.heard += self.witness.answered(request, family, reply, heard=heard)

    def gone(self) -> None:
        """The program has died: what it heard lately it may not have written down."""
        for token in self.heard:
            if token in self.witness.used:
                self.witness.used[token] = True
            self.witness.tokens[token].lost = True
        self.heard.clear()
