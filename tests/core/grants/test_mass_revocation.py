"""All grants end with one write, whatever is in progress in any process, and the rest follows page by page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Consent, ConsentRequired, DeputizeError, Deputy, Secret, User, allow_all
from deputize.core.audit.events import GrantsEnded
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.grants.mass_revocation import LOCK, PAGES_PER_MARK, EndProgress
from deputize.core.grants.refresh import GrantLost
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.vault.bulk_revocation import CACHE_TTL, PLACE, BulkRevocations, BulkRevocationState
from deputize.core.vault.grant import Account, Grant, SecretBytes
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import PAGE, Vault
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import House
from tests.core.grants.test_crashes import WHEN, World
from tests.core.vault.test_sweeping import counted
from tests.support.faults import GMAIL_API, TOKEN, answer
from tests.support.gmail_toolkit import ALL, READ, gmail
from tests.support.kill_points import Died, Fate
from tests.support.sandbox_deputy import at_provider, build, connect, consent, new_vault
from tests.support.token_families import alive

ALICE, BOB = User("alice"), User("bob", "acme")
LOCAL = AnyLocalUser()


def grant_of(number: int, **more: Any) -> Grant:
    """Return a grant of one of many users."""
    name = f"u{number:06d}"
    return Grant(User(name), "google", "google", Account(name, name), frozenset({READ}), Secret(f"ya29.{name}"), **more)


async def filled(vault: Vault, number: int) -> None:
    """Write this many grants, as they are stored in a vault."""
    for begin in range(0, number, 1000):
        some = map(grant_of, range(begin, min(begin + 1000, number)))
        await asyncio.gather(*(vault.insert("grant", vault.record_key(one), one.pack(), None) for one in some))


class Behind(BulkRevocationState):
    """The knowledge of a process that has just read the vault: nothing newer until it must read again."""

    async def refresh(self, *, fresh: bool = False) -> BulkRevocations:
        return await super().refresh(fresh=True) if fresh else self.ends


async def pair() -> tuple[House, Deputy]:
    """Two processes of one vault: one acts on an older view, the other ends the grants."""
    house = await House().begin()
    await house.connected(*ALL)
    vault = await Vault.open(house.store, [b"k" * 32])
    other = await build(vault=vault, toolkits=[gmail], transport=house.sandbox.transport(), clock=house.clock)
    house.deputy.vault.ended = house.deputy.consents.repository.services.vault.ended = Behind(house.deputy.vault)
    return house, other


async def over(house: House, other: Deputy) -> None:
    """Check that nothing lives, here or at the provider, and no work is left."""
    await other.revoker.many.follow()
    await other.consents.recover()
    await other.revoker.retry()
    raw = [Grant.unpack(one.plain, one.generation) for one in await other.vault.scan("grant")]
    assert {grant.status for grant in raw} == {"revoked"}
    assert house.live() == 0 and await other.vault.scan("outbox") == await other.vault.scan("received") == []
    assert (await other.vault.ended.refresh(fresh=True)).open == ()


# ------------------------------------------------------------- one write


@pytest.mark.processes
async def test_ten_thousand_grants_are_ended_with_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = await new_vault(tmp_path / "vault" / "vault.sqlite", b"k" * 32)
    await filled(vault, 10_000)
    assert (one := await vault.find_grant(User("u009999"), "google", "google")) and one.status == "active"
    deputy = await build(vault=vault)
    groups = counted(monkeypatch)
    begun = time.perf_counter()
    await deputy.revoker.many.begin(None, leaked=False)
    assert groups == [1] and time.perf_counter() - begun < 1
    for number in (0, 5000, 9999):
        [grant] = await vault.list_grants(grant_of(number).user)
        assert (grant.status, bool(grant.access_token)) == ("revoked", False)
    await deputy.close()


async def test_bulk_revocation_proceeds_in_pages_with_constant_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    vault, seen = await new_vault(), list[int]()
    await filled(vault, 3 * PAGE)
    deputy = await build(vault=vault)

    async def delivering(queue: RevocationQueue, *entries: Any) -> list[str]:
        return ["queued"] * len(entries)

    monkeypatch.setattr(RevocationQueue, "deliver", delivering)
    progress = EndProgress(lambda so_far: seen.append(so_far.stones))
    await deputy.revoker.many.end(None, leaked=False, progress=progress)
    assert progress.stones == progress.upstream["queued"] == 3 * PAGE
    assert seen[:4] == [0, PAGE, 2 * PAGE, 3 * PAGE]
    await deputy.close()


async def test_bulk_revocation_check_costs_one_read_per_half_second() -> None:
    house = await House().begin()
    await house.connected(*ALL)
    reads, get = list[str](), house.store.get

    async def reading(kind: str, key: str) -> bytes | None:
        reads.append(key)
        return await get(kind, key)

    now = [100.0]
    house.store.get = reading  # type: ignore[method-assign]
    house.deputy.vault.ended = BulkRevocationState(house.deputy.vault, lambda: now[0])
    for _ in range(20):
        await house.deputy.vault.find_grant(ALICE, "google", "google")
    assert reads.count(PLACE[1]) == 1
    now[0] += CACHE_TTL
    await house.deputy.vault.find_grant(ALICE, "google", "google")
    assert reads.count(PLACE[1]) == 2
    await house.deputy.close()


@pytest.mark.processes
async def test_other_process_sees_the_bulk_revocation_within_a_second(tmp_path: Path) -> None:
    path, sandbox = tmp_path / "vault" / "vault.sqlite", Sandbox()
    one = await build(sandbox, vault=await new_vault(path, b"k" * 32), toolkits=[gmail], policy=allow_all)
    two = await build(sandbox, vault=await new_vault(path, b"k" * 32), toolkits=[gmail], policy=allow_all)
    await connect(one, sandbox, *ALL)
    await two.act("gmail_search", {}, user="alice")
    await one.revoker.many.begin(None, leaked=False)
    begun, refused = time.monotonic(), False
    while not refused and time.monotonic() < begun + 5:
        with suppress(ConsentRequired):
            await two.act("gmail_search", {}, user="alice")
            await asyncio.sleep(0.02)
            continue
        refused = True
    assert refused and time.monotonic() - begun < 1
    await one.close()
    await two.close()


# ------------------------------------------------------------- what is under way


async def test_refresh_in_flight_restores_nothing_and_its_tokens_are_revoked() -> None:
    house, other = await pair()
    house.sandbox.expire_access_tokens()
    grant = await house.grant()
    assert grant
    expired = await house.deputy.vault.replace(grant, replace(grant, expires_at=1.0))
    assert expired
    house.line.held, house.line.held_after = TOKEN, True
    refreshing = asyncio.create_task(house.deputy.refresher.get_live(expired))
    await house.line.until_held()
    await other.revoker.many.begin(None, leaked=False)
    house.line.release()
    await refreshing  # it knows nothing yet: what it stores is dead where it lies
    [seen] = await other.vault.list_grants(ALICE)
    assert seen.status == "revoked"
    await over(house, other)


async def test_refresh_is_refused_in_a_process_that_knows_the_revocation() -> None:
    house, other = await pair()
    house.deputy.vault.ended = BulkRevocationState(house.deputy.vault)
    house.sandbox.expire_access_tokens()
    house.clock.now += 3600
    grant = await house.grant()
    assert grant
    house.line.held, house.line.held_after = TOKEN, True
    refreshing = asyncio.create_task(house.deputy.refresher.get_live(grant))
    await house.line.until_held()
    await house.deputy.revoker.many.begin(None, leaked=False)
    house.line.release()
    with pytest.raises(GrantLost) as caught:
        await refreshing
    assert caught.value.reason == "disconnected"
    await over(house, other)


async def test_no_token_is_sent_after_a_revocation_that_the_process_has_not_yet_noticed() -> None:
    house, other = await pair()
    grant = await house.grant()
    assert grant
    house.deputy.vault.ended = BulkRevocationState(house.deputy.vault, lambda: 100.0)  # its cache is never too old
    await house.deputy.vault.ended.refresh()
    expired = await house.deputy.vault.replace(grant, replace(grant, expires_at=1.0))
    assert expired
    await other.revoker.many.begin(None, leaked=False)
    sent = len(house.line.seen)
    with pytest.raises(GrantLost):
        await house.deputy.refresher.get_live(expired)
    assert not any((host, path) == TOKEN for _, host, path in house.line.seen[sent:])
    await over(house, other)


@pytest.mark.parametrize("when", ["before the code is sent", "before the tokens are stored", "after the follow-up"])
async def test_consent_in_flight_leads_to_no_grant(when: str) -> None:
    house, other = await pair()
    [asked] = await house.deputy.connect("bob", "google", scopes=[READ])
    started = await house.deputy.consents.start(asked.link.rpartition("/")[2], LOCAL)
    back = await at_provider(house.line, started.url, as_="bob@example.test")
    if when != "before the code is sent":
        house.line.held, house.line.held_after = TOKEN, True
    else:
        await other.revoker.many.begin(None, leaked=False)
    finishing = asyncio.create_task(house.deputy.consents.finish(asked.app, back, LOCAL, started.nonce.reveal()))
    if house.line.held:
        await house.line.until_held()
        await other.revoker.many.begin(None, leaked=False)
        if when == "after the follow-up":
            await other.revoker.many.follow()
    house.line.release()
    with suppress(DeputizeError):
        await finishing
    assert await other.connections("bob") == []
    ended = await other.get_consent(asked)
    assert ended and ended.status == "cancelled"
    await over(house, other)
    assert house.live("bob") == 0


async def test_older_link_does_not_open_and_a_new_request_gets_a_new_link() -> None:
    house, other = await pair()
    [asked] = await house.deputy.connect("bob", "google", scopes=[READ])
    await other.revoker.many.begin(None, leaked=False)
    [again] = await house.deputy.connect("bob", "google", scopes=[READ])  # in a process that has not looked
    assert again.id != asked.id and await given(house.deputy, house, again) == "granted"
    [kept] = await other.connections("bob")
    await other.revoker.many.follow()
    assert await other.connections("bob") == [kept] and house.live("bob") > 0 and house.live() == 0


async def given(deputy: Deputy, house: House, asked: Consent) -> str:
    return (await consent(deputy, house.sandbox, asked, as_="bob@example.test")).status


async def test_consent_replacing_an_ended_grant_revokes_its_tokens_first() -> None:
    house, other = await pair()
    await other.revoker.many.begin(None, leaked=False)
    for one in await other.connect("alice", "google", scopes=[READ]):
        assert (await consent(other, house.sandbox, one)).status == "granted"
    [grant] = await other.vault.list_grants(ALICE)
    assert grant.status == "active" and grant.epoch == 1
    await other.revoker.many.follow()
    assert [one.status for one in await other.vault.list_grants(ALICE)] == ["active"] and house.live() > 0
    assert await other.vault.scan("outbox") == []


async def test_act_and_refreshed_grant_stop_after_bulk_revocation() -> None:
    house = await House().begin()
    await house.connected(*ALL)
    await house.deputy.revoker.many.begin(None, leaked=False)
    before = house.line.count(GMAIL_API)
    with pytest.raises(ConsentRequired):
        await house.deputy.act("gmail_search", {}, user="alice")
    grant = await house.deputy.vault.get_stored_grant((await house.deputy.vault.scan("grant"))[0].key)
    assert grant and grant.status == "active"  # where it lies, its end is still to follow
    with pytest.raises(GrantLost):
        await house.deputy.refresher.get_live(grant, failed=grant.access_token)
    assert house.line.count(GMAIL_API) == before and house.line.count(TOKEN) == 1
    await house.deputy.close()


async def test_tenant_revocation_ends_its_grants_once_and_no_others() -> None:
    vault = await new_vault()
    for tenant in ("", "acme", "other"):
        one = replace(grant_of(1), user=User("u", tenant))
        await vault.add(one)
    await vault.ended.begin("acme")
    await vault.ended.begin("acme")
    status = {t: [g.status for g in await vault.list_grants(User("u", t))] for t in ("", "acme", "other")}
    assert status == {"": ["active"], "acme": ["revoked"], "other": ["active"]}
    ends = await vault.ended.refresh(fresh=True)
    assert (ends.epoch, ends.everybody, dict(ends.tenants)) == (2, 0, {"acme": 2})
    await vault.ended.begin(None)
    ends = await vault.ended.refresh(fresh=True)
    assert (ends.epoch, ends.everybody, dict(ends.tenants)) == (3, 3, {})


# ------------------------------------------------------------- cut off


async def test_bulk_revocation_killed_at_any_step_is_finished_by_the_next_process() -> None:
    deaths, began = 0, 0
    for when in WHEN:
        for at in range(1, 200):
            world = World("linear")
            first = await world.process()
            await world.allow(first, world.scopes[0])
            fate = Fate(at, when)
            dying = await world.process(fate)
            with suppress(Died, DeputizeError):
                await dying.revoker.disconnect_all()
            if not fate.dead:
                break
            deaths += 1
            other = await world.process()
            if at == 1 and when == "before":
                assert (await other.vault.list_grants(ALICE))[0].status == "active"
                continue
            began += 1
            assert (await other.vault.list_grants(ALICE))[0].status == "revoked"
            assert await other.connections(ALICE) == []
            world.clock.now += 90
            await other.revoker.many.follow()
            await other.revoker.retry()
            assert alive(world.sandbox, world.clock) == set(), fate.last
            assert (await other.vault.ended.refresh(fresh=True)).open == ()
            assert await other.vault.scan("outbox") == []
    assert deaths > 12 and began == deaths - 1


async def test_interrupted_bulk_revocation_continues_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    vault, store = await new_vault(), list[str]()
    await filled(vault, (PAGES_PER_MARK + 2) * PAGE)
    deputy = await build(vault=vault)
    await deputy.revoker.many.begin(None, leaked=False)
    told = list[int]()

    def stop(progress: EndProgress) -> None:
        told.append(progress.stones)
        if progress.stones == (PAGES_PER_MARK + 1) * PAGE:
            raise Died

    with pytest.raises(Died):
        await deputy.revoker.many.follow(EndProgress(stop))
    [end] = (await vault.ended.refresh(fresh=True)).open
    scan = vault.store.scan

    async def scanning(kind: str, prefix: str = "", *, after: str = "", most: int | None = None) -> Any:
        if kind == "grant":
            store.append(after)
        return await scan(kind, prefix, after=after, most=most)

    monkeypatch.setattr(vault.store, "scan", scanning)
    progress = EndProgress()

    async def delivering(queue: RevocationQueue, *entries: Any) -> list[str]:
        return ["queued"] * len(entries)

    monkeypatch.setattr(RevocationQueue, "deliver", delivering)
    await deputy.revoker.many.follow(progress)
    assert end.after and store[0] == end.after and progress.stones == PAGE
    await deputy.close()


@pytest.mark.parametrize("dies", [False, True])
async def test_bulk_revocation_is_in_the_audit_once_if_its_process_lives(
    dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, other = await pair()
    events = list[object]()

    async def recording(event: object) -> None:
        events.append(event)

    monkeypatch.setattr(other.audit, "record", recording)
    many = other.revoker.many
    if dies:
        await other.vault.ended.begin(None)
    else:
        await many.begin(None, leaked=False)
    await many.follow()
    assert [type(one) for one in events].count(GrantsEnded) == 1
    await over(house, other)


async def test_running_process_continues_a_bulk_revocation() -> None:
    house, other = await pair()
    await house.deputy.revoker.many.begin(None, leaked=False)
    await other.sweeper.start()
    for _ in range(500):
        if house.live():
            await asyncio.sleep(0.02)
    await other.sweeper.stop()
    await over(house, other)


async def test_bulk_revocation_is_not_continued_while_another_process_continues_it() -> None:
    house, other = await pair()
    await house.deputy.revoker.many.begin(None, leaked=False)
    async with house.store.lock(LOCK, 1.0):
        await other.revoker.many.follow()
        [end] = (await other.vault.ended.refresh(fresh=True)).open
        assert end.stage == 0 and house.live() > 0
    await over(house, other)


async def test_provider_outage_does_not_delay_bulk_revocation() -> None:
    house = await House().begin()
    await house.connected(*ALL)
    house.line.answers[TOKEN[0], "/revoke"] = [answer(503)] * 9
    [ended] = await house.deputy.revoke_all()
    assert ended.upstream == "queued" and await house.deputy.connections("alice") == []
    house.line.answers.clear()
    assert await house.deputy.revoker.retry() == ["done"] and house.live() == 0
    await house.deputy.close()


# ------------------------------------------------------------- the row


async def test_older_record_does_not_reverse_a_known_revocation() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [b"k" * 32])
    await vault.add(grant_of(1))
    await vault.ended.begin("other")
    older = await store.get(*PLACE)
    await vault.ended.begin(None)
    newer = await store.get(*PLACE)
    assert older and newer and await store.swap(*PLACE, newer, older)
    await vault.ended.refresh(fresh=True)
    [grant] = await vault.list_grants(grant_of(1).user)
    assert grant.status == "revoked"
    assert (await vault.ended.begin("third")).epoch == 3


def test_grants_without_epoch_are_read_and_first_epoch_is_written_unchanged() -> None:
    before, later = grant_of(1, family="f"), grant_of(1, family="f", epoch=7)
    assert before.pack().reveal() == later.pack().reveal().removesuffix(b"\0\0\0" + b"7")
    for one in (before, later, replace(later, source="imported")):
        assert Grant.unpack(one.pack(), 0) == one
    parts: Callable[[Grant], int] = lambda one: one.pack().reveal().count(b"\0")  # noqa: E731
    assert parts(later) == parts(before) + 3
    with pytest.raises(DeputizeError):
        Grant.unpack(SecretBytes(later.pack().reveal() + b"x"), 0)
