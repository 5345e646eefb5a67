"""The application's database role may add audit rows: they move, hide and stop nothing."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest

from deputize.core.audit import Audit, read, verify
from deputize.core.audit.rows import Key
from deputize.core.audit.tail import read_newest
from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.postgres import audit as postgres_audit
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from tests.support.audit_table import KEY, made, server, some, table
from tests.support.postgres import USER, Server

__all__ = ["made", "server", "table"]

pytestmark = pytest.mark.counterpart


def attack(server: Server, statement: str, *values: object) -> int:
    """Run SQL as the application's role."""
    with psycopg.connect(server.dsn.replace(f"user={USER}", "user=app"), autocommit=True) as program:
        return program.execute(statement.encode(), values).rowcount


def add(server: Server, writer: str, seq: int, line: str, ts: int = 1, who: str = "alice") -> None:
    attack(
        server, "INSERT INTO deputize_audit VALUES (%s, %s, %s, '', %s, 'act.intent', %s)", writer, seq, ts, who, line
    )


def forged(writer: str, at: int, **facts: object) -> str:
    row = {"ts": 5, "writer": writer, "seq": at, "event": "act.intent", "prev": "0" * 32, "mac": "0" * 32}
    return json.dumps(row | facts)


def test_rows_blocking_a_chain_stop_nothing_and_are_found(server: Server, table: PostgresAudit) -> None:
    """The chain continues under another name, nothing is lost, and no row is there twice."""
    anchors = list[str]()
    audit = Audit(table, KEY, anchor=anchors.append)
    some(audit, 2, "before")
    audit.flush()
    taken = audit.writer
    add(server, taken, 3, forged(taken, 3))
    some(audit, 700, "after")
    with pytest.raises(StoreUnavailable, match="Another program has written"):
        audit.flush()
    audit.flush()
    assert audit.writer != taken
    some(audit, 2, "later")
    audit.close()
    calls = [(row["user"], row["call_id"]) for row in read(table, ring=[Key(KEY)]) if "call_id" in row]
    assert sorted(calls) == sorted([*(("before", f"{n}") for n in range(2)), *(("after", f"{n}") for n in range(700)),
                                    *(("later", f"{n}") for n in range(2))])  # fmt: skip
    report = verify(table, [KEY], anchors=anchors)
    assert {(one.kind, one.writer) for one in report.findings} == {("missing", taken), ("altered", taken)}
    with psycopg.connect(server.dsn, autocommit=True) as owner:
        owner.execute("DELETE FROM deputize_audit WHERE writer = %s AND seq > 1", (taken,))
    assert verify(table, [KEY], anchors=anchors).ok
    with psycopg.connect(server.dsn, autocommit=True) as owner:
        owner.execute("DELETE FROM deputize_audit WHERE writer = %s AND seq = 1", (taken,))
    assert [one.kind for one in verify(table, [KEY], anchors=anchors).findings] == ["truncated"]


def test_foreign_row_is_not_mistaken_for_a_repeated_write(server: Server, table: PostgresAudit) -> None:
    """The same line, filed under another user: their activity page would not show it."""
    audit, shadow = Audit(table, KEY), Audit(None, KEY)
    shadow.writer, shadow._prev = audit.writer, Key(KEY).first(audit.writer)
    shadow._clock = audit._clock = lambda: 1.0
    some(shadow, 1)
    shadow.flush()
    add(server, audit.writer, 0, shadow._sink.lines[0].decode().rstrip(), who="mallory")  # type: ignore[attr-defined]
    some(audit, 1)
    with pytest.raises(StoreUnavailable, match="Another program has written"):
        audit.flush()
    audit.close()
    assert len(read_newest(table, {"alice"}, [Key(KEY)]).rows) == 1


@pytest.mark.parametrize("facts", [{"ts": 10**30}, {"ts": -1}, {"seq": 10**30}, {"ts": True}, {"user": {"a": 1}}])
def test_forged_row_is_found_and_distinguished(facts: dict[str, object], server: Server, table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 3)
    audit.close()
    add(server, "zz", 0, forged("zz", 0, **facts))
    report = verify(table, [KEY])
    assert not report.ok and {one.writer for one in report.findings} == {"zz"}
    assert [row["writer"] for row in read(table, ring=[Key(KEY)]) if "unproven" in row] == ["zz"]
    assert len([row for row in read(table, ring=[Key(KEY)]) if "unproven" not in row]) == 3


def test_copied_rows_of_a_user_are_shown_once_and_found(server: Server, table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 2)
    audit.close()
    for statement in ("SELECT 'zz', seq,", "SELECT writer, seq + 50,", "SELECT writer, seq - 50,"):
        attack(
            server, f"INSERT INTO deputize_audit {statement} ts, tenant, who, event, line FROM deputize_audit LIMIT 2"
        )
    assert [row["call_id"] for row in read_newest(table, {"alice"}, [Key(KEY)]).rows] == ["1", "0"]
    assert not verify(table, [KEY]).ok


def test_overlong_lines_are_not_fetched(server: Server, table: PostgresAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(table, KEY)
    some(audit, 3)
    audit.close()
    attack(
        server,
        "INSERT INTO deputize_audit SELECT 'zz', n, 9, '', 'alice', 'x', repeat('x', %s) FROM generate_series(1, 8) n",
        postgres_audit.MAX_LINE_BYTES + 1,
    )
    asked, fetched = table._reading._decided, list[int]()

    def counting(sql: str, values: object) -> object:
        rows, changed = asked(sql, values)  # type: ignore[arg-type]
        fetched.append(sum(len(str(row)) for row in rows))
        return rows, changed

    monkeypatch.setattr(table._reading, "_decided", counting)
    found = read_newest(table, {"alice"}, [Key(KEY)])
    assert [row["call_id"] for row in found.rows] == ["2", "1", "0"]
    assert [one.kind for one in verify(table, [KEY]).findings if one.writer == "zz"] == ["unreadable"] * 8
    assert sum(fetched) < 20_000


def test_page_of_rows_is_limited_in_size(server: Server, table: PostgresAudit) -> None:
    size = postgres_audit.MAX_LINE_BYTES // 2
    attack(
        server,
        "INSERT INTO deputize_audit SELECT 'zz', n, n, '', 'alice', 'x', repeat('x', %s) FROM generate_series(1, 12) n",
        size,
    )
    add(server, "zz", 13, "")
    add(server, "zz", 2**63 - 1, "")
    rows = table._reading.rows(postgres_audit._LINES, "zz", 0, 0, 500)
    assert [seq for seq, _ in rows] == [1, 2, 3, 4]
    ends = [end for end, _ in table.chains()["zz"].lines()]
    assert ends == [*range(2, 15), 2**63]
    lines, whole = table.newest(["alice"], 100 << 20)
    assert whole and len(lines) == 14
    assert table.newest(["alice"], 1)[1] is False


async def test_rows_refused_by_permissions_wait_in_their_chain(server: Server, table: PostgresAudit) -> None:
    audit = Audit(table, KEY)
    some(audit, 1)
    await audit.settle()
    before = audit.writer
    with psycopg.connect(server.dsn, autocommit=True) as owner:
        owner.execute("REVOKE INSERT ON deputize_audit FROM app")
        some(audit, 1)
        with pytest.raises(StoreUnavailable):
            await audit.settle()
        owner.execute("GRANT INSERT ON deputize_audit TO app")
    await asyncio.to_thread(audit.close)
    assert audit.writer == before and verify(table, [KEY]).ok
