"""The return to the application after a consent: stored during the consent, and no open redirect (RFC 9700)."""

from __future__ import annotations

import logging
from urllib.parse import quote

import pytest

from deputize.core.errors import InvalidInput, SettingsError
from deputize.core.web.app import pages_app
from deputize.core.web.pages.return_to import ReturnTo
from tests.core.web.web_application import make, path_of, query_of, signed_in, words_of

ALLOWED = ("/chat", "/threads/", "https://app.example.test/", "https://other.example.test/done")
BACK = '<a class="button yes" href="{}">Back to the application</a>'


async def test_consent_returns_to_the_address_of_its_link() -> None:
    world = await make(return_to=ALLOWED)
    link = f"{(await world.asked()).link}?return_to={quote('/threads/7?tab=2#end', safe='')}"
    page = await world.browser().allow(link)
    assert BACK.format("/threads/7?tab=2#end") in page.text and "close this tab" not in page.text


async def test_missing_return_address_uses_the_first_allowed_or_none() -> None:
    world = await make(return_to=ALLOWED)
    assert BACK.format("/chat") in (await world.browser().allow((await world.asked()).link)).text
    world = await make()
    page = await world.browser().allow((await world.asked()).link)
    assert "Back to the application" not in page.text and "You can close this tab and go back." in words_of(page)


async def test_denial_and_cancel_return_to_the_application() -> None:
    world = await make(return_to=ALLOWED)
    here = f"{(await world.asked()).link}?return_to=/threads/1"
    assert BACK.format("/threads/1") in (await world.browser().deny(here)).text
    browser = world.browser()
    page = await browser.open(f"{(await world.asked('send')).link}?return_to=/threads/2")
    cancelled = await browser.submit(page, page.forms[0], decision="cancel")
    assert "You said no" in words_of(cancelled) and BACK.format("/threads/2") in cancelled.text


async def test_return_address_survives_the_applications_sign_in() -> None:
    world = await make(sign_in="/login", return_to=ALLOWED)
    path = path_of(await world.asked())
    moved = await world.send("GET", f"{path}?return_to=/threads/3")
    assert query_of(moved.headers["location"])["next"] == f"{path}?return_to=%2Fthreads%2F3"


EVIL = [
    *("https://evil.test/", "//evil.test", "///evil.test/", "/\\evil.test", "\\\\evil.test", "https:evil.test"),
    *("https:///evil.test", "http://app.example.test/", "https://app.example.test.evil.test/", "evil", "chat", "."),
    *("https://app.example.test@evil.test/", "https://user@app.example.test/", "https://app.example.test:8443/"),
    *("javascript:alert(1)", "data:text/html,x", "/chat/more", "/chatty", "/threads", "/threads/../admin"),
    *(
        "/threads/%2e%2e/admin",
        "/threads/.%2E/admin",
        "/threads/./x",
        "/threads/..%2fadmin",
        "/threads/%2e%2e%2Fadmin",
        "/threads/..%5cadmin",
        "/threads/%252e%252e/admin",
        "/threads/..;/admin",
        "/threads/..;x=1/admin",
        "/threads/%25252525252e",
        "/threads/%0d%0aSet-Cookie:a=b",
        "/threads/%00",
        "https://app.example.test/x/..%2f..%2fy",
        "/chat\n",
        "\t/chat",
        " /chat",
        "/chat\x00",
        "/ch\u0430t",
    ),
    *(
        '/threads/"onclick=',
        "/threads/<b>",
        "https://other.example.test/done/x",
        "https://[evil/",
        "/threads/" + "x" * 2000,
    ),
]


async def test_links_and_forms_lead_to_no_foreign_return_address(
    subtests: pytest.Subtests, caplog: pytest.LogCaptureFixture
) -> None:
    world = await make(return_to=ALLOWED)
    consent = await world.asked()
    browser = world.browser()
    opened = await browser.open(consent.link)
    for target in EVIL:
        with subtests.test(target):
            assert not ReturnTo.of(ALLOWED).allows(target)
            page = await browser.open(f"{consent.link}?return_to={quote(target, safe='')}")
            assert page.status == 403 and "This link cannot be used" in words_of(page) and "evil" not in page.text
            posted = await browser.submit(opened, opened.forms[0], return_to=target)
            assert posted.status == 403 and posted.url.startswith(world.base)
    assert (await world.status(consent))[0] == "pending" and "evil" not in caplog.text
    assert [r.levelno for r in caplog.records if "return_to" in r.message] == [logging.WARNING] * 2 * len(EVIL)


async def test_return_address_removed_from_settings_is_not_used() -> None:
    world = await make(return_to=ALLOWED)
    consent = await world.asked()
    kept = await world.browser().allow(f"{consent.link}?return_to=/threads/4")
    assert BACK.format("/threads/4") in kept.text
    world.app = pages_app(world.deputy, verifier=signed_in, return_to=["/chat"])
    page = await world.send("GET", path_of(consent), user="alice")
    assert BACK.format("/chat") in page.text and "/threads/4" not in page.text


@pytest.mark.parametrize(
    "target",
    ["/chat", "/chat?a=../1", "/threads/", "/threads/a%20b", "/threads/a%2fb;c..d", "https://app.example.test/x/y#z"],
)
def test_allowed_return_address_includes_paths_below_it(target: str) -> None:
    assert ReturnTo.of(ALLOWED).check(target) == target


@pytest.mark.parametrize(
    "address",
    [
        *("", "chat", "//x", "http://app.test/", "https://a@b.test/", "javascript:x", "/a/../b", "/a#b", "/a/..%2fb/"),
        *("https://:443/", "https://app.test:99999/", "https://app.test:x/", "https://app%2etest/"),
    ],
)
def test_invalid_return_address_setting_is_named(address: str) -> None:
    with pytest.raises(SettingsError, match="return_to has ") as wrong:
        ReturnTo.of(["/chat", address])
    assert repr(address) in str(wrong.value)


def test_loopback_return_address_may_use_http() -> None:
    back = ReturnTo.of(["http://127.0.0.1:3000/"])
    assert back.default == back.check("http://127.0.0.1:3000/") and back.check("") == ""
    with pytest.raises(InvalidInput):
        back.check("http://127.0.0.1:3001/")
