"""Key-bound tokens (DPoP, RFC 9449): from consent to disconnect, at a server that checks each proof."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from deputize.core import (
    PROVIDERS,
    Call,
    DeputizeError,
    Deputy,
    InvalidInput,
    ProviderUnavailable,
    ReconsentRequired,
    Request,
    SettingsError,
    Steps,
    Toolkit,
    User,
    any_of,
)
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.oauth import dpop
from deputize.core.tools.catalog import Catalog
from deputize.core.vault.grant import Account, Grant, Secret
from tests.core.oauth.test_any_server import Open, connect, opened, start
from tests.support.canary import frame_hits
from tests.support.oidc_server import API, OidcServer
from tests.support.provider_fields import with_fields
from tests.support.sandbox_deputy import no_sleep, set_sleep

__all__ = ["opened"]  # a fixture
FREE = "of a confidential client: whoever authenticates may use it"
acme = Toolkit("acme", provider="acme")


@acme.tool(needs=[any_of("email")])
def me(page: int = 0) -> Steps:
    """Who am I at Acme?"""
    found = yield Request("GET", "/me", params={"page": page})
    return found["name"]


@dataclass
class ProvingServer(OidcServer):
    """Issues key-bound tokens, and requires a proof with each request.

    ``nonces``: how often each nonce is valid, 0 for unlimited without one. ``skew``: its clock's error in seconds.
    """

    said: dict[str, Any] = field(default_factory=lambda: {"dpop_signing_alg_values_supported": ["ES256", "EdDSA"]})
    bearer: bool = False
    nonces: dict[str, int] = field(default_factory=dict)
    skew: float = 0
    no_refresh: bool = False
    fails: tuple[str, httpx.Response | Exception] | None = None
    proofs: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    _asked: dict[str, int] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Check the proof first, as a real server does: a refused request uses nothing up."""
        place = "api" if str(request.url).startswith(API) else request.url.path
        if self.fails and self.fails[0] == place:
            if isinstance(self.fails[1], Exception):
                raise self.fails[1]
            return self.fails[1]
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if place not in ("/token", "/me", "api"):
            assert "dpop" not in request.headers
            return await super().handle_async_request(request)
        status, scheme = (400, "") if place == "/token" else (401, 'DPoP error="{}"')
        try:
            key = self._proven(request, token if place != "/token" else "", place)
        except ValueError as wrong:
            fresh = {"dpop-nonce": self._nonce(place)} if self.nonces.get(place) else {}
            told = {"www-authenticate": scheme.format(wrong)} if scheme else {}
            return httpx.Response(status, json={"error": str(wrong)}, headers=fresh | told)
        if place != "/token":
            if kind != "DPoP" or self.keys.get(token) != key:
                return httpx.Response(401, headers={"www-authenticate": 'DPoP error="invalid_token"'})
            request.headers["authorization"] = f"Bearer {token}"
            return await super().handle_async_request(request)
        used = dict(parse_qsl(request.content.decode())).get("refresh_token", "")
        if used and self.keys.get(used) not in (key, FREE):
            return httpx.Response(400, json={"error": "invalid_grant"})
        answer = await super().handle_async_request(request)
        reply = json.loads(answer.content)
        if answer.status_code == 200 and not self.bearer:
            self.keys |= {reply["access_token"]: key, reply["refresh_token"]: key}
            if self.no_refresh:
                self.tokens.pop(reply.pop("refresh_token"))
            return httpx.Response(200, json=reply | {"token_type": "DPoP"})
        return answer

    def _proven(self, request: httpx.Request, token: str, place: str) -> str:
        """Return the thumbprint of the signing key. RFC 9449 4.3."""
        header = json.loads(base64.urlsafe_b64decode(request.headers.get("dpop", "").partition(".")[0] + "=="))
        assert header["typ"] == "dpop+jwt" and header["alg"] == "ES256" and "d" not in header["jwk"]
        key = ECKey.import_key(header["jwk"])
        claims = jwt.decode(request.headers["dpop"], key, ["ES256"]).claims
        assert claims["jti"] not in [one["jti"] for one in self.proofs]
        self.proofs.append(claims | {"place": place})
        assert claims["htm"] == request.method and claims["htu"] == str(request.url.copy_with(query=None))
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        assert claims.get("ath") == (ath if token else None)
        if abs(time.time() + self.skew - claims["iat"]) > 60:
            raise ValueError("invalid_dpop_proof")
        if self.nonces.get(place) and claims.get("nonce") != self._nonce(place):
            raise ValueError("use_dpop_nonce")
        self._asked[place] = self._asked.get(place, 0) + 1
        return str(key.thumbprint())

    def _nonce(self, place: str) -> str:
        return f"nonce-{self._asked.get(place, 0) // self.nonces[place]}-of-{place.strip('/')}"


@pytest.fixture
def server() -> ProvingServer:
    return ProvingServer()


@contextmanager
def connected(opened: Open, server: ProvingServer) -> Iterator[Deputy]:
    with opened(server, "dpop = true") as deputy:
        deputy.resolver.catalog = Catalog([acme])
        set_sleep(deputy, no_sleep)
        assert connect(deputy, server).status == "granted"
        yield deputy


def act(deputy: Deputy, page: int = 0) -> Any:
    return deputy.run(deputy.act("acme_me", {"page": page}, user="alice", call=Call(id="1")))


def grant_of(deputy: Deputy) -> Grant:
    [grant] = deputy.run(deputy.vault.list_grants(User("alice")))
    return grant


def expire(deputy: Deputy) -> Grant:
    """Let the access token expire here."""
    grant = grant_of(deputy)
    kept = deputy.run(deputy.vault.replace(grant, replace(grant, expires_at=1.0)))
    assert kept
    return kept


# ------------------------------------------------------------- what a proof is


def test_thumbprint_and_token_digest_match_the_rfc_examples() -> None:
    """RFC 9449 6.1 and 7.1."""
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    }
    token = Secret("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")
    assert dpop.thumbprint(jwk) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    made = dpop.proof(dpop.new_key(), "GET", "https://resource.example.org/protectedresource", 1562262618, token=token)
    assert _claims(made)["ath"] == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    assert _claims(made)["iat"] == 1562262618 and _claims(made)["htm"] == "GET"


def _claims(made: str) -> dict[str, Any]:
    part = made.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


@pytest.mark.parametrize(
    ("url", "htu"),
    [
        ("https://api.example.test/v1/me?page=2&q=a%23b", "https://api.example.test/v1/me"),
        ("https://api.example.test/a%2Fb/%C3%A9#part?x", "https://api.example.test/a%2Fb/%C3%A9"),
        ("https://api.example.test?x=1", "https://api.example.test/"),
        ("https://api.example.test:8443", "https://api.example.test:8443/"),
    ],
)
def test_proof_names_the_sent_url_without_query_and_fragment(url: str, htu: str) -> None:
    assert _claims(dpop.proof(dpop.new_key(), "GET", url, 0))["htu"] == htu


def test_private_proof_key_is_never_shown() -> None:
    key = dpop.new_key()
    private = json.loads(key.reveal())["d"]
    grant = Grant(User("alice"), "acme", "acme", Account("1", "a"), frozenset(), Secret("at-1"), proof_key=key)
    assert Grant.unpack(grant.pack(), 0) == grant
    assert private not in f"{grant!r} {key} {dpop.proof(key, 'GET', API, 0)}"
    assert grant.tombstone().proof_key is None and grant.dead("expired").proof_key is None


# ------------------------------------------------------------- from consent to disconnect


def test_A18_every_token_is_requested_and_used_with_proofs_of_one_key(opened: Open, server: ProvingServer) -> None:
    with connected(opened, server) as deputy:
        assert [act(deputy), act(deputy, page=2)] == ["Alice", "Alice"]
        before = expire(deputy)
        assert act(deputy) == "Alice"
        after = grant_of(deputy)
        assert after.access_token != before.access_token and after.proof_key == before.proof_key
        assert {one["place"] for one in server.proofs} >= {"/token", "api"} and len(set(server.keys.values())) == 1
        assert [one.upstream for one in deputy.run(deputy.revoke("alice"))] == ["done"]
        assert grant_of(deputy).proof_key is None


def test_A18_step_up_is_bound_to_a_new_key(opened: Open, server: ProvingServer) -> None:
    with connected(opened, server) as deputy:
        before = grant_of(deputy)
        step_up(deputy, server)
        after = grant_of(deputy)
        assert after.proof_key and after.proof_key != before.proof_key and "api:read" in after.scopes
        assert act(deputy) == "Alice"
        expire(deputy)
        assert act(deputy) == "Alice"


def step_up(deputy: Deputy, server: ProvingServer) -> None:
    (consent,) = deputy.run(deputy.connect("alice", "acme", scopes=["api:read"]))
    started = deputy.run(deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser()))
    back = server.authorize(started.url)
    deputy.run(deputy.consents.finish("acme", back, AnyLocalUser(), started.nonce.reveal()))


def test_refresh_token_bound_to_an_older_key_is_dropped(opened: Open, server: ProvingServer) -> None:
    """Without a new refresh token a consent usually keeps the previous one; here no key could use it."""
    with connected(opened, server) as deputy:
        older = grant_of(deputy).refresh_token
        server.no_refresh = True
        step_up(deputy, server)
        assert grant_of(deputy).refresh_token is None and act(deputy) == "Alice"
        assert older and older.reveal() in server.tokens  # known, and ended with the grant
        expire(deputy)
        with pytest.raises(ReconsentRequired):
            act(deputy)
        deputy.run(deputy.revoke("alice"))
        assert [token for token in server.tokens if token.startswith("rt-")] == []


def test_received_token_reply_is_stored_encrypted_with_its_key(opened: Open, server: ProvingServer) -> None:
    """A process died after the reply: another one asks for the tokens' owner, with the same key."""
    with opened(server, "dpop = true") as deputy:
        deputy.resolver.catalog = Catalog([acme])
        _, started = start(deputy)
        server.answers["/me"] = (503, {})
        sealed: list[dict[str, Any]] = []
        insert = deputy.vault.insert

        async def watched(kind: str, key: str, content: Any, data_key: Any = "missing") -> Any:
            record = await insert(kind, key, content, data_key)
            if kind == "received" and record:
                sealed.append(record.json["tokens"])
            return record

        deputy.vault.insert = watched  # type: ignore[method-assign]
        back = server.authorize(started.url)
        deputy.run(deputy.consents.finish("acme", back, AnyLocalUser(), started.nonce.reveal()))
        assert len(sealed) == 1 and isinstance(sealed[0]["proof_key"], Secret)


# ------------------------------------------------------------- nonces


def test_A18_nonce_is_requested_once_and_reused(opened: Open, server: ProvingServer) -> None:
    server.nonces = {"/token": 1000, "api": 2}
    with connected(opened, server) as deputy:
        assert [act(deputy) for _ in range(4)] == ["Alice"] * 4
        tries = [one.get("nonce") for one in server.proofs if one["place"] == "api"]
        assert tries == [None, *["nonce-0-of-api"] * 3, *["nonce-1-of-api"] * 2]
        expire(deputy)
        assert act(deputy) == "Alice"
        tries = [one.get("nonce") for one in server.proofs if one["place"] == "/token"]
        assert tries == [None, "nonce-0-of-token", "nonce-0-of-token"]


def test_endless_nonce_demands_cost_no_grant(opened: Open, server: ProvingServer) -> None:
    with connected(opened, server) as deputy:
        server.nonces = {"api": 1}
        server._nonce = lambda place: f"nonce-{len(server.proofs)}"  # type: ignore[method-assign]
        with pytest.raises(ProviderUnavailable):
            act(deputy)
        assert grant_of(deputy).status == "active" and server.forms[-1][1]["grant_type"] != "refresh_token"
        expire(deputy)
        server.nonces = {"/token": 1}
        with pytest.raises(ProviderUnavailable):
            act(deputy)
        assert grant_of(deputy).status == "active"


@pytest.mark.parametrize("nonce", ["", "a b", 'a"b', "a\\b", "é", "x" * 1025])
def test_invalid_nonce_is_ignored(nonce: str) -> None:
    key, url = dpop.new_key(), "https://api.example.test/"
    headers = {b"dpop-nonce": nonce.encode(), b"www-authenticate": b"DPoP use_dpop_nonce"}
    refused = httpx.Response(401, headers=headers)
    assert not dpop.asks_again(key, url, refused)
    assert "nonce" not in _claims(dpop.proof(key, "GET", url, 0))


def test_nonce_is_not_shared_between_keys() -> None:
    url = "https://api.example.test/"
    key, other = dpop.new_key(), dpop.new_key()
    assert not dpop.asks_again(key, url, httpx.Response(200, headers={"dpop-nonce": "n-1"}))
    assert _claims(dpop.proof(key, "GET", url, 0))["nonce"] == "n-1"
    assert "nonce" not in _claims(dpop.proof(other, "GET", url, 0))
    assert "nonce" not in _claims(dpop.proof(key, "GET", "https://elsewhere.example.test/", 0))


# ------------------------------------------------------------- what goes wrong


def test_A18_refused_proof_is_an_operator_error_and_costs_no_grant(opened: Open, server: ProvingServer) -> None:
    with connected(opened, server) as deputy:
        server.skew = 3600
        with pytest.raises(InvalidInput) as refused:
            act(deputy)
        assert refused.value.fix_by == "operator" and grant_of(deputy).status == "active"
        assert server.forms[-1][1]["grant_type"] == "authorization_code"  # nor was it refreshed
        private = json.loads((grant_of(deputy).proof_key or Secret("")).reveal())["d"]
        assert not list(frame_hits(refused.value, {private: "proof key"}))
        expire(deputy)
        with pytest.raises(InvalidInput):
            act(deputy)
        assert grant_of(deputy).status == "active"


def test_refused_proof_error_points_to_the_clock(
    opened: Open, server: ProvingServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.skew = -3600
    with opened(server, "dpop = true") as deputy:
        ended = connect(deputy, server)
        assert (ended.status, ended.reason_code) == ("failed", "invalid_dpop_proof") and "clock" in caplog.text


@pytest.mark.parametrize("place", ["/token", "api"])
@pytest.mark.parametrize("fault", ["refused", "unreadable", "lost", "broken"])
def test_error_frames_show_neither_key_nor_token(opened: Open, server: ProvingServer, place: str, fault: str) -> None:
    with connected(opened, server) as deputy:
        grant = expire(deputy) if place == "/token" else grant_of(deputy)
        assert grant.proof_key and grant.refresh_token
        secrets = {json.loads(grant.proof_key.reveal())["d"]: "key", grant.access_token.reveal(): "access token"}
        secrets |= {grant.refresh_token.reveal(): "refresh token"}
        faults: dict[str, httpx.Response | Exception] = {
            "refused": httpx.Response(401, headers={"www-authenticate": 'DPoP error="invalid_dpop_proof"'}),
            "unreadable": httpx.Response(200, content=b"{", headers={"dpop-nonce": "n-1"}),
            "lost": httpx.ReadError("gone"),
            "broken": RuntimeError("a bug in the transport"),
        }
        server.fails = (place, faults[fault])
        with pytest.raises(DeputizeError) as failed:
            act(deputy)
        assert frame_hits(failed.value, secrets) == [] and grant_of(deputy).status == "active"


def test_own_provider_definition_with_dpop_reports_conflicts() -> None:
    row = with_fields(PROVIDERS["linear"], dpop=True)
    assert row.moved_to("http://127.0.0.1:1").oauth.dpop is False  # a stand-in takes a token from whoever has it
    for other in ({"device_url": "https://api.linear.app/device"}, {"revoke_by": "bearer"}):
        with pytest.raises(SettingsError, match=r"oauth\.dpop"):
            with_fields(row, **other)


def test_stolen_grant_without_its_key_is_unusable(opened: Open, server: ProvingServer) -> None:
    with connected(opened, server) as deputy:
        grant = grant_of(deputy)
        stolen = replace(grant, proof_key=dpop.new_key())
        assert deputy.run(deputy.vault.replace(grant, stolen))
        with pytest.raises(ReconsentRequired):
            act(deputy)


def test_A18_unbound_token_is_refused(opened: Open, server: ProvingServer) -> None:
    server.bearer = True
    with opened(server, "dpop = true") as deputy:
        ended = connect(deputy, server)
        assert (ended.status, ended.reason_code) == ("failed", "not_bound")
        assert [token for token in server.tokens if token.startswith("rt-")] == []  # nor does it live on
        assert deputy.run(deputy.vault.list_grants(User("alice"))) == []


@pytest.mark.parametrize("said", [{}, {"dpop_signing_alg_values_supported": ["RS256"]}])
def test_server_without_supported_proof_algorithms_stops_the_start(opened: Open, said: dict[str, Any]) -> None:
    server = OidcServer(said=said)
    with pytest.raises(SettingsError, match="ES256"), opened(server, "dpop = true"):
        pass


def test_unbound_older_grant_is_bound_by_its_next_refresh(opened: Open, server: ProvingServer) -> None:
    with connected(opened, server) as deputy:
        grant = grant_of(deputy)
        assert grant.refresh_token
        server.keys[grant.refresh_token.reveal()] = FREE
        assert deputy.run(deputy.vault.replace(grant, replace(grant, proof_key=None, expires_at=1.0)))
        assert act(deputy) == "Alice" and grant_of(deputy).proof_key not in (None, grant.proof_key)


def test_unbound_refresh_reply_ends_the_grant_and_its_tokens(opened: Open, server: ProvingServer) -> None:
    with connected(opened, server) as deputy:
        server.bearer = True
        expire(deputy)
        with pytest.raises(ReconsentRequired) as lost:
            act(deputy)
        assert lost.value.reason == "not_bound" and grant_of(deputy).status == "needs_reauth"
        assert [token for token in server.tokens if token.startswith("rt-")] == []


def test_requests_carry_no_proof_without_dpop(opened: Open) -> None:
    server = Watched()
    with opened(server) as deputy:
        assert connect(deputy, server).status == "granted"
        assert deputy.run(deputy.act("acme_me", {}, user="alice", call=Call(id="1"))) == "Alice"
        expire(deputy)
        assert deputy.run(deputy.act("acme_me", {}, user="alice", call=Call(id="2"))) == "Alice"
        assert grant_of(deputy).proof_key is None and server.seen > 5


@dataclass
class Watched(OidcServer):
    """Ensures that nothing is proven."""

    seen: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen += 1
        assert "dpop" not in request.headers and not request.headers.get("authorization", "").startswith("DPoP")
        return await super().handle_async_request(request)
