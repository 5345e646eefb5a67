"""Links of local mode: each is bound to the browser that opens it first, and is invalid in any other."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from deputize.core import Consent, User
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.pages.local_links import approval_link, connections_link, me_token, show_anew, unbind
from tests.core.web.web_application import World, cookies_of, hidden, make, path_of, press, values_of, words_of


@pytest.fixture
async def world() -> World:
    """The pages on loopback."""
    return await make(local=True)


async def _refusal(world: World) -> bytes:
    return (await world.send("GET", "/refused")).content


async def _bound(world: World, path: str) -> dict[str, str]:
    """Open this link; return the cookies of the browser."""
    shown, jar = await world.look(path)
    assert shown.status_code == 200
    return jar


def _me(world: World) -> str:
    return f"/me/{me_token(world.deputy, User('alice'))}"


async def test_consent_opened_in_one_browser_opens_in_no_other(world: World) -> None:
    consent, person = await world.asked(), world.browser("")
    page = await person.open(consent.link)
    assert "wants to act for you" in words_of(page)
    for _ in range(2):
        stranger = await world.browser("").open(consent.link)
        assert (stranger.status, stranger.text.encode()) == (403, await _refusal(world))
    assert world.events("connect.")[-1] == "connect.browser_mismatch"
    assert "is connected" in words_of(await person.allow(consent.link))
    assert (await world.browser("").open(consent.link)).status == 403  # nor what came of it


async def test_another_browser_can_neither_finish_nor_cancel_a_consent(world: World) -> None:
    consent = await world.asked()
    jar = await _bound(world, path_of(consent))
    theirs, _ = await world.look(path_of(other := await world.asked("send")))
    for cookies in ({}, {name: "x" * 43 for name in jar}, {n: v for n, v in jar.items() if not n.endswith("-link")}):
        for decision in ("", "cancel"):
            data = {"form": hidden(theirs), "decision": decision}
            assert (await world.send("POST", path_of(consent), cookies=cookies, data=data)).status_code == 403
    assert {await world.status(one) for one in (consent, other)} == {("pending", "")}
    assert not world.events("consent.opened")


async def test_form_sent_to_an_unopened_link_does_nothing(world: World) -> None:
    consent = await world.asked()
    assert (await world.send("POST", path_of(consent), data={"decision": "cancel"})).status_code == 403
    assert await world.status(consent) == ("pending", "")


@pytest.mark.parametrize("page", ["connections", "approve"])
async def test_personal_link_opens_in_one_browser_only(page: str, world: World) -> None:
    await world.connected("send")
    approval, me = await world.approval(), _me(world)
    path = f"{me}/{page}" if page == "connections" else f"{me}/approve/{approval.id}"
    jar = await _bound(world, path)
    for other in (path, f"{me}/connections", f"{me}/approve/{approval.id}"):
        shown, _ = await world.look(other)
        assert (shown.status_code, shown.content) == (403, await _refusal(world))
        assert (await world.send("GET", other, cookies=jar)).status_code == 200
    form = hidden(await world.send("GET", f"{me}/approve/{approval.id}", cookies=jar))
    data = {"form": form, "decision": "approve"}
    without = {name: value for name, value in jar.items() if not name.endswith("-link")}
    assert (await world.send("POST", f"{me}/approve/{approval.id}", cookies=without, data=data)).status_code == 403
    assert (await world.deputy.get_approval(approval.id, by="alice")) == approval


async def test_cookie_of_one_link_opens_no_other(world: World) -> None:
    jar = await _bound(world, f"{_me(world)}/connections")
    mine = _me(world)
    await _bound(world, f"{mine}/connections")
    assert (await world.send("GET", f"{mine}/connections", cookies=jar)).status_code == 403


async def test_link_cookie_is_limited_to_its_path_and_unreadable_by_pages(world: World) -> None:
    consent, me = await world.asked(), _me(world)
    for path, below in ((path_of(consent), path_of(consent)), (f"{me}/connections", me)):
        ((name, line),) = cookies_of(await world.send("GET", path)).items()
        flags = {part.strip().lower() for part in line.split(";")[1:]}
        assert name.endswith("-link")
        assert {"httponly", "samesite=lax", f"path={below.lower()}", "max-age=86400"} <= flags


async def test_browser_without_cookies_sees_nothing_and_is_told_why(world: World) -> None:
    consent = await world.asked()
    first = await world.send("GET", f"{path_of(consent)}?return_to=")
    assert first.headers["location"] == f"{path_of(consent)}?return_to=&cookie=1"
    again = await world.send("GET", first.headers["location"])
    assert again.status_code == 400 and "Allow cookies for this address" in words_of(again)
    assert "Google" not in again.text
    assert "wants to act for you" in words_of(await world.browser("").open(consent.link))


async def test_only_one_of_two_concurrent_browsers_opens_the_link(world: World) -> None:
    consent = await world.asked()
    pages = await asyncio.gather(*(world.browser("").open(consent.link) for _ in range(8)))
    assert sorted(page.status for page in pages) == [200] + [403] * 7


async def test_unknown_link_is_bound_to_no_browser(world: World) -> None:
    for path in ("/connect/x", "/me/x/connections", f"/me/{'A' * 80}/approve/{'0' * 40}"):
        shown = await world.send("GET", path, cookies={"deputize-link": "x"})
        assert (shown.status_code, shown.content) == (403, await _refusal(world))
    assert not await world.deputy.vault.scan("browser")


async def test_consent_opens_from_the_users_own_page_in_another_browser(world: World) -> None:
    consent = await world.asked()
    assert (await world.browser("").open(consent.link)).status == 200
    person = world.browser("")
    page = await person.open(f"{_me(world)}/connections")
    assert consent.link not in page.text
    (form,) = [form for form in page.forms if form.action.endswith("/renew")]
    assert "wants to act for you" in words_of(await person.submit(page, form))


async def test_links_are_new_each_time_and_bound_to_their_first_browser(world: World) -> None:
    world.deputy.pages = LocalPages(world.deputy)
    links = [await connections_link(world.deputy, "alice"), await connections_link(world.deputy, "alice")]
    links.append(await approval_link(world.deputy, "alice", "0" * 40))
    assert len({urlsplit(link).path.split("/")[2] for link in links}) == 3


async def test_web_mode_link_opens_in_every_browser_of_its_user() -> None:
    world = await make()
    consent = await world.asked()
    for _ in range(2):
        assert "wants to act for you" in words_of(await world.browser().open(consent.link))
    await show_anew(world.deputy, consent.link)
    assert not await world.deputy.vault.scan("browser")


async def test_callback_ends_on_the_page_of_the_browser_that_started(world: World) -> None:
    consent: Consent = await world.asked()
    _, jar = await press(world, consent, user="")
    await unbind(world.deputy, path_of(consent).rpartition("/")[2])
    shown = await world.send("GET", path_of(consent), cookies=jar)
    assert shown.status_code == 200 and values_of(shown)
