"""Whether an address is one that locks and records can be trusted to, found out before anything is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import psycopg

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.stores.postgres_address import Address, Connection, refused, why
from deputize.core.vault.stores.postgres_schema import check_version

Connect = Callable[[], Awaitable[Connection]]

POOLER: Final = "The vault's database is reached through a pooler that shares connections by transaction."
_HINT: Final = (
    "Locks do not hold there. Give DEPUTIZE_VAULT the server's own address, or a pooler's in session mode (pgbouncer: "
    "pool_mode = session)."
)
_TRY: Final = "SELECT pg_try_advisory_lock(%s)"


async def check(address: Address, connect: Connect | None = None) -> None:
    """Raise `SettingsError` for an address behind which locks do not hold, or with other tables than ours;
    `StoreUnavailable` where nobody answers; `VaultError` where this role may not read."""
    connect = connect or address.connect
    made = list[Connection]()
    try:
        async with asyncio.timeout(20):
            made += [await connect(), await connect()]
            await _sessions_are_kept(*made)
            await check_version(made[0])
    except TimeoutError:
        raise StoreUnavailable("The vault's database does not answer.", hint="Is this its address?") from None
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"No connection to the vault's database at {address.host}.", hint=why(error)) from None
    except psycopg.Error as error:
        raise refused(error) from None
    finally:
        for connection in made:
            with suppress(psycopg.Error):
                await connection.close()


async def _sessions_are_kept(one: Connection, other: Connection) -> None:
    """Each connection is a session of its own, for as long as it is open, and a lock taken in it ends with it."""
    number = secrets.randbits(62)
    pids = {await _value(one, "SELECT pg_backend_pid()") for _ in range(3)}
    pids |= {await _value(other, "SELECT pg_backend_pid()") for _ in range(3)}
    taken, twice = await _value(one, _TRY, number), await _value(other, _TRY, number)
    if len(pids) != 2 or not taken or twice:
        await one.execute("SELECT pg_advisory_unlock_all()")
        await other.execute("SELECT pg_advisory_unlock_all()")
        raise SettingsError(POOLER, hint=_HINT)
    if await _value(other, "SELECT pg_is_in_recovery()"):
        raise SettingsError("The vault's database is a standby, which takes no writes.", hint="Name the primary.")
    await one.execute("SELECT pg_advisory_unlock(%s)", (number,))


async def _value(connection: Connection, sql: str, *values: object) -> Any:
    row = await (await connection.execute(sql.encode(), values)).fetchone()
    return row[0] if row else None


def risks(address: Address) -> list[tuple[str, str]]:
    """What a vault there can lose that it was told is kept, and what to do about it. For `deputize doctor`: it waits.

    Raises `SettingsError` where no connection can be made.
    """
    found = list[tuple[str, str]]()
    with address.connect_waiting() as connection:
        for name in ("fsync", "full_page_writes"):
            if _setting(connection, name) == "off":
                found.append((f"{name} is off: a crash of the machine damages the vault", f"Set {name} = on."))
        if _setting(connection, "synchronous_commit") == "off":
            todo = "Set synchronous_commit = on. This vault's own writes are synchronous all the same."
            found.append(("synchronous_commit is off: a crash loses what others wrote last", todo))
        if not _setting(connection, "synchronous_standby_names"):
            todo = "With a standby, name it in synchronous_standby_names before agents pay or send."
            found.append(("standbys, if any, are asynchronous: a failover loses what was written last", todo))
    if address.unverified:
        found.append(("the connection is not verified", "Write sslmode=verify-full in the vault's address."))
    return found


def _setting(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""
