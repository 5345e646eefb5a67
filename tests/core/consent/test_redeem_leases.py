"""A code whose lock is lost while it is redeemed: no other process ends the consent before the reply can have
arrived."""

from __future__ import annotations

import time

import pytest

from deputize.core import User
from deputize.core.consent import redeem
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.core.oauth.test_custody import LINEAR
from tests.support.cut_locks import CutLocksStore
from tests.support.faults import FaultyStore, Line, Meddler
from tests.support.sandbox_deputy import at_provider, build
from tests.support.token_families import alive, unknown

ALICE = User("alice")
TOKEN = ("api.linear.app", "/oauth/token")
KEY = b"k" * 32


@pytest.mark.parametrize(
    ("passed", "ends"), [(0.0, ("granted", "")), (redeem.LEASE_SECONDS + 1, ("failed", "interrupted"))]
)
async def test_rival_without_the_lock_waits_until_the_lease_ends(passed: float, ends: tuple[str, str]) -> None:
    sandbox, store = Sandbox(), CutLocksStore()
    line = Line(sandbox.transport())
    one = await build(sandbox, vault=await Vault.open(store, [KEY]), transport=line, apps=[LINEAR])
    other = await build(sandbox, vault=await Vault.open(store, [KEY]), apps=[LINEAR])
    [asked] = await one.connect("alice", "linear", scopes=["read"])
    started = await one.consents.start(asked.link.rpartition("/")[2], ALICE)
    back = await at_provider(sandbox.transport(), started.url, as_="alice@example.test")
    seen = []

    async def cut_and_look() -> None:
        store.cut()
        store.ahead += passed
        seen.append(await other.get_consent(asked))

    line.meddler = Meddler(1, cut_and_look)
    await one.consents.finish(asked.app, back, ALICE, started.nonce.reveal())
    [during] = seen
    assert during and during.status == ("failed" if passed else "pending")
    ended = await other.get_consent(asked)
    assert ended and (ended.status, ended.reason_code) == ends
    assert "queued" not in await other.revoker.retry()
    assert len(alive(sandbox, time.time)) == (not passed)  # tokens that came too late are revoked
    assert await unknown(one.vault, sandbox, time.time) == set()
    await one.close()
    await other.close()


@pytest.mark.parametrize("step", range(2, 12))
async def test_two_processes_that_store_one_reply_grant_once(step: int) -> None:
    """The first one's lock is lost after its reply was sealed, and the other process stores the reply as well."""
    sandbox, store = Sandbox(), CutLocksStore()
    line = Line(sandbox.transport())
    faulty = FaultyStore(store)
    one = await build(sandbox, vault=await Vault.open(faulty, [KEY]), transport=line, apps=[LINEAR])
    other = await build(sandbox, vault=await Vault.open(store, [KEY]), apps=[LINEAR])
    [asked] = await one.connect("alice", "linear", scopes=["read"])
    started = await one.consents.start(asked.link.rpartition("/")[2], ALICE)
    back = await at_provider(sandbox.transport(), started.url, as_="alice@example.test")

    async def cut_and_settle() -> None:
        store.cut()
        await other.consents.settle(other.vault.key_prefix(ALICE))

    async def after_token() -> None:
        faulty.meddler = Meddler(step, cut_and_settle)

    line.meddler = Meddler(1, after_token)
    await one.consents.finish(asked.app, back, ALICE, started.nonce.reveal())
    ended = await other.get_consent(asked)
    assert ended and ended.status == "granted"
    [grant] = await other.vault.list_grants(ALICE)
    assert grant.status == "active" and len(alive(sandbox, time.time)) == 1
    assert await other.vault.scan("outbox") == await other.vault.scan("received") == []
    assert await unknown(one.vault, sandbox, time.time) == set()
    await one.close()
    await other.close()
