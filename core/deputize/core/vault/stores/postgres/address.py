"""Where a vault in Postgres lies, and how it is connected to: the address as libpq reads it, and what we add to it.

Server and client believe each other by TLS with the name checked, unless they share a machine: an address that leaves
``sslmode`` out gets ``verify-full``. What it says itself counts, but for the modes that go on without TLS where the
other side, or whoever stands between, says so (https://www.postgresql.org/docs/current/libpq-ssl.html).
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any, Final

from deputize.core.errors import SettingsError, VaultError
from deputize.core.value_object import Frozen, frozen

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as missing:
    raise SettingsError.without(missing, "postgres") from None

UNREPLICATED: Final = "01000"
"""SQLSTATE of the warning with which a commit succeeds here whose wait for a synchronous standby was ended."""


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """One of an event loop. ``unreplicated``: it has committed something that standbys may lack."""

    unreplicated = False

    def heard(self, notice: psycopg.errors.Diagnostic) -> None:
        """A notice of the server."""
        self.unreplicated = self.unreplicated or notice.sqlstate == UNREPLICATED


CONNECT: Final = 4
"""Seconds that making one connection may take."""
ANSWER: Final = 6.0
"""Seconds after which we give up a connection on which no answer came; the server gives up a statement before that."""
_EXAMPLE: Final = (
    "Write postgresql://deputize_app@db.example.com/deputize, the password in a file that PGPASSFILE names."
)
_LOCKED: Final = "Another transaction holds what is asked for: pg_stat_activity shows which, if it does not end."
_HALF: Final = ("allow", "prefer")
_GIVEN: Final = {
    "connect_timeout": CONNECT,
    "application_name": "deputize",
    "target_session_attrs": "read-write",  # of several hosts the one that takes writes
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "client_encoding": "utf8",
}
SET_UP: Final = """
    SELECT set_config('statement_timeout', '4s', false),
        set_config('lock_timeout', '2s', false),
        set_config('idle_in_transaction_session_timeout', '5s', false),
        set_config('tcp_keepalives_idle', '5', false),
        set_config('tcp_keepalives_interval', '2', false),
        set_config('tcp_keepalives_count', '3', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit')
            WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""
"""Of each session. Keepalives are the server's side: by them it frees the locks of a machine that vanished, which
takes two hours with what systems are set to. In a query, since a pooler refuses it as parameters of the start."""

AWAY: Final = "See that the server runs and is reached from here, and that DEPUTIZE_VAULT is its address."
"""What to do about one that says nothing."""
CROWDED: Final = (
    "Raise max_connections, or the limit of the role or database, or run fewer programs. No restart is needed."
)
CROWDED_WORDS: Final = ("too many clients", "too many connections", "connection slots")
READ_ONLY: Final = "It is read-only, or a standby. Name all servers in the address: the one that takes writes is found."
_REFUSALS: Final = {
    "Connection refused": "Nobody listens there: see to host and port, and that the server runs.",
    "resolve": "Nobody knows this host by its name.",
    "no password supplied": "The server wants a password: best in a file that PGPASSFILE names.",
    "password authentication failed": "The server does not take this password for this role.",
    "no pg_hba.conf entry": "The server's pg_hba.conf does not let this role in from here.",
    "does not exist": "The server has no such database, or no such role.",
    "certificate": "The server's certificate was not accepted: sslrootcert names whom to believe.",
    "No such file or directory": "No server has a socket there: see to the folder, and that the server runs.",
    **dict.fromkeys(CROWDED_WORDS, f"It has no connection left. {CROWDED}"),
    "session is read-only": READ_ONLY,
}
"""What a server's words mean when it refuses a connection."""


@frozen
class Address(Frozen):
    """Parameters of a connection, as libpq knows them."""

    parameters: dict[str, Any]

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in a setting. Raises `SettingsError`, which repeats nothing of it."""
        try:
            said = conninfo_to_dict(url.strip())
        except psycopg.Error:
            raise SettingsError("The vault's address cannot be read.", hint=_EXAMPLE) from None
        if not said.get("host") and not said.get("service"):
            raise SettingsError("The vault's address names no host.", hint=_EXAMPLE)
        mode = said.get("sslmode")
        if mode in _HALF:
            raise SettingsError(
                f"sslmode={mode} does without TLS where the other side wants it so.", hint="Write sslmode=verify-full."
            )
        if mode is None and not _all_here(str(said.get("host", ""))):
            said |= {"sslmode": "verify-full"}
            if "sslrootcert" not in said and "PGSSLROOTCERT" not in os.environ:
                said |= {"sslrootcert": "system"}
        return cls({**_GIVEN, **said})

    @property
    def unverified(self) -> bool:
        """Whether the address itself does without a check of who answers, on another machine."""
        return self.parameters.get("sslmode", "verify-full") != "verify-full" and not _all_here(self.host)

    @property
    def host(self) -> str:
        """The name of the server, or of several with commas, as it may be shown."""
        return str(self.parameters.get("host", "the server of its service"))

    def connect_waiting(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection for who may block: the command line, and the look whether a vault is there."""
        try:
            return psycopg.connect(**self.parameters, autocommit=True)
        except psycopg.Error as error:
            raise SettingsError(f"No connection to the vault's database at {self.host}.", hint=why(error)) from None

    async def connect(self) -> Connection:
        """A connection of the running event loop, set up. Raises what psycopg raises."""
        made = await Connection.connect(**self.parameters, autocommit=True)
        made.add_notice_handler(made.heard)
        try:
            await made.execute(SET_UP)
        except BaseException:
            await made.close()
            raise
        return made


def _all_here(hosts: str) -> bool:
    """Whether all are on this machine: a socket's folder, or loopback."""
    return all(host.startswith(("/", "@")) or host == "localhost" or _loopback(host) for host in hosts.split(","))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why(error: psycopg.Error) -> str:
    """What may be said of an error: its class and SQLSTATE. Its text may quote values, addresses and names.

    A refused connection has no SQLSTATE here, so that is told by its words where the server says them in English.
    """
    text = "" if error.sqlstate else str(error)
    for words, meaning in _REFUSALS.items():
        if words in text:
            return meaning
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return f"{_LOCKED} Postgres said: {type(error).__name__} {error.sqlstate}."
    name = " ".join(part for part in (type(error).__name__, error.sqlstate or "") if part)
    silent = isinstance(error, psycopg.OperationalError) and not error.sqlstate
    return f"{AWAY} Postgres said: {name}." if silent else f"Postgres said: {name}."


def is_lost(error: psycopg.Error, connection: Connection) -> bool:
    """Whether the connection is of no use after it: cut, or to a server that takes no writes any more."""
    return connection.closed or isinstance(error, psycopg.errors.ReadOnlySqlTransaction)


def refused(error: psycopg.Error) -> VaultError:
    """The error for what the server will refuse again: rights, tables that are not there."""
    if isinstance(error, psycopg.errors.UndefinedTable):
        if "deputize_audit" in str(error):  # it came with version 2, so the others may be there
            hint = "With the owner's role: deputize store init, or deputize store migrate if a vault is there already."
            return VaultError("The vault's database has no table of the audit.", hint=hint)
        return VaultError("The vault's database has no tables.", hint="deputize store init, with the owner's role.")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        hint = "deputize store init --app-role ROLE gives a role what it needs, and no more."
        return VaultError("The vault's database gives this role no right to that.", hint=hint)
    return VaultError("The vault's database refused.", hint=why(error))
