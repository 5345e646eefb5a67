"""After a user is erased, nothing in the vault or the audit identifies them."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deputize.core import ApprovalRequired, Call, ConsentRequired, Deputy, Secret, User, VaultError
from deputize.core.audit import Audit, verify
from deputize.core.audit.common_fields import OfGrant
from deputize.core.audit.events import TokenRefreshed
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.token_reply_journal import Received, ReceivedReplies
from deputize.core.oauth.token_reply import Tokens
from deputize.core.vault.pseudonyms import KIND, MARK, PSEUDONYM_TTL, People, Pseudonyms, fallback_pseudonym
from deputize.core.vault.rollback import AuditedGenerations, find_rolled_back
from deputize.core.vault.vault import KINDS, Vault
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import House
from tests.support.faults import REVOKE, answer
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.kill_points import Fate, MortalLine, MortalStore
from tests.support.sandbox_deputy import build, connect, new_vault

CAROL = User("carol-4711", "acme")
MAIL_OF_CAROL = "alice@example.test"
KEY = b"k" * 32


async def opened(folder: Path, sandbox: Sandbox) -> Deputy:
    vault = await new_vault(folder / "vault" / "v.sqlite", KEY)
    audit = Audit(folder / "audit", vault.keys.audit)
    return await build(sandbox, vault=vault, toolkits=[gmail], audit=audit)


async def lived(deputy: Deputy, sandbox: Sandbox, user: User = CAROL) -> str:
    """Do everything that a user may do. Return the subject of their account."""
    with pytest.raises(ConsentRequired):
        await deputy.act("gmail_search", {}, user=user)
    await connect(deputy, sandbox, *ALL, user=user)
    with pytest.raises(ApprovalRequired) as asked:
        await deputy.act("gmail_send", MAIL, user=user, call=Call("t", "m", "c"))
    await deputy.decide(asked.value.approval.id, "approve", by=user)
    await deputy.act("gmail_send", MAIL, user=user, call=Call("t", "m", "c"))
    sandbox.expire_access_tokens()
    await deputy.act("gmail_search", {}, user=user)
    await deputy.set_default_account(user, "google", MAIL_OF_CAROL)
    [grant] = await deputy.vault.list_grants(user)
    return grant.account.subject


def audited(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "audit").glob("*.jsonl"))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in audited(folder).splitlines()]


async def said(vault: Vault) -> bytes:
    return b"".join([record.plain.reveal() for kind in KINDS for record in await vault.scan(kind)])


async def test_erased_user_is_neither_in_the_vault_nor_in_the_audit(tmp_path: Path) -> None:
    sandbox = Sandbox()
    deputy = await opened(tmp_path, sandbox)
    subject = await lived(deputy, sandbox)
    assert b"carol-4711" in await said(deputy.vault)
    assert all(row.get("user", MARK).startswith(MARK) for row in rows(tmp_path))
    await deputy.erase(CAROL)
    deputy.audit.flush()
    kept, told = await said(deputy.vault), audited(tmp_path)
    for name in (b"carol-4711", MAIL_OF_CAROL.encode(), subject.encode()):
        assert name not in kept and name not in told
    assert len(rows(tmp_path)) > 10 and verify(tmp_path / "audit", deputy.vault.keys.audits).ok
    await deputy.close()


OF_NO_USER: Final = frozenset({"meta", "mcp_pins", "shipped", "data_key"})
"""Kinds of records that belong to the vault, a server, a collector or a tenant."""
BY_HASH: Final = frozenset(
    {
        "asked",
        "ticket",
        "state",
        "browser",
        "session_names",
        "logged_out",
        "erased",
        "role_approval",
        "scim_name",
        "chat_card",
    }
)
"""Kinds keyed by the hash of a link, a session, a role or a name; they name nobody, and expire or go with a record."""


async def test_erased_user_is_in_no_record_of_any_kind(tmp_path: Path) -> None:
    sandbox = Sandbox()
    deputy = await opened(tmp_path, sandbox)
    await lived(deputy, sandbox)
    vault, place = deputy.vault, deputy.vault.key_prefix(CAROL)
    await deputy.store_file(CAROL, "note.txt", "text/plain", b"of carol-4711")
    for kind in (
        "call",
        "session",
        "outside",
        "contacts",
        "zone",
        "intent",
        "chosen",
        "mandate",
        "obtaining",
        "budget",
        "roles",
        "offboarding",
        "scim_user",
        "chat_link",
        "assertion",
    ):
        if not await vault.scan(kind, place):
            await vault.insert(kind, place + "0" * 8, {"of": "carol-4711", "ended": 1.0, "expires": 1.0}, None)
    sandbox.switches.down = True
    reply = Received(
        family="f" * 32,
        consent="",
        key="",
        user=CAROL,
        provider="google",
        app="google",
        tokens=Tokens(Secret("ya29.late"), None, None, 60.0),
        asked_at=deputy.clock(),
    )
    await ReceivedReplies(deputy.services).put(reply)
    before = {kind for kind in KINDS if await _near(vault, kind, place)}
    assert before == set(KINDS) - OF_NO_USER - BY_HASH - {"outbox"}
    await deputy.erase(CAROL)
    assert {kind for kind in KINDS if await _near(vault, kind, place)} == {"outbox"}  # sent when the provider is back
    assert b"carol-4711" not in await said(vault)
    await deputy.close()


async def test_damaged_records_do_not_stop_an_erasure(tmp_path: Path) -> None:
    sandbox = Sandbox()
    deputy = await opened(tmp_path, sandbox)
    await lived(deputy, sandbox)
    await deputy.store_file(CAROL, "note.txt", "text/plain", b"of carol-4711")
    vault, place = deputy.vault, deputy.vault.key_prefix(CAROL)
    damaged = ("act", "approval", "consent", "chosen", "file", "filepart", "person", "roles")
    for kind in damaged:
        for key, sealed in await vault.store.scan(kind, place):
            await vault.store.swap(kind, key, sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    await deputy.erase(CAROL)
    assert not [kind for kind in KINDS if await _near(vault, kind, place)]
    await deputy.close()


async def test_erasure_fails_if_a_missing_key_may_open_a_record(tmp_path: Path) -> None:
    sandbox, alice = Sandbox(), User("alice")
    deputy = await opened(tmp_path, sandbox)
    vault = deputy.vault
    with_newer_key = await Vault.open(vault.store, [b"n" * 32, KEY])
    await with_newer_key.insert("contacts", vault.key_prefix(alice), {"expires": 1e12}, None)
    with pytest.raises(VaultError):
        await deputy.erase(alice)
    assert await _near(vault, "contacts", vault.key_prefix(alice))
    await deputy.close()


async def _near(vault: Vault, kind: str, place: str) -> bool:
    """Return True if a record of this kind is filed under the user, or is part of such a one."""
    return bool(await vault.store.scan(kind, place))


async def test_rows_of_one_user_share_a_pseudonym_resolvable_until_erasure(tmp_path: Path) -> None:
    sandbox = Sandbox()
    deputy = await opened(tmp_path, sandbox)
    await lived(deputy, sandbox)
    await lived(deputy, sandbox, User("dave", "acme"))
    deputy.audit.flush()
    people = await People.of(deputy.vault)
    names = {(row["user"], people.resolve_row(row)["user"]) for row in rows(tmp_path) if "user" in row}
    assert {user for _, user in names} == {"carol-4711", "dave"} and len(names) == 2
    accounts = {row["account_hash"] for row in rows(tmp_path) if "account_hash" in row}
    assert len(accounts) == 2, "nobody sees that both had the same account"
    before = {user: name for name, user in names}
    await deputy.erase(CAROL)
    people = await People.of(deputy.vault)
    carol, dave = ({"tenant": "acme", "user": before[user]} for user in ("carol-4711", "dave"))
    assert (people.resolve_row(carol), people.is_unresolvable(carol)) == (carol, True)
    assert people.resolve_row(dave) == {"tenant": "acme", "user": "dave", "pseudonym": before["dave"]}
    assert before["carol-4711"] not in {one.name for one in people.pseudonyms(CAROL)}, "not to be guessed either"
    await deputy.close()


async def test_user_returning_after_erasure_has_a_new_pseudonym(tmp_path: Path) -> None:
    sandbox = Sandbox()
    deputy = await opened(tmp_path, sandbox)
    await lived(deputy, sandbox)
    await deputy.erase(CAROL)
    before = {row["user"] for row in deputy.audit.rows() if "user" in row}
    await lived(deputy, sandbox)
    after = {row["user"] for row in deputy.audit.rows() if "user" in row} - before
    assert len(before) == len(after) == 1
    await deputy.close()


async def test_queued_revocation_of_an_erased_user_is_sent_without_name() -> None:
    house = House()
    await house.begin()
    await house.connected(*ALL)
    house.line.answers[REVOKE] = [answer(503)]
    assert [one.upstream for one in await house.deputy.erase("alice")] == ["queued"]
    assert b"alice" not in await said(house.deputy.vault)
    house.line.answers[REVOKE] = [answer(200)]
    assert await house.deputy.revoker.retry() == ["done"]
    [row] = [row for row in house.deputy.audit.rows() if row["event"] == "revoke.done"]
    assert "user" not in row and await house.deputy.vault.scan(KIND) == []


async def test_tokens_arriving_after_erasure_are_revoked_anonymously() -> None:
    house = House()
    await house.begin()
    grant = await house.connected(*ALL) or await house.grant()
    assert grant
    await house.deputy.erase("alice")
    tokens = Tokens(grant.access_token, grant.refresh_token, None, 60.0)
    later = RevocationQueue(replace(house.deputy.services, audit=Audit(None, KEY)))  # of another process
    assert await later.end(grant.user, grant.provider, grant.app, tokens) == "done"
    assert await house.deputy.vault.scan(KIND) == [] and b"alice" not in await said(house.deputy.vault)
    [row] = later.audit.rows()
    assert row["event"] == "revoke.done" and "user" not in row


async def test_process_with_a_cached_pseudonym_reads_it_again_within_a_minute() -> None:
    vault, at = await new_vault(), 0.0
    here, there = Pseudonyms(vault, lambda: at), Pseudonyms(vault)
    for one in (here, there):
        await one.learn("acme", "carol")
    first = here.user("acme", "carol")
    assert there.user("acme", "carol") == first
    await there.forget("acme", "carol")
    assert there.user("acme", "carol") == first, "what is under way ends under the name it began with"
    await here.learn("acme", "carol")
    assert here.user("acme", "carol") == first and await vault.scan(KIND) == []
    at = PSEUDONYM_TTL
    await here.learn("acme", "carol")
    await there.learn("acme", "carol")
    assert here.user("acme", "carol") == there.user("acme", "carol") != first


async def test_row_is_written_with_a_fallback_pseudonym_when_the_store_fails() -> None:
    house = House()
    await house.begin()
    house.store.failing["get", KIND] = 100
    with pytest.raises(ConsentRequired):
        await house.deputy.act("gmail_search", {}, user="alice")
    house.store.failing.clear()
    people = await People.of(house.deputy.vault)
    row = house.deputy.audit.rows()[-1]
    assert row["user"] == fallback_pseudonym(house.deputy.vault, User("alice")).name
    assert await house.deputy.vault.scan(KIND) == [] and people.is_unresolvable(row)
    house.deputy.audit.names = Pseudonyms(house.deputy.vault)
    with pytest.raises(ConsentRequired):
        await house.deputy.act("gmail_search", {}, user="alice")
    assert (await People.of(house.deputy.vault)).resolve_row(row)["user"] == "alice"


@pytest.mark.parametrize("nobody", ["", " ", "a\0b", "half of a character: \ud83d"])
async def test_invalid_user_gets_an_audit_row_and_no_record(nobody: str) -> None:
    house = House()
    await house.begin()
    with pytest.raises(Exception, match="user"):
        await house.deputy.act("gmail_search", {}, user=nobody)
    [row] = house.deputy.audit.rows()
    assert row["decision"] == "user_required" and row.get("user", "") != nobody.strip() + "x"
    assert await house.deputy.vault.scan(KIND) == []


# ------------------------------------------------------------- rows from before


async def test_rows_with_plain_user_ids_stay_readable_and_verifiable(tmp_path: Path) -> None:
    sandbox = Sandbox()
    deputy = await opened(tmp_path, sandbox)
    await connect(deputy, sandbox, *ALL, user=CAROL)
    [grant] = await deputy.vault.list_grants(CAROL)
    await deputy.close()
    vault = await new_vault(tmp_path / "vault" / "v.sqlite", KEY)
    plain = Audit(tmp_path / "audit", vault.keys.audit)
    plain.write(
        TokenRefreshed(
            OfGrant(
                tenant="acme",
                user="carol-4711",
                provider="google",
                app="google",
                account_hash=plain.digest(grant.account.subject),
                grant_gen=grant.generation + 5,
            )
        )
    )
    plain.close()
    [found] = await find_rolled_back(vault, tmp_path / "audit")
    assert (found.user, found.generation, found.audited) == (CAROL, grant.generation, grant.generation + 5)
    assert verify(tmp_path / "audit", vault.keys.audits).ok
    people = await People.of(vault)
    assert {people.resolve_row(row)["user"] for row in rows(tmp_path) if "user" in row} == {"carol-4711"}
    last = (await AuditedGenerations.read(tmp_path / "audit", vault)).of(grant)
    assert last and last.generation == grant.generation + 5
    await vault.close()


class Slow(MortalLine):
    """The network of a process whose provider is slow to name the tokens' owner."""

    reached: threading.Event
    answers: threading.Event

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/userinfo"):
            self.reached.set()
            await asyncio.to_thread(self.answers.wait, 10)
        return await super().handle_async_request(request)


@pytest.mark.parametrize("dies", [True, False])
async def test_consent_processed_elsewhere_leaves_nothing_of_an_erased_user(dies: bool) -> None:
    house = await House().begin()
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    fate = Fate()
    line = Slow(house.line, fate)
    line.reached, line.answers = threading.Event(), threading.Event()  # it runs in another loop
    vault = await Vault.open(MortalStore(house.store, fate), [b"k" * 32])
    other = await build(vault=vault, transport=line, clock=house.clock, toolkits=[gmail])
    work = asyncio.create_task(other.consents.finish("google", back, AnyLocalUser(), started.nonce.reveal()))
    assert await asyncio.to_thread(line.reached.wait, 10)
    erasing = asyncio.create_task(house.deputy.erase("alice"))
    await asyncio.wait((erasing,), timeout=0.3)
    fate.dead = dies
    line.answers.set()
    await asyncio.gather(work, return_exceptions=True)
    await erasing
    assert house.live() == 0 and await house.deputy.vault.scan("received") == []
    assert b"alice" not in await said(house.deputy.vault)
    await house.deputy.close()
