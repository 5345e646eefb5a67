"""Address of a vault in Postgres, in libpq's form, with deputize's defaults.

Server and client authenticate each other by TLS with host name verification, unless they share a machine: an address
without ``sslmode`` gets ``verify-full``. Settings in the address take precedence, except modes that continue without
TLS at the request of the other side, which may be an attacker in between
(https://www.postgresql.org/docs/current/libpq-ssl.html).
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
"""SQLSTATE of the warning for a commit that succeeded here while its wait for a synchronous standby was ended."""


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection of one event loop. ``unreplicated``: True after a commit that standbys may lack."""

    unreplicated = False

    def on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        """Handle a notice of the server."""
        self.unreplicated = self.unreplicated or notice.sqlstate == UNREPLICATED


CONNECT_SECONDS: Final = 4
"""Seconds that making one connection may take."""
ANSWER_SECONDS: Final = 6.0
"""Seconds without an answer after which a connection is closed; the server aborts a statement before that."""
_EXAMPLE: Final = (
    "Write postgresql://deputize_app@db.example.com/deputize, the password in a file that PGPASSFILE names."
)
_LOCKED: Final = "Another transaction holds the lock: if it does not end, pg_stat_activity shows which."
_HALF: Final = ("allow", "prefer")
_DEFAULTS: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "deputize",
    "target_session_attrs": "read-write",  # the primary of several hosts
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
"""Settings of each session. Keepalives are the server's: with them it frees the locks of a machine that vanished, which
takes two hours with the defaults of systems. In a query, because a pooler refuses them as startup parameters."""

AWAY: Final = "Check that the server runs and is reachable from here, and that DEPUTIZE_VAULT is its address."
"""Hint for a server that does not answer."""
CROWDED: Final = (
    "Raise max_connections, or the limit of the role or database, or run fewer programs. No restart is needed."
)
CROWDED_WORDS: Final = ("too many clients", "too many connections", "connection slots")
READ_ONLY: Final = "It is read-only, or a standby. Name all servers in the address: the primary is found."
_REFUSALS: Final = {
    "Connection refused": "Nothing listens there: check host and port, and that the server runs.",
    "resolve": "The host name cannot be resolved.",
    "no password supplied": "The server requires a password: best in a file that PGPASSFILE names.",
    "password authentication failed": "The server does not accept this password for this role.",
    "no pg_hba.conf entry": "The server's pg_hba.conf does not let this role in from here.",
    "does not exist": "The server has no such database, or no such role.",
    "certificate": "The server's certificate was not accepted: sslrootcert names the trusted authority.",
    "No such file or directory": "No server has a socket there: check the folder, and that the server runs.",
    **dict.fromkeys(CROWDED_WORDS, f"It has no connection left. {CROWDED}"),
    "session is read-only": READ_ONLY,
}
"""Hints by parts of the server's message when it refuses a connection."""


@frozen
class Address(Frozen):
    """Parameters of a connection, as libpq names them."""

    parameters: dict[str, Any]

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the address in a setting. Raises `SettingsError`, which repeats nothing of the setting."""
        try:
            given = conninfo_to_dict(url.strip())
        except psycopg.Error:
            raise SettingsError("The vault's address cannot be read.", hint=_EXAMPLE) from None
        if not given.get("host") and not given.get("service"):
            raise SettingsError("The vault's address names no host.", hint=_EXAMPLE)
        mode = given.get("sslmode")
        if mode in _HALF:
            raise SettingsError(
                f"sslmode={mode} continues without TLS if the other side asks for that.",
                hint="Write sslmode=verify-full.",
            )
        if mode is None and not _are_local(str(given.get("host", ""))):
            given |= {"sslmode": "verify-full"}
            if "sslrootcert" not in given and "PGSSLROOTCERT" not in os.environ:
                given |= {"sslrootcert": "system"}
        return cls({**_DEFAULTS, **given})

    @property
    def unverified(self) -> bool:
        """True if the server is on another machine and the address disables the check of its identity."""
        return self.parameters.get("sslmode", "verify-full") != "verify-full" and not _are_local(self.host)

    @property
    def host(self) -> str:
        """The name of the server, or several names with commas, safe to display."""
        return str(self.parameters.get("host", "the server of its service"))

    def connect_waiting(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a blocking connection, for the command line and for the check whether a vault exists."""
        try:
            return psycopg.connect(**self.parameters, autocommit=True)
        except psycopg.Error as error:
            raise SettingsError(f"No connection to the vault's database at {self.host}.", hint=explain(error)) from None

    async def connect(self) -> Connection:
        """Return a connection of the running event loop, ready for use. Raises psycopg's errors."""
        made = await Connection.connect(**self.parameters, autocommit=True)
        made.add_notice_handler(made.on_notice)
        try:
            await made.execute(SET_UP)
        except BaseException:
            await made.close()
            raise
        return made


def _are_local(hosts: str) -> bool:
    """Return whether all hosts are this machine: a socket's folder, or loopback."""
    return all(host.startswith(("/", "@")) or host == "localhost" or _loopback(host) for host in hosts.split(","))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def explain(error: psycopg.Error) -> str:
    """Return the part of an error that may be shared: class and SQLSTATE. The error's text may quote values and
    addresses.

    A refused connection has no SQLSTATE here, so it is recognized by its text if the server writes English.
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
    """Return whether the connection is useless after this error: it broke, or its server has become read-only."""
    return connection.closed or isinstance(error, psycopg.errors.ReadOnlySqlTransaction)


def refusal(error: psycopg.Error) -> VaultError:
    """Return the error for a permanent refusal: missing rights, missing tables."""
    if isinstance(error, psycopg.errors.UndefinedTable):
        if "deputize_audit" in str(error):  # added in version 2, so the others may exist
            hint = "With the owner's role: deputize store init, or deputize store migrate if a vault exists already."
            return VaultError("The vault's database has no table of the audit.", hint=hint)
        return VaultError("The vault's database has no tables.", hint="Run deputize store init with the owner's role.")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        hint = "Run deputize store init --app-role ROLE, which grants a role the rights that it needs."
        return VaultError("The vault's database denies this role a right that it needs.", hint=hint)
    return VaultError("The vault's database refused the statement.", hint=explain(error))
