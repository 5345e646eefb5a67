"""Messages and hints for errors of a server that is unavailable (appendix A of Postgres' documentation)."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.postgres.address import AWAY, CROWDED, CROWDED_WORDS, READ_ONLY, explain

MAYBE: Final = "The write may have happened."
_FULL: Final = ("The disk of the vault's database is full.", "Make room on it. No restart is needed.")
_READ_ONLY: Final = ("The vault's database is read-only now.", READ_ONLY)
_CROWDED: Final = ("The vault's database has no connection left.", CROWDED)


def find_fault(error: BaseException) -> tuple[str, str]:
    """Return message and hint for an error; two empty strings if its class alone says all.

    A refused connection has no SQLSTATE here, so it is recognized by its text if the server writes English.
    """
    if isinstance(error, errors.DiskFull):
        return _FULL
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return _READ_ONLY
    text = str(error) if isinstance(error, psycopg.OperationalError) else ""
    if isinstance(error, errors.TooManyConnections) or any(words in text for words in CROWDED_WORDS):
        return _CROWDED
    return _READ_ONLY if "session is read-only" in text else ("", "")


def aborted_error(error: psycopg.Error) -> StoreUnavailable:
    """Return the error for a statement that the server aborted: no room, a lock, a timeout."""
    message, hint = find_fault(error)
    message = message or "The vault's database could not run the statement."
    return StoreUnavailable(message, hint=f"{hint} {explain(error)}".strip())


def no_answer_error(sent: bool, fault: tuple[str, str] = ("", "")) -> StoreUnavailable:
    """Return the error for a server that did not answer. ``sent``: a try may have succeeded; ``fault``: the last
    one."""
    message, hint = fault
    message = message or "The vault's database does not answer."
    return StoreUnavailable(message, hint=f"{hint or AWAY} {MAYBE if sent else ''}".strip())


def add_doubt(error: StoreUnavailable) -> StoreUnavailable:
    """Return the error with a hint that an earlier try may have succeeded."""
    return error if MAYBE in error.hint else StoreUnavailable(error.message, hint=f"{error.hint} {MAYBE}".strip())
