"""What is wrong with a server that cannot do something now, in words (appendix A of Postgres' documentation)."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.postgres.address import AWAY, CROWDED, CROWDED_WORDS, READ_ONLY, why

MAYBE: Final = "It may have been written all the same."
_FULL: Final = ("The disk of the vault's database is full.", "Make room on it. No restart is needed.")
_READ_ONLY: Final = ("The vault's database takes no writes now.", READ_ONLY)
_CROWDED: Final = ("The vault's database has no connection left.", CROWDED)


def fault_of(error: BaseException) -> tuple[str, str]:
    """What to say of it, and what to do; two empty strings where that is known from the error's class alone.

    A refused connection has no SQLSTATE here, so that is told by its words where the server says them in English.
    """
    if isinstance(error, errors.DiskFull):
        return _FULL
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return _READ_ONLY
    text = str(error) if isinstance(error, psycopg.OperationalError) else ""
    if isinstance(error, errors.TooManyConnections) or any(words in text for words in CROWDED_WORDS):
        return _CROWDED
    return _READ_ONLY if "session is read-only" in text else ("", "")


def not_now(error: psycopg.Error) -> StoreUnavailable:
    """For a statement that the server gave up: no room, a lock, too long."""
    said, do = fault_of(error)
    return StoreUnavailable(said or "The vault's database could not do it now.", hint=f"{do} {why(error)}".strip())


def away(sent: bool, fault: tuple[str, str] = ("", "")) -> StoreUnavailable:
    """For a server that did not answer for long. ``sent``: a try may have been carried out; ``fault``: of the last."""
    said, do = fault
    return StoreUnavailable(
        said or "The vault's database does not answer.", hint=f"{do or AWAY} {MAYBE if sent else ''}".strip()
    )


def maybe(error: StoreUnavailable) -> StoreUnavailable:
    """The same, of a statement of which an earlier try may have been carried out."""
    return error if MAYBE in error.hint else StoreUnavailable(error.message, hint=f"{error.hint} {MAYBE}".strip())
