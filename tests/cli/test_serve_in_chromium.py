"""The whole flow in a real browser: a client's call, the link, sign-in at the issuer, consent, approval, the act."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from deputize.cli.http_app import application
from deputize.core.background_loop import portal
from deputize.core.web.local.server import serve
from tests.cli.serving_world import Around, around
from tests.support.chromium import Chromium
from tests.support.mcp_clients import client

pytestmark = pytest.mark.browser

MAIL = {"to": ["bob@example.test"], "subject": "Hello", "body": "Hello Bob"}


async def click(browser: Chromium, selector: str, then: str) -> None:
    """Click this element, and wait for the condition on the next page."""
    assert await browser.until(f"!!document.querySelector({selector!r})"), await browser.run("document.body.innerText")
    await browser.run(f"document.querySelector({selector!r}).click() || true")
    assert await browser.until(then), await browser.run("location.href + document.body.innerText")


async def sign_in(browser: Chromium, world: Around, name: str) -> None:
    """Sign in at the issuer's page, if the browser is there."""
    if await browser.run("document.title == 'Login'"):
        await browser.run(f"document.querySelector('[name=login]').value = {name!r}; true")
        await click(
            browser, "[name=go]", f"location.href.startsWith({world.base!r}) && document.readyState == 'complete'"
        )


async def test_chromium_user_goes_from_the_link_to_the_sent_mail(home: Path) -> None:
    async with Chromium.started() as browser, around(home) as world:
        seen: list[str] = []

        async def answers(ctx: Any, asked: types.ElicitRequestParams) -> types.ElicitResult:
            assert isinstance(asked, types.ElicitRequestURLParams)
            await browser.open(asked.url)
            await sign_in(browser, world, "alice")
            seen.append(await browser.run("document.querySelector('.whom').innerText"))
            if "/connect/" in asked.url:
                await click(browser, "form button.yes", "!!document.querySelector('[name=decision][value=allow]')")
                await browser.run("document.querySelector('[value=\"alice@example.test\"]').click() || true")
                await click(browser, "[name=decision][value=allow]", "document.title.includes('is connected')")
            else:
                assert "Hello Bob" in await browser.run("document.body.innerText")
                await click(browser, "[name=decision][value=approve]", "!document.querySelector('[name=decision]')")
            return types.ElicitResult(action="accept")

        app = await asyncio.to_thread(application, world.settings())
        async with app.router.lifespan_context(app), serve(app, world.port):
            async with client(f"{world.base}/mcp", world.issuer.token("alice"), elicitation_callback=answers) as mcp:
                sent = await mcp.call_tool("gmail_send_email", MAIL)
                assert not sent.is_error, sent.content
            assert len(world.sandbox.sent("alice@example.test")) == 1
            assert seen == [f"Signed in as {world.issuer.url}#alice Sign out"] * 2
            await browser.open(f"{world.base}/sign-out")
            await click(browser, "form button", f"location.href == '{world.base}/signed-out'")
            await browser.open(f"{world.base}/connections")
            assert await browser.run("document.title") == "Login", "signed out, and asked anew"
        await portal().hop(app.state.deputy.http.close)
