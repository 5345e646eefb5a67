"""Checks of a Postgres address before use: whether locks and records are safe there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import psycopg

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.stores.postgres.address import AWAY, SET_UP, Address, Connection, explain, refusal
from deputize.core.vault.stores.postgres.schema import check_version
from deputize.core.vault.stores.postgres.timeline import NOT_SAID, TIMELINE

Connect = Callable[[], Awaitable[Connection]]

POOLER: Final = "The vault's database is reached through a pooler that shares connections by transaction."
_HINT: Final = (
    "Locks do not work there. Set DEPUTIZE_VAULT to the server, or to a pooler in session mode (pgbouncer: "
    "pool_mode = session)."
)
KEEPALIVES: Final = ("idle", "interval", "count")
_TRY: Final = "SELECT pg_try_advisory_lock(%s)"


async def check(address: Address, connect: Connect | None = None) -> None:
    """Raise `SettingsError` for an address where locks do not work or whose tables have another version. Raises
    `StoreUnavailable` if no server answers, and `VaultError` if this role may not read."""
    connect = connect or address.connect
    made = list[Connection]()
    try:
        async with asyncio.timeout(20):
            made += [await connect(), await connect()]
            await _sessions_are_kept(*made)
            await check_version(made[0])
    except TimeoutError:
        raise StoreUnavailable("The vault's database does not answer.", hint=AWAY) from None
    except psycopg.OperationalError as error:
        raise StoreUnavailable(
            f"No connection to the vault's database at {address.host}.", hint=explain(error)
        ) from None
    except psycopg.Error as error:
        raise refusal(error) from None
    finally:
        for connection in made:
            with suppress(psycopg.Error):
                await connection.close()


async def _sessions_are_kept(one: Connection, other: Connection) -> None:
    """Check that each open connection has its own session on the server, and that its locks end with the connection."""
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
    """Return the losses that a vault at this address risks after acknowledged writes, each with a remedy. For `deputize
    doctor`: it blocks. Raises `SettingsError` if no connection can be made."""
    found = list[tuple[str, str]]()
    with address.connect_waiting() as connection:
        for name in ("fsync", "full_page_writes"):
            if _setting(connection, name) == "off":
                found.append((f"{name} is off: a crash of the machine damages the vault", f"Set {name} = on."))
        if _setting(connection, "synchronous_commit") == "off":
            todo = "Set synchronous_commit = on. This vault's own writes are synchronous anyway."
            found.append(("synchronous_commit is off: a crash loses the last writes of others", todo))
        if _setting(connection, "data_checksums") == "off":
            todo = "Stop the server and run pg_checksums --enable."
            found.append(("data_checksums is off: the server does not notice damage on its disk", todo))
        found += _standbys(connection)
        connection.execute(SET_UP)
        found += sessions(connection)
    if address.unverified:
        found.append(("the connection is not verified", "Write sslmode=verify-full in the vault's address."))
    return found


def _standbys(connection: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[str, str]]:
    """Return the possible losses in a failover. Without pg_monitor, only the number of standbys is visible."""
    following = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    named = _setting(connection, "synchronous_standby_names")
    if not named:
        number = f"{len(following)} asynchronous" if following else "asynchronous, if there are any"
        todo = "Name one in synchronous_standby_names before agents pay or send."
        return [(f"standbys: {number}: a failover can lose the last writes", todo)]
    if following and {state for (state,) in following} == {"async"}:
        todo = f"It names {named}: is that what the standby calls itself (application_name in primary_conninfo)?"
        return [("no standby is synchronous that synchronous_standby_names names: writes wait for it", todo)]
    if not following:
        todo = "Start it; or empty synchronous_standby_names to continue without."
        return [("synchronous_standby_names names a standby, and none follows: writes wait for it", todo)]
    return []


def sessions(connection: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[str, str]]:
    """Return the risks of the effective session settings of ``connection``."""
    found = list[tuple[str, str]]()
    idle, interval, count = (int(_setting(connection, f"tcp_keepalives_{name}")) for name in KEEPALIVES)
    if connection.info.host and not connection.info.host.startswith("/") and not 0 < idle + interval * count <= 60:
        todo = "Set tcp_keepalives_idle = 5, tcp_keepalives_interval = 2, tcp_keepalives_count = 3 on the server."
        found.append(
            ("the server ignores deputize's keepalives: a machine that vanishes keeps its locks for hours", todo)
        )
    try:
        connection.execute(TIMELINE.encode())
    except NOT_SAID:
        todo = "Allow it: GRANT EXECUTE ON FUNCTION pg_control_system() TO deputize_app;"
        found.append(("the server does not tell its timeline: a failover or a restore is not noticed", todo))
    return found


def _setting(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""
