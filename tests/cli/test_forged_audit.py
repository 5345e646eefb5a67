"""Audit rows inserted by the application's database role: ``deputize audit`` reports them as foreign."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cli.conftest import Command, Provider, connected
from tests.support.postgres import Server, postgres_server

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as made:
        yield made


def forge(server: Server, seq: int, **facts: Any) -> None:
    """Insert a row in a chain of the attacker's own."""
    row = {"ts": 10**18, "writer": "zz", "seq": seq, "event": "act.result", "prev": "0" * 32, "mac": "0" * 32} | facts
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("SET ROLE app")
        admin.execute("INSERT INTO deputize_audit VALUES ('zz', %s, 1, '', '', '', %s)", (seq, json.dumps(row)))


def test_forged_rows_are_marked_and_ignored(cli: Command, home: Path, provider: Provider, server: Server) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE app LOGIN")
    settings = connected(home, provider, "gmail.readonly")
    cli("store", "init", server.url, "--app-role", "app", **settings)
    cli("store", "copy", str(home / "deputize" / "vault.sqlite"), server.url, **settings)
    settings |= {"DEPUTIZE_VAULT": server.url}
    assert cli("act", "gmail_search_emails", '{"query": "lunch"}', **settings).exit_code == 0
    rows = [json.loads(line) for line in cli("audit", "--json", **settings).stdout.splitlines()]
    [act] = [row for row in rows if row["event"] == "act.result"]
    told = cli("audit", "explain", act["call_id"], **settings)
    assert told.exit_code == 0, told.stderr
    forge(server, 0, ts=10**30)
    forge(server, 1, user={"a": 1}, tenant=[], tool=[1], scopes_required=5, scopes_granted="x", decision=5)
    forge(server, 2, event="user.erased", user=act["user"], ts=2 * 10**18)
    forge(server, 3, event="vault.restored", ts=2 * 10**18)
    forge(server, 4, event="mandate.used", call_id=act["call_id"])
    forge(server, 5, event="approval.approved", call_id=act["call_id"], user="alice", show="0")
    listed = cli("audit", **settings)
    assert listed.exit_code == 0, listed.stderr
    assert "unproven act.result" in listed.stdout and listed.stdout.count("unproven") == 6
    again = [json.loads(line) for line in cli("audit", "--json", **settings).stdout.splitlines()]
    assert [row for row in again if "unproven" not in row][: len(rows)] == rows
    assert cli("audit", "explain", act["call_id"], **settings).stdout == told.stdout
    proven = cli("audit", "verify", **settings)
    assert proven.exit_code == 1 and "unknown_key  zz" in proven.stdout, proven.stdout
    doctor = cli("doctor", "--offline", **settings)
    assert "no grant is older than the audit saw it" in doctor.stdout, doctor.stdout
