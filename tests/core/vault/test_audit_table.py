"""The audit as a table in the vault's database: chains of all machines in one place, as verifiable as files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from deputize.core import Call, DeputizeError, Deputy, allow_all
from deputize.core.audit import Audit, read, verify
from deputize.core.audit.copy_trail import copy_rows
from deputize.core.audit.export_settings import AuditExportSettings
from deputize.core.audit.rows import Key
from deputize.core.audit.tail import read_newest
from deputize.core.audit.verification import Head
from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.settings import Settings
from deputize.core.vault.audit_shipping import KIND, Shipper, exports_of
from deputize.core.vault.chain_heads import ChainHeads, verify_audit
from deputize.core.vault.root_keys import new_key
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.audit_table import KEY, execute, made, server, some, table
from tests.support.collectors import HttpPeer
from tests.support.gmail_toolkit import MAIL, READ, SEND, gmail
from tests.support.lossy_socket import lossy
from tests.support.postgres import USER, Server
from tests.support.sandbox_deputy import build, consent

__all__ = ["made", "server", "table"]

pytestmark = pytest.mark.counterpart

SOCKET = ".s.PGSQL.5432"


def test_chains_of_several_machines_share_a_table_and_verify_together(table: PostgresAudit) -> None:
    anchors = list[str]()
    one, other = (Audit(table, KEY, anchor=anchors.append) for _ in range(2))
    for _ in range(3):
        some(one, 4)
        one.flush()
        some(other, 5)
        other.flush()
    one.close()
    report = verify(table, [KEY], anchors=anchors)
    assert report.ok and (report.writers, report.rows, report.open) == (2, 28, (other.writer,))
    assert [row["ts"] for row in read(table)] == sorted(row["ts"] for row in read(table))
    assert len(one.rows()) == 28
    other.close()
    assert verify(table, [KEY], anchors=anchors).open == () and len(anchors) == 2


TAMPERING = {
    "altered": 'UPDATE deputize_audit SET line = replace(line, \'"call_id":"2"\', \'"call_id":"9"\')'
    " WHERE writer = %s AND seq = 2",
    "missing": "DELETE FROM deputize_audit WHERE writer = %s AND seq = 2",
    "truncated": "DELETE FROM deputize_audit WHERE writer = %s AND seq > 5",
    "beginning": "DELETE FROM deputize_audit WHERE writer = %s AND seq < 2",
    "foreign": "UPDATE deputize_audit SET writer = 'zz' WHERE writer = %s AND seq > 3",
    "moved": "UPDATE deputize_audit SET seq = seq + 100 WHERE writer = %s AND seq = 2",
    "unreadable": "UPDATE deputize_audit SET line = 'gone' WHERE writer = %s AND seq = 2",
}


@pytest.mark.parametrize("kind", TAMPERING)
async def test_tampering_by_the_database_owner_is_found(kind: str, server: Server, table: PostgresAudit) -> None:
    vault = await Vault.open(await asyncio.to_thread(open_store, server.url, create=True), [b"r" * 32])
    heads = ChainHeads(vault)
    audit = Audit(table, vault.keys.audit, anchor=heads)
    await asyncio.to_thread(some, audit, 9)
    await asyncio.to_thread(audit.close)
    await heads.settled()
    assert (await verify_audit(vault, table)).ok
    assert await asyncio.to_thread(execute, server, TAMPERING[kind], audit.writer)
    found = {finding.kind for finding in (await verify_audit(vault, table)).findings}
    assert kind in found, found
    await vault.close()


async def test_missing_chain_is_found(server: Server, table: PostgresAudit) -> None:
    vault = await Vault.open(await asyncio.to_thread(open_store, server.url, create=True), [b"r" * 32])
    heads = ChainHeads(vault)
    audit = Audit(table, vault.keys.audit, anchor=heads)
    await asyncio.to_thread(some, audit, 3)
    await asyncio.to_thread(audit.close)
    await heads.settled()
    await asyncio.to_thread(execute, server, "DELETE FROM deputize_audit")
    assert [one.kind for one in (await verify_audit(vault, table)).findings] == ["truncated"]
    await vault.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE deputize_audit SET line = ''",
        "DELETE FROM deputize_audit",
        "TRUNCATE deputize_audit",
        "DROP TABLE deputize_audit",
        "ALTER TABLE deputize_audit ADD x int",
        "INSERT INTO deputize_audit SELECT * FROM deputize_audit ON CONFLICT (writer, seq) DO UPDATE SET line = ''",
        "CREATE RULE none AS ON INSERT TO deputize_audit DO INSTEAD NOTHING",
    ],
)
def test_application_role_can_only_insert(statement: str, server: Server, table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 1)
    audit.close()
    with (
        psycopg.connect(server.dsn.replace(f"user={USER}", "user=app"), autocommit=True) as program,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        program.execute(statement.encode())


def test_migration_adds_the_audit_table_and_its_permissions(server: Server, tmp_path: Path) -> None:
    execute(server, "DROP TABLE deputize_audit")
    execute(server, "DELETE FROM deputize_schema WHERE version = 2")
    early = Settings(home=tmp_path, vault=server.url, key=SecretStr(new_key()), audit_files=False)  # type: ignore[call-arg]
    with pytest.raises(DeputizeError, match="no table of the audit") as caught:
        Deputy.from_settings(early)
    assert "deputize store migrate" in caught.value.hint
    assert migrate(Address.of(server.url)) == (1, 2)
    audit = Audit(PostgresAudit(Address.of(server.url.replace(f"{USER}@", "app@"))), KEY)
    some(audit, 1)
    audit.close()
    assert len(audit.rows()) == 1


def test_rows_with_a_lost_answer_are_stored_once(server: Server, tmp_path: Path) -> None:
    folder = Path(server.url.partition("host=")[2])
    with lossy(folder / SOCKET, tmp_path / SOCKET) as way:
        table = PostgresAudit(Address.of(f"postgresql://{USER}@/postgres?host={tmp_path}"))
        audit = Audit(table, KEY)
        some(audit, 3)
        audit.flush()
        for _ in range(3):
            way.lose = 1
            some(audit, 2)
            audit.flush()
        assert way.lost == 3
        audit.close()
        report = verify(table, [KEY])
        assert report.ok and report.rows == 9
        audit.close()


def test_uncertain_rows_are_written_first(
    server: Server, table: PostgresAudit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were committed without a confirmation, and the server was away for longer than any caller waits."""
    monkeypatch.setattr("deputize.core.vault.stores.postgres.sync_connection.STATEMENT_SECONDS", 0.0)
    folder = Path(server.url.partition("host=")[2])
    made = Path(os.path.realpath(folder)) / "lossy"
    made.mkdir()
    with lossy(folder / SOCKET, made / SOCKET) as way:
        anchors = list[str]()
        audit = Audit(
            PostgresAudit(Address.of(f"postgresql://{USER}@/postgres?host={made}")), KEY, anchor=anchors.append
        )
        some(audit, 3)
        audit.flush()
        way.lose = 1
        some(audit, 2, "carol")
        with pytest.raises(StoreUnavailable):
            audit.flush()
        assert len(list(read(table))) == 5  # they had been committed
        some(audit, 4, "bob")
        audit.flush()
        audit.close()
    report = verify(table, [KEY], anchors=anchors)
    assert report.ok and report.rows == 10
    calls = [(row.get("user"), row.get("call_id")) for row in read(table)]
    assert len(set(calls)) == len(calls)


def test_refused_rows_are_written_later(server: Server, table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 2)
    audit.flush()
    execute(server, "REVOKE INSERT ON deputize_audit FROM app")
    some(audit, 3)
    with pytest.raises(StoreUnavailable, match="denies this role"):
        audit.flush()
    execute(server, "GRANT INSERT ON deputize_audit TO app")
    audit.close()
    report = verify(table, [KEY])
    assert report.ok and report.rows == 5


def test_foreign_row_at_a_chains_position_is_reported(server: Server, table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 2)
    audit.flush()
    execute(
        server,
        "INSERT INTO deputize_audit SELECT writer, 3, ts, tenant, who, event, line FROM deputize_audit WHERE seq = 0",
    )
    some(audit, 3)
    with pytest.raises(StoreUnavailable, match="Another program has written"):
        audit.flush()
    execute(server, "DELETE FROM deputize_audit WHERE seq > 1")
    audit.close()


def test_hanging_server_times_out(server: Server, table: PostgresAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deputize.core.vault.stores.postgres.sync_connection.ANSWER_SECONDS", 0.5)
    audit = Audit(table, KEY)
    some(audit, 1)
    audit.flush()
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        [(pid,)] = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'deputize' AND query LIKE '%%INSERT%%'"
        ).fetchall()
    os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        some(audit, 1)
        audit.flush()  # on another connection
    finally:
        os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - begun < 5
    audit.close()
    assert verify(table, [KEY]).ok and len(list(read(table))) == 2


def test_hostile_text_is_stored_unchanged(table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    words = ["nul \0 in it", "half \ud800 of one", "quote ' \" \\ ; DROP", "{a,b}", "line\nbreak", "é"]
    for word in words:
        audit._append("act.intent", user=word, tenant=word, call_id="c", tool=word)
    audit.close()
    assert [row["user"] for row in read(table)] == words and verify(table, [KEY]).ok
    found = read_newest(table, [words[2]], [Key(KEY)])
    assert found.whole and [row["user"] for row in found.rows] == []  # marks are those of plain names


def test_rows_of_a_user_are_found_by_index(table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    for number in range(40):
        some(audit, 1, f"u{number % 4}")
    audit.close()
    found = read_newest(table, {"u1"}, [Key(KEY)])
    assert found.whole and len(found.rows) == 10 and {row["user"] for row in found.rows} == {"u1"}
    part = read_newest(table, {"u1"}, [Key(KEY)], most_bytes=1000)
    assert not part.whole and found.rows[: len(part.rows)] == part.rows and 0 < len(part.rows) < 10
    assert read_newest(table, {"u1"}, [Key(b"x" * 32)]) == ([], False)


def test_forked_child_is_its_own_writer_with_its_own_connection(table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 2)
    audit.flush()
    if not (pid := os.fork()):
        code = 1
        try:
            some(audit, 3)
            audit.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    some(audit, 2)
    audit.close()
    report = verify(table, [KEY])
    assert report.ok and (report.writers, report.rows) == (2, 7)


def test_many_threads_share_a_commit(server: Server, table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 1)
    audit.flush()

    def commits() -> int:
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute("SELECT pg_stat_clear_snapshot()")
            row = admin.execute("SELECT count(DISTINCT xmin::text) FROM deputize_audit").fetchone()
        return int(row[0]) if row else 0

    before = commits()

    def one() -> None:
        for _ in range(10):
            some(audit, 1)
            audit.hand_over()

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()
    assert len(list(read(table))) == 161 and commits() - before < 80


def test_handed_over_rows_survive_the_process(table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 3)
    audit.hand_over()
    assert len(list(read(table))) == 3
    audit.close()


def test_rows_move_between_files_and_table_with_their_proof(table: PostgresAudit, tmp_path: Path) -> None:
    anchors = list[str]()
    audit = Audit(tmp_path / "audit", KEY, anchor=anchors.append, rotate_bytes=500)
    for _ in range(5):
        some(audit, 3)
        audit.flush()
    audit.close()
    lines = sorted(line for path in (tmp_path / "audit").glob("*.jsonl") for line in path.read_bytes().splitlines())
    with open(next((tmp_path / "audit").glob("*.jsonl")), "ab") as file:
        file.write(b'{"ts":1')  # a crash
    assert copy_rows(tmp_path / "audit", table) == len(lines) and copy_rows(tmp_path / "audit", table) == 0
    assert verify(table, [KEY], anchors=anchors).ok
    assert copy_rows(table, tmp_path / "back") == len(lines) and copy_rows(table, tmp_path / "back") == 0
    [back] = (tmp_path / "back").glob("*.jsonl")
    assert sorted(back.read_bytes().splitlines()) == lines and back.stat().st_mode & 0o077 == 0
    assert verify(tmp_path / "back", [KEY], anchors=anchors).ok
    back.write_bytes(back.read_bytes()[:-1])
    with pytest.raises(SettingsError, match="Another chain"):
        copy_rows(table, tmp_path / "back")


def test_chains_under_an_older_key_are_closed(table: PostgresAudit) -> None:
    old = Audit(table, b"o" * 32)
    some(old, 2)
    old.close()
    new = Audit(table, KEY, old_keys=[b"o" * 32])
    new.close()
    assert [row["event"] for row in read(table)] == ["act.intent", "act.intent", "key.rotated"]
    assert verify(table, [KEY, b"o" * 32]).ok
    row = json.loads(table.chains()[old.writer].last())
    head = Head(old.writer, row["seq"] + 3, "0" * 32, 0, False)
    assert [one.kind for one in verify(table, [KEY, b"o" * 32], heads=[head]).findings] == ["truncated"]


async def test_intent_row_is_in_the_table_before_the_request(
    server: Server, table: PostgresAudit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the standard mode, too: a program killed during a request has recorded its intent."""
    monkeypatch.setattr(
        "deputize.core.audit.commit_thread.MAX_UNAWAITED_DELAY_SECONDS", 60.0
    )  # nothing goes there that nobody awaits
    sandbox, seen = Sandbox(), list[list[str]]()
    behind = sandbox.transport()

    class Watching(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/messages/send"):
                seen.append([row["event"] for row in await asyncio.to_thread(lambda: list(read(table)))])
            return await behind.handle_async_request(request)

    vault = await Vault.open(await asyncio.to_thread(open_store, server.url, create=True), [b"r" * 32])
    audit = Audit(table, vault.keys.audit)
    deputy = await build(sandbox, vault=vault, audit=audit, toolkits=[gmail], transport=Watching(), policy=allow_all)
    [asked] = await deputy.connect("alice", "google", scopes=[READ, SEND])
    await consent(deputy, sandbox, asked)
    await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "c"))
    assert len(seen) == 1 and seen[0][-1] == "act.intent"
    await deputy.close()
    assert [row["event"] for row in read(table)].count("act.result") == 1


async def test_rows_of_a_table_are_shipped_once_and_forged_ones_hide_none(table: PostgresAudit, server: Server) -> None:
    store = await asyncio.to_thread(lambda: open_store(server.url, create=True))
    vault = await Vault.open(store, [b"r" * 32])
    one, other = (Audit(table, vault.keys.audit) for _ in range(2))
    some(one, 4)
    some(other, 5)
    one.flush()
    other.flush()
    async with HttpPeer().serve() as peer:
        [export] = exports_of({"siem": AuditExportSettings.model_validate({"url": peer.url})})
        shipper = Shipper(vault, table, export, poll=0.05)
        shipping = asyncio.create_task(shipper.ship())
        async with asyncio.timeout(10):
            while len(peer.rows) < 9:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        line = json.dumps({"ts": 1, "writer": one.writer, "seq": 9999, "event": "act.result", "prev": "", "mac": ""})
        values = one.writer, 9999, 1, "", "", "act.result", line
        insert = "INSERT INTO deputize_audit VALUES (%s, %s, %s, %s, %s, %s, %s)"
        await asyncio.to_thread(execute, server, insert, *values)
        await asyncio.sleep(0.2)
        some(one, 3)
        await asyncio.to_thread(one.flush)
        async with asyncio.timeout(10):
            # the collector has the rows a little before the vault says so
            while (at := await vault.get(KIND, f"row.siem.{one.writer}")) is None or at.json["next"] < 7:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await Shipper(vault, table, export).ship(once=True)
        shipping.cancel()
        await asyncio.wait([shipping])
        assert await Shipper(vault, table, export).ship(once=True) == 0
        uids = {row["metadata"]["uid"] for row in peer.rows}
        expected = {(one.writer, 7), (other.writer, 5)}
        assert uids == {f"{writer}.{seq}" for writer, count in expected for seq in range(count)}
    one.close()
    other.close()
    await vault.close()
