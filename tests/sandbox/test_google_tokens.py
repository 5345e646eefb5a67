"""Codes, refresh tokens, revocation, and refusals of the token endpoint."""

from __future__ import annotations

import httpx
import pytest

from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from deputize.sandbox.oauth import App
from tests.sandbox.registered_app import ALICE, BOB, GMAIL, ME, REDIRECT, REVOKE, TOKEN, USERINFO, Clock, TestApp

OTHER = App("other.apps.example.test", "other-secret", "other", (REDIRECT,))
OTHERS = {"client_id": OTHER.client_id, "client_secret": OTHER.client_secret}


async def works(app: TestApp, token: str) -> bool:
    return (await app.http.get(USERINFO, headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_code_yields_a_token_reply_like_googles(app: TestApp) -> None:
    flow = app.flow("readonly")
    reply = await app.http.post(TOKEN, data=flow.form(await app.code(flow)))
    body = reply.json()
    assert body["access_token"].startswith("ya29.") and body["refresh_token"].startswith("1//0")
    assert body["expires_in"] == 3599 and body["token_type"] == "Bearer" and GMAIL + "readonly" in body["scope"]
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": ""}, 400, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:8766/callback/google"}, 400, "redirect_uri_mismatch"),
        ({"redirect_uri": ""}, 400, "redirect_uri_mismatch"),
        ({"code": "4/0" + "x" * 64}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": "unknown"}, 401, "invalid_client"),
        (OTHERS, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
async def test_wrong_exchange_is_refused_and_keeps_the_code_valid(
    app: TestApp, sandbox: Sandbox, changed: dict[str, str], status: int, error: str
) -> None:
    sandbox.register(OTHER)
    flow = app.flow("readonly")
    code = await app.code(flow)
    refused = await app.http.post(TOKEN, data=flow.form(code, **changed))
    assert (refused.status_code, refused.json()["error"]) == (status, error)
    assert sandbox.live_tokens()[ALICE] == 0
    assert (await app.http.post(TOKEN, data=flow.form(code))).status_code == 200


async def test_code_used_twice_ends_its_tokens(app: TestApp, sandbox: Sandbox) -> None:
    flow = app.flow("readonly")
    code = await app.code(flow)
    first = (await app.http.post(TOKEN, data=flow.form(code))).json()
    refreshed = (await app.refresh(first["refresh_token"])).json()
    again = await app.http.post(TOKEN, data=flow.form(code))
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not await works(app, first["access_token"]) and not await works(app, refreshed["access_token"])
    assert (await app.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert sandbox.live_tokens()[ALICE] == 0


async def test_another_app_cannot_end_tokens_by_replaying_a_code(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.register(OTHER)
    flow = app.flow("readonly")
    code = await app.code(flow)
    token = (await app.http.post(TOKEN, data=flow.form(code))).json()["access_token"]
    assert (await app.http.post(TOKEN, data=flow.form(code, **OTHERS))).status_code == 400
    assert await works(app, token)


async def test_code_expires_after_ten_minutes(app: TestApp, clock: Clock) -> None:
    flow = app.flow("readonly")
    code = await app.code(flow)
    clock.now += 600
    assert (await app.http.post(TOKEN, data=flow.form(code))).json()["error"] == "invalid_grant"


async def test_client_secret_may_be_sent_by_basic_but_not_twice(app: TestApp) -> None:
    flow = app.flow("readonly")
    form = flow.form(await app.code(flow))
    twice = await app.http.post(TOKEN, data=form, auth=(GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET))
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    del form["client_secret"], form["client_id"]
    wrong = await app.http.post(TOKEN, data=form, auth=(GOOGLE_CLIENT_ID, "wrong"))
    assert wrong.status_code == 401 and wrong.headers["www-authenticate"].startswith("Basic")
    assert (await app.http.post(TOKEN, data=form, headers={"Authorization": "Basic !"})).status_code == 401
    assert (await app.http.post(TOKEN, data=form, auth=(GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET))).status_code == 200


async def test_repeated_parameter_and_json_body_are_refused(app: TestApp) -> None:
    flow = app.flow("readonly")
    form = flow.form(await app.code(flow))
    assert (await app.http.post(TOKEN, json=form)).status_code == 401
    doubled: dict[str, str | list[str]] = {**form, "code": [form["code"], form["code"]]}
    assert (await app.http.post(TOKEN, data=doubled)).json()["error"] == "invalid_request"


async def test_token_endpoint_accepts_post_only(app: TestApp) -> None:
    flow = app.flow("readonly")
    reply = await app.http.get(TOKEN, params=flow.form(await app.code(flow)))
    assert reply.status_code == 404


async def test_refresh_token_comes_with_the_first_or_a_forced_offline_consent(app: TestApp) -> None:
    assert "refresh_token" in await app.connect("send")
    assert "refresh_token" not in await app.connect("send")
    assert "refresh_token" in await app.connect("send", prompt="consent")
    assert "refresh_token" not in await app.connect("send", prompt="consent", access_type="online")
    assert "refresh_token" in await app.connect("send", as_=BOB)


async def test_refresh_keeps_the_refresh_token_and_scopes(app: TestApp) -> None:
    first = await app.connect("send")
    body = (await app.refresh(first["refresh_token"])).json()
    assert "refresh_token" not in body and body["scope"] == first["scope"]
    assert await works(app, first["access_token"]) and await works(app, body["access_token"])


async def test_refresh_can_narrow_scopes_but_not_widen_them(app: TestApp) -> None:
    refresh = (await app.connect("send"))["refresh_token"]
    assert (await app.refresh(refresh, scope="openid")).json()["scope"] == "openid"
    assert (await app.refresh(refresh, scope=GMAIL + "modify")).json()["error"] == "invalid_scope"


async def test_foreign_and_forged_refresh_tokens_are_refused(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.register(OTHER)
    first = await app.connect("send")
    for reply in (
        await app.refresh(first["refresh_token"], **OTHERS),
        await app.refresh(first["access_token"]),
        await app.refresh("1//0" + "x" * 80),
        await app.refresh(""),
    ):
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")


async def test_access_token_expires(app: TestApp, sandbox: Sandbox, clock: Clock) -> None:
    sandbox.switches.access_ttl = 60
    first = await app.connect("send")
    assert first["expires_in"] == 60
    clock.now += 59
    assert await works(app, first["access_token"])
    clock.now += 1
    assert not await works(app, first["access_token"])
    assert (await app.refresh(first["refresh_token"])).status_code == 200


async def test_all_access_tokens_can_be_ended(app: TestApp, sandbox: Sandbox) -> None:
    first = await app.connect("send")
    sandbox.expire_access_tokens()
    assert not await works(app, first["access_token"])
    assert sandbox.live_tokens()[ALICE] == 1
    assert (await app.refresh(first["refresh_token"])).status_code == 200


@pytest.mark.parametrize("token", ["", "ya29." + "x" * 100, "refresh"])
async def test_missing_forged_and_refresh_tokens_get_googles_401(app: TestApp, token: str) -> None:
    sent = (await app.connect("send"))["refresh_token"] if token == "refresh" else token
    for url in (USERINFO, f"{ME}/profile"):
        reply = await app.http.get(url, headers={"Authorization": f"Bearer {sent}"} if sent else {})
        error = reply.json()["error"]
        assert reply.status_code == 401 and 'error="invalid_token"' in reply.headers["www-authenticate"]
        assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
        assert error["errors"][0]["reason"] == "authError"


async def test_token_in_the_query_string_is_refused(app: TestApp) -> None:
    token = (await app.connect("send"))["access_token"]
    assert (await app.http.get(USERINFO, params={"access_token": token})).status_code == 401


async def test_userinfo_shows_only_granted_claims(app: TestApp) -> None:
    async def claims(scope: str) -> dict[str, object]:
        token = (await app.connect(scope=scope))["access_token"]
        reply = await app.http.get(USERINFO, headers={"Authorization": f"Bearer {token}"})
        return {**reply.json(), "status": reply.status_code}

    sub = "100000000000000000002"
    assert await claims("openid") == {"sub": sub, "status": 200}
    assert await claims("openid email") == {"sub": sub, "email": ALICE, "email_verified": True, "status": 200}
    assert (await claims("openid email profile"))["name"] == "Alice Adams"
    assert (await claims(GMAIL + "readonly"))["status"] == 403


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_revoking_either_token_ends_the_whole_grant(app: TestApp, sandbox: Sandbox, kind: str) -> None:
    mail, more = await app.connect("send"), await app.connect("readonly", prompt="consent")
    bobs = await app.connect("send", as_=BOB)
    reply = await app.http.post(REVOKE, data={"token": mail[kind]})
    assert (reply.status_code, reply.json()) == (200, {})
    assert sandbox.live_tokens() == {"decoy@example.test": 0, ALICE: 0, BOB: 2}
    assert not await works(app, more["access_token"]) and await works(app, bobs["access_token"])
    assert (await app.refresh(more["refresh_token"])).json()["error"] == "invalid_grant"
    again = await app.http.post(REVOKE, data={"token": mail[kind]})
    assert (again.status_code, again.json()["error"]) == (400, "invalid_token")


async def test_consent_after_a_revocation_is_a_first_one(app: TestApp) -> None:
    first = await app.connect("readonly")
    await app.http.post(f"{REVOKE}?token={first['refresh_token']}")
    anew = await app.connect("send", include_granted_scopes="true")
    assert "refresh_token" in anew and GMAIL + "readonly" not in anew["scope"]


async def test_revocation_ends_an_open_code(app: TestApp) -> None:
    first = await app.connect("send")
    flow = app.flow("readonly")
    code = await app.code(flow)
    await app.http.post(REVOKE, data={"token": first["access_token"]})
    assert (await app.http.post(TOKEN, data=flow.form(code))).json()["error"] == "invalid_grant"


async def test_rotation_retires_the_old_refresh_token(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.rotate = True
    first = await app.connect("send")
    second = (await app.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert (await app.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await app.refresh(second["refresh_token"])).status_code == 200


async def test_retired_refresh_token_works_only_in_its_grace_period(
    app: TestApp, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.switches.rotate, sandbox.switches.grace = True, 30
    first = await app.connect("send")
    await app.refresh(first["refresh_token"])
    clock.now += 29
    assert (await app.refresh(first["refresh_token"])).status_code == 200
    clock.now += 1
    assert (await app.refresh(first["refresh_token"])).status_code == 400


async def test_reuse_ends_the_token_family_if_switched_on(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.rotate = sandbox.switches.reuse_kills_family = True
    first = await app.connect("send")
    second = (await app.refresh(first["refresh_token"])).json()
    assert (await app.refresh(first["refresh_token"])).status_code == 400
    assert (await app.refresh(second["refresh_token"])).status_code == 400
    assert sandbox.live_tokens()[ALICE] == 0


async def test_omitted_reply_fields_are_missing(app: TestApp, sandbox: Sandbox) -> None:
    switches = sandbox.switches
    switches.omit_refresh_token = switches.omit_scope = switches.omit_expires_in = True
    assert set(await app.connect("send")) == {"access_token", "token_type"}
    assert sandbox.live_tokens()[ALICE] == 1


async def test_lost_token_reply_is_still_committed(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.rotate = True
    first = await app.connect("send")
    sandbox.switches.lose_token_reply = 1
    with pytest.raises(httpx.ReadError):
        await app.refresh(first["refresh_token"])
    assert (await app.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert sandbox.requests[-2].status is None and sandbox.requests[-1].status == 400


async def test_lost_reply_can_be_repeated_without_rotation(app: TestApp, sandbox: Sandbox) -> None:
    first = await app.connect("send")
    sandbox.switches.lose_token_reply = 2
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            await app.refresh(first["refresh_token"])
    assert (await app.refresh(first["refresh_token"])).status_code == 200


async def test_refusal_uses_up_no_lost_reply(app: TestApp, sandbox: Sandbox) -> None:
    first = await app.connect("send")
    sandbox.switches.lose_token_reply = 1
    assert (await app.refresh("1//0wrong")).status_code == 400
    with pytest.raises(httpx.ReadError):
        await app.refresh(first["refresh_token"])
