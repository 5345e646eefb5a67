"""Revocation of one grant, of a user's, a tenant's and all grants; of leaked tokens; and with dying processes."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.core import PROVIDERS, App, ConsentRequired, Deputy, Revoked, Secret, StoreUnavailable, User, VaultError
from deputize.core.audit import Audit, verify
from deputize.core.grants.refresh import GrantLost
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.oauth.endpoint import LEAKED_AT_ONCE
from deputize.core.vault.grant import Account, Grant
from deputize.core.vault.rollback import find_unaudited
from deputize.core.vault.vault import KINDS, PAGE
from deputize.sandbox import Sandbox
from deputize.sandbox.github import (
    GITHUB_APP_CLIENT_ID,
    GITHUB_APP_CLIENT_SECRET,
    GITHUB_CLIENT_ID,
    GITHUB_CLIENT_SECRET,
)
from tests.core.consent.test_consents import House
from tests.core.grants import test_refresh
from tests.core.grants.test_refresh import _fleet
from tests.core.vault.test_sweeping import counted
from tests.support.faults import GMAIL_API, REVOKE, TOKEN, Line, answer
from tests.support.gmail_toolkit import ALL, READ, gmail
from tests.support.sandbox_deputy import build, connect, consent, google_app, new_vault, played

ALICE, BOB = User("alice", "acme"), User("bob", "acme")
ELSEWHERE = User("alice", "other")
LEAKED = ("api.github.com", "/credentials/revoke")


# ------------------------------------------------------------- one grant


async def test_R11_refresh_overtaken_by_a_disconnect_loses_and_its_tokens_are_revoked(house: House) -> None:
    house.sandbox.expire_access_tokens()
    house.clock.now += 3600
    grant = await house.grant()
    assert grant
    house.line.held, house.line.held_after = TOKEN, True
    refreshing = asyncio.create_task(house.deputy.refresher.get_live(grant))
    await house.line.until_held()
    assert await house.deputy.revoke("alice", "google") == [Revoked("google", "alice@example.test", "done")]
    house.line.release()
    with pytest.raises(GrantLost) as caught:
        await refreshing
    assert caught.value.reason == "disconnected" and house.live() == 0
    [stone] = await house.deputy.vault.list_grants(User("alice"))
    assert (stone.status, bool(stone.access_token), stone.refresh_token) == ("revoked", False, None)
    assert await house.deputy.vault.scan("outbox") == []


@pytest.mark.parametrize("reason", ["invalid_grant", "disconnected"])
async def test_refresh_of_an_ended_grant_raises_its_reason(house: House, reason: str) -> None:
    """The caller still holds the old grant; the vault has the newer state."""
    grant = await house.grant()
    assert grant
    if reason == "disconnected":
        await house.deputy.revoke("alice", "google")
    else:
        await house.deputy.refresher.end(grant, reason)
    sent = len(house.line.seen)
    with pytest.raises(GrantLost) as caught:
        await house.deputy.refresher.get_live(grant, grant.access_token)
    assert caught.value.reason == reason and len(house.line.seen) == sent


# ------------------------------------------------------------- all of a user's, a tenant's, everybody's


async def _three(house: House) -> None:
    for user, email in ((ALICE, "alice"), (BOB, "bob"), (ELSEWHERE, "decoy")):
        for one in await house.deputy.connect(user, "google", scopes=[READ]):
            await consent(house.deputy, house.sandbox, one, as_=f"{email}@example.test")
        await house.deputy.connect(user, "google", scopes=["gmail.send"])  # and one that waits


async def _standing(house: House, user: User) -> tuple[int, int]:
    """Return live grants, and pending consents."""
    waiting = await house.deputy.consents.list_pending(user)
    return len(await house.deputy.connections(user)), len(waiting)


async def test_R35_revoke_all_of_a_user_ends_only_that_users_grants() -> None:
    house = await House().begin(apps=[google_app(), _apps()[0]])
    await _three(house)
    [more] = await house.deputy.connect(BOB, "github")
    await consent(house.deputy, house.sandbox, more, as_="bob@example.test")
    ended = await house.deputy.revoke(BOB)
    assert [one.upstream for one in ended] == ["done", "done"] and house.live("bob") == 0
    assert await _standing(house, BOB) == (0, 0)
    assert await _standing(house, ALICE) == await _standing(house, ELSEWHERE) == (1, 1)
    await house.deputy.close()


async def test_R35_revoke_all_of_a_tenant_ends_only_its_grants_and_allows_new_consent() -> None:
    house = await House().begin()
    await _three(house)
    ended = await house.deputy.revoke_all(tenant="acme")
    assert {one.account for one in ended} == {"alice@example.test", "bob@example.test"}
    assert house.live("alice") == house.live("bob") == 0 and house.live("decoy") > 0
    assert await _standing(house, ALICE) == await _standing(house, BOB) == (0, 0)
    assert await _standing(house, ELSEWHERE) == (1, 1)
    for user in (ALICE, BOB):
        with pytest.raises(ConsentRequired):
            await house.deputy.act("gmail_search", {}, user=user)
    [again] = await house.deputy.connect(ALICE, "google", scopes=[READ])
    assert (await consent(house.deputy, house.sandbox, again)).status == "granted"
    [grant] = await house.deputy.vault.list_grants(ALICE)
    assert grant.generation == 3 and await house.deputy.revoke_all(tenant="nobody") == []
    await house.deputy.close()


async def test_R35_revoke_all_of_the_empty_tenant_does_not_end_other_tenants(house: House) -> None:
    await _three(house)
    assert [one.account for one in await house.deputy.revoke_all(tenant="")] == ["alice@example.test"]
    assert (await _standing(house, ALICE))[0] == (await _standing(house, BOB))[0] == 1


async def test_R35_revoke_all_works_locally_when_the_provider_is_down() -> None:
    house = await House().begin()
    await _three(house)
    house.line.answers[REVOKE] = [answer(503)] * 3
    assert [one.upstream for one in await house.deputy.revoke_all()] == ["queued"] * 3
    for user in (ALICE, BOB, ELSEWHERE):
        assert await _standing(house, user) == (0, 0)
    assert house.live("decoy") > 0
    house.line.answers.clear()
    assert await house.deputy.revoker.retry() == ["done"] * 3
    assert sum(house.live(name) for name in ("alice", "bob", "decoy")) == 0
    await house.deputy.close()


async def test_R35_unwritable_grant_does_not_keep_others_connected() -> None:
    house = await House().begin()
    await _three(house)
    house.store.failing["swap", "grant"] = 1
    with pytest.raises(StoreUnavailable):
        await house.deputy.revoke_all()
    standing = [(await _standing(house, user))[0] for user in (ALICE, BOB, ELSEWHERE)]
    assert standing == [0, 0, 0]
    ended = [row for row in house.deputy.audit.rows() if row["event"] == "grant.revoked"]
    assert len(ended) == 2
    await house.deputy.revoke_all()
    assert sum(house.live(name) for name in ("alice", "bob", "decoy")) == 0
    await house.deputy.close()


async def test_R35_page_of_grants_ends_with_few_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = await new_vault(tmp_path / "vault" / "vault.sqlite", b"k" * 32)
    one = Grant(ALICE, "google", "google", Account("1", "a"), frozenset({READ}), Secret("t"), None, 9e9, 1.0)
    await asyncio.gather(*(vault.add(replace(one, user=User(f"u{n}"))) for n in range(2 * PAGE)))
    here, audit = "http://127.0.0.1:8000", Audit(None, b"a" * 32)
    async with Deputy(vault, [google_app()], pages=here, audit=audit, toolkits=[gmail]) as deputy:
        monkeypatch.setattr(RevocationQueue, "deliver", _undelivered)
        groups = counted(monkeypatch)
        assert len(await deputy.revoke_all()) == 2 * PAGE
        assert sum(groups) >= 4 * PAGE
        assert len(groups) < 0.75 * sum(groups), "how many share one depends on what else the machine does"
        assert not [g for n in range(2 * PAGE) for g in await vault.list_grants(User(f"u{n}")) if g.status == "active"]


async def _undelivered(queue: RevocationQueue, *entries: Any) -> list[str]:
    return ["queued"] * len(entries)


async def test_R35_damaged_record_does_not_keep_others_connected_and_is_reported() -> None:
    house = await House().begin()
    await _three(house)
    store, record_key = house.deputy.vault.store, house.deputy.vault.key_prefix(BOB)
    for kind in ("grant", "consent"):
        [(key, sealed), *_] = await store.scan(kind, record_key)
        assert await store.swap(kind, key, sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(VaultError, match=r"Disconnected 2, but 1 grants"):
        await house.deputy.revoke_all()
    assert await _standing(house, ALICE) == await _standing(house, ELSEWHERE) == (0, 0)
    assert house.live("alice") == house.live("decoy") == 0
    with pytest.raises(VaultError, match=r"Disconnected 0, but 1"):
        await house.deputy.revoke(BOB)
    assert await house.deputy.revoke(ALICE) == []  # another user's damage is not hers
    await house.deputy.close()


async def test_account_is_disconnected_by_name_in_any_case_or_id(house: House) -> None:
    user = User("alice")
    [first] = await house.deputy.vault.list_grants(user)
    odd = Account("other", first.account.subject)  # called as the first one's id
    await house.deputy.vault.add(replace(first, account=odd, access_token=Secret("ya29.odd"), refresh_token=None))
    [ended] = await house.deputy.revoke(user, "google", account=first.account.subject)
    assert ended.account == first.account.name
    [left] = await house.deputy.connections(user)
    assert left.account == odd.name
    [other] = await house.deputy.revoke(user, "google", account="other")
    assert other.account == odd.name and await house.deputy.connections(user) == []
    await house.connected(*ALL)
    [again] = await house.deputy.revoke(user, account="Alice@Example.TEST")
    assert again.account == first.account.name


async def test_provider_profile_data_is_deleted_with_the_grant(house: House) -> None:
    grant = await house.grant()
    assert grant and await house.deputy.vault.replace(grant, replace(grant, extra={"email": "alice@home.example"}))
    await house.deputy.erase("alice")
    kept = [record.plain.reveal() for kind in KINDS for record in await house.deputy.vault.scan(kind)]
    assert kept and b"alice@home.example" not in b"".join(kept)


async def test_R36_every_possibly_live_token_is_in_a_grant_or_the_revocation_queue(house: House) -> None:
    """Whatever the provider answers, and whichever process receives it."""
    for fault in (answer(503), answer(429, {}, retry_after="9"), answer(200), answer(400, {"error": "invalid_token"})):
        house.line.answers[REVOKE] = [fault]
        [told] = await house.deputy.revoke("alice", "google")
        owed = [record.json for record in await house.deputy.vault.scan("outbox")]
        known = bool(owed) or told.upstream == "done"
        assert known and (told.upstream == "queued") == bool(owed)
        assert all((note["user"], note["provider"]) == ("alice", "google") for note in owed)
        house.line.answers.clear()
        await house.deputy.revoker.retry()
        assert await house.deputy.vault.scan("outbox") == []
        await house.connected(*ALL)


# ------------------------------------------------------------- tokens that others may have


async def _at_github(sandbox: Sandbox, line: Line, *apps: App) -> Deputy:
    deputy = await build(sandbox, transport=line, apps=apps)
    for app in apps:
        for one in await deputy.connect("alice", app.provider, app=app.name):
            assert (await consent(deputy, sandbox, one)).status == "granted"
    return deputy


def _apps(secret: bool = True) -> tuple[App, App]:
    one, two = (Secret(s) if secret else None for s in (GITHUB_CLIENT_SECRET, GITHUB_APP_CLIENT_SECRET))
    return App("github", GITHUB_CLIENT_ID, one), App("github_app", GITHUB_APP_CLIENT_ID, two)


async def test_compromised_github_tokens_end_without_the_app_secret() -> None:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await _at_github(sandbox, line, *_apps())
    deputy.apps.update({app.name: app for app in _apps(secret=False)})  # whoever has the vault has lost the secret
    assert sandbox.live_tokens()["alice@example.test"] == 3  # one, and a pair
    line.seen.clear()
    line.sent.clear()
    ended = await deputy.revoke("alice", leaked=True)
    assert [one.upstream for one in ended] == ["done", "done"]
    assert sandbox.live_tokens()["alice@example.test"] == 0 and await deputy.connections("alice") == []
    [first, second] = line.sent
    for request in (first, second):
        assert (request.method, request.url.host, request.url.path) == ("POST", *LEAKED)
        assert "authorization" not in request.headers and GITHUB_CLIENT_ID not in request.content.decode()
    assert await deputy.vault.scan("outbox") == []
    rows = [row for row in deputy.audit.rows() if row["event"] == "revoke.done"]
    assert [row["leaked"] for row in rows] == [True, True] and "gho_" not in json.dumps(rows)
    await deputy.close()


async def test_compromised_tokens_end_when_the_app_is_no_longer_configured() -> None:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await _at_github(sandbox, line, *_apps())
    deputy.apps.clear()
    await deputy.revoke_all(leaked=True)
    assert sandbox.live_tokens()["alice@example.test"] == 0
    await deputy.close()


async def test_ordinary_disconnect_does_not_report_compromised_tokens() -> None:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await _at_github(sandbox, line, *_apps())
    await deputy.revoke("alice")
    assert line.count(LEAKED) == 0 and sandbox.live_tokens()["alice@example.test"] == 0
    await deputy.close()


async def test_queued_compromise_report_is_sent_the_same_way_later() -> None:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await _at_github(sandbox, line, *_apps())
    line.answers[LEAKED] = [answer(500), answer(403)]
    assert [one.upstream for one in await deputy.revoke("alice", leaked=True)] == ["queued", "queued"]
    assert await deputy.connections("alice") == [] and sandbox.live_tokens()["alice@example.test"] == 3
    line.seen.clear()
    assert await deputy.revoker.retry() == ["done", "done"]
    assert sandbox.live_tokens()["alice@example.test"] == 0 and line.count(LEAKED) == 2 == len(line.seen)
    await deputy.close()


async def test_compromised_vault_is_ended_in_few_requests() -> None:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    deputy = await build(sandbox, transport=line, apps=_apps())
    for n in range(LEAKED_AT_ONCE // 2 + 3):
        scopes, token = frozenset({"repo"}), Secret(f"gho_unknown{n}")
        await deputy.vault.add(Grant(User(f"u{n}"), "github", "github", Account(str(n), f"u{n}"), scopes, token))
    ended = await deputy.revoke_all(leaked=True)
    assert len(ended) == LEAKED_AT_ONCE // 2 + 3 and {one.upstream for one in ended} == {"done"}
    sizes = [len(json.loads(request.content)["credentials"]) for request in line.sent]
    assert sizes == [LEAKED_AT_ONCE // 2, 3]
    await deputy.close()


async def test_revoke_all_ends_grants_locally_first_in_pages() -> None:
    house = await House().begin()
    number = 2 * PAGE + 3
    for n in range(number):
        account, scopes = Account(str(n), f"u{n}"), frozenset({READ})
        await house.deputy.vault.add(Grant(User(f"u{n}"), "google", "google", account, scopes, Secret(f"ya29.{n}")))
    asked: list[tuple[str, int | None]] = []
    scan, told = house.store.scan, list[int]()

    async def scanning(kind: str, prefix: str = "", *, after: str = "", most: int | None = None) -> Any:
        asked.append((kind, most))
        return await scan(kind, prefix, after=after, most=most)

    def revoking(request: httpx.Request) -> httpx.Response:
        told.append(sum(kind == "grant" for kind, _ in asked))
        return httpx.Response(200, json={})

    house.store.scan = scanning  # type: ignore[method-assign]
    house.line.answers[REVOKE] = [revoking] * number
    assert {one.upstream for one in await house.deputy.revoke_all()} == {"done"} and len(told) == number
    assert all(most is not None for _, most in asked)
    assert set(told) == {sum(kind == "grant" for kind, _ in asked)}  # all had ended here by then
    await house.deputy.close()


async def test_compromised_grant_ends_as_usual_at_providers_without_a_report_url(house: House) -> None:
    assert [one.upstream for one in await house.deputy.revoke("alice", "google", leaked=True)] == ["done"]
    assert house.live() == 0 and not PROVIDERS["google"].oauth.revoke_leaked_url


def test_compromise_report_is_not_sent_to_self_hosted_servers() -> None:
    assert not PROVIDERS["github"].at_host("github.example.com").oauth.revoke_leaked_url
    moved = PROVIDERS["github"].moved_to("http://127.0.0.1:9").oauth.revoke_leaked_url
    assert moved == "http://127.0.0.1:9/api.github.com/credentials/revoke"


# ------------------------------------------------------------- W7, W8: processes that die after the save

_DYING = """
    from deputize.core.audit import Audit
    save, write = refresh.Refresher._save, Audit._write

    async def saving(self, old, new):
        saved = await save(self, old, new)
        if die == "kill-saved":
            end()
        return saved

    def writing(self, event, facts):
        if die == "kill-audit" and event.event == "token.refreshed":
            end()
        write(self, event, facts)

    refresh.Refresher._save, Audit._write = saving, writing
    refresh.Endpoint.refresh = asking
"""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes as in the tests of refreshes, which can also die later, and keep their audit in a folder."""
    script = test_refresh.ACTING.replace("\n    refresh.Endpoint.refresh = asking\n", _DYING)
    script = script.replace("toolkits=[gmail],", "toolkits=[gmail], audit=opened(vault),")
    script = script.replace(
        'deputy = await build(vault=await new_vault(path, b"k" * 32)', "deputy = await build(vault=vault"
    )
    script = script.replace("async def main():\n", 'async def main():\n    vault = await new_vault(path, b"k" * 32)\n')
    opening = "def opened(vault):\n    from deputize.core.audit import Audit\n"
    opening += "    return Audit(path.parent / 'audit', vault.keys.audit)\n\nasync def main():\n"
    script = script.replace("async def main():\n", opening)
    monkeypatch.setattr(test_refresh, "ACTING", script)


async def _expired(tmp_path: Path) -> tuple[Sandbox, Path, Path]:
    """As in the tests of refreshes, with the audit in a folder."""
    sandbox, path = Sandbox(), tmp_path / "vault" / "vault.sqlite"
    vault = await new_vault(path, b"k" * 32)
    folder = path.parent / "audit"
    deputy = await build(sandbox, vault=vault, toolkits=[gmail], audit=Audit(folder, vault.keys.audit))
    await connect(deputy, sandbox, *ALL)
    sandbox.expire_access_tokens()
    sandbox.switches.rotate = sandbox.switches.reuse_kills_family = True
    grant = await vault.find_grant(User("alice"), "google", "google")
    assert grant and await vault.replace(grant, replace(grant, expires_at=1.0, origin=played()))
    await deputy.close()
    return sandbox, path, folder


@pytest.mark.processes
@pytest.mark.usefixtures("dying")
async def test_W7_next_process_uses_the_saved_token_when_killed_before_release(tmp_path: Path) -> None:
    sandbox, path, _ = await _expired(tmp_path)
    before = sandbox.count(*TOKEN)
    with _fleet(sandbox, path) as fleet:
        dead = fleet.start(1, "kill-saved")
        assert await fleet.go(dead) == [""] and dead.returncode == -signal.SIGKILL
        assert sandbox.count(*TOKEN) == before + 1 and sandbox.count(*GMAIL_API) == 0
        assert await fleet.go(*(fleet.start(5) for _ in range(2))) == ["5 []"] * 2
        assert sandbox.count(*TOKEN) == before + 1
    vault = await new_vault(path, b"k" * 32)
    [grant] = await vault.list_grants(User("alice"))
    assert grant.status == "active"
    await vault.close()


@pytest.mark.processes
@pytest.mark.usefixtures("dying")
async def test_W8_missing_audit_row_is_found_when_killed_between_save_and_audit(tmp_path: Path) -> None:
    sandbox, path, folder = await _expired(tmp_path)
    with _fleet(sandbox, path) as fleet:
        assert await fleet.go(fleet.start(1, "kill-audit")) == [""]
        vault = await new_vault(path, b"k" * 32)
        [missed] = await find_unaudited(vault, folder)
        assert (missed.user, missed.account, missed.generation - missed.audited) == (
            User("alice"),
            "alice@example.test",
            2,
        )
        assert verify(folder, vault.keys.audits).ok
        assert await fleet.go(fleet.start(1)) == ["1 []"]
        assert await find_unaudited(vault, folder) == []  # what acts with it tells of it
        await vault.close()


def test_dying_process_script_contains_the_expected_code(dying: Any) -> None:
    for part in ("kill-saved", "kill-audit", "audit=opened(vault)", "vault=vault,"):
        assert part in test_refresh.ACTING
