"""A data key for each tenant: what it encrypts, and that erasing a tenant is erasing its key."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    ConsentRequired,
    Deputy,
    InvalidInput,
    StoreUnavailable,
    User,
    VaultError,
)
from deputize.core.acts.call_dedup import CallRecognizer
from deputize.core.audit import Audit, verify
from deputize.core.vault.backup import back_up, restore
from deputize.core.vault.check_records import try_all
from deputize.core.vault.data_key import is_of_tenant
from deputize.core.vault.data_keys import DATA_KEY_TTL, KIND, MAX_CACHED, DataKeys
from deputize.core.vault.migrate import copy_records
from deputize.core.vault.record import KINDS, OF_TENANTS
from deputize.core.vault.restore import distrust
from deputize.core.vault.rotation import Resealed, key_uses, reseal
from deputize.core.vault.seal import Sealer, id_of
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.tenants import delete_rows, tenants_being_erased
from deputize.core.vault.vault import Vault
from deputize.core.web.signin.sign_in_sessions import Session, Sessions
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.key_source import KeysInMemory
from tests.support.kill_points import Died, Fate, MortalLine, MortalStore
from tests.support.postgres import postgres_server
from tests.support.sandbox_deputy import build, connect, set_sleep

KEY, NEXT = b"k" * 32, b"n" * 32
CAROL, DAVE = User("carol-4711", "acme"), User("dave-4712", "zenith")
Rows = dict[tuple[str, str], bytes]


OF_OTHER_TESTS = frozenset(
    {
        *("mandate", "chosen", "received", "offboarding", "scim_user", "outside", "budget", "chat_link", "assertion"),
    }
)
"""Kinds of records that `House.live` does not write."""


class House:
    """A deputy over one store, and everything that was ever read from the store."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.sandbox = url, folder, Sandbox()
        self.deputy: Deputy

    async def start(
        self,
    ) -> Deputy:
        new = not self.url.startswith("postgresql") and not Path(self.url).exists()
        store = open_store(self.url, create=new)
        vault = await Vault.open(store, [KEY])
        audit = Audit(self.folder / "audit", vault.keys.audit)
        self.deputy = await build(self.sandbox, vault=vault, toolkits=[gmail], audit=audit)
        return self.deputy

    async def live(self, user: User, mail: str) -> None:
        """Do what a user does: consent, read, request an approval, write, store a file."""
        deputy = self.deputy
        with pytest.raises(ConsentRequired):
            await deputy.act("gmail_search", {}, user=user)
        await connect(deputy, self.sandbox, *ALL, user=user, as_=mail)
        with pytest.raises(ApprovalRequired) as asked:
            await deputy.act("gmail_send", MAIL, user=user, call=Call("t", "m", user.id))
        await deputy.decide(asked.value.approval.id, "approve", by=user)
        await deputy.act("gmail_send", MAIL, user=user, call=Call("t", "m", user.id))
        await deputy.store_file(user, "note.txt", "text/plain", b"of " + user.id.encode())
        await deputy.set_default_account(user, "google", mail)
        await deputy.services.zones.learn(user, "google", "Europe/Berlin")
        await deputy.contacts.learn(user, [f"{user.id}@contacts.test"])
        await deputy.roles.learn(User(user.id, user.tenant, roles=frozenset({"operator"})))
        await Sessions(deputy.vault, "https://issuer.test", deputy.clock).begin(Session(user))
        await CallRecognizer(deputy.services, deputy.resolver).call("gmail_send", MAIL, user, "thread", "")

    async def rows(self) -> Rows:
        store = self.deputy.vault.store
        return {(kind, key): sealed for kind in KINDS for key, sealed in await store.scan(kind)}

    def tokens(self, mail: str) -> int:
        return self.sandbox.live_tokens().get(mail, 0)


@asynccontextmanager
async def two_tenants(url: str, folder: Path) -> AsyncIterator[House]:
    house = House(url, folder)
    await house.start()
    await house.live(CAROL, "alice@example.test")
    await house.live(DAVE, "bob@example.test")
    yield house
    await house.deputy.close()


def of(deputy: Deputy, rows: Rows, tenant: str) -> Rows:
    """Return the rows that the tenant's data key has encrypted."""
    place = deputy.vault.data_keys.place(tenant)
    return {at: sealed for at, sealed in rows.items() if is_of_tenant(sealed) and place in sealed.hex()}


async def in_memory(rows: Rows) -> MemoryStore:
    store = MemoryStore()
    for (kind, key), sealed in rows.items():
        await store.insert(kind, key, sealed)
    return store


async def opened_with(rows: Rows, *root_keys: bytes) -> int:
    """Return how many of these rows can be decrypted with the root keys and whatever the rows contain."""
    found = await try_all(await Vault.open(await in_memory(rows), root_keys))
    return found.records - len(found.damaged) - found.without_data_key - found.sealed_by.total()


# ------------------------------------------------------------- what it encrypts


async def test_data_key_encrypts_all_records_of_its_tenant(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        rows = await house.rows()
        acme, zenith = of(house.deputy, rows, "acme"), of(house.deputy, rows, "zenith")
        kinds = {kind for kind, _ in acme}
        assert kinds == {kind for kind, _ in zenith} >= OF_TENANTS - OF_OTHER_TESTS
        sealer, told = Sealer([KEY]), b""
        for (kind, key), sealed in rows.items():
            assert (kind in OF_TENANTS) == is_of_tenant(sealed), kind
            if not is_of_tenant(sealed):
                told += sealer.open(kind, key, sealed)[1].reveal()
        assert b"acme" in told and not any(name in told for name in (b"carol", b"dave", b"example.test"))
        assert len(await house.deputy.vault.store.scan(KIND)) == 2


async def test_users_without_a_tenant_have_no_data_key(tmp_path: Path) -> None:
    house = House(str(tmp_path / "v.sqlite"), tmp_path)
    await house.start()
    await house.live(User("alice"), "alice@example.test")
    rows = await house.rows()
    assert not any(map(is_of_tenant, rows.values())) and not await house.deputy.vault.store.scan(KIND)
    with pytest.raises(InvalidInput, match="tenant is required"):
        await house.deputy.erase_tenant("")
    await house.deputy.close()


async def test_record_of_a_tenant_is_bound_to_its_place_and_head() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    one, other = await vault.data_keys.get("acme"), await vault.data_keys.get("zenith")
    await vault.insert("act", "a", b"1", one)
    [(_, sealed)] = await store.scan("act")
    assert one and other and one.open("act", "a", sealed)[1].reveal() == b"1"
    bent = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(9, len(sealed))]
    for kind, key, value in [("act", "b", sealed), ("call", "a", sealed), *(("act", "a", one) for one in bent)]:
        with pytest.raises(VaultError):
            one.open(kind, key, value)
    with pytest.raises(VaultError):
        other.open("act", "a", sealed)


@pytest.mark.parametrize("kind", sorted(OF_TENANTS))
async def test_record_of_a_tenant_cannot_be_written_without_a_word_about_its_data_key(kind: str) -> None:
    """So no place that writes one can forget it."""
    vault = await Vault.open(MemoryStore(), [KEY])
    with pytest.raises(TypeError, match="needs the data key of its tenant"):
        await vault.insert(kind, "a", b"1")
    assert await vault.get(kind, "a") is None


async def test_two_programs_agree_on_one_data_key(tmp_path: Path) -> None:
    path = str(tmp_path / "v.sqlite")
    await (await Vault.open(open_store(path, create=True), [KEY])).close()
    vaults = [await Vault.open(open_store(path, create=False), [KEY]) for _ in range(4)]
    made = await asyncio.gather(*(vault.data_keys.get("acme") for vault in vaults))
    for number, (vault, key) in enumerate(zip(vaults, made, strict=True)):
        await vault.insert("act", f"act-{number}", b"mine", key)
    for vault in vaults:
        assert [record.plain.reveal() for record in await vault.scan("act")] == [b"mine"] * 4
        await vault.close()


async def test_cached_data_key_costs_no_read_and_the_cache_is_bounded() -> None:
    store, now = MemoryStore(), [100.0]
    vault = await Vault.open(store, [KEY])
    vault.data_keys = DataKeys(vault, vault.keys.index, clock=lambda: now[0])
    asked, get = list[str](), store.get

    async def counted(kind: str, key: str) -> bytes | None:
        asked.append(kind)
        return await get(kind, key)

    store.get = counted  # type: ignore[method-assign]
    key = await vault.data_keys.get("acme")
    await vault.insert("act", "a", b"1", key)
    asked.clear()
    assert await vault.data_keys.get("acme") is key and vault.data_keys.reads("acme") == []
    assert await vault.get("act", "a") and asked == ["act"]
    now[0] += DATA_KEY_TTL
    assert vault.data_keys.reads("acme") == [("get", KIND, vault.data_keys.place("acme"))]
    assert await vault.get("act", "a") and asked == ["act", "act", KIND]
    for number in range(MAX_CACHED + 50):
        await vault.data_keys.get(f"tenant-{number}")
    assert await vault.get("act", "a")
    assert len(vault.data_keys._known) <= MAX_CACHED + 1


# ------------------------------------------------------------- keys that change


async def test_records_of_an_earlier_version_are_resealed_with_the_data_key() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    for user in (CAROL, DAVE, User("alice")):
        await vault.insert("person", place := vault.key_prefix(user), {"tenant": user.tenant, "user": user.id}, None)
        await vault.insert("act", f"{place}a", {"expires": 1e12}, None)
    await vault.insert("call", "of-nobody", {"expires": 1e12}, None)
    assert await vault.get("act", f"{vault.key_prefix(CAROL)}a")
    assert await reseal(vault) == Resealed(4, 0) and await reseal(vault) == Resealed(0, 0)
    sealed = {key: is_of_tenant(row) for key, row in await store.scan("act")}
    assert sealed == {f"{vault.key_prefix(user)}a": bool(user.tenant) for user in (CAROL, DAVE, User("alice"))}
    again = await Vault.open(store, [KEY])
    assert len(await again.scan("act")) == len(await again.scan("person")) == 3


async def test_damaged_data_key_does_not_stop_a_rotation() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    place = vault.key_prefix(CAROL)
    await vault.insert("person", place, {"tenant": "acme", "user": CAROL.id}, None)
    await store.insert(KIND, vault.data_keys.place("acme"), b"damaged")
    vault.rekey([NEXT, KEY])
    assert (await reseal(vault)).anew == 1 and await vault.get("person", place)


async def test_erasure_includes_records_of_an_earlier_version(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        vault = house.deputy.vault
        await vault.insert("call", f"{vault.key_prefix(CAROL)}old", {"name": "carol", "expires": 1e12}, None)
        await vault.insert("approval", f"{vault.key_prefix(CAROL)}old", b"in a form that nobody knows", None)
        await house.deputy.erase_tenant("acme")
        assert not [at for at in await house.rows() if at[1].startswith(vault.key_prefix(CAROL)) and at[0] != "outbox"]


async def test_rotation_reseals_data_keys_and_leaves_what_they_encrypt() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    await vault.insert("act", "a", b"1", await vault.data_keys.get("acme"))
    before = await store.scan("act")
    vault.rekey([NEXT, KEY])
    await reseal(vault)
    assert await key_uses(vault) == {id_of(NEXT): 2} and await store.scan("act") == before
    alone = await Vault.open(store, [NEXT])
    assert [record.plain.reveal() for record in await alone.scan("act")] == [b"1"]


async def test_copied_vault_opens_with_its_data_keys(tmp_path: Path) -> None:
    vault, store = await Vault.open(MemoryStore(), [KEY]), MemoryStore()
    await vault.insert("act", "a", b"1", await vault.data_keys.get("acme"))
    await copy_records(vault.store, store)
    assert [record.plain.reveal() for record in await (await Vault.open(store, [KEY])).scan("act")] == [b"1"]


async def test_outage_of_the_key_source_does_not_stop_records_of_tenants() -> None:
    store, source = MemoryStore(), KeysInMemory([KEY])
    other = await Vault.open(store, [KEY])
    await other.insert("act", "a", b"1", await other.data_keys.get("acme"))
    vault = await Vault.open(store, Sealer.from_source(source))
    source.fails = StoreUnavailable("The KMS is away.")
    assert await vault.get("act", "a")  # the data key is unwrapped with the root key in memory
    await vault.insert("act", "b", b"2", await vault.data_keys.get("zenith"))
    vault.close_keys()  # the limit of `key_ttl_seconds` is over: data keys end with the root keys
    for key in ("a", "b"):
        with pytest.raises(StoreUnavailable):
            await vault.get("act", key)
    with pytest.raises(StoreUnavailable):
        await vault.data_keys.get("acme")
    source.fails = None
    assert await vault.get("act", "a") and await vault.get("act", "b")


@pytest.mark.parametrize("damage", ["gone", "damaged"])
async def test_check_finds_a_lost_data_key(damage: str) -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    await vault.insert("act", "a", b"1", await vault.data_keys.get("acme"))
    [(place, sealed)] = await store.scan(KIND)
    await store.delete(KIND, place, sealed)
    if damage == "damaged":
        await store.insert(KIND, place, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    found = await try_all(await Vault.open(store, [KEY]))
    assert found.without_data_key == 1 and not found.whole
    assert len(found.damaged) == (damage == "damaged")


@pytest.mark.parametrize("at", [1, 8, 30, 45])
async def test_check_finds_a_changed_byte_in_the_head_of_a_record(at: int) -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    await vault.insert("act", "a", b"1", await vault.data_keys.get("acme"))
    [(key, sealed)] = await store.scan("act")
    await store.swap("act", key, sealed, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    assert not (await try_all(await Vault.open(store, [KEY]))).whole


async def test_check_finds_a_lost_data_key_after_a_new_one_was_made() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    await vault.insert("act", "a", b"1", await vault.data_keys.get("acme"))
    [(place, sealed)] = await store.scan(KIND)
    await store.delete(KIND, place, sealed)
    later = await Vault.open(store, [KEY])
    await later.insert("act", "b", b"2", await later.data_keys.get("acme"))
    with pytest.raises(VaultError, match="missing or damaged"):
        await later.get("act", "a")
    found = await try_all(await Vault.open(store, [KEY]))
    assert found.without_data_key == 1 and found.erased == 0 and not found.whole


# ------------------------------------------------------------- erasure


async def erased_by_its_key(url: str, folder: Path) -> None:
    async with two_tenants(url, folder) as house:
        deputy = house.deputy
        stolen = await house.rows()
        acme = of(deputy, stolen, "acme")
        assert house.tokens("alice@example.test") > 0
        revoked = await deputy.erase_tenant("acme")
        assert {one.account for one in revoked} == {"alice@example.test"}
        assert house.tokens("alice@example.test") == 0 and house.tokens("bob@example.test") > 0
        left = await house.rows()
        assert not of(deputy, left, "acme") and of(deputy, left, "zenith") == of(deputy, stolen, "zenith")
        assert await opened_with(left | acme, KEY) == len(left)  # whoever kept the rows needs a copy of the data key
        assert await opened_with(stolen, KEY) == len(stolen)
        found = await try_all(await Vault.open(deputy.vault.store, [KEY]))
        assert found.whole and found.erased == 0
        await deputy.act("gmail_search", {}, user=DAVE)
        deputy.audit.flush()
        assert verify(folder / "audit", deputy.vault.keys.audits).ok


async def test_tenant_is_erased_by_its_key(tmp_path: Path) -> None:
    await erased_by_its_key(str(tmp_path / "v.sqlite"), tmp_path)


@pytest.mark.counterpart
async def test_tenant_is_erased_by_its_key_on_postgres(tmp_path: Path) -> None:
    with postgres_server() as server:
        await asyncio.to_thread(migrate, Address.of(server.url))
        await erased_by_its_key(server.url, tmp_path)


async def test_erased_data_key_is_in_no_byte_of_the_file(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        rows = await house.rows()
        sealed = rows[KIND, house.deputy.vault.data_keys.place("acme")]
        await house.deputy.erase_tenant("acme")
    files = [path.read_bytes() for path in tmp_path.glob("v.sqlite*")]
    assert files and not any(sealed in data or sealed[-16:] in data for data in files)


async def test_erased_tenant_that_comes_back_receives_a_new_key(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        before = of(house.deputy, await house.rows(), "acme")
        await house.deputy.erase_tenant("acme")
        await house.live(CAROL, "alice@example.test")
        after = await house.rows()
        assert of(house.deputy, after, "acme").keys() & before.keys()
        assert await opened_with({**before, **after}, KEY) == len(after)


async def test_other_programs_stop_writing_for_a_tenant_that_is_being_erased() -> None:
    store, now = MemoryStore(), [100.0]
    erasing, other = [await Vault.open(store, [KEY]) for _ in range(2)]
    other.data_keys = DataKeys(other, other.keys.index, clock=lambda: now[0])
    await other.insert("act", "a", b"1", await other.data_keys.get("acme"))
    await erasing.data_keys.close("acme")
    now[0] += DATA_KEY_TTL
    with pytest.raises(StoreUnavailable, match="being erased"):
        await other.data_keys.get("acme")
    assert await other.get("act", "a")  # it is still read, so that its tokens can be revoked
    await erasing.data_keys.erase("acme", 1.0)
    now[0] += DATA_KEY_TTL
    with pytest.raises(VaultError, match="data key of its tenant was erased"):
        await other.get("act", "a")
    assert (await try_all(other)).erased == 1 and (await try_all(other)).whole
    assert [records async for records, shut in other.pages("act", strict=True)] == [[]]


async def test_tenant_that_comes_back_is_read_at_once_where_its_erasure_is_cached() -> None:
    store = MemoryStore()
    erasing, other = [await Vault.open(store, [KEY]) for _ in range(2)]
    await erasing.data_keys.erase("acme", 1.0)
    await erasing.data_keys.reopen("acme")
    await other.insert("act", "a", b"1", await other.data_keys.get("acme"))
    assert await erasing.get("act", "a")


async def test_act_that_took_long_to_look_things_up_writes_nothing_for_a_closed_tenant(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        deputy, now = house.deputy, [100.0]
        deputy.vault.data_keys = DataKeys(deputy.vault, deputy.vault.keys.index, clock=lambda: now[0])
        with pytest.raises(ApprovalRequired) as asked:
            await deputy.act("gmail_send", MAIL, user=CAROL, call=Call("t", "m", "slow"))
        await deputy.decide(asked.value.approval.id, "approve", by=CAROL)
        carry, before = deputy.provenance.carry, await house.rows()

        async def slow(act: Any) -> None:
            await carry(act)
            other = await Vault.open(open_store(house.url, create=False), [KEY])
            await other.data_keys.close("acme")
            await other.close()
            now[0] += DATA_KEY_TTL

        deputy.provenance.carry = slow  # type: ignore[method-assign]
        sent = len(house.sandbox.sent("alice@example.test"))
        with pytest.raises(StoreUnavailable, match="being erased"):
            await deputy.act("gmail_send", MAIL, user=CAROL, call=Call("t", "m", "slow"))
        assert len(house.sandbox.sent("alice@example.test")) == sent
        assert {at for at in await house.rows() if at[0] == "act"} == {at for at in before if at[0] == "act"}


async def test_one_process_at_a_time_erases_a_tenant(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        refused = list[StoreUnavailable]()

        async def sleep(seconds: float) -> None:
            with pytest.raises(StoreUnavailable, match="Another process is erasing this tenant") as second:
                await house.deputy.erase_tenant("acme")
            refused.append(second.value)

        set_sleep(house.deputy, sleep)
        await house.deputy.erase_tenant("acme")
        assert refused and not of(house.deputy, await house.rows(), "acme")


async def test_tenant_stays_closed_until_its_last_record_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        deputy = house.deputy

        async def dying(*arguments: Any, **more: Any) -> int:
            if not more:
                raise Died
            return await delete_rows(*arguments, **more)

        monkeypatch.setattr("deputize.core.base_deputy.delete_rows", dying)
        with pytest.raises(Died):
            await deputy.erase_tenant("acme")
        monkeypatch.undo()
        assert await tenants_being_erased(deputy.vault) == ["acme"]
        with pytest.raises(StoreUnavailable, match="being erased"):
            await deputy.act("gmail_search", {}, user=CAROL)
        await deputy.erase_tenant("acme")
        assert await tenants_being_erased(deputy.vault) == [] and not of(deputy, await house.rows(), "acme")
        await house.live(CAROL, "alice@example.test")


async def test_records_that_an_erasure_left_do_not_stop_the_next_one(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        deputy, late = house.deputy, of(house.deputy, await house.rows(), "acme")
        await deputy.erase_tenant("acme")
        await deputy.roles.learn(User(CAROL.id, "acme", roles=frozenset({"operator"})))
        await Sessions(deputy.vault, "https://issuer.test", deputy.clock).begin(Session(CAROL))
        for (kind, key), sealed in late.items():
            await deputy.vault.store.insert(kind, key, sealed)
        await deputy.erase_tenant("acme")
        assert not of(deputy, await house.rows(), "acme")


async def test_erasure_waits_until_other_programs_have_noticed(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        waited = list[float]()

        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            [record] = [one for one in await house.deputy.vault.scan(KIND) if one.json["tenant"] == "acme"]
            assert record.json["closed"] and await house.deputy.vault.list_grants(CAROL)

        set_sleep(house.deputy, sleep)
        await house.deputy.erase_tenant("acme")
        assert waited[0] > DATA_KEY_TTL
        set_sleep(house.deputy, never)
        await house.deputy.erase_tenant("nobody's")  # which no program can have cached


async def never(seconds: float) -> None:
    raise AssertionError("waited")


async def test_killed_erasure_is_completed_by_the_next_one(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        rows, fate = await house.rows(), Fate()
        await erase_in_a_copy(house, rows, fate)
        assert {f"swap {KIND}", "swap grant", "insert outbox", "delete act"} <= set(fate.steps)
        for at in range(1, len(fate.steps) + 1):
            store = await erase_in_a_copy(house, rows, Fate(at=at, when="after" if at % 2 else "before"))
            deputy = await build(house.sandbox, vault=await Vault.open(store, [KEY]), toolkits=[gmail])
            await deputy.erase_tenant("acme")
            left = {(kind, key): sealed for kind in KINDS for key, sealed in await store.scan(kind)}
            assert not of(deputy, left, "acme") and of(deputy, left, "zenith") == of(deputy, rows, "zenith"), at
            assert (await try_all(deputy.vault)).whole
            await deputy.close()


async def erase_in_a_copy(house: House, rows: Rows, fate: Fate) -> MemoryStore:
    """Erase the tenant in a copy of the vault, by a process that may die. Return the copy."""
    store = await in_memory(rows)
    deputy = await build(
        vault=await Vault.open(MortalStore(store, fate), [KEY]),
        transport=MortalLine(house.sandbox.transport(), fate),
        toolkits=[gmail],
    )
    with suppress(Died):
        await deputy.erase_tenant("acme")
    fate.dead = True
    return store


# ------------------------------------------------------------- backups


async def test_restore_of_an_older_backup_keeps_a_tenant_erased(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        deputy, backup = house.deputy, tmp_path / "backup"
        await back_up(deputy.vault, backup, deputy.clock())
        await deputy.erase_tenant("acme")
        await restore(deputy.vault, backup, deputy.audit, tmp_path / "audit", deputy.revocation_queue.enqueue_in)
        assert not of(deputy, await house.rows(), "acme")
        assert await deputy.vault.list_grants(DAVE) and not await deputy.vault.list_grants(CAROL)
        assert (await try_all(deputy.vault)).whole


@pytest.mark.parametrize("damage", ["damaged", "lost", "replaced"])
async def test_restore_brings_a_lost_data_key_back(tmp_path: Path, damage: str) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        deputy, vault, backup = house.deputy, house.deputy.vault, tmp_path / "backup"
        await back_up(vault, backup, deputy.clock())
        place = vault.data_keys.place("acme")
        sealed = await vault.store.get(KIND, place)
        assert sealed and await vault.store.delete(KIND, place, sealed)
        vault.data_keys.forget()
        if damage == "damaged":
            await vault.store.insert(KIND, place, sealed[:-1] + bytes([sealed[-1] ^ 1]))
        if damage == "replaced":
            await vault.insert("act", "late", {"expires": 1e12}, await vault.data_keys.get("acme"))
        await restore(vault, backup, deputy.audit, tmp_path / "audit", deputy.revocation_queue.enqueue_in)
        again = await Vault.open(vault.store, [KEY])
        found = await try_all(again)
        assert found.whole and not found.erased and await again.list_grants(CAROL)
        assert bool(await again.get("act", "late")) == (damage == "replaced")
        await deputy.act("gmail_search", {}, user=CAROL)
        await deputy.erase_tenant("acme")
        assert not of(deputy, await house.rows(), "acme")


async def test_restore_keeps_tenants_that_came_after_the_backup(tmp_path: Path) -> None:
    house = House(str(tmp_path / "v.sqlite"), tmp_path)
    deputy = await house.start()
    await house.live(DAVE, "bob@example.test")
    backup = tmp_path / "backup"
    await back_up(deputy.vault, backup, deputy.clock())
    await house.live(CAROL, "alice@example.test")
    await restore(deputy.vault, backup, deputy.audit, tmp_path / "audit", deputy.revocation_queue.enqueue_in)
    assert (await try_all(deputy.vault)).whole and await deputy.vault.scan("act", deputy.vault.key_prefix(CAROL))
    await deputy.close()


async def test_restore_keeps_a_tenant_that_comes_during_the_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        deputy, vault = house.deputy, house.deputy.vault
        await back_up(vault, tmp_path / "backup", deputy.clock())

        async def meanwhile(*arguments: Any) -> int:
            await vault.insert("act", "late", {"expires": 1e12}, await vault.data_keys.get("newcomers"))
            return await distrust(*arguments)

        monkeypatch.setattr("deputize.core.vault.backup.distrust", meanwhile)
        await restore(vault, tmp_path / "backup", deputy.audit, tmp_path / "audit", deputy.revocation_queue.enqueue_in)
        assert await (await Vault.open(vault.store, [KEY])).get("act", "late")


async def test_backup_in_place_of_the_vault_is_erased_again(tmp_path: Path) -> None:
    file, backup = tmp_path / "v.sqlite", tmp_path / "backup"
    async with two_tenants(str(file), tmp_path) as house:
        await back_up(house.deputy.vault, backup, house.deputy.clock())
        await house.deputy.erase_tenant("acme")
    file.unlink()
    shutil.copy(backup, file)
    deputy = await house.start()
    assert of(deputy, await house.rows(), "acme")  # a backup holds the encrypted data key, too
    await deputy.erase_tenant("acme")
    rows: Any = await house.rows()
    assert not of(deputy, rows, "acme") and of(deputy, rows, "zenith")
    await deputy.close()


async def test_old_backup_is_closed_by_rotating_and_destroying_the_root_key(tmp_path: Path) -> None:
    async with two_tenants(str(tmp_path / "v.sqlite"), tmp_path) as house:
        old = await house.rows()
        await house.deputy.erase_tenant("acme")
        house.deputy.vault.rekey([NEXT, KEY])
        await reseal(house.deputy.vault)
        new = await house.rows()
        assert await opened_with(new, NEXT) == len(new)
        with pytest.raises(VaultError):
            await opened_with(old, NEXT)
