"""``deputize store`` and a whole deputy on Postgres: tables belong to the owner, programs use a restricted role."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from deputize.core import Deputy
from deputize.core.audit import Audit
from deputize.core.audit.events import VaultCopied
from deputize.core.vault.root_keys import new_key
from tests.cli.conftest import Command, Provider, connected
from tests.support.postgres import Server, postgres_server

pytestmark = pytest.mark.counterpart


@pytest.fixture
def server() -> Iterator[Server]:
    with postgres_server() as made:
        with psycopg.connect(made.dsn, autocommit=True) as admin:
            admin.execute("CREATE ROLE owner LOGIN")
            admin.execute("CREATE ROLE app LOGIN")
            admin.execute("ALTER DATABASE postgres OWNER TO owner")
            admin.execute("ALTER SCHEMA public OWNER TO owner")
        yield made


def url_of(server: Server, role: str) -> str:
    return server.url.replace("postgres@", f"{role}@")


def moved_aside(folder: Path) -> set[str]:
    """Return the renamed tables of a moved vault; nothing is reported as lost that is not."""
    assert not list(folder.glob("*.lost-*"))
    return {path.name.partition(".moved-")[0] for path in folder.glob("*.moved-*")}


def test_vault_moves_to_postgres(cli: Command, home: Path, server: Server, settings: dict[str, str]) -> None:
    vault, owner, app = home / "deputize" / "vault.sqlite", url_of(server, "owner"), url_of(server, "app")
    early = cli("store", "copy", str(vault), app, **settings)
    assert early.exit_code == 1 and "no tables" in early.stderr and "deputize store init" in early.stderr
    nobody = cli("store", "init", owner, "--app-role", "nobody_there", **settings)
    assert nobody.exit_code == 1 and "no role" in nobody.stderr
    made = cli("store", "init", owner, "--app-role", "app", **settings)
    assert made.exit_code == 0 and "app may read and write records, and add to the audit" in made.stdout, made.stderr
    moved = cli("store", "copy", str(vault), app, **settings)
    assert moved.exit_code == 0 and "of the audit. The key stays." in moved.stdout, moved.stderr
    assert moved.stderr.count("Moved aside") == 2 and not (home / "deputize" / "audit").exists()
    assert not vault.exists() and moved_aside(vault.parent) == {"vault.sqlite", "audit"}
    for stale in (cli("accounts", **settings), cli("doctor", **settings)):
        said = stale.stdout + stale.stderr
        assert stale.exit_code == 1 and "moved to another store" in said and "Set DEPUTIZE_VAULT" in said, said
    assert not vault.exists(), "a program of before makes no second vault"
    settings |= {"DEPUTIZE_VAULT": app}
    listed = cli("accounts", **settings)
    assert listed.exit_code == 0 and "alice" in listed.stdout, listed.stderr
    found = cli("act", "gmail_search_emails", '{"query": "lunch"}', **settings)
    assert found.exit_code == 0, found.stderr
    doctor = cli("doctor", "--offline", **settings)
    assert "1 grant in postgresql:///postgres" in doctor.stdout and "fsync is off" in doctor.stdout
    assert "whole: " in doctor.stdout and "no grant is older than the audit saw it" in doctor.stdout
    proven = cli("audit", "verify", **settings)
    assert proven.exit_code == 0 and "whole." in proven.stdout, proven.stdout + proven.stderr
    assert cli("store", "copy", str(vault), app, **settings).exit_code == 1
    key = (home / "deputize" / "key").read_text()
    alone = cli("key", "rotate", **settings)
    assert alone.exit_code == 1 and "--shared-file" in alone.stderr and (home / "deputize" / "key").read_text() == key
    assert cli("key", "rotate", "--shared-file", **settings).exit_code == 0
    for statement in (
        "DROP TABLE deputize_record",
        "TRUNCATE deputize_record",
        "ALTER TABLE deputize_record ADD x int",
        "CREATE TABLE evil (x int)",
        "INSERT INTO deputize_schema (version) VALUES (9)",
        "CREATE TRIGGER evil BEFORE INSERT ON deputize_record EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ):
        with psycopg.connect(server.dsn.replace("user=postgres", "user=app"), autocommit=True) as programs:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                programs.execute(statement)  # type: ignore[arg-type,unused-ignore]


def test_interrupted_move_leaves_no_vault_at_the_old_place(
    cli: Command, home: Path, provider: Provider, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, app = connected(home, provider, "gmail.readonly"), url_of(server, "app")
    cli("store", "init", url_of(server, "owner"), "--app-role", "app", **settings)
    rename = Path.rename

    def cut_off(path: Path, to: Path) -> Path:
        if list(home.glob("deputize/*.moved-*")):
            raise KeyboardInterrupt
        return rename(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut_off)
        cli("store", "copy", str(home / "deputize" / "vault.sqlite"), app, **settings)
    stale = cli("accounts", **settings)
    assert stale.exit_code == 1 and "moved to another store" in stale.stderr, stale.stderr
    assert cli("audit", "verify", **settings | {"DEPUTIZE_VAULT": app}).exit_code == 0


def test_new_vault_in_postgres_starts_with_warnings(
    cli: Command, home: Path, provider: Provider, server: Server
) -> None:
    settings = provider.settings() | {"DEPUTIZE_VAULT": url_of(server, "app"), "DEPUTIZE_KEY": new_key()}
    without = cli("accounts", **settings)
    assert without.exit_code == 1 and "no table of the audit" in without.stderr
    assert "deputize store init" in without.stderr
    assert cli("store", "init", url_of(server, "app"), **settings).exit_code == 1
    assert cli("store", "init", url_of(server, "owner"), **settings).exit_code == 0
    refused = cli("store", "check", **settings)
    assert refused.exit_code == 1 and "denies this role" in refused.stderr and "--app-role" in refused.stderr
    again = cli("store", "migrate", url_of(server, "owner"), "--app-role", "app", **settings)
    assert again.exit_code == 0 and "The tables have version 2" in again.stdout
    checked = cli("store", "check", **settings)
    assert checked.exit_code == 0 and "Locks hold" in checked.stdout and "fsync is off" in checked.stdout
    assert cli("accounts", **settings).exit_code == 0
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        places = [place for (place,) in admin.execute("SELECT place FROM deputize_record").fetchall()]
    assert "meta/vault" in places
    lost = cli("accounts", **settings | {"DEPUTIZE_KEY": new_key()})
    assert lost.exit_code == 1 and "key is not among those given" in lost.stderr


def test_audit_of_all_machines_is_verified(cli: Command, home: Path, server: Server, settings: dict[str, str]) -> None:
    app = url_of(server, "app")
    cli("store", "init", url_of(server, "owner"), "--app-role", "app", **settings)
    key = (home / "deputize" / "key").read_text().strip()
    cli("store", "copy", str(home / "deputize" / "vault.sqlite"), app, **settings)
    settings |= {"DEPUTIZE_VAULT": app, "DEPUTIZE_KEY": key}
    machines = [settings | {"DEPUTIZE_HOME": str(home / name)} for name in ("one", "two")]
    for number, machine in enumerate(machines):
        found = cli("act", "gmail_search_emails", '{"query": "lunch"}', **machine)
        assert found.exit_code == 0, (number, found.stderr)
        assert not (home / ("one", "two")[number] / "audit").exists()
    listed = cli("audit", "--json", **machines[0])
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    acts = [row for row in rows if row["event"] == "act.result"]
    assert len({row["writer"] for row in acts}) == 2 and {row["user"] for row in acts} == {"alice"}, listed.stderr
    assert "gmail_search_emails" in cli("audit", **machines[1]).stdout
    explained = cli("audit", "explain", acts[0]["call_id"], **machines[1])
    assert "gmail_search_emails for alice" in explained.stdout, explained.stderr
    assert cli("audit", "verify", **machines[0]).exit_code == 0
    forgotten = cli("erase", "alice", "--yes", **machines[0])
    assert forgotten.exit_code == 0, forgotten.stderr
    after = cli("audit", "--json", **machines[1]).stdout
    assert "alice" not in after and acts[0]["pseudonym"] in after
    assert cli("audit", "verify", **machines[1]).exit_code == 0
    with psycopg.connect(server.dsn, autocommit=True) as owner:
        owner.execute("DELETE FROM deputize_audit WHERE writer = %s AND seq = 1", (acts[0]["writer"],))
        noted = owner.execute("SELECT count(*) FROM deputize_record WHERE place = 'meta/timeline'").fetchone()
        assert noted == (1,)  # so that a start after a failover finds out
    broken = cli("audit", "verify", **machines[1])
    assert broken.exit_code == 1 and f"truncated  {acts[0]['writer']} row 1" in broken.stdout


def test_earlier_audit_files_are_added_to_the_table(
    cli: Command, home: Path, server: Server, settings: dict[str, str]
) -> None:
    cli("store", "init", url_of(server, "owner"), "--app-role", "app", **settings)
    vault, app = str(home / "deputize" / "vault.sqlite"), {"DEPUTIZE_VAULT": url_of(server, "app")}
    refused = cli("audit", "import", str(home), **settings)
    assert refused.exit_code == 1 and "is kept in files" in refused.stderr
    in_files = settings | {"DEPUTIZE_AUDIT_FILES": "true"}
    kept = cli("store", "copy", vault, app["DEPUTIZE_VAULT"], **in_files)
    assert kept.exit_code == 0 and "0 rows of the audit" in kept.stdout and (home / "deputize" / "audit").is_dir()
    assert cli("audit", "verify", **in_files | app).exit_code == 0
    missed = cli("audit", "verify", **settings | app)
    assert missed.exit_code == 1 and "truncated" in missed.stdout
    other = Audit(home / "another" / "audit", bytes(range(32)))
    other.write(VaultCopied())
    other.close()
    foreign = cli("audit", "import", str(home / "another" / "audit"), **settings | app)
    assert foreign.exit_code == 1 and "No audit key of this vault" in foreign.stderr, foreign.stderr
    assert "Nothing was added." in foreign.stderr
    [theirs], ours = (home / "another" / "audit").glob("*.jsonl"), sorted((home / "deputize" / "audit").glob("*.jsonl"))
    for name, lines in (("abc.0.jsonl", theirs.read_bytes()), (ours[-1].name, ours[0].read_bytes() + b"{}\n")):
        mixed = home / name
        mixed.mkdir()
        (mixed / ours[0].name).write_bytes(ours[0].read_bytes())
        (mixed / name).write_bytes(lines)
        refused = cli("audit", "import", str(mixed), **settings | app)
        assert refused.exit_code == 1 and "lines that are not rows" in refused.stderr, refused.stderr + refused.stdout
    added = cli("audit", "import", str(home / "deputize" / "audit"), **settings | app)
    assert added.exit_code == 0 and "rows added" in added.stdout, added.stderr
    assert cli("audit", "verify", **settings | app).exit_code == 0


def test_check_verifies_records_and_audit(cli: Command, home: Path, server: Server, settings: dict[str, str]) -> None:
    cli("store", "init", url_of(server, "owner"), "--app-role", "app", **settings)
    app = url_of(server, "app")
    empty = cli("store", "check", app, **settings | {"DEPUTIZE_VAULT": app})
    assert empty.exit_code == 0 and "No vault is there yet." in empty.stdout, empty.stderr
    cli("store", "copy", str(home / "deputize" / "vault.sqlite"), app, **settings)
    settings |= {"DEPUTIZE_VAULT": app}
    fine = cli("store", "check", **settings)
    assert fine.exit_code == 0 and "records open." in fine.stdout and "The audit is whole: " in fine.stdout, fine.stdout
    elsewhere = cli("store", "check", url_of(server, "owner"), **settings)
    assert elsewhere.exit_code == 0 and "were not checked" in elsewhere.stderr

    def wrong(*said: str) -> None:
        checked = cli("store", "check", **settings)
        assert checked.exit_code == 1
        assert all(one in " ".join((checked.stdout + checked.stderr).split()) for one in said), checked.stdout

    with psycopg.connect(server.dsn, autocommit=True) as owner:
        owner.execute("INSERT INTO deputize_record SELECT 'act/x', value FROM deputize_record WHERE place ^@ 'grant/'")
        wrong("1 record of kind act not readable", "remove them there: act/x")
        owner.execute("DELETE FROM deputize_record WHERE place = 'act/x'")
        owner.execute("UPDATE deputize_record SET value = value || 'x' WHERE place ^@ 'grant/'")
        wrong("1 record of kind grant not readable", "deputize doctor --drop")
        owner.execute("UPDATE deputize_record SET value = substr(value, 1, length(value) - 1) WHERE place ^@ 'grant/'")
        assert cli("store", "check", **settings).exit_code == 0
        owner.execute("DELETE FROM deputize_audit WHERE seq = 1")
        wrong("The audit is not whole", "deputize audit verify")


def test_vault_in_a_file_has_no_tables(cli: Command, home: Path) -> None:
    refused = cli("store", "init")
    assert refused.exit_code == 1 and "is not a database" in refused.stderr and "postgresql://" in refused.stderr


def test_check_names_rows_hidden_by_the_tables_index(
    cli: Command, home: Path, provider: Provider, server: Server
) -> None:
    settings = connected(home, provider, "gmail.readonly")
    app = url_of(server, "app")
    cli("store", "init", url_of(server, "owner"), "--app-role", "app", **settings)
    cli("store", "copy", str(home / "deputize" / "vault.sqlite"), app, **settings)
    settings |= {"DEPUTIZE_VAULT": app}
    hide = "UPDATE pg_index SET indisready = %s WHERE indexrelid = 'deputize_record_pkey'::regclass"
    with psycopg.connect(server.dsn, autocommit=True) as owner:
        owner.execute(hide, (False,))
        owner.execute("UPDATE deputize_record SET value = value || 'x' WHERE place ^@ 'outbox/'")
        owner.execute(
            "INSERT INTO deputize_record SELECT 'outbox/x', value FROM deputize_record WHERE place ^@ 'grant/'"
        )
        owner.execute(hide, (True,))
    checked = cli("store", "check", **settings)
    said = " ".join((checked.stdout + checked.stderr).split())
    assert checked.exit_code == 1 and "hides records of kind outbox: it leads to 0 of 1" in said and "REINDEX" in said
    told = cli("doctor", "--offline", **settings)
    assert told.exit_code == 1 and "hides records of kind outbox" in told.stdout


@pytest.mark.processes
def test_check_names_rows_hidden_by_a_files_index(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.readonly")
    fine = cli("store", "check", **settings)
    assert fine.exit_code == 0 and "records open." in fine.stdout, fine.output
    file = home / "deputize" / "vault.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        schema = "SELECT rootpage FROM sqlite_schema WHERE type = 'index'"
        [(root,)], [(size,)] = db.execute(schema).fetchall(), db.execute("PRAGMA page_size").fetchall()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    begin = (root - 1) * size
    number = int.from_bytes(content[begin + 3 : begin + 5])
    content[begin + 3 : begin + 5] = (number - 1).to_bytes(2)  # the last entry of the index is gone
    file.write_bytes(content)
    checked = cli("store", "check", **settings)
    assert checked.exit_code == 1 and "The vault's file is damaged" in checked.stdout, checked.output
    assert "damaged: The vault's file is damaged" in cli("doctor", "--offline", **settings).stdout
    refused = cli("vault", "backup", str(home / "copy"), **settings)
    assert refused.exit_code == 1 and "damaged" in refused.output and not (home / "copy").exists()


DIES = """
import os, signal
from deputize.cli import main
from deputize.core.vault import audit_table_pruning
audit_table_pruning._remove = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
main()
"""
"""The command, killed after the vault recorded what is deleted, and before anything was deleted."""


def test_old_audit_rows_are_dropped_by_the_owner_and_an_interrupted_drop_is_completed(
    cli: Command, home: Path, provider: Provider, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, app = url_of(server, "owner"), url_of(server, "app")
    settings = connected(home, provider, "gmail.readonly")
    assert cli("store", "init", owner, "--app-role", "app", **settings).exit_code == 0
    order = ("store", "prune-audit", owner, "--older-than")
    early = cli(*order, "400d", **settings)
    assert early.exit_code == 1 and "vault of the settings" in early.stderr and "DEPUTIZE_VAULT" in early.stderr
    assert cli("store", "copy", str(home / "deputize" / "vault.sqlite"), app, **settings).exit_code == 0
    settings |= {"DEPUTIZE_VAULT": app}
    for wrong in ("1d", "a year", "-9d", "6"):
        assert cli(*order, wrong, **settings).exit_code == 2
    refused = cli("store", "prune-audit", "--older-than", "400d", "--yes", **settings)
    assert refused.exit_code == 1 and "may only read the audit" in refused.stderr and "role that owns" in refused.stderr
    none = cli(*order, "400d", "--yes", **settings)
    assert none.exit_code == 0 and "No row is from before" in none.stdout, none.stderr

    def rows() -> int:
        with psycopg.connect(server.dsn) as admin:
            return int((admin.execute("SELECT count(*) FROM deputize_audit").fetchone() or [0])[0])

    with monkeypatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setattr("deputize.core.from_settings.Audit", partial(Audit, clock=lambda: time.time() - 500 * 86400.0))
        with Deputy.from_settings() as long_ago:
            long_ago.audit.write(VaultCopied())
    before = rows()

    def audit() -> dict[str, str]:
        found = cli("doctor", "--json", "--offline", **settings).stdout.splitlines()
        [line] = [line for line in map(json.loads, found) if line["what"] == "audit"]
        return dict(line)

    assert (audit()["state"], audit()["todo"]) == ("open", "deputize store prune-audit")
    kept = {row["what"]: row for row in json.loads(cli("retention", "--json", **settings).stdout)}["audit"]
    assert kept["kept"] == "400 days, by deputize store prune-audit"
    asked = cli(*order, "400d", stdin="n\n", **settings)
    assert asked.exit_code == 1 and "Drop 2 rows from before" in asked.stderr, asked.stderr
    killed = subprocess.run(
        [sys.executable, "-c", DIES, *order, "400d", "--yes"],
        env=os.environ | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert rows() >= before and cli("audit", "verify", **settings).exit_code == 0
    for days in ("0", "600"):
        unset = cli("store", "prune-audit", owner, "--yes", **settings, DEPUTIZE_AUDIT_RETENTION_DAYS=days)
        assert unset.exit_code == (2 if days == "0" else 0) and "Dropped" not in unset.stdout
    done = cli("store", "prune-audit", owner, "--yes", **settings)
    assert done.exit_code == 0 and "Dropped 2 rows of 1 chain; of 1 nothing is left." in done.stdout, done.stderr
    proven = cli("audit", "verify", **settings)
    assert proven.exit_code == 0 and "whole." in proven.stdout and "were dropped" in proven.stdout, proven.stdout
    assert audit()["state"] == "ok"


def test_doctor_names_a_hanging_database(cli: Command, home: Path, server: Server, settings: dict[str, str]) -> None:
    app = url_of(server, "app")
    assert cli("store", "init", url_of(server, "owner"), "--app-role", "app", **settings).exit_code == 0
    assert cli("store", "copy", str(home / "deputize" / "vault.sqlite"), app, **settings).exit_code == 0
    settings |= {"DEPUTIZE_VAULT": app}

    def says(*words: str) -> None:
        found = cli("doctor", "--json", "--offline", **settings)
        [line] = [line for line in map(json.loads, found.stdout.splitlines()) if line["what"] == "vault"]
        told = line["found"] + line["todo"]
        assert line["state"] == "bad" and all(word in told for word in ("postgresql:///postgres", *words)), told

    with psycopg.connect(server.dsn) as another:
        another.execute("LOCK TABLE deputize_record IN ACCESS EXCLUSIVE MODE")
        says("pg_stat_activity", "55P03")
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("ALTER ROLE app CONNECTION LIMIT 0")
        says("no connection left", "limit of the role")
        admin.execute("ALTER ROLE app CONNECTION LIMIT -1")
    server.stop()
    says("the server runs")
