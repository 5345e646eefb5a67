"""A user's own pages: accounts, pending requests, disconnecting, and the decision on one act."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from deputize.core import ApprovalRequired, Declined, InvalidInput, Secret, User
from deputize.core.vault.grant import Account
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.pages.local_links import (
    DASHBOARD_LINK_TTL,
    approval_link,
    connections_link,
    me_token,
    user_of,
)
from deputize.sandbox import Browser, Page
from deputize.sandbox.deputies import give_grant
from deputize.sandbox.forms import Form
from tests.core.web.web_application import World, cookies_of, hidden, make, net, path_of, words_of
from tests.support.sandbox_deputy import GMAIL


def _form(page: Page, ending: str) -> Form:
    return next(form for form in page.forms if form.action.endswith(ending))


async def _id(world: World, account: str) -> str:
    """Return the id of Alice's connection with this account."""
    (found,) = [one.id for one in await world.deputy.connections("alice") if one.account == account]
    return found


def _of(page: Page, connection: str, ending: str) -> Form:
    return next(form for form in page.forms if form.action.endswith(ending) and form.offers("account") == [connection])


async def _disconnect(browser: Browser, page: Page, form: Form) -> Page:
    """Press Disconnect, and confirm if asked."""
    asked = await browser.submit(page, form)
    assert "Disconnect Google?" in words_of(asked)
    return await browser.submit(asked, _form(asked, "/revoke"), sure="yes")


async def _me(world: World, user: str = "alice") -> str:
    """Return the prefix of this user's own addresses."""
    return f"/me/{me_token(world.deputy, User(user))}" if world.base.startswith("http:") else ""


# --- connections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True])
async def test_connections_page_lists_accounts_with_scope_descriptions(local: bool) -> None:
    world = await make(local=local)
    await world.connected("readonly")
    page = await world.browser().open(f"{await _me(world)}/connections")
    text = words_of(page)
    assert "Google as alice@example.test" in text and "read your email" in text
    assert f"<code>{GMAIL}readonly</code>" in page.text


async def test_connections_page_shows_nothing_of_another_user(world: World) -> None:
    await world.connected("send")
    waiting, approval = await world.asked("readonly"), await world.approval()
    page = await world.browser("bob").open("/connections")
    assert "Nothing is connected" in words_of(page)
    for part in ("alice", waiting.id, approval.id, "Google"):
        assert part not in page.text


async def test_signed_out_user_is_redirected_to_sign_in_from_every_own_page() -> None:
    world = await make(sign_in="/login")
    for method, path, back in (
        ("GET", "/connections", "%2Fconnections"),
        ("POST", "/connections/revoke", "%2Fconnections"),
        ("POST", "/connections/renew", "%2Fconnections"),
        ("GET", "/approve/abc", "%2Fapprove%2Fabc"),
        ("POST", "/approve/abc", "%2Fapprove%2Fabc"),
    ):
        response = await world.send(method, path, data={} if method == "POST" else None)
        assert (response.status_code, response.headers["location"]) == (303, f"/login?next={back}")


async def test_pending_consent_is_linked_from_the_connections_page(world: World) -> None:
    consent = await world.asked("readonly")
    page = await world.browser().open("/connections")
    assert f'href="{consent.link}"' in page.text
    assert "Mail helper wants to act for you at Google" in words_of(page)


async def test_expired_link_is_renewed_on_the_page_for_the_same_consent(world: World) -> None:
    consent = await world.asked("readonly")
    world.clock.now += 3600
    browser = world.browser()
    page = await browser.open("/connections")
    assert consent.link not in page.text
    asking = await browser.submit(page, _form(page, "/renew"))
    assert "wants to act for you at Google" in words_of(asking) and asking.url != consent.link
    at = await browser.submit(asking, asking.forms[0])
    offered = at.forms[0].offers("scope")
    await browser.submit(at, at.forms[0], account="alice@example.test", scope=offered, decision="allow")
    assert await world.status(consent) == ("granted", "")


async def test_expired_step_up_link_is_renewed_for_the_same_consent(world: World) -> None:
    await world.connected("readonly")
    consent = await world.asked("send")
    world.clock.now += 3600
    browser = world.browser()
    page = await browser.open("/connections")
    await browser.submit(page, _form(page, "/renew"))
    (waiting,) = await world.deputy.consents.list_pending(User("alice"))
    assert (waiting.id, waiting.status) == (consent.id, "pending")


async def test_renewal_of_another_users_consent_is_refused(world: World) -> None:
    consent = await world.asked("readonly")
    await world.asked("readonly", user="bob")
    world.clock.now += 3600
    browser = world.browser("bob")
    page = await browser.open("/connections")
    assert (await browser.submit(page, _form(page, "/renew"), consent=consent.id)).status == 403


# --- disconnecting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True])
async def test_disconnect_ends_the_grant_here_and_at_the_provider_and_says_so(local: bool) -> None:
    world = await make(local=local)
    await world.connected("readonly")
    browser = world.browser()
    page = await browser.open(f"{await _me(world)}/connections")
    done = await _disconnect(browser, page, _form(page, "/revoke"))
    assert "Google is disconnected" in words_of(done) and "Google has ended the access as well" in words_of(done)
    assert not await world.deputy.connections("alice")
    assert world.sandbox.live_tokens()["alice@example.test"] == 0
    assert "Nothing is connected" in words_of(await browser.open(f"{await _me(world)}/connections"))


@pytest.mark.parametrize("local", [False, True])
async def test_disconnect_asks_for_confirmation_and_can_be_cancelled(local: bool) -> None:
    world = await make(local=local)
    await world.connected("readonly")
    browser, home = world.browser(), f"{await _me(world)}/connections"
    page = await browser.open(home)
    asked = await browser.submit(page, _form(page, "/revoke"))
    for words in ("as alice@example.test at Google", "Google ends everything that this application may do", "Keep it"):
        assert words in words_of(asked)
    (keep,) = re.findall(r'href="([^"]*/connections)">Keep it', asked.text)
    assert "Google as alice@example.test" in words_of(await browser.open(keep))
    assert len(await world.deputy.connections("alice")) == 1 and world.sandbox.live_tokens()["alice@example.test"]


async def test_disconnect_reports_doubt_while_the_provider_is_down(
    world: World,
) -> None:
    await world.connected("readonly")
    world.sandbox.switches.down = True
    browser = world.browser()
    page = await browser.open("/connections")
    text = words_of(await _disconnect(browser, page, _form(page, "/revoke")))
    assert "Google could not be reached. We keep trying to end the access there, too." in text
    assert not await world.deputy.connections("alice")


async def test_second_disconnect_says_that_nothing_is_connected(world: World) -> None:
    await world.connected("readonly")
    browser = world.browser()
    page = await browser.open("/connections")
    page = await browser.submit(page, _form(page, "/revoke"))
    for sentence in ("No agent can act as", "was not connected any more"):
        assert sentence in words_of(await browser.submit(page, _form(page, "/revoke"), sure="yes"))
    assert world.sandbox.count("oauth2.googleapis.com", "/revoke") == 1


async def test_only_the_selected_account_is_disconnected(world: World) -> None:
    await world.connected("readonly")
    app = world.deputy.apps["google"]
    consent = await world.deputy.consents.require(User("alice"), app, [f"{GMAIL}readonly"], account="bob@example.test")
    await world.browser().allow(consent.link, as_="bob@example.test")
    browser = world.browser()
    page = await browser.open("/connections")
    await _disconnect(browser, page, _of(page, await _id(world, "bob@example.test"), "/revoke"))
    (left,) = await world.deputy.connections("alice")
    assert left.account == "alice@example.test"


async def _two_accounts(world: World) -> None:
    """Connect Alice's own account, and Bob's beside it."""
    await world.connected("readonly")
    (more,) = await world.deputy.connect("alice", "google", scopes=[f"{GMAIL}readonly"], add_account=True)
    browser = world.browser()
    page = await browser.open(more.link)
    assert "This adds one more account. Choose it at Google" in words_of(page)
    await browser.allow(more.link, as_="bob@example.test")


@pytest.mark.parametrize("local", [False, True])
async def test_user_chooses_the_default_account_on_the_page(local: bool) -> None:
    world = await make(local=local)
    await _two_accounts(world)
    browser = world.browser()
    page = await browser.open(f"{await _me(world)}/connections")
    alices, bobs = await _id(world, "alice@example.test"), await _id(world, "bob@example.test")
    assert [form.offers("account") for form in page.forms if form.action.endswith("/choose")] == [[bobs]]
    page = await browser.submit(page, _of(page, await _id(world, "bob@example.test"), "/choose"))
    assert page.status == 200 and "/connections" in page.url
    assert [form.offers("account") for form in page.forms if form.action.endswith("/choose")] == [[alices]]
    grant = await world.deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant and grant.account.name == "bob@example.test"
    assert "account.chosen" in world.events()


async def test_single_account_offers_no_choice_of_default(world: World) -> None:
    await world.connected("readonly")
    page = await world.browser().open("/connections")
    assert "Use this account" not in page.text and "unless you tell them to use another" not in page.text


async def test_default_account_form_needs_its_token_and_an_own_account(world: World) -> None:
    await _two_accounts(world)
    browser = world.browser()
    page = await browser.open("/connections")
    token = dict(_of(page, await _id(world, "bob@example.test"), "/choose").data())["form"]
    jar = {c.partition("=")[0]: c.partition("=")[2] for c in browser.cookies.header(httpx.URL(world.base)).split("; ")}
    good = {"form": token, "provider": "google", "app": "google", "account": "bob@example.test"}
    for user, change in (
        *(("alice", one) for one in ({"form": ""}, {"app": ""}, {"account": ""}, {"account": "decoy@example.test"})),
        *(("alice", one) for one in ({"provider": "nowhere"}, {"provider": "slack"}, {"app": "other"})),
        ("mallory", {}),
    ):
        del jar["host-session"]
        jar["host-session"] = user
        response = await world.send("POST", "/connections/choose", cookies=jar, data=good | change)
        assert response.status_code == 403 and "account.chosen" not in world.events(), change
    jar["host-session"] = "alice"
    evil = {"origin": "https://evil.example.test"}
    for headers, method in ((evil, "POST"), ({}, "GET")):
        response = await world.send(method, "/connections/choose", cookies=jar, data=good, headers=headers)
        assert response.status_code in (403, 405)
    wrong = dict(_of(page, await _id(world, "bob@example.test"), "/revoke").data())["form"]
    response = await world.send("POST", "/connections/choose", cookies=jar, data=good | {"form": wrong})
    assert response.status_code == 403 and "account.chosen" not in world.events()
    assert (await world.send("POST", "/connections/choose", cookies=jar, data=good)).status_code == 303
    assert "account.chosen" in world.events()


async def test_switch_page_explains_itself_and_a_late_link_is_renewed(world: World) -> None:
    await world.connected("readonly")
    (switch,) = await world.deputy.connect("alice", "google", switch_account=True)
    page = await world.browser().open(switch.link)
    assert "will act for you from now on instead of alice@example.test, which stays connected" in words_of(page)
    world.clock.now += 700
    browser = world.browser()
    page = await browser.open("/connections")
    page = await browser.submit(page, _form(page, "/renew"))
    assert "instead of alice@example.test" in words_of(page)
    await browser.allow(page.url, as_="bob@example.test")
    grant = await world.deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant and grant.account.name == "bob@example.test"


async def test_disconnect_form_needs_its_token_and_a_known_account(world: World) -> None:
    await world.connected("readonly")
    opened = await world.send("GET", "/connections", user="alice")
    jar = {name: line.partition(";")[0] for name, line in cookies_of(opened).items()}
    named = {"provider": "google", "app": "google", "account": "alice@example.test"}
    good = {"form": hidden(opened), **named, "sure": "yes"}
    for change in ({"form": ""}, {"provider": "nowhere"}, {"provider": ""}, {"account": ""}, {"app": ""}):
        response = await world.send("POST", "/connections/revoke", user="alice", cookies=jar, data=good | change)
        assert response.status_code == 403
    response = await world.send("POST", "/connections/revoke", user="alice", data=good)
    assert response.status_code == 403
    evil = {"origin": "https://evil.example.test"}
    response = await world.send("POST", "/connections/revoke", user="alice", cookies=jar, data=good, headers=evil)
    assert response.status_code == 403
    assert (await world.send("GET", "/connections/revoke", user="alice", cookies=jar)).status_code == 405
    assert len(await world.deputy.connections("alice")) == 1


async def test_form_naming_another_users_connection_ends_nothing(world: World) -> None:
    await world.connected("readonly")
    [hers] = await world.deputy.connections("alice")
    bob = world.browser("bob")
    await bob.allow((await world.asked(user="bob")).link, as_="bob@example.test")
    [his] = await world.deputy.connections("bob")
    page = await bob.open("/connections")
    for change in ({"account": hers.id}, {"account": hers.account}, {"app": "work"}):
        told = await bob.submit(page, _form(page, "/revoke"), sure="yes", **change)
        assert "alice" not in told.text and "was not connected any more" in words_of(told)
    mixed = await bob.submit(page, _form(page, "/revoke"), provider="<b>nowhere", account=his.id)
    assert mixed.status == 403 and "nowhere" not in mixed.text
    assert await world.deputy.connections("alice") == [hers] and await world.deputy.connections("bob") == [his]


async def test_disconnect_cancels_pending_consents_of_the_account(world: World) -> None:
    await world.connected("readonly")
    consent = await world.asked("send")
    await world.deputy.revoke("alice", "google")
    page = await world.browser().open(consent.link)
    assert "was cancelled" in words_of(page) and page.status == 200


# --- approvals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True])
async def test_approval_page_shows_the_exact_arguments(local: bool) -> None:
    world = await make(local=local)
    await world.connected("send")
    approval = await world.approval("Dear Bob,\n\nsee you at 8.")
    page = await world.browser().open(f"{await _me(world)}/approve/{approval.id}")
    text = words_of(page)
    for part in ("Mail helper", "notes_send_note", "does something that others will see", "alice@example.test"):
        assert part in text
    for part in ("bob@example.test", "Dear Bob,\n\nsee you at 8."):
        assert f'<pre dir="auto">{part}</pre>' in page.text


@pytest.mark.parametrize("local", [False, True])
async def test_approval_on_the_page_allows_exactly_this_act(local: bool) -> None:
    world = await make(local=local)
    await world.connected("send")
    approval, browser = await world.approval(), world.browser()
    page = await browser.open(f"{await _me(world)}/approve/{approval.id}")
    done = await browser.submit(page, page.forms[0], decision="approve")
    assert "Approved" in words_of(done) and "Reject after all" in words_of(done)
    with pytest.raises(ApprovalRequired):
        await world.act("Hello Eve")
    assert await world.act() == "sent"
    assert len(world.sandbox.sent("alice@example.test")) == 1
    used = await browser.open(f"{await _me(world)}/approve/{approval.id}")
    assert "It was already sent at 08:00 UTC" in words_of(used) and "nor taken back" in words_of(used)
    late = await browser.submit(done, done.forms[0], decision="reject")
    assert "It was already sent at 08:00 UTC" in words_of(late) and not late.forms
    assert world.events("approval.")[-2:] == ["approval.used", "approval.too_late"]


async def test_rejection_on_the_page_prevents_the_act(world: World) -> None:
    await world.connected("send")
    approval, browser = await world.approval(), world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    done = await browser.submit(page, page.forms[0], decision="reject")
    assert "Rejected" in words_of(done) and "will not be done" in words_of(done)
    with pytest.raises(Declined):
        await world.act()


async def test_first_decision_counts_despite_later_button_presses(world: World) -> None:
    await world.connected("send")
    approval, browser = await world.approval(), world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    for decision in ("reject", "reject", "approve"):
        assert "Rejected" in words_of(await browser.submit(page, page.forms[0], decision=decision))
    assert world.events("approval.") == ["approval.requested", "approval.rejected"]


async def test_viewing_an_approval_decides_nothing(world: World) -> None:
    await world.connected("send")
    approval = await world.approval()
    for method in ("GET", "HEAD") * 5:
        response = await world.send(method, f"/approve/{approval.id}?decision=approve", user="alice")
        assert response.status_code == 200
    (waiting,) = await world.deputy.approvals.list_pending(User("alice"))
    assert waiting.status == "pending"


async def test_unknown_foreign_expired_and_malformed_approvals_get_the_same_refusal(world: World) -> None:
    await world.connected("send")
    approval = await world.approval()
    refusal = (await world.send("GET", "/refused")).content
    for user, one in (
        ("bob", approval.id),
        ("alice", "0" * 40),
        ("alice", approval.id.upper()),
        ("alice", "..%2f" + approval.id),
        ("alice", "\N{SNOWMAN}"),
        ("alice", "a" * 5000),
    ):
        response = await world.send("GET", f"/approve/{one}", user=user)
        assert response.status_code in (403, 404), one
        assert response.status_code == 404 or response.content == refusal
    world.clock.now += 3601
    assert (await world.send("GET", f"/approve/{approval.id}", user="alice")).content == refusal


async def test_approval_by_another_user_is_ignored(world: World) -> None:
    await world.connected("send")
    approval = await world.approval()
    for user in ("bob", "alice"):  # bob with his own form; alice's session with bob's form
        opened = await world.send("GET", "/connections", user="bob")
        jar = {name: line.partition(";")[0] for name, line in cookies_of(opened).items()}
        data = {"decision": "approve", "form": "0" * 64}
        response = await world.send("POST", f"/approve/{approval.id}", user=user, cookies=jar, data=data)
        assert response.status_code == 403
    (waiting,) = await world.deputy.approvals.list_pending(User("alice"))
    assert waiting.status == "pending"


async def test_invalid_decision_is_refused(world: World) -> None:
    await world.connected("send")
    approval, browser = await world.approval(), world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    assert (await browser.submit(page, page.forms[0], decision="maybe")).status == 403
    assert (await browser.submit(page, page.forms[0])).status == 403


async def test_connections_page_links_to_pending_approvals() -> None:
    for local in (False, True):
        world = await make(local=local)
        await world.connected("send")
        approval = await world.approval()
        browser = world.browser()
        page = await browser.open(f"{await _me(world)}/connections")
        (href,) = re.findall(rf'href="([^"]*/approve/{approval.id})"', page.text)
        assert "Mail helper wants to use the tool notes_send_note at Google as alice" in words_of(
            await browser.open(href)
        )


# --- links to them -------------------------------------------------------------------------------------------------


async def test_local_link_names_its_user_only_to_this_vault_for_a_day() -> None:
    world, other = await make(local=True), await make(local=True)
    token = me_token(world.deputy, User("alice", "acme"))
    assert user_of(world.deputy, token) == User("alice", "acme")
    assert "alice" not in token and "acme" not in token
    for deputy, odd in ((other.deputy, token), (world.deputy, token[:-2]), (world.deputy, "x"), (world.deputy, "é")):
        with pytest.raises(InvalidInput):
            user_of(deputy, odd)
    world.clock.now += DASHBOARD_LINK_TTL
    with pytest.raises(InvalidInput):
        user_of(world.deputy, token)


async def test_foreign_local_link_gets_the_standard_refusal() -> None:
    world = await make(local=True)
    refusal = await world.send("GET", "/refused")
    for path in ("/me/x/connections", f"/me/{'A' * 80}/approve/{'0' * 40}"):
        response = await world.send("GET", path)
        assert (response.status_code, response.content) == (403, refusal.content)


async def test_connections_and_approvals_need_a_local_link() -> None:
    world = await make(local=True)
    await world.connected("send")
    approval = await world.approval()
    page = await world.send("GET", "/connections")
    assert page.status_code == 200 and "deputize open" in page.text
    for part in ("alice", approval.id, "/me/", "<form"):
        assert part not in page.text
    assert (await world.send("GET", f"/approve/{approval.id}")).status_code == 404


async def test_web_application_has_no_local_links(world: World) -> None:
    assert (await world.send("GET", f"/me/{me_token(world.deputy, User('alice'))}/connections")).status_code == 404


async def test_links_lead_to_the_users_own_pages(world: World) -> None:
    assert await connections_link(world.deputy, "alice") == "https://deputy.example.test/connections"
    assert await approval_link(world.deputy, User("alice"), "abc") == "https://deputy.example.test/approve/abc"


async def test_links_of_local_pages_open_in_a_browser() -> None:
    world = await make(local=True)
    await world.connected("send")
    approval = await world.approval()
    world.deputy.pages = LocalPages(world.deputy)
    link = await connections_link(world.deputy, "alice")
    assert httpx.URL(link).host == "127.0.0.1" and urlsplit(link).path.startswith("/me/")
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
        assert "alice@example.test" in (await client.get(link)).text
        act = await client.get(await approval_link(world.deputy, "alice", approval.id))
        assert "notes_send_note" in act.text
        assert (await client.get(link, headers={"host": "evil.example.test"})).status_code == 400


async def test_pending_link_stays_on_the_page_until_used(world: World) -> None:
    consent = await world.asked("readonly")
    browser = world.browser()
    await browser.open("/connections")
    await browser.allow(path_of(consent))
    page = await browser.open("/connections")
    assert path_of(consent) not in page.text and "Connected" in page.text
    assert all(r.status_code < 500 for _, r in net(browser).seen)


async def test_two_accounts_of_one_name_can_be_disconnected_and_chosen_separately(world: World) -> None:
    await world.connected("readonly")
    vault = world.deputy.vault
    [first] = await vault.list_grants(User("alice"))
    twin = replace(first, account=Account("twin", first.account.name), access_token=Secret("ya29.twin"))
    await vault.add(twin)
    browser = world.browser()
    page = await browser.open("/connections")
    [choose] = [form for form in page.forms if form.action.endswith("/choose")]
    (acts, other) = sorted(await world.deputy.connections("alice"), key=lambda one: not one.default)
    assert choose.offers("account") == [other.id]
    page = await browser.submit(page, choose)
    acting = await vault.find_grant(User("alice"), "google", "google")
    assert page.status == 200 and acting and acting.account.subject == "twin"
    page = await _disconnect(browser, page, _of(page, acts.id, "/revoke"))
    assert f"No agent can act as {first.account.name} at Google" in words_of(page)
    [left] = [grant for grant in await vault.list_grants(User("alice")) if grant.status != "revoked"]
    assert left.account.subject == "twin"


# --- an end that is known ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True])
async def test_account_that_ends_soon_is_connected_again_from_the_page(local: bool) -> None:
    world = await make(local=local)
    await world.connected("readonly")
    browser, place = world.browser(), f"{await _me(world)}/connections"
    assert "ends this connection" not in words_of(await browser.open(place))
    [grant] = await world.deputy.vault.list_grants(User("alice"))
    ends = world.clock.now + 2 * 86400
    grant = await world.deputy.vault.replace(grant, replace(grant, refresh_ends_at=ends)) or grant
    page = await browser.open(place)
    assert "Google ends this connection on" in words_of(page) and "Connect again" in words_of(page)
    asking = await browser.submit(page, _form(page, "/renew"))
    assert "The earlier connection ends soon." in words_of(asking)
    at = await browser.submit(asking, asking.forms[0])
    offered = at.forms[0].offers("scope")
    await browser.submit(at, at.forms[0], account="alice@example.test", scope=offered, decision="allow")
    [renewed] = await world.deputy.vault.list_grants(User("alice"))
    assert renewed.refresh_ends_at == 0.0 and renewed.access_token != grant.access_token
    assert "ends this connection" not in words_of(await browser.open(place))


async def test_another_users_ending_account_is_not_renewed(world: World) -> None:
    await world.connected("readonly")
    give_grant(world.sandbox, world.deputy, "bob", [f"{GMAIL}readonly"], provider="google", email="bob@example.test")
    for user in ("alice", "bob"):
        [grant] = await world.deputy.vault.list_grants(User(user))
        await world.deputy.vault.replace(grant, replace(grant, refresh_ends_at=world.clock.now + 60))
    alices, browser = await _id(world, "alice@example.test"), world.browser("bob")
    page = await browser.open("/connections")
    assert (await browser.submit(page, _form(page, "/renew"), account=alices)).status == 403
