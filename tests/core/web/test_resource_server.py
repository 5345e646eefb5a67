"""Callers over HTTP: tokens of the one issuer for this audience are accepted, and nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from deputize.core import Secret, SettingsError, User
from deputize.core.http import Http
from deputize.core.oauth.app import App
from deputize.core.web.signin.access_tokens import AccessTokens
from deputize.core.web.signin.issuer import Issuer, user_at
from deputize.core.web.signin.resource_server import ResourceServer, user_of
from tests.support.sandbox_deputy import Clock
from tests.support.token_issuer import (
    AUDIENCE,
    CLIENT,
    SECRET,
    TokenIssuer,
    compact,
    new_key,
    signed_by_public_key,
    unsigned,
)

LOGIN = "https://login.example.test"
CHALLENGE = 'resource_metadata="https://deputy.example.test/.well-known/oauth-protected-resource/mcp"'


class Door:
    """A resource server in front of an application that returns the user, and what it received."""

    def __init__(self, issuer: TokenIssuer, **more: Any) -> None:
        self.clock = Clock(1_800_000_000.0)
        self.issuer, issuer.now = issuer, self.clock
        at = Issuer(issuer.url, Http(httpx.ASGITransport(issuer)), self.clock)
        self.guard = ResourceServer(
            AccessTokens(at, AUDIENCE, **more), resource=AUDIENCE, scopes=["agents"], name="Mail helper"
        )
        self.served: list[Scope] = []
        self._http = httpx.ASGITransport(self.guard.protect(self._app))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.served.append(scope)
        user = user_of(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": (user.id if user else "").encode()})

    async def ask(self, *tokens: str, scheme: str = "Bearer") -> httpx.Response:
        headers = [("authorization", f"{scheme} {token}") for token in tokens]
        answer = await self._http.handle_async_request(httpx.Request("POST", AUDIENCE, headers=headers))
        await answer.aread()
        return answer


@pytest.fixture
def door() -> Door:
    return Door(TokenIssuer(LOGIN), app=App("issuer", CLIENT, Secret(SECRET)))


async def test_C1_issuers_token_identifies_its_user_and_is_not_passed_on(door: Door) -> None:
    token = door.issuer.token("alice")
    answer = await door.ask(token)
    assert (answer.status_code, answer.text) == (200, f"{LOGIN}#alice")
    [scope] = door.served
    assert token not in repr(scope) and b"authorization" not in dict(scope["headers"])


async def test_email_address_is_a_user_only_if_the_issuer_has_verified_it() -> None:
    door = Door(TokenIssuer(LOGIN), subject="email")
    for verified, status in ((True, 200), (False, 401), (None, 401), ("true", 401)):
        token = door.issuer.token("alice", email="alice@example.test", email_verified=verified)
        assert (await door.ask(token)).status_code == status


async def test_missing_token_gets_a_challenge_with_metadata(door: Door) -> None:
    answer = await door.ask()
    assert answer.status_code == 401 and door.served == []
    assert answer.headers["www-authenticate"] == f'Bearer scope="agents", {CHALLENGE}'
    assert door.guard.metadata_path == "/.well-known/oauth-protected-resource/mcp"
    assert door.guard.metadata == {
        "resource": AUDIENCE,
        "authorization_servers": [LOGIN],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["agents"],
        "resource_name": "Mail helper",
    }


def forged(name: str, issuer: TokenIssuer) -> str:
    """Return a token that must be refused."""
    claims, header = issuer.claims("alice"), issuer.header
    other, rsa = new_key("one"), RSAKey.generate_key(2048, {"kid": "rsa"})
    now = int(issuer.now())
    issuer.keys.insert(0, rsa)
    tokens: dict[str, Callable[[], str]] = {
        "unsigned": lambda: unsigned(claims, {**header, "alg": "none"}),
        "unsigned, with a signature": lambda: unsigned(claims, {**header, "alg": "none"}) + "AAAA",
        "HS256 with the public key": lambda: signed_by_public_key(claims, {**header, "kid": "rsa"}, rsa),
        "another's key of the same id": lambda: compact(header, claims, other),
        "its own key in the header": lambda: compact(
            {**header, "kid": "mine", "jwk": other.as_dict(private=False)}, claims, other
        ),
        "its own key set in the header": lambda: compact(
            {**header, "kid": "mine", "jku": "https://evil.example/jwks"}, claims, other
        ),
        "a kid that is a path": lambda: compact({**header, "kid": "../../dev/null"}, claims, other),
        "a kid that is no text": lambda: compact(header, claims, other).replace(".", "A.", 1),
        "critical headers": lambda: compact({**header, "crit": ["exp"], "exp": 1}, claims, issuer.keys[-1]),
        "an id_token's type": lambda: compact({**header, "typ": "JWT"}, claims, issuer.keys[-1]),
        "no type": lambda: compact({"alg": "ES256", "kid": header["kid"]}, claims, issuer.keys[-1]),
        "another issuer's": lambda: issuer.token("alice", iss="https://evil.example"),
        "an issuer with a slash more": lambda: issuer.token("alice", iss=f"{LOGIN}/"),
        "no issuer": lambda: issuer.token("alice", iss=None),
        "another audience": lambda: issuer.token("alice", aud="https://other.example.test/mcp"),
        "a longer audience": lambda: issuer.token("alice", aud=f"{AUDIENCE}/more"),
        "an audience in a text": lambda: issuer.token("alice", aud=f"{AUDIENCE} https://other.example.test"),
        "no audience": lambda: issuer.token("alice", aud=None),
        "expired": lambda: issuer.token("alice", exp=now - 121),
        "without an end": lambda: issuer.token("alice", exp=None),
        "an endless end": lambda: issuer.token("alice", exp=True),
        "an end as text": lambda: issuer.token("alice", exp=str(now + 300)),
        "an end beyond numbers": lambda: issuer.token("alice", exp=10**400),
        "not yet": lambda: issuer.token("alice", nbf=now + 200),
        "of the future": lambda: issuer.token("alice", iat=now + 200),
        "nobody's": lambda: issuer.token("alice", sub=None),
        "an empty subject": lambda: issuer.token(" "),
        "a subject that is no text": lambda: issuer.token("alice", sub=["alice"]),
        "a subject with a line": lambda: issuer.token("alice\nbob"),
        "a client's own": lambda: issuer.token("an-mcp-client"),
        "a client's own at Okta": lambda: issuer.token("0oa1", cid="0oa1"),
        "a client's own at Entra": lambda: issuer.token("f00d", idtyp="app"),
        "a client's own at Auth0": lambda: issuer.token("x@clients", gty="client-credentials"),
        "an id_token": lambda: issuer.token("alice", nonce="n"),
        "a logout token": lambda: issuer.token("alice", events={}),
        "bound to a key": lambda: issuer.token("alice", cnf={"jkt": "x"}),
        "cut": lambda: issuer.token("alice")[:-4],
        "two parts": lambda: ".".join(issuer.token("alice").split(".")[:2]),
        "encrypted": lambda: "a.b.c.d.e",
        "dots": lambda: "..",
        "long": lambda: "a" * 20_000,
        "unknown": lambda: "nobody-knows-this-one",
    }
    return tokens[name]()


FORGED = (
    "unsigned|unsigned, with a signature|HS256 with the public key|another's key of the same id|its own key in "
    "the header|its own key set in the header|a kid that is a path|a kid that is no text|critical headers|an "
    "id_token's type|no type|another issuer's|an issuer with a slash more|no issuer|another audience|a longer "
    "audience|an audience in a text|no audience|expired|without an end|an endless end|an end as text|an end "
    "beyond numbers|not yet|of the future|nobody's|an empty subject|a subject that is no text|a subject with a "
    "line|a client's own|a client's own at Okta|a client's own at Entra|a client's own at Auth0|an id_token|a "
    "logout token|bound to a key|cut|two parts|encrypted|dots|long|unknown"
).split("|")


@pytest.mark.parametrize("name", FORGED)
async def test_C1_invalid_token_opens_nothing(door: Door, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = forged(name, door.issuer)
    answer = await door.ask(token)
    assert answer.status_code == 401 and door.served == []
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert CHALLENGE in answer.headers["www-authenticate"]
    assert len(token) < 10 or token not in caplog.text + answer.text + str(answer.headers)


async def test_header_that_is_not_one_bearer_token_is_refused(door: Door) -> None:
    good = door.issuer.token("alice")
    for answer in (await door.ask(good, good), await door.ask(good, scheme="Basic"), await door.ask(f"{good} {good}")):
        assert answer.status_code == 401
    assert door.served == []


async def test_token_without_the_scope_gets_insufficient_scope(door: Door) -> None:
    answer = await door.ask(door.issuer.token("alice", scope="openid email"))
    assert answer.status_code == 403 and door.served == []
    assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope"')
    assert 'scope="agents"' in answer.headers["www-authenticate"]
    assert (await door.ask(door.issuer.token("alice", scope=None, scp=["openid", "agents"]))).status_code == 200
    assert (await door.ask(door.issuer.token("alice", scope=None, scp="openid agents"))).status_code == 200


async def test_C3_same_subject_of_two_issuers_is_two_users(door: Door) -> None:
    other = Door(TokenIssuer("https://login.other.test"))
    assert (await door.ask(door.issuer.token("alice"))).text == f"{LOGIN}#alice"
    assert (await other.ask(other.issuer.token("alice"))).text == "https://login.other.test#alice"
    assert (await other.ask(door.issuer.token("alice"))).status_code == 401
    assert user_at(LOGIN, "alice") == User(f"{LOGIN}#alice")


async def test_new_key_is_fetched_and_forgers_cannot_cause_many_fetches(door: Door) -> None:
    await door.ask(door.issuer.token("alice"))
    door.issuer.keys.append(new_key("two"))
    door.clock.now += 61
    assert (await door.ask(door.issuer.token("alice"))).status_code == 200
    assert door.issuer.asked["/jwks"] == 2
    stranger = TokenIssuer(LOGIN, keys=[new_key("three")], now=door.clock)
    for _ in range(20):
        assert (await door.ask(stranger.token("alice"))).status_code == 401
    assert door.issuer.asked["/jwks"] == 2
    door.clock.now += 61
    for _ in range(20):
        await door.ask(stranger.token("alice"))
    assert door.issuer.asked["/jwks"] == 3


async def test_repeated_token_is_validated_again_except_its_signature(door: Door) -> None:
    token = door.issuer.token("alice")
    assert (await door.ask(token)).status_code == 200
    looked = len(door.guard.tokens.issuer._believed)
    assert (await door.ask(token)).status_code == 200 and len(door.guard.tokens.issuer._believed) == looked == 1
    assert (await door.ask(token[:-4] + "AAAA")).status_code == 401
    door.clock.now += 421
    assert (await door.ask(token)).status_code == 401, "it has expired meanwhile"
    short = door.issuer.token("alice", exp=door.clock.now + 5000)
    door.issuer.keys[:] = [new_key("two")]
    assert (await door.ask(short)).status_code == 200
    door.clock.now += 601
    assert (await door.ask(short)).status_code == 401, "its key was withdrawn meanwhile"


async def test_withdrawn_key_is_valid_for_at_most_ten_minutes(door: Door) -> None:
    stolen = door.issuer.keys[0]
    await door.ask(door.issuer.token("alice"))
    door.issuer.keys[:] = [new_key("two")]
    door.clock.now += 601
    header, claims = {**door.issuer.header, "kid": "one"}, door.issuer.claims("alice")
    assert (await door.ask(compact(header, claims, stolen))).status_code == 401


async def test_issuer_outage_locks_nobody_out_for_an_hour(door: Door) -> None:
    await door.ask(door.issuer.token("alice"))
    door.issuer.down = True
    door.clock.now += 3000
    assert (await door.ask(door.issuer.token("alice"))).status_code == 200
    door.clock.now += 3700
    answer = await door.ask(door.issuer.token("alice"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    door.issuer.down = False
    assert (await door.ask(door.issuer.token("alice"))).status_code == 200


@pytest.mark.parametrize("status", [200, 302, 403, 404])
async def test_foreign_page_at_the_issuer_locks_nobody_out_for_an_hour(door: Door, status: int) -> None:
    token = door.issuer.token("alice", exp=door.clock.now + 99_999)
    assert (await door.ask(token)).status_code == 200
    door.issuer.instead = HTMLResponse("We are back soon.", status)
    door.clock.now += 3000
    assert (await door.ask(token)).status_code == 200 == (await door.ask(door.issuer.token("bob"))).status_code
    door.clock.now += 3700
    assert (await door.ask(token)).status_code == 503
    door.issuer.instead, door.issuer.keys[:] = None, [new_key("two")]
    assert (await door.ask(token)).status_code == 401, "its key was withdrawn meanwhile"
    assert (await door.ask(door.issuer.token("alice"))).status_code == 200


async def test_caller_that_disconnects_during_a_fetch_does_not_block_others(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, asked = door.guard.tokens.issuer, asyncio.Event()

    async def never(request: httpx.Request) -> None:
        asked.set()
        await asyncio.Event().wait()

    await issuer.metadata()
    with monkeypatch.context() as patched:
        patched.setattr(issuer, "json", never)
        call = asyncio.create_task(door.ask(door.issuer.token("alice")))
        await asked.wait()
        call.cancel()
        await asyncio.wait([call])
    assert (await door.ask(door.issuer.token("alice"))).status_code == 200


async def test_introspection_result_is_cached_for_ten_seconds(door: Door) -> None:
    token = door.issuer.opaque_token("alice")
    assert (await door.ask(token)).text == f"{LOGIN}#alice"
    await door.ask(token)
    assert door.issuer.asked["/introspect"] == 1
    door.issuer.opaque[token]["active"] = False
    door.clock.now += 11
    assert (await door.ask(token)).status_code == 401


@pytest.mark.parametrize(
    "more",
    [
        {"aud": "https://other.example.test"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"exp": None},
        {"sub": "an-mcp-client"},
        {"token_type": "refresh_token"},
        {"active": "true"},
    ],
)
async def test_opaque_token_for_another_audience_is_refused(door: Door, more: dict[str, Any]) -> None:
    token = door.issuer.opaque_token("alice", **more)
    assert (await door.ask(token)).status_code == 401 and door.served == []


async def test_opaque_tokens_are_refused_without_introspection() -> None:
    without = Door(TokenIssuer(LOGIN))
    assert (await without.ask(without.issuer.opaque_token("alice"))).status_code == 401
    refused = Door(TokenIssuer(LOGIN), app=App("issuer", CLIENT, Secret("another")))
    assert (await refused.ask(refused.issuer.opaque_token("alice"))).status_code == 503


async def test_plain_token_types_are_accepted_if_configured_and_id_tokens_never() -> None:
    door = Door(TokenIssuer(LOGIN), plain_jwt=True, subject="uid")
    header, key = {**door.issuer.header, "typ": "JWT"}, door.issuer.keys[-1]
    good = compact(header, door.issuer.claims("alice@example.test", uid="00u1"), key)
    assert (await door.ask(good)).text == f"{LOGIN}#00u1"
    assert (await door.ask(compact(header, door.issuer.claims("a", uid="00u1", nonce="n"), key))).status_code == 401
    assert (await door.ask(compact(header, door.issuer.claims("alice"), key))).status_code == 401


@pytest.mark.parametrize("said", [{"issuer": f"{LOGIN}/"}, {"jwks_uri": "http://login.example.test/jwks"}])
async def test_unusable_metadata_lets_nobody_in(said: dict[str, Any]) -> None:
    door = Door(TokenIssuer(LOGIN, said=said))
    assert (await door.ask(door.issuer.token("alice"))).status_code == 503 and door.served == []


def test_settings_that_would_admit_anybody_are_refused() -> None:
    http = Http(httpx.ASGITransport(TokenIssuer(LOGIN)))
    for url in ("http://login.example.test", "https://login.example.test?x=1", "https://a@b.test", "login", ""):
        with pytest.raises(SettingsError):
            Issuer(url, http)
    issuer = Issuer(LOGIN, http)
    with pytest.raises(SettingsError, match="audience"):
        AccessTokens(issuer, "")
    with pytest.raises(SettingsError, match="id_token"):
        AccessTokens(issuer, CLIENT, plain_jwt=True, never=CLIENT)
    tokens = AccessTokens(issuer, AUDIENCE)
    for resource in ("http://deputy.example.test/mcp", "/mcp", "https://deputy.example.test/mcp?x"):
        with pytest.raises(SettingsError):
            ResourceServer(tokens, resource=resource)
    with pytest.raises(SettingsError, match="scope"):
        ResourceServer(tokens, resource=AUDIENCE, scopes=['a"b'])


async def test_metadata_is_public(door: Door) -> None:
    wire = httpx.ASGITransport(Starlette(routes=[Route(door.guard.metadata_path, door.guard.show_metadata)]))
    answer = await wire.handle_async_request(httpx.Request("GET", door.guard.metadata_url))
    assert json.loads(await answer.aread()) == door.guard.metadata
