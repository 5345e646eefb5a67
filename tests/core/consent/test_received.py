"""A code's token reply is sealed at once, so that any process can finish the consent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import httpx
import pytest

from deputize.core import PROVIDERS, Consent, Deputy, StoreUnavailable
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.consent.record import ConsentRecord
from deputize.core.grants.token_families import families
from deputize.core.grants.token_reply_journal import SEAL_TRIES
from deputize.core.vault.vault import Vault
from tests.core.consent.test_consents import House, ticket_of
from tests.support.faults import REVOKE, TOKEN, USERINFO, Line, answer
from tests.support.gmail_toolkit import gmail
from tests.support.kill_points import Died, Fate, MortalLine, MortalStore
from tests.support.sandbox_deputy import build
from tests.support.token_families import unknown

LOCAL = AnyLocalUser()
WHOAMI = "GET openidconnect.googleapis.com/v1/userinfo"


async def process(house: House, fate: Fate) -> Deputy:
    return await build(
        vault=await Vault.open(MortalStore(house.store, fate), [b"k" * 32]),
        transport=MortalLine(house.line, fate),
        clock=house.clock,
        toolkits=[gmail],
    )


@pytest.mark.parametrize(("step", "number"), [(WHOAMI, 1), ("insert grant", 1), ("swap consent", 3)])
async def test_W12_consent_of_a_killed_process_with_tokens_is_finished_at_the_next_read(
    step: str, number: int, house: House
) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    fate = Fate(number, "before", step)
    dying = await process(house, fate)
    with suppress(Died):
        await dying.consents.finish("google", back, LOCAL, started.nonce.reveal())
    assert fate.last == f"before {step}"
    assert await house.status(asked) == ("granted", "")
    assert house.live() == 2 and await house.grant() is not None


Way = Callable[[Deputy, Consent, Coroutine[Any, Any, str]], Awaitable[object]]


async def _sweep(deputy: Deputy, asked: Consent, callback: Coroutine[Any, Any, str]) -> None:
    """Run the background tasks of a program without any request."""
    await deputy.sweeper.start()
    for _ in range(400):
        if not await deputy.vault.scan("received"):
            break
        await asyncio.sleep(0.01)
    await deputy.sweeper.stop()


WAYS: dict[str, Way] = {
    "the page": lambda deputy, asked, callback: deputy.consents.open(ticket_of(asked), LOCAL),
    "the callback, loaded again": lambda deputy, asked, callback: callback,
    "whoever waits": lambda deputy, asked, callback: deputy.wait_for_consents([asked], timeout=0),
    "another start": lambda deputy, asked, callback: deputy.connect("alice", "google", scopes=asked.scopes),
    "the background": _sweep,
}


@pytest.mark.parametrize("way", WAYS)
async def test_interrupted_consent_is_finished_by_the_next_caller(way: str, house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    dying = await process(house, Fate(1, "before", "insert grant"))
    with suppress(Died):
        await dying.consents.finish("google", back, LOCAL, started.nonce.reveal())
    again = house.deputy.consents.finish("google", back, LOCAL, started.nonce.reveal())
    await WAYS[way](house.deputy, asked, again)
    again.close()
    [row] = await house.deputy.vault.scan("consent")
    assert ConsentRecord.of(row).status == "granted" and await house.grant() is not None
    assert house.line.count(TOKEN) == 1 and await house.deputy.vault.scan("received") == []


async def test_consent_that_cannot_be_closed_keeps_grant_and_received_tokens(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    fate = Fate(3, "before", "swap consent")
    refusing = _Refusing(house.store, fate)
    one = await build(vault=await Vault.open(refusing, [b"k" * 32]), transport=house.line, clock=house.clock)
    await one.consents.finish("google", back, LOCAL, started.nonce.reveal())
    grant = await house.grant()
    active = grant is not None and grant.status == "active"
    assert (active, house.live() == 2) == (True, True)
    assert await house.status(asked) == ("granted", "")


@pytest.mark.parametrize("held", [False, True], ids=["first consent", "beside a grant that would end with them"])
async def test_tokens_that_the_store_refuses_are_revoked(held: bool, house: House) -> None:
    """At Google, revoking one token ends all of the account's: a stored grant there keeps the new tokens alive."""
    if held:
        await house.connected("readonly")
    asked = await house.ask("send")
    started = await house.start(asked)
    back = await house.allowed(started)
    house.store.failing["insert", "received"] = SEAL_TRIES
    await house.finish(back, started)
    assert await house.status(asked) == ("failed", "interrupted")
    assert house.line.count(TOKEN) == 1 + held and house.store.failing["insert", "received"] == 0
    assert (house.line.count(REVOKE), house.live() > 0) == (0 if held else 1, held)
    assert (await house.grant() is not None) == held


@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize("disconnected", [False, True])
async def test_stored_grant_survives_a_userinfo_error_of_an_open_consent(
    status: int, disconnected: bool, house: House
) -> None:
    """A process is killed between the two writes; then the provider no longer says whose the tokens are."""
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    dying = await process(house, Fate(3, "before", "swap consent"))
    with suppress(Died):
        await dying.consents.finish("google", back, LOCAL, started.nonce.reveal())
    stored = await house.grant()
    assert stored is not None and stored.status == "active"
    house.line.answers[USERINFO] = [answer(status)] * 5
    if disconnected:  # before anybody has looked
        await house.deputy.revoke("alice")
    ended, grant = await house.status(asked), await house.grant()
    if disconnected:
        assert (ended, grant, house.live()) == (("cancelled", "disconnected"), None, 0)
    else:
        assert (ended, grant, house.live()) == (("granted", ""), stored, 2)
        assert house.line.count(REVOKE) == 0 and await house.act()
    assert await house.deputy.vault.scan("received") == await house.deputy.vault.scan("outbox") == []


@pytest.mark.parametrize("status", [401, 403, 503])
@pytest.mark.parametrize("then", ["the same account", "another account", "a disconnect", "too late"])
async def test_step_up_refused_by_userinfo_keeps_the_live_grant(status: int, then: str, house: House) -> None:
    """At Google, revoking one token ends everything the account has given the app."""
    before = await house.connected("readonly")
    asked = await house.ask("send")
    started = await house.start(asked)
    back = await house.allowed(started, "alice@example.test" if then != "another account" else "bob@example.test")
    house.line.answers[USERINFO] = [answer(status)] * 3
    await house.finish(back, started)
    assert (await house.status(asked))[0] == "failed"
    assert house.line.count(REVOKE) == 0 and await house.grant() == before and await house.act()
    assert await unknown(house.deputy.vault, house.sandbox, house.clock) == set()
    await house.deputy.consents.recover()  # as little is known yet
    assert house.line.count(REVOKE) == 0 and len(await house.deputy.vault.scan("received")) == 1
    if then == "a disconnect":
        await house.deputy.revoke("alice")
        assert house.live() == 0
    elif then == "too late":
        house.clock.now += 3700
        await house.deputy.consents.recover()
        house.line.answers[USERINFO] = []
        assert await house.act(message="m2") and len(await house.deputy.vault.scan("outbox")) == 1
        await house.deputy.revoke("alice")
        assert house.live() == 0
    else:
        house.line.answers[USERINFO] = []
        await house.deputy.consents.recover()
        assert await house.act() and house.live("bob") == 0
        assert house.line.count(REVOKE) == (then == "another account")
    assert await house.deputy.vault.scan("received") == await house.deputy.vault.scan("outbox") == []
    assert await unknown(house.deputy.vault, house.sandbox, house.clock) == set()


class _Refusing(MortalStore):
    """A store that refuses once, at the point where a process would die, and works afterwards."""

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        try:
            return await super().swap(kind, key, old, new)
        except Died:
            self.fate.dead = False
            raise StoreUnavailable("The vault is locked by another program.") from None


async def test_tokens_are_not_sent_to_another_servers_userinfo(house: House) -> None:
    """The settings name another server by the time another process finishes the consent of a killed one."""
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    with suppress(Died):
        dying = await process(house, Fate(1, "before", "insert grant"))
        await dying.consents.finish("google", back, LOCAL, started.nonce.reveal())
    elsewhere = Line(httpx.MockTransport(lambda request: httpx.Response(200, json={"sub": "1", "email": "a@b.test"})))
    moved = {"google": PROVIDERS["google"].moved_to("http://127.0.0.1:1")}
    other = await build(vault=house.deputy.vault, transport=elsewhere, clock=house.clock, providers=moved)
    [row] = await house.deputy.vault.scan("consent")
    await house.deputy.consents.repository.end(ConsentRecord.of(row), "failed", "user_mismatch")
    await other.consents.recover()
    assert elsewhere.seen == [] and [one.state for one in await families(house.deputy.vault)] == ["pending_revocation"]
    await house.deputy.revoker.retry()
    assert house.live() == 0 and await families(house.deputy.vault) == []


async def test_interrupted_consent_of_one_user_does_not_block_others(house: House) -> None:
    """A request finishes its own user's consents only; the background task finishes others, even if one record is
    unreadable."""
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    dying = await process(house, Fate(1, "before", "insert grant"))
    with suppress(Died):
        await dying.consents.finish("google", back, LOCAL, started.nonce.reveal())
    vault = house.deputy.vault
    assert await vault.insert("received", "0.of.a.later.version", {"replies": []}, None)
    house.line.seen.clear()
    await house.ask("send", user="bob")
    assert house.line.seen == [] and len(await vault.scan("received")) == 2
    assert [one.state for one in await families(vault)] == ["received"]
    await house.deputy.sweeper.turn()
    assert await house.grant() is not None and len(await vault.scan("received")) == 1
