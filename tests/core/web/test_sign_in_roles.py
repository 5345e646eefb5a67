"""Roles come from the claims of a sign-in: of the id_token, or of userinfo if the id_token lacks them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.requests import Request

from deputize.core.roles import UNKNOWN_ROLES, RoleMap
from deputize.core.vault.user import User
from tests.core.web.test_sign_in import Browser, Place, place
from tests.core.web.web_application import PAGES_SESSION as SESSION
from tests.support.oidc_server import ISSUER, OidcServer

MAP = RoleMap.of({"finance": ["groups:finance"], "auditor": ["https://acme.example/roles:Auditor"]})


async def signed_in(server: OidcServer, **more: Any) -> tuple[Place, Browser]:
    here = await place(server, **{"roles": MAP} | more)
    browser = here.browser()
    assert (await browser.sign_in()).headers["location"] == "/connections"
    return here, browser


async def roles(here: Place, browser: Browser) -> set[str]:
    session = await here.sign_in.session(request_of(browser))
    assert session
    return set(session.roles)


def request_of(browser: Browser) -> Request:
    cookie = f"{SESSION}={browser.jar[SESSION]}".encode()
    return Request({"type": "http", "headers": [(b"cookie", cookie)]})


def server(userinfo: dict[str, Any], *in_token: str, **claims: Any) -> OidcServer:
    now = int(time.time())
    found = OidcServer(claims=lambda usual: usual | {"iat": now, "exp": now + 600} | claims)
    found.userinfo, found.in_id_token = {"sub": "alice-1"} | userinfo, in_token
    return found


def asked_userinfo(here: Place) -> bool:
    return f"{ISSUER}/me" in here.server.asked


async def test_groups_of_the_id_token_give_roles_without_a_userinfo_request() -> None:
    claims = {"groups": ["finance", "staff"], "https://acme.example/roles": "Auditor"}
    here, browser = await signed_in(server(claims, *claims))
    assert await roles(here, browser) == {"finance", "auditor"} and not asked_userinfo(here)


async def test_groups_of_userinfo_give_roles_if_the_id_token_has_none() -> None:
    here, browser = await signed_in(server({"groups": ["finance"]}))
    assert await roles(here, browser) == {"finance"}


async def test_id_token_without_groups_wins_over_userinfo_if_it_has_the_claim() -> None:
    here, browser = await signed_in(server({"groups": ["finance"]}, groups=[]))
    assert not await roles(here, browser)


@pytest.mark.parametrize(
    "userinfo",
    [
        {"sub": "bob-1", "groups": ["finance"]},
        {"sub": None, "groups": ["finance"]},
        {"groups": ["Finance", "finance ", "finance-admins"]},
        {"groups": [["finance"]]},
        {"groups": {"finance": True}},
    ],
)
async def test_userinfo_of_another_user_or_form_gives_no_role(userinfo: dict[str, Any]) -> None:
    one = server(userinfo)
    usual = one.claims
    one.claims = lambda claims: usual(claims) | {"sub": "alice-1"}
    here, browser = await signed_in(one)
    assert not await roles(here, browser) and asked_userinfo(here)


@pytest.mark.parametrize("status", [401, 500])
async def test_userinfo_that_fails_gives_no_role_and_does_not_stop_the_sign_in(status: int) -> None:
    one = server({"groups": ["finance"]})
    one.answers["/me"] = status, {}
    here, browser = await signed_in(one)
    assert not await roles(here, browser)


async def test_overage_of_entra_gives_no_role_whatever_userinfo_says() -> None:
    overage = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example/"}}}
    here, browser = await signed_in(server({"groups": ["finance"]}, **overage))
    assert not await roles(here, browser)
    assert not any("graph.example" in url for url in here.server.asked)


async def test_userinfo_is_not_requested_without_roles_in_the_settings() -> None:
    here, browser = await signed_in(server({"groups": ["finance"]}), roles=RoleMap.of({}))
    assert not await roles(here, browser) and not asked_userinfo(here)


async def test_roles_are_read_again_at_each_sign_in_under_a_new_session() -> None:
    here, browser = await signed_in(server({"groups": ["finance"]}))
    first = browser.jar[SESSION]
    here.server.userinfo = {"sub": "alice-1", "groups": []}
    await browser.post("/sign-out", form="")  # refused: no other page signs anybody out
    assert await roles(here, browser) == {"finance"}
    here.world.clock.now += 3
    kept, browser.jar = browser.jar, {}
    url = await browser.set_out()
    browser.jar |= kept
    await browser.come_back(**here.server.authorize(url))
    assert browser.jar[SESSION] != first and not await roles(here, browser)
    assert len(await here.vault.scan("session")) == 1


async def test_role_that_a_sign_in_does_not_give_is_lost_in_all_browsers_of_the_user() -> None:
    here, laptop = await signed_in(server({"groups": ["finance"], "https://acme.example/roles": "Auditor"}))
    here.server.userinfo = {"sub": "bob-1", "groups": ["finance"]}
    bobs = here.browser()
    await bobs.sign_in()
    here.server.userinfo = {"sub": "alice-1", "groups": ["finance"]}
    phone = here.browser()
    await phone.sign_in()
    assert [await roles(here, one) for one in (laptop, phone, bobs)] == [{"finance"}] * 3
    here.server.userinfo = {"sub": "alice-1", "https://acme.example/roles": "Auditor"}
    await here.browser().sign_in()
    assert [await roles(here, one) for one in (laptop, phone, bobs)] == [set(), set(), {"finance"}], "none is given"


@pytest.mark.parametrize(
    "other", [{}, {"finance": ["groups:money"]}, {"finance": ["groups:finance"], "operator": ["groups:ops"]}]
)
async def test_session_from_before_the_mapping_changed_says_nothing_about_roles(other: dict[str, Any]) -> None:
    here, browser = await signed_in(server({"groups": ["finance", "ops"]}))
    session = await here.sign_in.session(request_of(browser))
    assert session and session.user.roles is None
    before = await here.sign_in(request_of(browser))
    assert before and before.roles == frozenset({"finance"})
    world, sign_in = here.another_sign_in(roles=RoleMap.of(other))
    after, session = await sign_in(request_of(browser)), await sign_in.session(request_of(browser))
    assert after == before and after and after.roles is None and session and session.roles == frozenset()
    of_acts = world.deputy.roles
    assert await of_acts.of_act(User(before.id)) == {"finance"}
    of_acts.mapping = RoleMap.of(other)  # as `Deputy.from_settings` sets it
    assert await of_acts.of_act(User(before.id)) is UNKNOWN_ROLES
    of_acts.mapping = MAP
    assert await of_acts.of_act(User(before.id)) == {"finance"}


async def test_sign_in_without_roles_is_known_to_give_none() -> None:
    here, browser = await signed_in(server({"groups": ["staff"]}))
    user = await here.sign_in(request_of(browser))
    assert user and user.roles == frozenset()
    found = await here.world.deputy.roles.of_act(User(user.id))
    assert found == frozenset() and found is not UNKNOWN_ROLES


async def test_requested_scopes_are_those_of_the_settings() -> None:
    here = await place(scopes=["groups"])
    assert "scope=openid+groups" in (await here.browser().set_out()).replace("%20", "+")


@pytest.mark.parametrize("claims", [{}, {"hd": "evil.example"}, {"hd": ["acme.example"]}, {"hd": None}])
async def test_id_token_without_the_required_claim_signs_nobody_in(claims: dict[str, Any]) -> None:
    here = await place(server({}, **claims), required={"hd": "acme.example"})
    browser = here.browser()
    assert (await browser.sign_in()).status_code == 403 and SESSION not in browser.jar
    assert await here.vault.scan("session") == []


async def test_id_token_with_the_required_claim_signs_its_user_in() -> None:
    await signed_in(server({}, hd="acme.example"), required={"hd": "acme.example"})
