"""Seven attacks that try to store a grant for the wrong user, each played to its end."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from deputize.core import AccountMismatch, User
from deputize.core.providers import GOOGLE
from tests.core.web.web_application import (
    LOCAL,
    World,
    answered,
    cookies_of,
    hidden,
    make,
    path_of,
    press,
    sign_in,
    words_of,
)
from tests.support.provider_fields import with_fields


async def _refusal(world: World) -> httpx.Response:
    return await world.send("GET", "/connect/no-such-ticket", user="alice")


def _same(one: httpx.Response, other: httpx.Response) -> bool:
    return (one.status_code, one.content, sorted(one.headers.items())) == (
        other.status_code,
        other.content,
        sorted(other.headers.items()),
    )


async def test_attack_1_attackers_link_opened_by_a_victim_shows_nothing_and_ends(
    world: World,
) -> None:
    consent = await world.asked(user="mallory")
    opened = await world.send("GET", path_of(consent), user="victoria")
    assert _same(opened, await _refusal(world))
    assert "Google" not in opened.text and "mallory" not in opened.text
    assert await world.status(consent) == ("failed", "user_mismatch")
    assert "connect.user_mismatch" in world.events()
    assert not world.sandbox.requests


async def test_attack_1_signed_out_victim_signs_in_first_and_is_then_refused() -> None:
    world = await make(sign_in="/login")
    consent = await world.asked(user="mallory")
    assert (await world.send("GET", path_of(consent))).status_code == 303
    assert await world.status(consent) == ("pending", "")
    assert (await world.send("GET", path_of(consent), user="victoria")).status_code == 403
    assert await world.status(consent) == ("failed", "user_mismatch")


async def test_attack_1_user_switched_at_the_provider_gets_no_token(world: World) -> None:
    consent, browser = await world.asked(user="mallory"), world.browser("mallory")
    page = await browser.open(consent.link)
    at = await browser.submit(page, page.forms[0])
    sign_in(browser, "victoria")
    offered = at.forms[0].offers("scope")
    end = await browser.submit(at, at.forms[0], account="bob@example.test", scope=offered, decision="allow")
    assert end.status == 403
    assert await world.status(consent) == ("failed", "user_mismatch")
    assert world.token_requests == 0


async def test_attack_2_callback_in_another_browser_is_refused_without_token_request(world: World) -> None:
    consent = await world.asked(user="mallory")
    url, _ = await press(world, consent, user="mallory")
    callback = await answered(world, url, as_="bob@example.test")
    response = await world.send("GET", callback, user="mallory")
    assert (response.status_code, response.headers["location"]) == (303, "/refused")
    assert await world.status(consent) == ("failed", "browser_mismatch")
    assert "connect.browser_mismatch" in world.events()
    assert world.token_requests == 0


async def test_attack_2_victims_cookie_of_another_consent_does_not_help(world: World) -> None:
    _, jar = await press(world, await world.asked(user="victoria"), user="victoria")
    url, theirs = await press(world, await world.asked(user="mallory"), user="mallory")
    callback = await answered(world, url, as_="bob@example.test")
    theirs_name = next(name for name in theirs if name not in jar)
    ours = next(value for name, value in jar.items() if name.count("-") > theirs_name.count("-") - 1)
    for cookies in (jar, {theirs_name: ours}):
        response = await world.send("GET", callback, user="victoria", cookies=cookies)
        assert response.headers["location"] == "/refused"
    assert world.token_requests == 0
    assert not await world.deputy.connections("victoria")


async def test_attack_3_another_account_at_reconsent_keeps_the_old_grant_and_revokes_the_new_token(
    world: World,
) -> None:
    await world.connected("readonly")
    world.sandbox.switches.swap_account = "bob@example.test"
    consent = await world.asked("send")
    page = await world.browser().allow(consent.link)
    assert "another Google account" in words_of(page)
    grant = await world.deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant and (grant.account.name, grant.status, grant.generation) == ("alice@example.test", "active", 1)
    assert world.sandbox.live_tokens()["bob@example.test"] == 0
    with pytest.raises(AccountMismatch):
        await world.deputy.consents.require(
            User("alice"), world.deputy.apps["google"], consent.scopes, held=grant, ask=""
        )


async def test_attack_4_answer_on_another_apps_path_or_from_another_issuer_is_refused() -> None:
    for change in (("/callback/google", "/callback/other"), ("state=", "iss=https%3A%2F%2Fevil.example.test&state=")):
        world = await make()
        consent = await world.asked()
        url, jar = await press(world, consent)
        callback = (await answered(world, url)).replace(*change)
        response = await world.send("GET", callback, user="alice", cookies=jar)
        assert response.headers["location"] == "/refused"
        assert (await world.status(consent))[1] in ("other_app", "other_issuer")
        assert world.token_requests == 0


async def test_attack_5_repeated_callback_requests_no_second_token(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    callback = await answered(world, url)
    for _ in range(3):
        response = await world.send("GET", callback, user="alice", cookies=jar)
        assert response.headers["location"] == path_of(consent)
    assert await world.status(consent) == ("granted", "")
    assert world.token_requests == 1


async def test_attack_5_concurrent_callbacks_request_one_token_and_connect(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    callback = await answered(world, url)
    world.sandbox.switches.token_delay = 0.1
    first = asyncio.create_task(world.send("GET", callback, user="alice", cookies=jar))
    for _ in range(500):
        if world.token_requests:
            break
        await asyncio.sleep(0.005)
    second = await world.send("GET", callback, user="alice", cookies=jar)
    assert (await first).headers["location"] == second.headers["location"] == path_of(consent)
    assert world.token_requests == 1
    assert await world.status(consent) == ("granted", "")


async def test_attack_5_replay_in_another_browser_is_refused(world: World) -> None:
    url, jar = await press(world, await world.asked())
    callback = await answered(world, url)
    await world.send("GET", callback, user="alice", cookies=jar)
    response = await world.send("GET", callback, user="mallory")
    assert response.headers["location"] == "/refused"
    assert world.token_requests == 1


async def test_attack_5_code_injected_into_another_consent_is_worthless(world: World) -> None:
    mine, jar = await press(world, await world.asked("readonly"))
    other = await world.asked("send")
    theirs, more = await press(world, other)
    stolen, state = (await answered(world, mine)).partition("code=")[2], theirs.partition("state=")[2].partition("&")[0]
    callback = f"/callback/google?state={state}&code={stolen}"
    response = await world.send("GET", callback, user="alice", cookies=jar | more)
    assert response.headers["location"] == path_of(other)
    assert (await world.status(other))[0] == "failed"  # PKCE: the provider refuses the code without its verifier
    assert not await world.deputy.connections("alice")


async def test_attack_6_fifty_link_previews_change_nothing() -> None:
    world = await make(local=True)
    consent = await world.asked()
    for number in range(50):
        method = "HEAD" if number % 5 == 0 else "GET"
        response = await world.send(method, path_of(consent), headers={"user-agent": f"Preview/{number}"})
        assert response.status_code == 303 and "Google" not in response.text
    assert not world.events("consent.opened") and not world.sandbox.requests
    assert "is connected" in words_of(await world.browser("").allow(consent.link))


async def test_attack_6_link_previews_without_a_session_see_only_the_sign_in_page() -> None:
    world = await make(sign_in="/login")
    consent = await world.asked()
    for method in ("GET", "HEAD") * 25:
        response = await world.send(method, path_of(consent))
        assert response.status_code == 303 and "Google" not in response.text
    assert "is connected" in words_of(await world.browser().allow(consent.link))


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
async def test_attack_6_only_get_finishes_a_callback(method: str, world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    callback = await answered(world, url)
    assert (await world.send(method, callback, user="alice")).status_code == 405
    assert (await world.send("GET", callback, user="alice", cookies=jar)).headers["location"] == path_of(consent)
    assert await world.status(consent) == ("granted", "")


async def test_attack_7_claimed_consent_without_a_callback_grants_nothing(world: World) -> None:
    consent = await world.asked()
    for path in (f"{path_of(consent)}?status=granted&done=1", "/callback/google?status=granted", "/callback/google"):
        await world.send("GET", path, user="alice")
    assert await world.status(consent) == ("pending", "")
    assert (await world.asked()).id == consent.id  # asked again, it is the same consent


# --- forms that are not ours ---------------------------------------------------------------------------------------


async def test_form_without_or_with_another_browsers_token_starts_nothing(world: World) -> None:
    consent = await world.asked()
    mine = await world.send("GET", path_of(consent), user="alice")
    jar = {name: line.partition(";")[0] for name, line in cookies_of(mine).items()}
    theirs = hidden(await world.send("GET", path_of(consent), user="alice"))
    for cookies, data in (
        (jar, {}),
        (jar, {"form": ""}),
        (jar, {"form": theirs}),
        ({}, {"form": hidden(mine)}),
        (dict.fromkeys(jar, "x" * 43), {"form": hidden(mine)}),
    ):
        response = await world.send("POST", path_of(consent), user="alice", cookies=cookies, data=data)
        assert _same(response, await _refusal(world))
    assert not world.events("consent.opened")


async def test_form_of_another_user_or_link_starts_nothing(world: World) -> None:
    consent, other = await world.asked("readonly"), await world.asked("send")
    page = await world.send("GET", path_of(other), user="alice")
    jar = {name: line.partition(";")[0] for name, line in cookies_of(page).items()}
    for user, path in (("alice", path_of(consent)), ("bob", path_of(other))):
        response = await world.send("POST", path, user=user, cookies=jar, data={"form": hidden(page)})
        assert response.status_code == 403
    assert await world.status(consent) == await world.status(other) == ("pending", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example.test"},
        {"origin": "null"},
        {"origin": "http://deputy.example.test"},
        {"origin": "https://deputy.example.test:8443"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://deputy.example.test", "sec-fetch-site": "cross-site"},
    ],
)
async def test_form_from_another_origin_starts_nothing(headers: dict[str, str], world: World) -> None:
    consent = await world.asked()
    page = await world.send("GET", path_of(consent), user="alice")
    jar = {name: line.partition(";")[0] for name, line in cookies_of(page).items()}
    data = {"form": hidden(page)}
    response = await world.send("POST", path_of(consent), user="alice", cookies=jar, headers=headers, data=data)
    assert _same(response, await _refusal(world))
    good = {"origin": "https://deputy.example.test", "sec-fetch-site": "same-origin"}
    response = await world.send("POST", path_of(consent), user="alice", cookies=jar, headers=good, data=data)
    assert response.status_code == 303


async def test_endless_form_is_refused_without_reading_it_whole(world: World) -> None:
    consent = await world.asked()
    read = 0

    async def endless() -> dict[str, object]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"a" * 4096, "more_body": read < 10_000}

    statuses = []

    async def send(message: dict[str, object]) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": path_of(consent), "query_string": b"", "root_path": ""}
    headers = [(b"cookie", b"host-session=alice"), (b"host", b"deputy.example.test")]
    await world.app({**scope, "headers": headers}, endless, send)  # type: ignore[arg-type]
    assert statuses[0] == 403 and read < 10


# --- one answer for everything that cannot be used -----------------------------------------------------------------


async def test_unknown_expired_foreign_and_altered_links_get_the_same_bytes(world: World) -> None:
    refusal = await _refusal(world)
    late = await world.asked("labels")
    world.clock.now += 601
    consent = await world.asked("readonly")
    altered = path_of(consent)[:-1] + ("A" if path_of(consent)[-1] != "A" else "B")
    for path, user in (
        (path_of(late), "alice"),
        (path_of(consent), "bob"),
        (altered, "alice"),
        ("/connect/", "alice"),
        ("/connect/%2f%2fevil.example.test", "alice"),
        ("/connect/\N{SNOWMAN}", "alice"),
        (f"{path_of(consent)}/x", "alice"),
    ):
        assert _same(await world.send("GET", path, user=user), refusal), path


async def test_mismatched_callbacks_get_the_same_answer_without_token_request(world: World) -> None:
    url, jar = await press(world, await world.asked("readonly"))
    callback = await answered(world, url)
    code, _, state = callback.partition("code=")[2], "", callback.partition("state=")[2].partition("&")[0]
    for query, cookies in (
        ("", jar),
        (f"code={code}", jar),
        (f"code={code}&state=", jar),
        (f"code={code}&state=" + "x" * 43, jar),
        (f"code={code}&state={state}&state={state}", jar),
        (f"code={code}&state={state}&code=other", jar),
        (f"code={code}&state={state}x", jar),
    ):
        response = await world.send("GET", f"/callback/google?{query}", user="alice", cookies=cookies)
        assert (response.status_code, response.headers["location"], response.content) == (303, "/refused", b""), query
    assert world.token_requests == 0
    assert _same(await world.send("GET", "/refused"), await _refusal(world))


async def test_refusals_of_two_vaults_are_identical() -> None:
    assert _same(await _refusal(await make()), await _refusal(await make(local=True, base=LOCAL)))


async def test_callback_after_ten_minutes_is_refused(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    callback = await answered(world, url)
    world.clock.now += 601
    response = await world.send("GET", callback, user="alice", cookies=jar)
    assert response.headers["location"] == "/refused" and world.token_requests == 0


async def test_callback_without_code_and_error_connects_nothing(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    state = url.partition("state=")[2].partition("&")[0]
    page = await world.send("GET", f"/callback/google?state={state}", user="alice", cookies=jar)
    assert page.headers["location"] == path_of(consent)
    assert (await world.status(consent))[0] == "failed" and world.token_requests == 0


async def test_callback_without_iss_is_refused_if_the_issuer_always_sends_it() -> None:
    world = await make(provider=with_fields(GOOGLE, iss_required=True))
    consent = await world.asked()
    await world.browser().allow(consent.link)
    assert await world.status(consent) == ("failed", "other_issuer")
    assert world.token_requests == 0
    world.sandbox.switches.iss = "right"
    again = await world.asked()
    assert "is connected" in words_of(await world.browser().allow(again.link))
