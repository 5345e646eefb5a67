"""All pages in a real browser: light, dark and on a telephone; by keyboard; accessible; without user data of others.

Screenshots go to ``.screenshots/``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.core.web import page_gallery
from tests.core.web.page_gallery import Gallery, as_user, saved
from tests.support.chromium import Chromium
from tests.support.counterparts import require_axe

pytestmark = pytest.mark.browser

LOOKS = {"light": (1000, False), "dark": (1000, True), "phone": (390, False), "phone-dark": (390, True)}
FOCUS = """(() => { const e = document.activeElement, s = getComputedStyle(e);
return [e.tagName, e.innerText || e.name || '', s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 2] })()"""
BUTTON = "document.querySelector('button[value=approve]').getBoundingClientRect()"
TEXT = "[...document.querySelectorAll('pre')].at(-1).getBoundingClientRect()"
BARRIERS = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
.filter(one => ['serious', 'critical'].includes(one.impact))
.map(one => one.id + ': ' + one.nodes.map(node => node.target.join(' ')).join(', ')))"""


@pytest.fixture
async def shown() -> AsyncIterator[tuple[Gallery, Chromium]]:
    async with page_gallery.opened() as pages, Chromium.started() as browser:
        await as_user(browser, pages)
        yield pages, browser


async def test_every_page_fits_its_window_in_each_theme(shown: tuple[Gallery, Chromium]) -> None:
    pages, browser = shown
    for look, (width, dark) in LOOKS.items():
        await browser.look(width, dark=dark)
        for name in (*pages.pages, *pages.forms):
            await pages.open(browser, name)
            saved(f"{name}-{look}", await browser.screenshot(whole=True))
            assert await browser.run("document.documentElement.scrollWidth <= innerWidth"), (name, look)
            assert await browser.run("!!document.querySelector('h1').innerText"), (name, look)
            assert await browser.run("document.styleSheets[0].cssRules.length > 20"), (name, look)


async def test_approval_can_be_read_and_decided_by_keyboard(shown: tuple[Gallery, Chromium]) -> None:
    pages, browser = shown
    await browser.look(1000)
    await pages.open(browser, "approve")
    stops = []
    for _ in range(12):
        await browser.press("Tab")
        stops.append(await browser.run(FOCUS))
        if stops[-1][1] == "Reject":
            break
    assert all(visible for _, _, visible in stops), stops
    kinds = [tag for tag, _, _ in stops]
    assert "PRE" not in kinds and [said for _, said, _ in stops][-2:] == ["Approve", "Reject"]
    await browser.press("Enter")
    assert await browser.until("document.body.innerText.includes('2 of 3 done')")


async def test_approve_comes_into_view_only_after_the_end_of_the_text(shown: tuple[Gallery, Chromium]) -> None:
    pages, browser = shown
    await browser.look(390)
    await pages.open(browser, "approve")
    assert not await browser.run(f"{BUTTON}.top < innerHeight"), "the text is too short to test anything"
    assert await browser.run(
        "[...document.querySelectorAll('*')].every(e => e.scrollHeight <= e.clientHeight + 1 "
        "|| !['auto', 'scroll'].includes(getComputedStyle(e).overflowY))"
    )
    while not await browser.run(f"{BUTTON}.top < innerHeight"):
        await browser.run("scrollBy(0, 40); true")
    assert await browser.run(f"{TEXT}.bottom <= {BUTTON}.top && {TEXT}.bottom > 0")
    await browser.run("scrollTo(0, 0); true")
    for _ in range(12):
        await browser.press("Tab")
        if (await browser.run(FOCUS))[1] == "Approve":
            break
    assert await browser.run(f"{TEXT}.bottom > 0 && {TEXT}.bottom < innerHeight"), "Tab shows the end of the text"


@pytest.mark.counterpart
async def test_pages_have_no_serious_accessibility_barrier(shown: tuple[Gallery, Chromium]) -> None:
    script, (pages, browser) = require_axe(), shown
    found = {}
    for look, (width, dark) in LOOKS.items():
        await browser.look(width, dark=dark)
        for name in (*pages.pages, *pages.forms):
            await pages.open(browser, name)
            await browser.run(f"{script}; true")
            found[name, look] = await browser.run(BARRIERS)
    assert found == {place: [] for place in found}
    await browser.run("document.querySelector('a').replaceChildren(); document.querySelector('html').lang = ''; true")
    assert sorted(barrier.partition(":")[0] for barrier in await browser.run(BARRIERS)) == [
        "html-has-lang",
        "link-name",
    ]


async def test_another_user_in_another_browser_sees_no_secret(shown: tuple[Gallery, Chromium]) -> None:
    pages, _ = shown
    async with Chromium.started() as other:
        await as_user(other, pages, "bob")
        for name in pages.pages:
            await pages.open(other, name)
            text = await other.run("document.body.innerText + document.documentElement.innerHTML")
            for secret in ("bob@example.test", "alice@example.test", "valid until", "gmail_star"):
                assert secret not in text, name
