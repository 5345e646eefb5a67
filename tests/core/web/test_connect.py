"""A person opens a link, sees who asks for what, goes to the provider and comes back."""

from __future__ import annotations

import re

import httpx
import pytest

from deputize.core import ConsentRequired, Declined, User
from deputize.sandbox import Browser, Page
from tests.core.web.web_application import SEND, World, answered, hidden, make, net, path_of, press, sign_in, words_of
from tests.support.sandbox_deputy import GMAIL


async def test_the_page_says_who_wants_what_for_whom_and_for_how_long(world: World) -> None:
    page = await world.send("GET", path_of(await world.asked("readonly", "send")), user="alice")
    text = words_of(page)
    assert page.status_code == 200
    for part in ("Mail helper wants to act for you at Google", "Connecting as alice", "10 minutes"):
        assert part in text
    for words, scope in (("read your email", "readonly"), ("send email as you", "send")):
        assert words in text and f"<code>{GMAIL}{scope}</code>" in page.text
    assert "see your email address" in text


async def test_every_page_of_a_consent_says_that_the_agent_sees_neither_password_nor_token(world: World) -> None:
    consent = await world.asked()
    before = await world.send("GET", path_of(consent), user="alice")
    after = await world.browser().allow(consent.link)
    for page in (before, after):
        assert "The agent never sees your password, nor the token" in words_of(page)


async def test_a_yes_connects_the_account_and_the_page_names_it(world: World) -> None:
    consent = await world.asked()
    page = await world.browser().allow(consent.link)
    assert "Connected as alice@example.test . You can close this tab" in words_of(page)
    assert await world.status(consent) == ("granted", "")
    (connection,) = await world.deputy.connections("alice")
    assert connection.account == "alice@example.test"


async def test_a_no_at_the_provider_connects_nothing_and_says_so(world: World) -> None:
    consent = await world.asked()
    page = await world.browser().deny(consent.link)
    assert "You said no" in words_of(page) and page.status == 200
    assert (await world.status(consent))[0] == "denied"
    assert world.token_requests == 0


async def test_an_unticked_scope_is_named_on_the_page(world: World) -> None:
    consent = await world.asked("readonly", "send")
    page = await world.browser().allow(consent.link, untick=["gmail.send"])
    text = words_of(page)
    assert "in part" in text and "You did not allow Mail helper to send email as you" in text
    assert "read your email" not in text
    assert await world.status(consent) == ("partial", "scope_missing")


async def test_other_account_at_the_second_consent_is_refused_by_name(
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


async def test_a_second_consent_shows_the_account_and_what_it_has_allowed_already(world: World) -> None:
    await world.connected("readonly")
    text = words_of(await world.send("GET", path_of(await world.asked("send")), user="alice"))
    assert "alice@example.test (no other one will be accepted)" in text
    assert "What you have allowed already read your email" in text


async def test_a_lost_grant_says_why_it_is_asked_for_again(world: World) -> None:
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


async def test_two_tabs_for_two_consents_do_not_disturb_each_other(world: World) -> None:
    one, two, browser = await world.asked("readonly"), await world.asked("send"), world.browser()
    first, second = await browser.open(one.link), await browser.open(two.link)
    at_one = await browser.submit(first, first.forms[0])
    at_two = await browser.submit(second, second.forms[0])
    for page in (at_two, at_one):  # finished in the other order
        offered = page.forms[0].offers("scope")
        await browser.submit(page, page.forms[0], account="alice@example.test", scope=offered, decision="allow")
    assert [(await world.status(c))[0] for c in (one, two)] == ["granted", "granted"]


async def test_the_same_link_in_two_tabs_leads_on_from_the_one_pressed_last(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    first, second = await browser.open(consent.link), await browser.open(consent.link)
    await browser.submit(first, first.forms[0])
    at = await browser.submit(second, second.forms[0])
    offered = at.forms[0].offers("scope")
    page = await browser.submit(at, at.forms[0], account="alice@example.test", scope=offered, decision="allow")
    assert "is connected" in words_of(page)
    assert world.token_requests == 1


async def test_pressing_the_button_twice_leads_to_the_provider_both_times(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    page = await browser.open(consent.link)
    for _ in range(2):
        assert "wants access" in (await browser.submit(page, page.forms[0])).text


async def test_the_back_button_after_the_end_shows_how_it_went(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    await browser.allow(consent.link)
    again = await browser.open(consent.link)
    assert "is connected" in words_of(again) and not again.forms


async def test_the_back_button_to_the_callback_shows_how_it_went_and_redeems_nothing_again(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    await browser.allow(consent.link)
    back = next(str(q.url) for q, _ in net(browser).seen if q.url.path == "/callback/google")
    page = await browser.open(back)
    assert "is connected" in words_of(page) and "code=" not in page.url
    assert world.token_requests == 1


async def test_nobody_signed_in_is_sent_to_the_hosts_sign_in_with_a_way_back() -> None:
    world = await make(sign_in="/login")
    consent = await world.asked()
    response = await world.send("GET", path_of(consent))
    assert response.status_code == 303
    assert response.headers["location"] == f"/login?next={path_of(consent).replace('/', '%2F')}"


async def test_nobody_signed_in_without_a_sign_in_page_is_told_to_sign_in(world: World) -> None:
    response = await world.send("GET", path_of(await world.asked()))
    assert response.status_code == 401 and "Sign in first" in response.text
    assert "Google" not in response.text


async def test_whoever_signs_out_while_the_page_is_open_is_sent_to_sign_in_by_the_button() -> None:
    world = await make(sign_in="/login?from=agents")
    consent, browser = await world.asked(), world.browser()
    page = await browser.open(consent.link)
    sign_in(browser, "")
    jar = {"cookie": browser.cookies.header(net(browser).seen[0][0].url)}
    response = await world.send("POST", path_of(consent), headers=jar, data={"form": hidden(page)})
    assert response.headers["location"].startswith("/login?from=agents&next=%2Fconnect%2F")
    assert await world.status(consent) == ("pending", "")


async def test_in_local_mode_nobody_has_to_sign_in() -> None:
    world = await make(local=True)
    consent = await world.asked()
    browser = world.browser("")
    assert "For alice , on this machine" in words_of(await browser.open(consent.link))
    page = await browser.allow(consent.link)
    assert "is connected" in words_of(page) and "Signed in as" not in page.text


async def test_the_provider_gets_exactly_what_the_page_said(world: World) -> None:
    url, _ = await press(world, await world.asked("readonly"))
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert f"{GMAIL}readonly".replace("/", "%2F").replace(":", "%3A") in url


# --- how it looks, and where it goes on ----------------------------------------------------------------------------


def _outcome(page: Page | httpx.Response) -> str:
    """What a page is painted as: the class of its body, which its icon has, too."""
    found = re.search(r'<main class="(\w+)">', page.text)
    assert found and page.text.count('<svg class="mark"') == 1
    return found[1]


async def test_success_a_part_a_no_and_a_failure_look_different(world: World) -> None:
    seen = [_outcome(await world.browser().allow((await world.asked("readonly")).link))]
    partly = await world.asked("modify", "send")
    seen.append(_outcome(await world.browser().allow(partly.link, untick=["gmail.send"])))
    seen.append(_outcome(await world.browser().deny((await world.asked("labels")).link)))
    seen.append(_outcome(await world.browser().allow((await world.asked("send")).link, as_="bob@example.test")))
    seen.append(_outcome(await world.send("GET", "/connect/unknown", user="alice")))
    assert seen == ["done", "part", "declined", "failed", "failed"]
    rules = (await world.send("GET", "/style.css")).text
    assert all(f"main.{outcome} " in rules for outcome in seen)


async def test_what_failed_says_what_to_do_next(world: World) -> None:
    page = await world.browser().deny((await world.asked()).link)
    assert "If you change your mind, ask your agent for the same thing again." in words_of(page)
    await world.connected("readonly")
    page = await world.browser().allow((await world.asked("send")).link, as_="bob@example.test")
    assert "Ask your agent again, and choose alice@example.test at Google." in words_of(page)


async def test_after_a_consent_ones_connections_are_one_click_away(world: World) -> None:
    browser = world.browser()
    page = await browser.allow((await world.asked()).link)
    assert '<a class="button" href="/connections">Your connections</a>' in page.text
    listed = await browser.open("/connections")
    assert "Google as alice@example.test" in words_of(listed)


async def test_in_local_mode_that_link_gives_nobody_the_power_to_approve() -> None:
    world = await make(local=True)
    page = await world.browser("").allow((await world.asked()).link)
    assert 'href="/connections"' in page.text and "/me/" not in page.text
    assert "Run deputize open in a terminal" in words_of(await world.send("GET", "/connections"))


async def test_in_local_mode_too_the_page_says_as_whom() -> None:
    world = await make(local=True)
    page, _ = await world.look(path_of(await world.asked()))
    assert "Connecting as alice" in words_of(page)


@pytest.mark.parametrize("local", [False, True])
async def test_the_root_leads_to_ones_connections(local: bool) -> None:
    world = await make(local=local)
    root = await world.send("GET", "/", user="alice")
    assert (root.status_code, root.headers["location"]) == (303, "/connections")


async def test_a_tab_has_an_icon_that_the_policy_lets_it_load(world: World) -> None:
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


async def test_cancel_is_a_no_without_a_visit_to_the_provider_and_the_agent_is_told(world: World) -> None:
    with pytest.raises(ConsentRequired) as asked:
        await world.act()
    page = await _cancelled(world, world.browser(), asked.value.consent.link)
    assert "You said no Nothing was connected at Google." in words_of(page) and _outcome(page) == "declined"
    assert await world.status(asked.value.consent) == ("denied", "consent_denied")
    assert world.sandbox.requests == [] and world.events("consent.")[-1] == "consent.denied"
    with pytest.raises(Declined):
        await world.act()


async def test_cancel_after_continue_lets_nothing_come_back(world: World) -> None:
    consent = await world.asked()
    url, _ = await press(world, consent)
    browser = world.browser()
    await _cancelled(world, browser, consent.link)
    page = await browser.open(await answered(world, url))
    assert "You said no" in words_of(page) and world.token_requests == 0
    assert await world.deputy.connections("alice") == []


async def test_only_the_person_and_browser_that_were_shown_the_page_can_cancel(world: World) -> None:
    consent = await world.asked()
    opened = await world.send("GET", path_of(consent), user="alice")
    data = {"form": hidden(opened), "decision": "cancel"}
    assert (await world.send("POST", path_of(consent), user="alice", data=data)).status_code == 403
    assert (await world.status(consent))[0] == "pending"


async def test_what_is_over_cannot_be_cancelled(world: World) -> None:
    consent = await world.asked()
    browser = world.browser()
    page = await browser.open(consent.link)
    await browser.allow(consent.link)
    late = await browser.submit(page, page.forms[0], decision="cancel")
    assert late.status == 403 and (await world.status(consent))[0] == "granted"
    assert world.events("connect.")[-1] == "connect.link_ended"
