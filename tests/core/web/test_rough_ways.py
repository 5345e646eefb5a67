"""Consents with a slow store, a provider that fails half-way, or one with incomplete responses."""

from __future__ import annotations

import asyncio

from deputize.core import User
from deputize.core.vault.stores.memory import MemoryStore
from tests.core.web.web_application import World, cookies_of, hidden, make, path_of, words_of
from tests.support.sandbox_deputy import GMAIL


class SlowStore(MemoryStore):
    """Lets other tasks run at every step, as stores on disk do."""

    async def get(self, kind: str, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return await super().get(kind, key)

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        await asyncio.sleep(0)
        return await super().swap(kind, key, old, new)


async def test_double_click_leads_to_the_provider_both_times() -> None:
    world = await make(store=SlowStore())
    consent = await world.asked()
    page = await world.send("GET", path_of(consent), user="alice")
    jar = {name: line.partition(";")[0] for name, line in cookies_of(page).items()}
    data = {"form": hidden(page)}
    both = [world.send("POST", path_of(consent), user="alice", cookies=jar, data=data) for _ in range(2)]
    assert [r.status_code for r in await asyncio.gather(*both)] == [303, 303]


async def test_one_of_two_concurrent_presses_leads_to_a_connection() -> None:
    world = await make(store=SlowStore())
    consent, browser = await world.asked(), world.browser()
    page = await browser.open(consent.link)
    both = [browser.submit(page, page.forms[0]) for _ in range(2)]
    at = next(p for p in await asyncio.gather(*both) if p.forms)
    offered = at.forms[0].offers("scope")
    end = await browser.submit(at, at.forms[0], account="alice@example.test", scope=offered, decision="allow")
    assert "is connected" in words_of(end)


async def test_tokens_of_an_unknown_account_are_revoked(world: World) -> None:
    world.sandbox.switches.faults[("GET", "openidconnect.googleapis.com/")] = [(503, {}, {"error": "unavailable"})]
    consent = await world.asked()
    page = await world.browser().allow(consent.link)
    assert "Google did not finish the connection" in words_of(page)
    assert not await world.deputy.connections("alice")
    assert world.sandbox.live_tokens()["alice@example.test"] == 0


async def test_step_up_reply_without_scopes_keeps_the_earlier_ones(world: World) -> None:
    await world.connected("readonly")
    world.sandbox.switches.omit_scope = True
    await world.browser().allow((await world.asked("send")).link)
    (connection,) = await world.deputy.connections("alice")
    assert {f"{GMAIL}readonly", f"{GMAIL}send"} <= set(connection.scopes)


async def test_first_consent_for_a_named_account_accepts_no_other(world: World) -> None:
    app = world.deputy.apps["google"]
    consent = await world.deputy.consents.require(
        User("alice"), app, [f"{GMAIL}readonly"], account="alice@example.test"
    )
    text = words_of(await world.send("GET", path_of(consent), user="alice"))
    assert "alice@example.test (no other one will be accepted)" in text
    await world.browser().allow(consent.link, as_="bob@example.test")
    assert await world.status(consent) == ("failed", "account_mismatch")


async def test_provider_outage_at_the_exchange_shows_a_message_and_connects_nothing(world: World) -> None:
    world.sandbox.switches.faults[("POST", "oauth2.googleapis.com/")] = [(503, {}, {"error": "unavailable"})]
    page = await world.browser().allow((await world.asked()).link)
    assert "is not connected" in words_of(page)
    assert not await world.deputy.connections("alice")


async def test_lost_token_reply_shows_a_message_and_connects_nothing(world: World) -> None:
    world.sandbox.switches.lose_token_reply = 1
    page = await world.browser().allow((await world.asked()).link)
    assert "no longer accepted its own answer" in words_of(page)
    assert not await world.deputy.connections("alice")


async def test_wrong_client_secret_is_shown_as_the_operators_problem(world: World) -> None:
    world.sandbox.switches.faults[("POST", "oauth2.googleapis.com/")] = [(401, {}, {"error": "invalid_client"})]
    page = await world.browser().allow((await world.asked()).link)
    assert "Tell the people who run this application" in words_of(page)
