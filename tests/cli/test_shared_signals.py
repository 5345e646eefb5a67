"""Security event tokens pushed to ``deputize serve``: what each event ends, and what an attacker can send."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deputize.cli.http_app import application
from deputize.core import SettingsError
from deputize.core.web.local.server import serve
from tests.cli.tenants_world import BASE, NAMES, Tenants, settings_of, tenants
from tests.support.token_issuer import TokenIssuer, compact, new_key, signed_by_public_key, unsigned

AUDIENCE: Final = f"{BASE}/signals/ssf/acme"
CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
SSF: Final = "https://schemas.openid.net/secevent/ssf/event-type/"
HEADER: Final = {"typ": "secevent+jwt", "alg": "ES256", "kid": "one"}


class Transmitter(TokenIssuer):
    """An identity provider whose sign-in and transmitter have one issuer and one key set, as at Okta."""

    async def _answer(self, request: Request) -> Response:
        if request.url.path == "/.well-known/ssf-configuration" and not self.down:
            names = {"jwks_uri": f"{self.url}/jwks", "delivery_methods_supported": ["urn:ietf:rfc:8935"]}
            return JSONResponse({"issuer": self.url, "spec_version": "1_0", **names})
        return await super()._answer(request)

    def event(self, name: str = f"{CAEP}session-revoked", **more: Any) -> dict[str, Any]:
        """Return the claims of a token, as in the examples of CAEP 1.0; values that are None are left out."""
        now, details = int(time.time()), more.pop("details", {})
        usual = {
            **{"iss": self.url, "aud": AUDIENCE, "iat": now, "jti": str(time.monotonic_ns())},
            "sub_id": {"format": "iss_sub", "iss": self.url, "sub": "alice"},
            "events": {name: {"event_timestamp": now, "initiating_entity": "policy"} | details},
        }
        return {key: value for key, value in (usual | more).items() if value is not None}

    def signed(self, claims: dict[str, Any], **header: Any) -> str:
        return compact(HEADER | header, claims, self.keys[-1])


@asynccontextmanager
async def receiving(home: Path, **more: Any) -> AsyncIterator[tuple[Tenants, Transmitter]]:
    transmitter = Transmitter("")
    async with serve(transmitter) as transmitter.url:
        table = {"ssf_issuer": transmitter.url, "ssf_audience": AUDIENCE} | more
        issuers = {"acme": transmitter.url, "beta": "https://login.beta.test"}
        async with tenants(home, issuers, acme=table) as world:
            yield world, transmitter


async def push(world: Tenants, token: str | bytes, kind: str = "application/secevent+jwt") -> httpx.Response:
    headers = {"content-type": kind, "accept": "application/json"}
    return await world.http.post("/signals/ssf/acme", content=token, headers=headers)


async def test_each_event_ends_what_the_documentation_says(home: Path, subtests: pytest.Subtests) -> None:
    async with receiving(home) as (world, transmitter):
        for name, ends, access in (
            (f"{CAEP}session-revoked", True, False),
            (f"{CAEP}credential-change", True, False),
            (f"{RISC}account-disabled", True, True),
            (f"{RISC}account-purged", True, True),
            (f"{CAEP}device-compliance-change", False, False),
            (f"{SSF}verification", False, False),
        ):
            with subtests.test(name):
                before, cookie = len(await world.audited()), await world.sign_in("alice", issued=time.time() + 5)
                bob, other = await world.sign_in("bob"), await world.sign_in("alice", "beta")
                answer = await push(world, transmitter.signed(transmitter.event(name, details={"state": "x"})))
                assert (answer.status_code, answer.content) == (202, b"")
                assert await world.is_signed_in(cookie) is not ends
                assert await world.is_signed_in(bob) and await world.is_signed_in(other, "beta")
                assert len(await world.audited()) - before == access
        assert await world.audited() == ["SSF: account-disabled", "SSF: account-purged"]
        assert await world.audited("user.sessions_ended") == ["SSF: session-revoked", "SSF: credential-change"]


async def test_session_that_an_earlier_id_token_begins_later_ends_too(home: Path) -> None:
    async with receiving(home) as (world, transmitter):
        assert (await push(world, transmitter.signed(transmitter.event()))).status_code == 202
        assert not await world.is_signed_in(await world.sign_in("alice", issued=time.time() - 60))
        assert await world.is_signed_in(await world.sign_in("alice", issued=time.time() + 1))


async def test_subjects_of_this_issuer_are_read_in_each_form(home: Path, subtests: pytest.Subtests) -> None:
    async with receiving(home) as (world, transmitter):
        simple = {"format": "iss_sub", "iss": transmitter.url, "sub": "alice"}
        name = f"{RISC}account-disabled"
        for form in (
            {"sub_id": {"format": "complex", "user": simple, "device": {"format": "opaque", "id": "d"}}},
            {"sub_id": {"user": simple}},
            {"sub_id": None, "details": {"subject": {"user": simple}}},
            {
                "sub_id": None,
                "details": {"subject": {"subject_type": "iss-sub", "iss": transmitter.url, "sub": "alice"}},
            },
            {"sub_id": {"format": "opaque", "id": "alice"}},
            {"aud": [AUDIENCE, "https://other.test"]},
        ):
            with subtests.test(str(form)[:60]):
                cookie = await world.sign_in("alice")
                more: dict[str, Any] = dict(form)
                assert (await push(world, transmitter.signed(transmitter.event(name, **more)))).status_code == 202
                assert not await world.is_signed_in(cookie)


async def test_other_subjects_are_refused_and_end_nothing(home: Path, subtests: pytest.Subtests) -> None:
    async with receiving(home) as (world, transmitter):
        cookies = [await world.sign_in("alice"), await world.sign_in("alice", "beta")]
        for subject in (
            {"format": "iss_sub", "iss": "https://login.beta.test", "sub": "alice"},
            {"format": "iss_sub", "sub": "alice"},
            {"format": "iss_sub", "iss": transmitter.url, "sub": ["alice"]},
            {"format": "email", "email": "alice"},
            {"format": "phone_number", "phone_number": "alice"},
            {"user": {"format": "iss_sub", "iss": transmitter.url, "sub": ""}},
            "alice",
            {},
            None,
        ):
            with subtests.test(str(subject)):
                event = transmitter.event(f"{RISC}account-disabled", sub_id=subject)
                answer = await push(world, transmitter.signed(event))
                assert (answer.status_code, answer.json()["err"]) == (400, "invalid_request")
        assert await world.is_signed_in(cookies[0]) and await world.is_signed_in(cookies[1], "beta")
        assert await world.audited() == []


async def test_forged_and_foreign_tokens_are_refused_with_the_code_of_the_rfc(
    home: Path, subtests: pytest.Subtests
) -> None:
    async with receiving(home) as (world, transmitter):
        rsa, now = RSAKey.generate_key(2048, {"kid": "rsa"}), int(time.time())
        transmitter.keys.insert(0, rsa)
        cookie, good = await world.sign_in("alice"), transmitter.event()
        refused = {
            "another key": (compact(HEADER, good, new_key()), "invalid_key"),
            "alg none": (unsigned(good, HEADER | {"alg": "none"}), "invalid_key"),
            "HS256 with the public key": (signed_by_public_key(good, HEADER | {"kid": "rsa"}, rsa), "invalid_key"),
            "no JWT": ("x", "invalid_request"),
            "empty": ("", "invalid_request"),
            "huge": ("x" * 100_000, "invalid_request"),
            "an id_token": (transmitter.signed(good, typ="JWT"), "invalid_request"),
            "an access token": (transmitter.token("alice"), "invalid_request"),
            "another issuer": (transmitter.signed(good | {"iss": "https://login.beta.test"}), "invalid_issuer"),
            "another audience": (transmitter.signed(good | {"aud": "https://other.test"}), "invalid_audience"),
            "no audience": (transmitter.signed({**good, "aud": None}), "invalid_audience"),
            "the future": (transmitter.signed(good | {"iat": now + 3600}), "invalid_request"),
            "too old": (transmitter.signed(good | {"iat": now - 8 * 86400}), "invalid_request"),
            "expired": (transmitter.signed(good | {"exp": now - 3600}), "invalid_request"),
            "no time": (transmitter.signed(good | {"iat": "now"}), "invalid_request"),
            "no jti": (transmitter.signed(good | {"jti": ""}), "invalid_request"),
            "no events": (transmitter.signed(good | {"events": {}}), "invalid_request"),
            "an event that is no object": (
                transmitter.signed(good | {"events": {f"{CAEP}session-revoked": 7}}),
                "invalid_request",
            ),
            "hundreds of events": (
                transmitter.signed(good | {"events": {f"urn:{n}": {} for n in range(300)}}),
                "invalid_request",
            ),
        }
        for what, (token, code) in refused.items():
            with subtests.test(what):
                answer = await push(world, token)
                assert (answer.status_code, answer.json()["err"]) == (400, code), answer.text
                assert answer.headers["content-language"] == "en" and answer.json()["description"]
        assert (await push(world, transmitter.signed(good), "application/json")).json()["err"] == "invalid_request"
        assert await world.is_signed_in(cookie) and await world.audited("user.sessions_ended") == []
        assert (await push(world, transmitter.signed(good))).status_code == 202
        assert not await world.is_signed_in(cookie)


async def test_replayed_token_is_accepted_and_has_no_effect(home: Path) -> None:
    async with receiving(home) as (world, transmitter):
        token = transmitter.signed(transmitter.event(f"{RISC}account-disabled"))
        assert (await push(world, token)).status_code == 202
        cookie = await world.sign_in("alice")  # hired again
        assert (await push(world, token)).status_code == 202
        assert await world.is_signed_in(cookie) and len(await world.audited()) == 1


async def test_unreachable_keys_let_the_transmitter_try_again(home: Path) -> None:
    async with receiving(home) as (world, transmitter):
        token, transmitter.down = transmitter.signed(transmitter.event(f"{RISC}account-disabled")), True
        assert (await push(world, token)).status_code == 503 and await world.audited() == []
        transmitter.down = False
        assert (await push(world, token)).status_code == 202 and len(await world.audited()) == 1


def test_half_of_the_settings_is_refused(home: Path) -> None:
    issuers = {name: f"https://login.{name}.test" for name in NAMES}
    with pytest.raises(SettingsError, match="belong together"):
        application(settings_of(home, issuers, acme={"ssf_issuer": "https://login.acme.test"}))
