"""The authorization request, the page, and the way back."""

from __future__ import annotations

import pytest

from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import APP
from deputize.sandbox.oauth import App
from tests.sandbox.registered_app import ALICE, BOB, GMAIL, AppTransport, TestApp, callback


async def test_consent_page_names_app_accounts_scopes_and_both_answers(app: TestApp, sandbox: Sandbox) -> None:
    flow = app.flow("readonly", "send")
    page = await Browser(sandbox.transport()).open(flow.link)
    (form,) = page.forms
    assert page.status == 200
    assert "Sandbox &ndash; not Google" in page.text and APP.name in page.text
    assert form.offers("account") == sorted(person.email for person in sandbox.people)
    assert form.offers("scope") == [GMAIL + "readonly", GMAIL + "send"]
    assert form.offers("decision") == ["deny", "allow"]
    assert flow.state not in page.text and "Send email on your behalf" in page.text


async def test_account_is_preselected_only_by_a_login_hint(app: TestApp, sandbox: Sandbox) -> None:
    browser = Browser(sandbox.transport())
    unhinted = (await browser.open(app.flow("send").link)).forms[0]
    hinted = (await browser.open(app.flow("send", login_hint=BOB).link)).forms[0]
    assert [value for name, value in unhinted.data() if name == "account"] == []
    assert [value for name, value in hinted.data() if name == "account"] == [BOB]


async def test_approval_returns_code_state_and_scopes(app: TestApp) -> None:
    flow = app.flow("readonly")
    found = callback(await app.consent(flow))
    assert found["state"] == flow.state and found["code"].startswith("4/0") and "iss" not in found
    assert found["scope"].split() == [
        "openid",
        "https://www.googleapis.com/auth/userinfo.email",
        GMAIL + "readonly",
    ]


async def test_denial_returns_access_denied_with_the_state_and_no_code(app: TestApp, sandbox: Sandbox) -> None:
    flow = app.flow("readonly")
    page = await Browser(AppTransport(sandbox)).deny(flow.link)
    assert callback(page) == {"error": "access_denied", "state": flow.state}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"client_id": "unknown"}, "invalid_client"),
        ({"redirect_uri": "http://127.0.0.1:8765/elsewhere"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1.evil.example.test/callback/google"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://user@127.0.0.1:1/callback/google"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1:99999/callback/google"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1/callback/google?x=1"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://127.0.0.1/callback/google"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://deputy.example.test:444/callback/google"}, "redirect_uri_mismatch"),
        ({"redirect_uri": ""}, "redirect_uri_mismatch"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "openid https://www.googleapis.com/auth/unheard-of"}, "invalid_scope"),
        ({"scope": ""}, "invalid_request"),
    ],
)
async def test_bad_request_ends_on_an_error_page(
    app: TestApp, sandbox: Sandbox, changed: dict[str, str], error: str
) -> None:
    page = await Browser(sandbox.transport()).open(app.flow("readonly", **changed).link)
    assert page.status in (400, 401) and error in page.text and page.forms == ()


async def test_unregistered_redirect_is_shown_beside_registered_ones(app: TestApp, sandbox: Sandbox) -> None:
    sent = "http://127.0.0.1:8765/<elsewhere>"
    page = await Browser(sandbox.transport()).open(app.flow("readonly", redirect_uri=sent).link)
    assert "http://127.0.0.1:8765/&lt;elsewhere&gt;" in page.text
    assert "http://127.0.0.1/callback/google" in page.text and "<elsewhere>" not in page.text


async def test_alice_is_listed_first_and_pages_follow_dark_mode(app: TestApp, sandbox: Sandbox) -> None:
    page = await Browser(sandbox.transport()).open(app.flow("readonly").link)
    [form] = page.forms
    assert form.offers("account")[:2] == [ALICE, BOB]
    assert "prefers-color-scheme:dark" in page.text


@pytest.mark.parametrize("port", ["", ":1", ":65535"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_loopback_redirect_is_valid_on_any_port(app: TestApp, sandbox: Sandbox, host: str, port: str) -> None:
    flow = app.flow("readonly", redirect_uri=f"http://{host}{port}/callback/google")
    assert (await Browser(sandbox.transport()).open(flow.link)).status == 200


async def test_redirect_is_valid_once_registered(app: TestApp, sandbox: Sandbox) -> None:
    uri = "https://other.example.test/back"
    flow = app.flow("readonly", redirect_uri=uri)
    assert (await Browser(sandbox.transport()).open(flow.link)).status == 400
    sandbox.register(App(APP.client_id, APP.client_secret, APP.name, (uri,)))
    assert (await Browser(sandbox.transport()).open(flow.link)).status == 200


async def test_flow_without_a_challenge_works_unless_pkce_is_strict(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.strict_pkce = False
    bare = app.flow("readonly", code_challenge="", code_challenge_method="")
    assert "code" in callback(await app.consent(bare))
    plain = app.flow("readonly", code_challenge_method="plain")
    assert (await Browser(sandbox.transport()).open(plain.link)).status == 400


async def test_unticked_scope_is_not_granted_and_basic_ones_always_are(app: TestApp) -> None:
    reply = await app.connect("readonly", "send", untick=["gmail.send"])
    assert GMAIL + "readonly" in reply["scope"] and GMAIL + "send" not in reply["scope"]
    none = await app.connect("readonly", untick=[GMAIL + "readonly"], as_=BOB)
    assert none["scope"].split() == ["openid", "https://www.googleapis.com/auth/userinfo.email"]


async def test_unrequested_scope_cannot_be_added_to_the_form(app: TestApp, sandbox: Sandbox) -> None:
    browser = Browser(AppTransport(sandbox))
    page = await browser.open(app.flow("readonly").link)
    scopes = [GMAIL + "readonly", GMAIL + "modify"]
    done = await browser.submit(page, page.forms[0], account=ALICE, scope=scopes, decision="allow")
    assert GMAIL + "modify" not in callback(done)["scope"]


async def test_approval_without_an_account_is_refused(app: TestApp, sandbox: Sandbox) -> None:
    browser = Browser(AppTransport(sandbox))
    page = await browser.open(app.flow("readonly").link)
    assert (await browser.submit(page, page.forms[0], decision="allow")).status == 400
    stranger = await browser.submit(page, page.forms[0], decision="allow", account="eve@example.test")
    assert stranger.status == 400


async def test_earlier_scopes_are_included_only_on_request(app: TestApp) -> None:
    await app.connect("readonly")
    alone = await app.connect("send")
    assert GMAIL + "readonly" not in alone["scope"]
    both = await app.connect("labels", include_granted_scopes="true")
    assert {GMAIL + "labels", GMAIL + "send", GMAIL + "readonly"} <= set(both["scope"].split())


async def test_earlier_scopes_of_another_account_are_never_included(app: TestApp) -> None:
    await app.connect("readonly", as_=BOB)
    reply = await app.connect("send", include_granted_scopes="true")
    assert GMAIL + "readonly" not in reply["scope"]


async def test_prompt_none_is_answered_without_a_page(app: TestApp, sandbox: Sandbox) -> None:
    page = await Browser(AppTransport(sandbox)).open(app.flow("send", prompt="none").link)
    assert callback(page)["error"] == "interaction_required"


async def test_deny_switch_refuses_a_consent_without_a_page(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.deny = True
    assert callback(await app.consent(app.flow("send")))["error"] == "access_denied"


async def test_account_switch_makes_another_account_consent(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.swap_account = BOB
    await app.connect("send")
    assert sandbox.live_tokens() == {"decoy@example.test": 0, ALICE: 0, BOB: 2}


@pytest.mark.parametrize(
    ("switch", "iss"),
    [("right", "https://accounts.google.com"), ("https://evil.example.test", "https://evil.example.test")],
)
async def test_issuer_switch_adds_an_issuer_to_every_callback(
    app: TestApp, sandbox: Sandbox, switch: str, iss: str
) -> None:
    sandbox.switches.iss = switch
    assert callback(await app.consent(app.flow("send")))["iss"] == iss
    denied = await Browser(AppTransport(sandbox)).deny(app.flow("send").link)
    assert callback(denied)["iss"] == iss
