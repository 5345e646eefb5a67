"""Token families: all tokens from one consent, tracked from the first one to the end of the last."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from deputize.core import PROVIDERS, Deputy, Secret, User
from deputize.core.audit import Audit
from deputize.core.grants.refresh import GrantLost
from deputize.core.grants.revocation_queue import ABANDON_AFTER_SECONDS
from deputize.core.grants.token_families import families
from deputize.core.oauth.token_reply import Tokens
from deputize.core.vault.backup import back_up, restore
from deputize.core.vault.grant import Account, Grant, SecretBytes
from deputize.core.vault.token_ownership import EndedByProvider, NextOwner
from deputize.core.vault.vault import Vault
from tests.core.oauth.test_custody import ALICE, LINEAR, LINEAR_REVOKE, Home
from tests.support.faults import answer
from tests.support.kill_points import Died, Fate, MortalStore
from tests.support.provider_fields import with_fields
from tests.support.sandbox_deputy import Clock, build, consent, new_vault
from tests.support.token_families import unknown


def grant(family: str, refresh: str | None, **more: object) -> Grant:
    account = Account("1", "alice@example.test")
    made = Grant(ALICE, "linear", "linear", account, frozenset({"read"}), Secret(f"access-{family}"))
    return replace(made, refresh_token=Secret(refresh) if refresh else None, family=family, **more)  # type: ignore[arg-type]


def test_grant_keeps_its_family_and_a_record_without_one_is_read() -> None:
    packed = grant("f1", "r1").pack()
    assert Grant.unpack(packed, 1).family == "f1"
    earlier = SecretBytes(packed.reveal().rpartition(b"\0")[0])
    assert Grant.unpack(earlier, 1) == replace(grant("", "r1"), generation=1, access_token=Secret("access-f1"))


async def test_grant_that_keeps_a_refresh_token_keeps_its_family() -> None:
    vault = await new_vault()
    replaced = list[str]()

    async def end(before: Grant, after: Grant) -> None:
        replaced.append(before.family)

    await vault.add(grant("f1", "r1"), end)
    assert (await vault.add(grant("f2", None), end)).family == "f1"
    assert (await vault.add(grant("f3", "r3"), end)).family == "f3"
    assert replaced == ["f1", "f1"]
    [held] = await vault.list_grants(ALICE)
    assert await vault.end_grant(held, held.tombstone(), EndedByProvider())
    assert (await vault.list_grants(ALICE))[0].family == ""
    await vault.close()


# ------------------------------------------------------------- what is lost or overtaken


async def test_disconnect_ends_both_grants_if_a_consent_replaced_its_tombstone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store writes the tombstone, its answer is lost, and a newer consent takes the place of the tombstone."""
    home = Home(LINEAR)
    home.vault = vault = await new_vault()
    deputy = (await home.begin()).deputy
    assert await home.allow("read") == "granted"
    end, lost = vault.end_grant, list[Grant]()

    async def answer_once_lost(held: Grant, ended: Grant, owner: NextOwner) -> Grant | None:
        stone = await end(held, ended, owner)
        if not lost:
            lost.append(held)
            assert stone and await home.allow("read") == "granted"
            return None
        return stone

    monkeypatch.setattr(vault, "end_grant", answer_once_lost)
    assert [one.upstream for one in await deputy.revoke("alice")] == ["done", "done"]
    assert home.families == 0 and await unknown(vault, home.sandbox, time.time) == set()


async def _on_disk(folder: Path) -> tuple[Home, Vault, Deputy]:
    """A deputy on a vault that can be backed up, with an audit."""
    home = Home(LINEAR)
    home.vault = vault = await new_vault(folder / "vault" / "vault.sqlite", b"k" * 32)
    home.audit = Audit(folder / "audit", vault.keys.audit)
    return home, vault, (await home.begin()).deputy


@pytest.mark.processes
async def test_tokens_overwritten_by_a_restored_backup_are_revoked(tmp_path: Path) -> None:
    """Connected after the backup was made: the restore removes its grant, and its tokens would live on."""
    home, vault, deputy = await _on_disk(tmp_path)
    assert await home.allow("read") == "granted"
    await back_up(vault, tmp_path / "backup", time.time())
    await home.deputy.revoke("alice")
    assert await home.allow("write") == "granted" and home.families == 1
    await restore(vault, tmp_path / "backup", deputy.audit, tmp_path / "audit", deputy.revocation_queue.enqueue_in)
    assert await unknown(vault, home.sandbox, time.time) == set()
    await deputy.revoker.retry()
    assert home.families == 0
    await deputy.close()


@pytest.mark.processes
async def test_received_token_reply_survives_a_restore(tmp_path: Path) -> None:
    home, vault, deputy = await _on_disk(tmp_path)
    await back_up(vault, tmp_path / "backup", time.time())
    fate = Fate(1, "before", "insert grant")
    dying = await build(
        vault=await Vault.open(MortalStore(vault.store, fate), [b"k" * 32]), transport=home.line, apps=[LINEAR]
    )
    with suppress(Died):
        await home.allow("read", deputy=dying)
    assert fate.dead and home.families == 1
    await restore(vault, tmp_path / "backup", deputy.audit, tmp_path / "audit", deputy.revocation_queue.enqueue_in)
    assert await unknown(vault, home.sandbox, time.time) == set()
    await deputy.consents.recover()
    assert home.families == 1 and [one.state for one in await families(vault)] == ["active"]  # its consent stayed, too
    await deputy.close()


async def test_lost_rotation_is_reported_for_revocation() -> None:
    home = await Home(LINEAR).begin()
    home.sandbox.switches.rotate = True
    assert await home.allow("read") == "granted"
    [grant] = await home.deputy.vault.list_grants(ALICE)
    home.sandbox.switches.lose_token_reply = 1
    home.line.answers[LINEAR_REVOKE] = [answer(503)]
    with suppress(GrantLost):
        await home.deputy.refresher.get_live(grant, failed=grant.access_token)
    [left] = await families(home.deputy.vault)
    assert (left.id, left.state) == (grant.family, "pending_revocation")
    assert await home.deputy.revoker.retry() == ["done"] and await families(home.deputy.vault) == []
    await home.deputy.close()


@pytest.mark.parametrize("up", [True, False])
async def test_rejected_tokens_do_not_end_the_accounts_other_grant(up: bool) -> None:
    """At a server that may treat both as one grant they are kept until its disconnect (RFC 7009 2.1)."""
    home, clock = await Home(LINEAR).begin(), Clock(time.time())
    row = with_fields(PROVIDERS["linear"], ends_replaced="with_grant")
    one = await build(
        vault=home.deputy.vault, transport=home.line, apps=[LINEAR], providers={"linear": row}, clock=clock
    )
    assert await home.allow("read", "write", deputy=one) == "granted"
    [asked] = await one.connect("alice", "linear", scopes=["read"], add_account=True)
    assert (await consent(one, home.sandbox, asked)).reason_code == "same_account"
    assert home.line.count(LINEAR_REVOKE) == 0 and await unknown(one.vault, home.sandbox, time.time) == set()
    clock.now += 2 * ABANDON_AFTER_SECONDS
    if not up:
        home.line.answers[LINEAR_REVOKE] = [answer(503)] * 4
        assert [told.upstream for told in await one.revoke("alice")] == ["queued"]
        assert await one.revoker.retry() == ["queued", "queued"]  # the time that they waited does not count
        assert await one.revoker.retry() == ["done", "done"]
    await one.revoke("alice")
    assert home.families == 0 and await families(one.vault) == []
    await home.deputy.close()


async def test_token_families_are_listed_with_their_states() -> None:
    home, key = Home(LINEAR), b"k" * 32
    home.vault = await new_vault(key=key)
    await home.begin()
    assert await home.allow("read") == "granted"
    row = with_fields(PROVIDERS["linear"], ends_replaced="with_grant")
    one = await build(vault=home.vault, transport=home.line, apps=[LINEAR], providers={"linear": row})
    assert await home.allow("issues:create", deputy=one) == "granted"
    dead = await Vault.open(MortalStore(one.vault.store, Fate(1, "before", "swap grant")), [key])
    with suppress(Died):
        dying = await build(vault=dead, transport=home.line, apps=[LINEAR], providers={"linear": row})
        await home.allow("write", deputy=dying)
    await home.deputy.revocation_queue.enqueue(User("bob"), "linear", "linear", Tokens(Secret("a"), None, None, 0.0))
    states = sorted(one.state for one in await families(one.vault))
    assert states == ["active", "pending_revocation", "received", "superseded"]
    await home.deputy.close()
