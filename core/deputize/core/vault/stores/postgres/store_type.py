"""Store type of vaults in Postgres: ``postgresql://role@host/database``, with all other parameters of libpq."""

from __future__ import annotations

from typing import Final

import psycopg

from deputize.core.audit.trail import AuditTable
from deputize.core.errors import StoreUnavailable
from deputize.core.vault.record import FIRST
from deputize.core.vault.stores.common import place
from deputize.core.vault.stores.postgres.address import SET_UP, Address, explain, refusal
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from deputize.core.vault.stores.postgres.checks import risks
from deputize.core.vault.stores.postgres.statements import GET
from deputize.core.vault.stores.postgres.store import PostgresStore
from deputize.core.vault.stores.protocol import Store, StoreType


def _open(url: str, create: bool) -> Store:
    """Open the store. `deputize store init` makes its tables, never a start: the programs' role may not."""
    return PostgresStore.open(Address.of(url))


def _exists(url: str) -> bool:
    """Return whether the tables exist and hold the first record of a vault."""
    with Address.of(url).connect_waiting() as connection:
        try:
            connection.execute(SET_UP)  # limits the wait for a locked table
            return connection.execute(GET, (place(*FIRST),)).fetchone() is not None
        except psycopg.errors.UndefinedTable:
            return False
        except psycopg.OperationalError as error:
            raise StoreUnavailable("The vault's database could not run the statement.", hint=explain(error)) from None
        except psycopg.Error as error:
            raise refusal(error) from None


def _audit(url: str) -> AuditTable:
    return PostgresAudit(Address.of(url))


STORE: Final = StoreType(
    "postgresql", open=_open, exists=_exists, risks=lambda url: risks(Address.of(url)), audit=_audit
)
