"""The numbered requirements on links, callbacks and redirects, each by its name."""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from deputize.core import RateLimited, SettingsError, User
from deputize.core.consent.consents import MAX_PENDING_CONSENTS
from deputize.core.web.app import pages_app
from tests.core.web.web_application import (
    LOCAL,
    SESSION,
    World,
    answered,
    cookies_of,
    make,
    net,
    path_of,
    press,
    query_of,
    words_of,
)
from tests.support.sandbox_deputy import GMAIL

SECURITY = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


async def test_A4_state_is_created_after_the_click_and_bound_to_the_browser_cookie(world: World) -> None:
    consent = await world.asked()
    await world.send("GET", path_of(consent), user="alice")
    assert await world.deputy.vault.scan("state") == []
    url, jar = await press(world, consent)
    assert len(await world.deputy.vault.scan("state")) == 1
    state = query_of(url)["state"]
    assert len(state) == 43 and not any(state in cookie for cookie in jar.values())
    rows = await world.deputy.vault.store.scan("state")
    assert state.encode() not in b"".join(row[0].encode() + row[1] for row in rows)


async def test_A5_each_app_has_one_callback_path(world: World) -> None:
    url, _ = await press(world, await world.asked())
    assert query_of(url)["redirect_uri"] == "https://deputy.example.test/callback/google"


async def test_A7_local_mode_callback_is_a_loopback_address() -> None:
    world = await make(local=True)
    url, _ = await press(world, await world.asked(), user="")
    assert query_of(url)["redirect_uri"] == "http://127.0.0.1:8736/callback/google"


@pytest.mark.parametrize("base", ["https://deputy.example.test", "http://192.0.2.7:8736", "http://0.0.0.0:8736"])
async def test_A7_local_mode_is_for_loopback_only(base: str) -> None:
    with pytest.raises(SettingsError):
        await make(local=True, base=base)


@pytest.mark.parametrize(
    "evil", ["//evil.example.test", "https://evil.example.test", "/\\evil.example.test", "%2f%2fevil.example.test"]
)
async def test_A8_request_content_never_decides_a_redirect(evil: str) -> None:
    world = await make(sign_in="/login")
    for path in (f"/connect/{evil}", f"/connect/x?next={evil}&return_to={evil}", f"/approve/x?next={evil}"):
        response = await world.send("GET", path, headers={"x-forwarded-host": "evil.example.test"})
        parts = urlsplit(response.headers["location"])
        (back,) = parse_qs(parts.query)["next"]
        assert (parts.scheme, parts.netloc, parts.path) == ("", "", "/login")
        assert re.match(r"/(connect|approve)/[^/\\]*$", back), back
    for path in (f"/connect/?next={evil}", "/connections/", "/health/"):
        response = await world.send("GET", path, user="alice", headers={"host": "evil.example.test"})
        assert "evil" not in response.headers.get("location", "")
        assert response.status_code in (403, 404)


@pytest.mark.parametrize("sign_in", ["//evil.example.test", "http://x.example.test", "javascript:alert(1)", "/\\evil"])
async def test_A8_sign_in_page_is_a_path_or_https(sign_in: str) -> None:
    with pytest.raises(SettingsError):
        await make(sign_in=sign_in)


async def test_A9_code_leaves_the_address_bar_and_no_page_leaks_it(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    page = await browser.allow(consent.link)
    assert page.url == consent.link
    ((_, back),) = [(q, r) for q, r in net(browser).seen if q.url.path == "/callback/google"]
    assert back.headers["referrer-policy"] == "no-referrer"
    for response in (r for q, r in net(browser).seen if q.url.host == "deputy.example.test"):
        assert SECURITY.items() <= response.headers.items()
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'; style-src 'self'; form-action" in policy
        assert policy.endswith("frame-ancestors 'none'; base-uri 'none'")
    assert "code" not in page.text.replace("<code>", "").replace("</code>", "")


async def test_A9_refused_callback_leaves_no_code_in_the_address_bar(world: World) -> None:
    page = await world.browser().open("/callback/google?code=secret&state=secret")
    assert page.url == "https://deputy.example.test/refused" and page.status == 403


async def test_A10_every_redirect_is_a_303() -> None:
    world = await make(sign_in="/login")
    browser = world.browser()
    await browser.allow((await world.asked()).link)
    ours = [r.status_code for q, r in net(browser).seen if q.url.host == "deputy.example.test"]
    ours.append((await world.send("GET", "/connections")).status_code)
    assert {status for status in ours if status >= 300} == {303}


async def test_A11_only_the_providers_own_https_url_is_opened(world: World) -> None:
    url, _ = await press(world, await world.asked())
    assert urlsplit(url)[:3] == ("https", "accounts.google.com", "/o/oauth2/v2/auth")


async def test_A12_denial_uses_up_the_state_and_its_text_is_not_shown(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    state, evil = query_of(url)["state"], "<script>alert(1)</script>"
    query = f"state={state}&error=access_denied&error_description={evil}&error_uri=javascript:alert(1)"
    back = await world.send("GET", f"/callback/google?{query}", user="alice", cookies=jar)
    page = await world.send("GET", back.headers["location"], user="alice")
    assert "You said no" in page.text and "alert" not in page.text
    again = await world.send("GET", f"/callback/google?state={state}&code=x", user="alice", cookies=jar)
    assert again.headers["location"] == path_of(consent)
    assert (await world.status(consent))[0] == "denied" and world.token_requests == 0


async def test_A12_unknown_provider_error_is_shown_in_our_own_text(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    back = f"/callback/google?state={query_of(url)['state']}&error=<img src=x onerror=alert(1)>"
    await world.send("GET", back, user="alice", cookies=jar)
    page = await world.send("GET", path_of(consent), user="alice")
    assert "Google is not connected" in page.text and "onerror" not in page.text


# --- links ---------------------------------------------------------------------------------------------------------


async def test_B1_link_is_ours_opaque_and_stored_as_a_hash(world: World) -> None:
    consent = await world.asked(user="alice@example.test")
    assert consent.link.startswith("https://deputy.example.test/connect/")
    ticket = consent.link.rpartition("/")[2]
    assert len(base64.urlsafe_b64decode(ticket + "=")) == 32
    assert b"alice" not in base64.urlsafe_b64decode(ticket + "=")
    for kind in ("ticket", "consent", "asked"):
        for record in await world.deputy.vault.scan(kind):
            assert ticket not in record.key and ticket.encode() not in record.plain.reveal()


async def test_B2_web_application_without_a_verifier_does_not_start(world: World) -> None:
    with pytest.raises(SettingsError) as refused:
        pages_app(world.deputy, verifier=None)
    assert "verifier=lambda request:" in refused.value.hint
    with pytest.raises(SettingsError):
        pages_app(world.deputy, verifier=lambda _: None, local=True)


@pytest.mark.parametrize("base", ["http://deputy.example.test", "ftp://deputy.example.test", "deputy.example.test", ""])
async def test_B2_pages_do_not_start_over_plain_http(base: str, world: World) -> None:
    world.deputy.pages = type(world.deputy.pages)(base)  # type: ignore[call-arg]
    with pytest.raises(SettingsError, match="cannot be served at"):
        pages_app(world.deputy, verifier=lambda _: None)


async def test_B3_https_cookies_are_host_bound_secure_and_lax(world: World) -> None:
    consent = await world.asked()
    opened = await world.send("GET", path_of(consent), user="alice")
    ((name, line),) = cookies_of(opened).items()
    assert name == "__Host-deputize"
    _, jar = await press(world, consent)
    (nonce,) = set(jar) - {name}
    assert re.fullmatch(r"__Host-deputize-[0-9a-f]{12}", nonce)
    flags = {part.strip().lower() for part in line.split(";")[1:]}
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= flags and not any("domain" in f for f in flags)


async def test_B3_loopback_cookies_are_named_by_the_vault_and_short_lived() -> None:
    world = await make(local=True)
    consent = await world.asked()
    opened, kept = await world.look(path_of(consent))
    ((name, line),) = cookies_of(opened).items()
    assert re.fullmatch(r"deputize-[0-9a-f]{8}", name) and set(kept) == {name, f"{name}-link"}
    flags = {part.strip().lower() for part in line.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= flags and "secure" not in flags
    _, jar = await press(world, await world.asked("send"), user="")
    assert re.fullmatch(rf"{name}-[0-9a-f]{{12}}", (set(jar) - set(kept)).pop())
    other = await make(local=True)
    _, jar = await other.look(path_of(await other.asked()))
    assert name not in jar and len(jar) == 2


async def test_B3_nonce_cookie_lives_ten_minutes_and_ends_with_the_callback() -> None:
    for world, user in ((await make(), "alice"), (await make(local=True), "")):
        consent, browser = await world.asked(), world.browser(user)
        page = await browser.open(consent.link)
        at = await browser.submit(page, page.forms[0])
        pressed = next(r for q, r in net(browser).seen if q.method == "POST")
        ((name, line),) = cookies_of(pressed).items()
        host = urlsplit(world.base).hostname or ""
        assert "max-age=600" in line.lower()
        assert name in browser.cookies.names(host)
        await browser.submit(at, at.forms[0], decision="deny")
        assert name not in browser.cookies.names(host)


async def test_B3_callback_by_post_is_refused(world: World) -> None:
    url, jar = await press(world, await world.asked())
    data = {"state": query_of(url)["state"], "code": "x"}
    assert (await world.send("POST", "/callback/google", user="alice", cookies=jar, data=data)).status_code == 405
    assert "response_mode" not in url


async def test_B4_user_who_signed_out_in_between_gets_no_token(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    callback = await answered(world, url)
    response = await world.send("GET", callback, cookies=jar)
    assert response.headers["location"] == "/refused" and world.token_requests == 0
    for kind in ("consent", "state"):
        for record in await world.deputy.vault.scan(kind):
            assert not {"code", "verifier"} & record.json.keys()


async def test_B5_another_users_link_gets_the_bytes_of_an_unknown_link(world: World) -> None:
    foreign = await world.send("GET", path_of(await world.asked()), user="bob")
    unknown = await world.send("GET", "/connect/" + "A" * 43, user="bob")
    assert (foreign.status_code, foreign.content) == (unknown.status_code, unknown.content)
    assert sorted(foreign.headers.multi_items()) == sorted(unknown.headers.multi_items())
    assert foreign.status_code == 403


async def test_B6_consent_link_shows_neither_state_nor_provider_address(world: World) -> None:
    consent = await world.asked()
    await press(world, consent)
    text = repr(consent.payload())
    assert "accounts.google.com" not in text and "state" not in consent.payload()


async def test_B7_page_names_agent_provider_scopes_and_user_and_cannot_be_framed(world: World) -> None:
    page = await world.send("GET", path_of(await world.asked()), user="alice")
    for part in ("Mail helper", "Google", "read your email", "Connecting as alice"):
        assert part in words_of(page)
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://accounts.google.com https://*.google.com;" in policy
    assert page.headers["referrer-policy"] == "same-origin"
    assert re.search(r'name="form" value="[0-9a-f]{64}"', page.text)


async def test_B8_viewing_changes_nothing_for_any_method(world: World) -> None:
    consent = await world.asked()
    before = {r.key: r.sealed for kind in ("consent", "ticket", "state") for r in await world.deputy.vault.scan(kind)}
    for number in range(50):
        method, user = ("GET", "HEAD")[number % 2], ("alice", "")[number % 3 == 0]
        await world.send(method, path_of(consent), user=user, headers={"user-agent": f"Preview/{number}"})
    after = {r.key: r.sealed for kind in ("consent", "ticket", "state") for r in await world.deputy.vault.scan(kind)}
    assert before == after
    assert "is connected" in words_of(await world.browser().allow(consent.link))


async def test_B9_subject_is_pinned_by_the_first_consent(world: World) -> None:
    await world.connected("readonly")
    await world.browser().allow((await world.asked("send")).link, as_="bob@example.test")
    (connection,) = await world.deputy.connections("alice")
    assert connection.account == "alice@example.test" and f"{GMAIL}send" not in connection.scopes
    assert world.sandbox.count("oauth2.googleapis.com", "/revoke") == 1


async def test_B10_repeated_request_gets_the_same_link(world: World) -> None:
    assert len({(await world.asked()).link for _ in range(5)}) == 1
    assert len(await world.deputy.vault.scan("consent")) == 1


async def test_B11_twenty_first_pending_consent_of_a_user_is_refused(world: World) -> None:
    app = world.deputy.apps["google"]
    for number in range(MAX_PENDING_CONSENTS):
        await world.deputy.consents.require(User("alice"), app, [f"scope-{number}"])
    with pytest.raises(RateLimited):
        await world.deputy.consents.require(User("alice"), app, ["one-more"])
    assert (await world.asked(user="bob")).status == "pending"


async def test_cookies_of_the_application_are_not_touched(world: World) -> None:
    browser = world.browser()
    await browser.allow((await world.asked()).link)
    set_by_us = {name for q, r in net(browser).seen if q.url.host == "deputy.example.test" for name in cookies_of(r)}
    assert SESSION not in set_by_us and all(name.startswith("__Host-deputize") for name in set_by_us)


async def test_plain_localhost_counts_as_loopback() -> None:
    world = await make(base="http://localhost:8736")
    opened = await world.send("GET", path_of(await world.asked()), user="alice")
    assert opened.status_code == 200 and LOCAL not in opened.text
