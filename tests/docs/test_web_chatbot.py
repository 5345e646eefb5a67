"""The chatbot on the web, as two people use it: each in a browser of their own, by clicks."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.core.web.page_gallery import saved
from tests.support.chromium import Chromium
from tests.support.ports import free_port

pytestmark = pytest.mark.browser
APP: Final = Path(__file__).parents[2] / "examples" / "langgraph_web_chatbot" / "app.py"


@pytest.fixture
async def base() -> AsyncIterator[str]:
    """The chatbot as a newcomer starts it, from another folder, without any setup."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DEPUTIZE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(APP), "--port", str(free_port())),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=clean, cwd="/",
    )  # fmt: skip
    assert process.stdout and process.stderr
    try:
        said = await asyncio.wait_for(process.stdout.readline(), 60)
        assert said.startswith(b"Open "), (await process.stderr.read()).decode()
        yield said.decode().split()[1]
    finally:
        process.terminate()
        _, troubles = await process.communicate()
    assert b"Traceback" not in troubles, troubles.decode()


class Person:
    """A person at a browser."""

    def __init__(self, browser: Chromium, base: str, name: str) -> None:
        self.browser, self.base, self.name = browser, base, name

    async def sees(self, text: str, where: str = "#said") -> None:
        """Wait for a text in a part of the page."""
        found = await self.browser.until(f"document.querySelector('{where}')?.innerText.includes({text!r})", 20)
        assert found, f"{self.name} does not see {text!r}: {await self.reads()}"

    async def reads(self) -> str:
        return str(await self.browser.run("document.body.innerText"))

    async def clicks(self, what: str) -> None:
        assert await self.browser.until(f"!!document.querySelector('{what}')", 20), f"{what}: {await self.reads()}"
        await self.browser.run(f"document.querySelector('{what}').click()")

    async def says(self, text: str) -> None:
        """Type into the page, and press Say."""
        await self.browser.run(f"document.querySelector('#say input').value = {text!r}")
        await self.clicks("#say button")

    async def card(self) -> str:
        """Return the link of the card that asks for consent."""
        assert await self.browser.until("!!document.querySelector('.consent a')", 20), await self.reads()
        return str(await self.browser.run("document.querySelector('.consent a').href"))

    async def allows(self) -> None:
        """Follow the card's link, press Continue, and at Google press Allow; then return by the page's button."""
        await self.browser.open(await self.card())
        await self.clicks("form button.yes")
        await self.clicks(f'[name=account][value="{self.name}@example.test"]')
        await self.clicks("button[value=allow]")
        await self.sees("is connected", "body")
        await self.clicks("a.button.yes")
        await self.sees(self.name, "#user")


@asynccontextmanager
async def at_the_browser(base: str, name: str) -> AsyncIterator[Person]:
    """Return a browser with this person signed in."""
    async with Chromium.started() as browser:
        person = Person(browser, base, name)
        await browser.open(base)
        await person.clicks(f"button[value={name}]")
        await person.sees(name, "#user")
        yield person


async def test_two_people_act_as_themselves_and_a_link_works_for_one(base: str) -> None:
    async with at_the_browser(base, "alice") as alice, at_the_browser(base, "bob") as bob:
        await alice.says("anything from Bob this week?")
        link = await alice.card()

        await bob.says("who am I?")
        await bob.allows()
        await bob.sees("At Google you are")
        assert "bob@example.test" in await bob.reads() and "anything from Bob" not in await bob.reads()

        await alice.allows()
        await alice.sees("Bob Brown wrote")
        await bob.browser.open(link)
        assert "Alice" not in await bob.reads() and "connected" not in await bob.reads()

        await alice.says("answer him yes")
        await alice.allows()
        await alice.sees("gmail_reply_email", ".approval")
        saved("chat-approval", await alice.browser.screenshot(whole=True))
        await alice.clicks(".approval .approve")
        await alice.sees("Sent:")

        await alice.says("answer him yes")
        await alice.sees("gmail_reply_email", ".approval")
        page = await alice.browser.run("document.querySelector('.approval a').href")
        async with Chromium.started() as tab:  # the same person, on the approval's own page
            await tab.open(base)
            await tab.until("!!document.querySelector('button[value=alice]')")
            await tab.run("document.querySelector('button[value=alice]').click()")
            await tab.until("!!document.querySelector('#user')?.innerText")
            await tab.open(page)
            await tab.run("document.querySelector('button[value=reject]').click()")
            assert await tab.until("document.body.innerText.includes('Rejected')")
        assert await alice.browser.until("!document.querySelector('.approval')", 20), "the chat goes on by itself"


async def test_chatbot_fits_a_telephone_light_and_dark(base: str) -> None:
    async with Chromium.started() as browser:
        for dark in (False, True):
            await browser.look(390, dark=dark)
            await browser.open(f"{base}/sign-in")
            saved(f"chat-sign-in-{dark}", await browser.screenshot())
            assert await browser.run("document.documentElement.scrollWidth <= innerWidth")
            person = Person(browser, base, "alice")
            await person.clicks("button[value=alice]")
            await person.sees("alice", "#user")
            await person.says("anything from Bob this week?")
            await person.card()
            saved(f"chat-consent-{dark}", await browser.screenshot())
            assert await browser.run("document.documentElement.scrollWidth <= innerWidth")


async def test_signed_out_visitor_and_foreign_form_are_refused(base: str) -> None:
    async with httpx.AsyncClient(base_url=base) as client:
        assert (await client.get("/")).headers["location"] == "/sign-in"
        for path in ("/say", "/decide"):
            assert (await client.post(path, json={"text": "hi"})).status_code == 401
        assert (await client.get("/events")).status_code == 401
        assert (await client.post("/sign-in?next=//elsewhere.example", data={"user": "alice"})).status_code == 403
        assert (await client.post("/sign-in", data={"user": "mallory"})).status_code == 403
        await client.post("/sign-in", data={"user": "alice"})
        assert (await client.post("/say", data={"text": "hi"})).status_code == 401
        assert (await client.post("/decide", json={"approval": "x", "decision": "approve"})).status_code == 409
