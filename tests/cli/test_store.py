"""``deputize store`` and a whole deputy on Postgres: tables by the owner, everything else by a role that may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

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


def test_a_vault_moves_to_postgres_and_the_role_of_programs_may_make_and_change_no_tables(
    cli: Command, home: Path, provider: Provider, server: Server
) -> None:
    settings = connected(home, provider, "gmail.readonly")
    vault, owner, app = home / "deputize" / "vault.sqlite", url_of(server, "owner"), url_of(server, "app")
    early = cli("store", "copy", str(vault), app, **settings)
    assert early.exit_code == 1 and "no tables" in early.stderr and "deputize store init" in early.stderr
    nobody = cli("store", "init", owner, "--app-role", "nobody_there", **settings)
    assert nobody.exit_code == 1 and "no role" in nobody.stderr
    made = cli("store", "init", owner, "--app-role", "app", **settings)
    assert made.exit_code == 0 and "app may read and write records" in made.stdout, made.stderr
    moved = cli("store", "copy", str(vault), app, **settings)
    assert moved.exit_code == 0 and "Copied" in moved.stdout and "Moved aside" in moved.stderr, moved.stderr
    assert not vault.exists() and list(vault.parent.glob("vault.sqlite.lost-*"))
    settings |= {"DEPUTIZE_VAULT": app}
    listed = cli("grants", **settings)
    assert listed.exit_code == 0 and "alice" in listed.stdout, listed.stderr
    found = cli("act", "gmail_search_emails", '{"query": "lunch"}', **settings)
    assert found.exit_code == 0, found.stderr
    doctor = cli("doctor", "--offline", **settings)
    assert "1 grant in postgresql:///postgres" in doctor.stdout and "fsync is off" in doctor.stdout
    assert cli("store", "copy", str(vault), app, **settings).exit_code == 1
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


def test_a_new_vault_begins_there_and_what_the_address_leaves_to_be_wished_is_said(
    cli: Command, home: Path, provider: Provider, server: Server
) -> None:
    settings = provider.settings() | {"DEPUTIZE_VAULT": url_of(server, "app"), "DEPUTIZE_KEY": new_key()}
    without = cli("grants", **settings)
    assert without.exit_code == 1 and "no tables" in without.stderr
    assert cli("store", "init", url_of(server, "app"), **settings).exit_code == 1
    assert cli("store", "init", url_of(server, "owner"), **settings).exit_code == 0
    refused = cli("store", "check", **settings)
    assert refused.exit_code == 1 and "no right" in refused.stderr and "--app-role" in refused.stderr
    again = cli("store", "migrate", url_of(server, "owner"), "--app-role", "app", **settings)
    assert again.exit_code == 0 and "The tables have version 1" in again.stdout
    checked = cli("store", "check", **settings)
    assert checked.exit_code == 0 and "Locks hold" in checked.stdout and "fsync is off" in checked.stdout
    assert cli("grants", **settings).exit_code == 0
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        places = [place for (place,) in admin.execute("SELECT place FROM deputize_record").fetchall()]
    assert "meta/vault" in places
    lost = cli("grants", **settings | {"DEPUTIZE_KEY": new_key()})
    assert lost.exit_code == 1 and "key is not among those given" in lost.stderr


def test_a_vault_in_a_file_has_no_tables(cli: Command, home: Path) -> None:
    refused = cli("store", "check")
    assert refused.exit_code == 1 and "is no database" in refused.stderr and "postgresql://" in refused.stderr
