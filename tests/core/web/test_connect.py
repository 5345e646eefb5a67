"""A person opens a link, sees which application asks for what, goes to the provider and comes back."""

from __future__ import annotations

import re

import httpx
import pytest

from deputize.core import ConsentRequired, Declined, User
from deputize.sandbox import Browser, Page
from tests.core.web.web_application import SEND, World, answered, hidden, make, net, path_of, press, sign_in, words_of
from tests.support.sandbox_deputy import GMAIL


async def test_consent_page_shows_agent_scopes_user_and_duration(world: World) -> None:
    page = await world.send("GET", path_of(await world.asked("readonly", "send")), user="alice")
    text = words_of(page)
    assert page.status_code == 200
    for part in ("Mail helper wants to act for you at Google", "Connecting as alice", "10 minutes"):
        assert part in text
    for words, scope in (("read your email", "readonly"), ("send email as you", "send")):
        assert words in text and f"<code>{GMAIL}{scope}</code>" in page.text
    assert "see your email address" in text


async def test_every_consent_page_says_that_the_agent_sees_no_password_or_token(world: World) -> None:
    consent = await world.asked()
    before = await world.send("GET", path_of(consent), user="alice")
    after = await world.browser().allow(consent.link)
    for page in (before, after):
        assert "The agent never sees your password, nor the token" in words_of(page)


async def test_granted_consent_connects_the_account_and_names_it(world: World) -> None:
    consent = await world.asked()
    page = await world.browser().allow(consent.link)
    assert "Connected as alice@example.test . You can close this tab" in words_of(page)
    assert await world.status(consent) == ("granted", "")
    (connection,) = await world.deputy.connections("alice")
    assert connection.account == "alice@example.test"


async def test_denial_at_the_provider_connects_nothing_and_is_shown(world: World) -> None:
    consent = await world.asked()
    page = await world.browser().deny(consent.link)
    assert "You said no" in words_of(page) and page.status == 200
    assert (await world.status(consent))[0] == "denied"
    assert world.token_requests == 0


async def test_unticked_scope_is_named_on_the_page(world: World) -> None:
    consent = await world.asked("readonly", "send")
    page = await world.browser().allow(consent.link, untick=["gmail.send"])
    text = words_of(page)
    assert "in part" in text and "You did not allow Mail helper to send email as you" in text
    assert "read your email" not in text
    assert await world.status(consent) == ("partial", "scope_missing")


async def test_another_account_at_the_second_consent_is_refused_by_name(
    world: World,
) -> None:
    await world.connected("readonly")
    consent = await world.asked("send")
    page = await world.browser().allow(consent.link, as_="bob@example.test")
    text = words_of(page)
    assert "another Google account than alice@example.test" in text
    assert await world.status(consent) == ("failed", "account_mismatch")
    (connection,) = await world.deputy.connections("alice")
    assert (connection.account, connection.status) == ("alice@example.test", "active")
    assert world.sandbox.live_tokens()["bob@example.test"] == 0


async def test_second_consent_shows_the_account_and_its_existing_scopes(world: World) -> None:
    await world.connected("readonly")
    text = words_of(await world.send("GET", path_of(await world.asked("send")), user="alice"))
    assert "alice@example.test (no other one will be accepted)" in text
    assert "What you have allowed already read your email" in text


async def test_lost_grant_page_says_why_consent_is_needed_again(world: World) -> None:
    await world.connected("readonly")
    grant = await world.deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant is not None
    await world.deputy.refresher.end(grant, "invalid_grant")
    consent = await world.deputy.consents.require(
        User("alice"), world.deputy.apps["google"], [SEND], held=grant, why="invalid_grant"
    )
    assert "Google has ended the earlier connection" in words_of(
        await world.send("GET", path_of(consent), user="alice")
    )


async def test_two_tabs_with_two_consents_do_not_interfere(world: World) -> None:
    one, two, browser = await world.asked("readonly"), await world.asked("send"), world.browser()
    first, second = await browser.open(one.link), await browser.open(two.link)
    at_one = await browser.submit(first, first.forms[0])
    at_two = await browser.submit(second, second.forms[0])
    for page in (at_two, at_one):  # finished in the other order
        offered = page.forms[0].offers("scope")
        await browser.submit(page, page.forms[0], account="alice@example.test", scope=offered, decision="allow")
    assert [(await world.status(c))[0] for c in (one, two)] == ["granted", "granted"]


async def test_link_in_two_tabs_continues_from_the_last_one_pressed(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    first, second = await browser.open(consent.link), await browser.open(consent.link)
    await browser.submit(first, first.forms[0])
    at = await browser.submit(second, second.forms[0])
    offered = at.forms[0].offers("scope")
    page = await browser.submit(at, at.forms[0], account="alice@example.test", scope=offered, decision="allow")
    assert "is connected" in words_of(page)
    assert world.token_requests == 1


async def test_second_button_press_leads_to_the_provider_again(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    page = await browser.open(consent.link)
    for _ in range(2):
        assert "wants access" in (await browser.submit(page, page.forms[0])).text


async def test_back_button_after_the_end_shows_the_result(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    await browser.allow(consent.link)
    again = await browser.open(consent.link)
    assert "is connected" in words_of(again) and not again.forms


async def test_back_button_to_the_callback_shows_the_result_without_redeeming_again(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    await browser.allow(consent.link)
    back = next(str(q.url) for q, _ in net(browser).seen if q.url.path == "/callback/google")
    page = await browser.open(back)
    assert "is connected" in words_of(page) and "code=" not in page.url
    assert world.token_requests == 1


async def test_signed_out_user_is_redirected_to_sign_in_and_back() -> None:
    world = await make(sign_in="/login")
    consent = await world.asked()
    response = await world.send("GET", path_of(consent))
    assert response.status_code == 303
    assert response.headers["location"] == f"/login?next={path_of(consent).replace('/', '%2F')}"


async def test_signed_out_user_without_a_sign_in_page_gets_a_message(world: World) -> None:
    response = await world.send("GET", path_of(await world.asked()))
    assert response.status_code == 401 and "Sign in first" in response.text
    assert "Google" not in response.text


async def test_user_who_signed_out_in_between_is_redirected_to_sign_in() -> None:
    world = await make(sign_in="/login?from=agents")
    consent, browser = await world.asked(), world.browser()
    page = await browser.open(consent.link)
    sign_in(browser, "")
    jar = {"cookie": browser.cookies.header(net(browser).seen[0][0].url)}
    response = await world.send("POST", path_of(consent), headers=jar, data={"form": hidden(page)})
    assert response.headers["location"].startswith("/login?from=agents&next=%2Fconnect%2F")
    assert await world.status(consent) == ("pending", "")


async def test_local_mode_needs_no_sign_in() -> None:
    world = await make(local=True)
    consent = await world.asked()
    browser = world.browser("")
    assert "For alice , on this machine" in words_of(await browser.open(consent.link))
    page = await browser.allow(consent.link)
    assert "is connected" in words_of(page) and "Signed in as" not in page.text


async def test_provider_request_matches_the_page(world: World) -> None:
    url, _ = await press(world, await world.asked("readonly"))
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert f"{GMAIL}readonly".replace("/", "%2F").replace(":", "%3A") in url


# --- how it looks, and where it goes on ----------------------------------------------------------------------------


def _outcome(page: Page | httpx.Response) -> str:
    """Return the outcome that a page shows: the class of its body, which its icon has, too."""
    found = re.search(r'<main class="(\w+)">', page.text)
    assert found and page.text.count('<svg class="mark"') == 1
    return found[1]


async def test_success_partial_denial_and_failure_pages_look_different(world: World) -> None:
    seen = [_outcome(await world.browser().allow((await world.asked("readonly")).link))]
    partly = await world.asked("modify", "send")
    seen.append(_outcome(await world.browser().allow(partly.link, untick=["gmail.send"])))
    seen.append(_outcome(await world.browser().deny((await world.asked("labels")).link)))
    seen.append(_outcome(await world.browser().allow((await world.asked("send")).link, as_="bob@example.test")))
    seen.append(_outcome(await world.send("GET", "/connect/unknown", user="alice")))
    assert seen == ["done", "part", "declined", "failed", "failed"]
    rules = (await world.send("GET", "/style.css")).text
    assert all(f"main.{outcome} " in rules for outcome in seen)


async def test_failure_page_says_what_to_do_next(world: World) -> None:
    page = await world.browser().deny((await world.asked()).link)
    assert "If you change your mind, ask your agent for the same thing again." in words_of(page)
    await world.connected("readonly")
    page = await world.browser().allow((await world.asked("send")).link, as_="bob@example.test")
    assert "Ask your agent again, and choose alice@example.test at Google." in words_of(page)


async def test_finished_consent_links_to_the_connections_page(world: World) -> None:
    browser = world.browser()
    page = await browser.allow((await world.asked()).link)
    assert '<a class="button" href="/connections">Your connections</a>' in page.text
    listed = await browser.open("/connections")
    assert "Google as alice@example.test" in words_of(listed)


async def test_connections_link_in_local_mode_gives_no_approval_rights() -> None:
    world = await make(local=True)
    page = await world.browser("").allow((await world.asked()).link)
    assert 'href="/connections"' in page.text and "/me/" not in page.text
    assert "Run deputize open in a terminal" in words_of(await world.send("GET", "/connections"))


async def test_local_mode_page_shows_the_user() -> None:
    world = await make(local=True)
    page, _ = await world.look(path_of(await world.asked()))
    assert "Connecting as alice" in words_of(page)


@pytest.mark.parametrize("local", [False, True])
async def test_root_redirects_to_the_connections_page(local: bool) -> None:
    world = await make(local=local)
    root = await world.send("GET", "/", user="alice")
    assert (root.status_code, root.headers["location"]) == (303, "/connections")


async def test_page_icon_is_allowed_by_the_content_security_policy(world: World) -> None:
    page = await world.send("GET", path_of(await world.asked()), user="alice")
    assert '<link rel="icon" type="image/svg+xml" href="/favicon.svg">' in page.text
    assert "img-src 'self'" in page.headers["content-security-policy"]
    for path in ("/favicon.svg", "/favicon.ico"):
        icon = await world.send("GET", path)
        assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml") and "<svg" in icon.text


# --- Cancel --------------------------------------------------------------------------------------------------------


async def _cancelled(world: World, browser: Browser, link: str) -> Page:
    page = await browser.open(link)
    (form,) = page.forms
    assert form.offers("decision") == ["cancel"]
    return await browser.submit(page, form, decision="cancel")


async def test_cancel_denies_without_visiting_the_provider(world: World) -> None:
    with pytest.raises(ConsentRequired) as asked:
        await world.act()
    page = await _cancelled(world, world.browser(), asked.value.consent.link)
    assert "You said no Nothing was connected at Google." in words_of(page) and _outcome(page) == "declined"
    assert await world.status(asked.value.consent) == ("denied", "consent_denied")
    assert world.sandbox.requests == [] and world.events("consent.")[-1] == "consent.denied"
    assert "this works after ten minutes" in page.text
    with pytest.raises(Declined, match="declined") as declined:
        await world.act()
    assert declined.value.hint == "Go on without it. The same call asks again in 10 minutes."


async def test_callback_after_cancel_is_refused(world: World) -> None:
    consent = await world.asked()
    url, _ = await press(world, consent)
    browser = world.browser()
    await _cancelled(world, browser, consent.link)
    page = await browser.open(await answered(world, url))
    assert "You said no" in words_of(page) and world.token_requests == 0
    assert await world.deputy.connections("alice") == []


async def test_only_the_pages_own_user_and_browser_can_cancel(world: World) -> None:
    consent = await world.asked()
    opened = await world.send("GET", path_of(consent), user="alice")
    data = {"form": hidden(opened), "decision": "cancel"}
    assert (await world.send("POST", path_of(consent), user="alice", data=data)).status_code == 403
    assert (await world.status(consent))[0] == "pending"


async def test_finished_consent_cannot_be_cancelled(world: World) -> None:
    consent = await world.asked()
    browser = world.browser()
    page = await browser.open(consent.link)
    await browser.allow(consent.link)
    late = await browser.submit(page, page.forms[0], decision="cancel")
    assert late.status == 403 and (await world.status(consent))[0] == "granted"
    assert world.events("connect.")[-1] == "connect.link_ended"
