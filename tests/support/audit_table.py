"""Fixtures of an audit in a table: a server with our tables, its application role, and rows."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from deputize.core.audit import Audit
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from tests.support.postgres import USER, Server, prepared_server

__all__ = ["KEY", "execute", "made", "server", "some", "table"]

KEY = b"k" * 32


@pytest.fixture(scope="module")
def made() -> Iterator[Server]:
    """One server for the module."""
    with prepared_server() as server:
        yield server


@pytest.fixture
def server(made: Server) -> Server:
    """The server with an empty table."""
    execute(made, "TRUNCATE deputize_record, deputize_audit")
    return made


@pytest.fixture
def table(server: Server) -> PostgresAudit:
    """The table as programs see it."""
    return PostgresAudit(Address.of(server.url.replace(f"{USER}@", "app@")))


def some(audit: Audit, count: int, user: str = "alice") -> None:
    """Write this many rows of a user, each for another call."""
    for number in range(count):
        audit._append("act.intent", user=user, call_id=f"{number}")


def execute(server: Server, statement: str, *values: object) -> int:
    """Run a statement as the owner role, and return how many rows it touched."""
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        return admin.execute(statement.encode(), values).rowcount
