"""A company's sign-in, an authorization server that takes its word, and an API: in-process, no socket.

    https://login.company.test    sessions (JWTs that only it can tell from forged ones), ID-JAGs
    https://auth.api.test         token exchange, on-behalf-of, ID-JAGs (each once), client credentials, signed JWTs
    https://api.test/v1           notes of whoever the token is of

It is strict where servers are: client authentication, audiences, scopes, expiry, single use. `alive` are the access
tokens that could be used now, each with its subject; one that came with a refresh token ends with that.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from deputize.core import (
    ApiRules,
    App,
    Deputy,
    Effect,
    Identity,
    OAuthEndpoints,
    Policy,
    Provider,
    Request,
    Run,
    Secret,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.audit import Audit
from deputize.core.oauth.app import IdentityAssertion, ServiceAccount, Source, TokenExchange
from deputize.core.oauth.client_key import ClientKey
from deputize.core.tools.preview import Audience, Preview
from deputize.core.vault.vault import Vault
from tests.support.provider_fields import with_fields
from tests.support.sandbox_deputy import build

TYPE_OF: Final = "urn:ietf:params:oauth:token-type:"
GRANT: Final = "urn:ietf:params:oauth:grant-type:"
COMPANY: Final = "https://login.company.test"
ISSUER: Final = "https://auth.api.test"
API: Final = "https://api.test/v1"
READ, WRITE = "notes:read", "notes:write"
AGENT, BOT = "deputy", "bot@acme.test"

notes = Toolkit("notes", provider="api", shows=True)


@notes.tool(needs=[any_of(READ)])
def count_notes() -> Steps:
    """How many notes have I, and who am I?"""
    found = yield Request("GET", "/notes")
    return found


@notes.tool(needs=[any_of(WRITE)], effect=Effect.SENDS)
def post_note(text: str, *, run: Run) -> Steps:
    """Post a note for all to read."""
    yield Preview("Post this note", audience=Audience.PUBLIC, text=text)
    made = yield Request("POST", "/notes", json={"key": run.key.uuid, "text": text}, repeat="idem")
    return made


@notes.tool(needs=[any_of(WRITE)], effect=Effect.SENDS, shows=False)
def ring_bell(*, run: Run) -> Steps:
    """Ring everybody's bell."""
    made = yield Request("POST", "/notes", json={"key": run.key.uuid, "text": "ding"}, repeat="idem")
    return made


def part(claims: Mapping[str, Any]) -> str:
    """Return a part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def forged(**claims: Any) -> str:
    """Return an unsigned JWT."""
    return f"{part({'alg': 'RS256'})}.{part(claims)}.{secrets.token_urlsafe(8)}"


class Refused(Exception):
    """An error of RFC 6749 5.2."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.status = error, status


@dataclass(repr=False)
class World(httpx.AsyncBaseTransport):
    """All three servers.

    ``life``: seconds of an access token; ``refreshes``: a refresh token is included; ``narrower``: the scopes granted
    at most; ``gives``: the scopes granted, whatever was requested. ``hold``: a token request waits for it before it is
    answered.
    """

    clock: Callable[[], float]
    life: int = 300
    refreshes: bool = False
    narrower: frozenset[str] = frozenset({READ, WRITE})
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    assertions: dict[str, dict[str, Any]] = field(default_factory=dict)
    jtis: set[str] = field(default_factory=set)
    tokens: dict[str, tuple[str, float, str]] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    families: dict[str, tuple[str, ...]] = field(default_factory=dict)
    posted: list[tuple[str, str]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    forms: list[dict[str, str]] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    hold: threading.Event | None = None
    holding: threading.Event = field(default_factory=threading.Event)
    instead: str = ""
    issued: str = "access_token"
    replays: bool = False
    shows_scopes: bool = False
    says_scopes: bool = True
    gives: str = ""
    shown: dict[str, str] = field(default_factory=dict)
    bot_key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k"}, private=True))

    def session(self, subject: str, seconds: float = 3600, **more: Any) -> str:
        """Return a session token of the company, as the application has it for the signed-in user."""
        claims = {"iss": COMPANY, "aud": AGENT, "sub": subject, "exp": self.clock() + seconds} | more
        token = forged(**claims)
        self.sessions[token] = claims
        return token

    def tokens_of(self, subject: str, *scopes: str) -> tuple[str, str]:
        """Return an access and a refresh token of another program of ours."""
        self.refreshes = True
        made = self._token(subject, " ".join(scopes))
        return made["access_token"], made["refresh_token"]

    @property
    def alive(self) -> list[str]:
        """Return the users whose access tokens are valid now."""
        return sorted(subject for subject, ends, _ in self.tokens.values() if ends > self.clock())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer like the servers."""
        place = f"{request.url.host}{request.url.path}"
        self.asked[place] += 1
        if found := self.answers.get(place):
            return httpx.Response(found[0], json=found[1])
        try:
            found_there = await self._answered(place, request)
            return httpx.Response(200, json=found_there, headers=self.shown if place.endswith("/me") else {})
        except Refused as refused:
            return httpx.Response(refused.status, json={"error": refused.error})

    async def _answered(self, place: str, request: httpx.Request) -> dict[str, Any]:
        match place:
            case "login.company.test/token":
                return self._assert(self._form(request))
            case "auth.api.test/token":
                if self.hold:
                    self.holding.set()
                    await asyncio.to_thread(self.hold.wait, 10)
                return self._issue(self._form(request))
            case "auth.api.test/revoke":
                form = self._form(request)
                self.tokens.pop(form["token"], None)
                self.refresh_tokens.pop(form["token"], None)
                for access in self.families.pop(form["token"], ()):
                    self.tokens.pop(access, None)
                return {}
            case "auth.api.test/me":
                subject, scope = self._whose(request)
                self.shown = {"x-oauth-scopes": scope.replace(" ", ", ")} if self.shows_scopes else {}
                return {"sub": subject, "email": f"{subject}@acme.test"}
            case "api.test/v1/notes":
                return self._notes(request)
        raise Refused("not_found", 404)

    def _form(self, request: httpx.Request) -> dict[str, str]:
        form = dict(parse_qsl(request.content.decode(), strict_parsing=True))
        self.forms.append(form)
        signs = form.get("grant_type") == f"{GRANT}jwt-bearer" and "client_secret" not in form
        if not signs and (form.get("client_id"), form.get("client_secret")) not in (
            (AGENT, "a-secret"),
            ("company-client", "company-secret"),
            (BOT, "bot-secret"),
        ):
            raise Refused("invalid_client", 401)
        return form

    def _assert(self, form: dict[str, str]) -> dict[str, Any]:
        """Answer leg 1 of an identity assertion."""
        if form["grant_type"] != f"{GRANT}token-exchange" or form["requested_token_type"] != f"{TYPE_OF}id-jag":
            raise Refused("unsupported_grant_type")
        claims = self._session_of(form["subject_token"])
        jag = forged(iss=COMPANY, sub=claims["sub"], aud=form["audience"], email=f"{claims['sub']}@acme.test")
        jag = self.instead or jag
        self.assertions.setdefault(jag, {"sub": claims["sub"], "aud": form["audience"], "used": False})
        self.instead = jag if self.replays else ""
        return {"access_token": jag, "issued_token_type": f"{TYPE_OF}id-jag", "token_type": "N_A", "expires_in": 300}

    def _session_of(self, token: str) -> dict[str, Any]:
        claims = self.sessions.get(token)
        if claims is None or claims["exp"] <= self.clock():
            raise Refused("invalid_grant")
        if claims["aud"] != AGENT:
            raise Refused("invalid_grant")
        return claims

    def _issue(self, form: dict[str, str]) -> dict[str, Any]:
        match form["grant_type"]:
            case "refresh_token":
                if (subject := self.refresh_tokens.pop(form["refresh_token"], None)) is None:
                    raise Refused("invalid_grant")
                family = self.families.pop(form["refresh_token"])
                return self._token(subject, " ".join(sorted(self.narrower)), family)
            case "client_credentials":
                return self._token(form["client_id"], form["scope"])
            case grant if grant == f"{GRANT}token-exchange":
                return self._token(self._session_of(form["subject_token"])["sub"], form["scope"]) | {
                    "issued_token_type": TYPE_OF + self.issued
                }
            case grant if grant == f"{GRANT}jwt-bearer" and form.get("requested_token_use") == "on_behalf_of":
                return self._token(self._session_of(form["assertion"])["sub"], form["scope"])
            case grant if grant == f"{GRANT}jwt-bearer" and form["assertion"] in self.assertions:
                found = self.assertions[form["assertion"]]
                if found["used"] or found["aud"] != ISSUER:
                    raise Refused("invalid_grant", 401)
                found["used"] = True
                return self._token(found["sub"], form["scope"])
            case grant if grant == f"{GRANT}jwt-bearer":
                claims = jwt.decode(form["assertion"], self.bot_key).claims
                if claims["iss"] != BOT or claims["aud"] != f"{ISSUER}/token" or "sub" in claims:
                    raise Refused("invalid_grant")
                if claims["jti"] in self.jtis:  # RFC 7523 3: as a server that refuses a replay
                    raise Refused("invalid_grant")
                self.jtis.add(claims["jti"])
                return self._token(BOT, claims["scope"])
        raise Refused("unsupported_grant_type")

    def _token(self, subject: str, scope: str, family: tuple[str, ...] = ()) -> dict[str, Any]:
        token = secrets.token_urlsafe(16)
        given = self.gives or " ".join(one for one in scope.split() if one in self.narrower)
        self.tokens[token] = subject, self.clock() + self.life, given
        made: dict[str, Any] = {"access_token": token, "token_type": "Bearer", "expires_in": self.life, "scope": given}
        if not self.says_scopes:
            del made["scope"]
        if self.refreshes:
            made["refresh_token"] = secrets.token_urlsafe(16)
            self.refresh_tokens[made["refresh_token"]] = subject
            self.families[made["refresh_token"]] = (*family, token)
        return made

    def _whose(self, request: httpx.Request) -> tuple[str, str]:
        subject, ends, scope = self.tokens.get(request.headers["authorization"].removeprefix("Bearer "), ("", 0.0, ""))
        if ends <= self.clock():
            raise Refused("invalid_token", 401)
        return subject, scope

    def _notes(self, request: httpx.Request) -> dict[str, Any]:
        subject, scope = self._whose(request)
        if (READ if request.method == "GET" else WRITE) not in scope.split():
            raise Refused("insufficient_scope", 403)
        if request.method == "GET":
            return {"user": subject, "notes": sum(who == subject for who, _ in self.posted)}
        self.posted.append((subject, json.loads(request.content)["text"]))
        return {"user": subject}


def provider(**more: Any) -> Provider:
    """Return the API's provider."""
    row = Provider(
        name="api",
        label="The API",
        oauth=OAuthEndpoints(
            authorize_url=f"{ISSUER}/authorize",
            token_url=f"{ISSUER}/token",
            issuer=ISSUER,
            revoke_url=f"{ISSUER}/revoke",
            ends_replaced="at_once",
        ),
        apis=ApiRules(
            roots={"notes": API},
            hosts=frozenset({"api.test"}),
            identity=Identity(f"{ISSUER}/me", "{sub}", "{email}"),
        ),
    )
    return with_fields(row, **more)


def company() -> Provider:
    """Return the company's sign-in, as far as a client needs it; its fixed scopes are for its own tokens."""
    return Provider(
        name="company",
        label="The company",
        oauth=OAuthEndpoints(
            authorize_url=f"{COMPANY}/authorize",
            token_url=f"{COMPANY}/token",
            always_scopes=("openid", "offline_access"),
            resource="https://company.test/own",
        ),
        apis=ApiRules(
            roots={},
            hosts=frozenset(),
            identity=Identity(f"{COMPANY}/me", "{sub}", "{sub}"),
        ),
    )


def app(source: Source | None, name: str = "api") -> App:
    """Return our client at the API's server, with this grant source."""
    return App("api", AGENT, Secret("a-secret"), name, source=source)


def bot_app(world: World, *, signs: bool = False, tenant: str = "", scopes: frozenset[str] | None = None) -> App:
    """Return the organization's service account."""
    jwk = Secret(json.dumps(world.bot_key.as_dict(private=True)))
    key = ClientKey(jwk, "ES256", "k") if signs else None
    source = ServiceAccount("Acme Ltd", scopes or frozenset({READ, WRITE}), tenant, key)
    return App("api", BOT, None if signs else Secret("bot-secret"), "bot", source=source)


COMPANY_APP: Final = App("company", "company-client", Secret("company-secret"), "company")
EXCHANGE: Final = TokenExchange()
ON_BEHALF_OF: Final = TokenExchange(on_behalf_of=True)
ASSERTION: Final = IdentityAssertion("company", ISSUER, API)
SOURCES: Final = (EXCHANGE, ON_BEHALF_OF, ASSERTION)


async def deputy_with(
    world: World,
    *apps: App,
    policy: Policy = allow_all,
    vault: Vault | None = None,
    audit: Audit | None = None,
    row: Provider | None = None,
    line: httpx.AsyncBaseTransport | None = None,
    toolkits: Iterable[Toolkit] = (),
) -> Deputy:
    """Build a deputy whose users have a session while ``world.sessions`` contains one of theirs."""
    deputy = await build(
        vault=vault,
        audit=audit,
        policy=policy,
        transport=line or world,
        apps=[*apps, COMPANY_APP],
        providers={(row := row or provider()).name: row, "company": company()},
        toolkits=[notes, *toolkits],
        clock=world.clock,
    )

    async def token_for(user: User) -> str | None:
        return next((one for one, claims in world.sessions.items() if claims["sub"] == user.id), None)

    deputy.sources.token_for = token_for
    return deputy
