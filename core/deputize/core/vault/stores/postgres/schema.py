"""Tables of a vault in Postgres, and the rights on them. Only the owner's role creates or changes them.

Records are in byte order ("C"), so that a common prefix is one range. Only the place is indexed, so that a swap changes
one page. Compression is off, because encrypted bytes cannot be compressed.
"""

from __future__ import annotations

import re
from typing import Any, Final

import psycopg
from psycopg import sql

from deputize.core.errors import SettingsError
from deputize.core.vault.stores.postgres.address import Address, Connection, explain

STEPS: Final = (
    """
    CREATE TABLE deputize_record (
        place text COLLATE "C" PRIMARY KEY,
        value bytea NOT NULL
    ) WITH (fillfactor = 80);
    ALTER TABLE deputize_record ALTER COLUMN value SET STORAGE EXTERNAL;
    """,
    """
    CREATE TABLE deputize_audit (
        writer text COLLATE "C" NOT NULL,
        seq bigint NOT NULL,
        ts bigint NOT NULL,
        tenant text COLLATE "C" NOT NULL,
        who text COLLATE "C" NOT NULL,
        event text COLLATE "C" NOT NULL,
        line text COLLATE "C" NOT NULL,
        PRIMARY KEY (writer, seq)
    );
    CREATE INDEX deputize_audit_who ON deputize_audit (who, ts DESC);
    CREATE INDEX deputize_audit_ts ON deputize_audit USING brin (ts);
    DO $$
    DECLARE program name;
    BEGIN
        FOR program IN
            SELECT DISTINCT grantee FROM information_schema.role_table_grants
            WHERE table_schema = current_schema() AND table_name = 'deputize_record'
                AND privilege_type = 'INSERT' AND grantee NOT IN (current_user, 'PUBLIC')
        LOOP
            EXECUTE format('GRANT SELECT, INSERT ON deputize_audit TO %I', program);
        END LOOP;
    END $$;
    """,
)
"""The migration to each version of the tables from the one before. Released steps never change; new ones are added."""
VERSION: Final = len(STEPS)
_ONE_AT_A_TIME: Final = 7_021_557_118_203_447_281
_ROLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")


def migrate(address: Address) -> tuple[int, int]:
    """Migrate the tables to this version in one transaction. Return the version before (0: no tables) and after.

    Raises `SettingsError` if the tables are newer, or if this role lacks the right.
    """
    with address.connect_waiting() as connection:
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS deputize_schema"
                    " (version int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
                )
                before = _version(connection.execute(_NEWEST).fetchone())
                _refuse_newer(before)
                for version in range(before, VERSION):
                    connection.execute(STEPS[version])
                    connection.execute("INSERT INTO deputize_schema (version) VALUES (%s)", (version + 1,))
        except psycopg.errors.InsufficientPrivilege:
            raise SettingsError(
                "This role may not make tables.", hint="Give the address with the role that owns the database."
            ) from None
        except psycopg.Error as error:
            raise SettingsError("The tables could not be made.", hint=explain(error)) from None
    return before, VERSION


def grant_to(address: Address, role: str) -> None:
    """Allow an existing role to read and write records, to read the audit and to add to it, and nothing else.

    Raises `SettingsError` if there is no such role, or if this role may not grant rights.
    """
    if not _ROLE.fullmatch(role):
        raise SettingsError(f"{role[:63]!r} is not a name of a role.")
    grantee = sql.Identifier(role)
    with address.connect_waiting() as connection:
        try:
            with connection.transaction():
                tables = sql.SQL("deputize_record, deputize_audit, deputize_schema")
                connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(tables, grantee))
                records = sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON deputize_record TO {}")
                connection.execute(records.format(grantee))
                connection.execute(sql.SQL("GRANT SELECT, INSERT ON deputize_audit TO {}").format(grantee))
                connection.execute(sql.SQL("GRANT SELECT ON deputize_schema TO {}").format(grantee))
        except psycopg.errors.UndefinedObject:
            hint = f"CREATE ROLE {role} LOGIN PASSWORD '...';"
            raise SettingsError(f"The database has no role {role!r}.", hint=hint) from None
        except psycopg.Error as error:
            raise SettingsError(f"The rights of the role {role!r} could not be granted.", hint=explain(error)) from None


_NEWEST: Final = "SELECT max(version) FROM deputize_schema"


async def check_version(connection: Connection) -> None:
    """Raise `SettingsError` if the tables have another version than this program needs, or do not exist."""
    try:
        found = _version(await (await connection.execute(_NEWEST)).fetchone())
    except psycopg.errors.UndefinedTable:
        found = 0
    if not found:
        raise SettingsError(
            "The vault's database has no tables.", hint="Run deputize store init with the owner's role."
        )
    _refuse_newer(found)
    if found < VERSION:
        raise SettingsError(
            f"The vault's tables have version {found}, and this program needs {VERSION}.",
            hint="Run deputize store migrate with the owner's role.",
        )


def _version(row: tuple[Any, ...] | None) -> int:
    return int(row[0] or 0) if row else 0


def _refuse_newer(found: int) -> None:
    if found > VERSION:
        raise SettingsError(
            f"The vault's tables have version {found}, and this program knows versions up to {VERSION}.",
            hint="Install the version of deputize that the other machines have.",
        )
