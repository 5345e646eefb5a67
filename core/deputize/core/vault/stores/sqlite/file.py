"""File of the sqlite store: created whole or not at all, and refused if it is damaged or not a vault."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from deputize.core.errors import SettingsError, StoreUnavailable, VaultError
from deputize.core.vault.private_files import check_private, new_file, publish, sync, temporary_path
from deputize.core.vault.stores.sqlite.wal_index import CountedConnection, opening

TABLE = "vault"
SCHEMA = f'CREATE TABLE IF NOT EXISTS "{TABLE}" (key TEXT PRIMARY KEY, value BLOB)'  # exactly as sqlitedict writes it
FORMAT = b"\x01"  # in front of every value
BUSY_SECONDS = 2.0

MARK = ("format", FORMAT + b"deputize vault 1")  # no record has a key without a slash
_NETWORK = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "sshfs",
}


def connect(path: Path, *, mode: str = "ro", timeout: float = BUSY_SECONDS) -> CountedConnection:
    """Return a connection of the standard library. ``mode``: ro or rw; never creates a file."""
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}"
    with opening():
        connection = sqlite3.connect(
            uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, factory=CountedConnection
        )
        connection.count(path)
        return connection


def make(path: Path) -> None:
    """Create an empty vault. If another process creates one at the same time, one of them remains for both."""
    try:
        if (
            path.with_name(path.name + "-wal").exists() and not path.exists()
        ):  # in this order: another process may be making it
            raise VaultError("The vault's file is gone, but its log is there.", hint=f"Restore {path} from a backup.")
        with temporary_path(path) as made:
            os.close(new_file(made))
            with closing(connect(made, mode="rw")) as db:
                for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", SCHEMA):
                    db.execute(statement)
                db.execute(f'INSERT INTO "{TABLE}" VALUES (?, ?)', MARK)  # noqa: S608
            sync(made)
            publish(made, path)
    except sqlite3.Error as error:
        raise store_error(error, path) from None
    except OSError as error:
        raise StoreUnavailable("The vault cannot be made.", hint=f"{path}: {error.strerror}") from None


def copy(path: Path, to: Path, changes: Mapping[str, Callable[[bytes], bytes]]) -> None:
    """Make a consistent copy of a vault in use, mode 0600, with these cells changed. It includes the log's content.
    Raises `SettingsError` if ``to`` exists or cannot be written, and `VaultError` if such a cell is missing or the copy
    is damaged."""
    try:
        with temporary_path(to) as made:
            os.close(new_file(made))
            with closing(connect(path)) as source, closing(connect(made, mode="rw")) as copied:
                source.backup(copied)
                _change(copied, changes)
                _refuse_damaged(copied, path)
            sync(made)
            if not publish(made, to):
                raise SettingsError("There is a file of that name already.", hint=str(to))
    except sqlite3.Error as error:
        raise store_error(error, path) from None
    except OSError as error:
        raise SettingsError("The copy cannot be written.", hint=f"{to}: {error.strerror}") from None


def _refuse_damaged(copied: sqlite3.Connection, path: Path) -> None:
    """Raise `VaultError` for a copy whose damage hides records, which would be noticed only when it is needed."""
    if (found := copied.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
        raise VaultError(f"The vault's file is damaged: {found[0]}", hint=f"Nothing was copied from {path}.")


def _change(copied: sqlite3.Connection, changes: Mapping[str, Callable[[bytes], bytes]]) -> None:
    for key, change in changes.items():
        cell = copied.execute(f'SELECT value FROM "{TABLE}" WHERE key = ?', (key,)).fetchone()  # noqa: S608
        if not cell or not isinstance(cell[0], bytes):
            raise VaultError("The vault has lost its first record.")
        copied.execute(f'UPDATE "{TABLE}" SET value = ? WHERE key = ?', (change(cell[0]), key))  # noqa: S608


def remove(path: Path) -> None:
    """Remove an SQLite file, and the files that SQLite keeps beside it."""
    for ending in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def check(path: Path) -> tuple[int, int]:
    """Return device and inode of the vault's file. Raises `StoreUnavailable` if it is missing or locked, `VaultError`
    if it is not a vault, and `SettingsError` if others may read it."""
    try:
        status = path.stat()
    except OSError as error:
        raise StoreUnavailable(
            "There is no vault.", hint=f"{path}: {error.strerror}. A new one is made only on request."
        ) from None
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        raise VaultError(
            "The file of the vault is not a vault.", hint=f"Restore {path} from a backup, or move it away."
        )
    check_private(path, status)
    try:
        with closing(connect(path)) as db:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            mark = db.execute(f'SELECT key, value FROM "{TABLE}" WHERE key = ?', MARK[:1]).fetchone()  # noqa: S608
            mode = db.execute("PRAGMA journal_mode").fetchone()
        if mark != MARK:
            raise VaultError("The file is not a vault of this version.", hint=str(path))
        if mode != ("wal",):
            _back_to_wal(path)
    except sqlite3.Error as error:
        raise store_error(error, path) from None
    return status.st_dev, status.st_ino


def _back_to_wal(path: Path) -> None:
    """Restore write-ahead mode after a tool disabled it. In sqlitedict the error would be lost in its own thread."""
    with closing(connect(path, mode="rw")) as db:
        db.execute("PRAGMA journal_mode=WAL")


def store_error(error: sqlite3.Error, path: Path) -> StoreUnavailable | VaultError:
    """Return the error for an SQLite error on this vault's file (https://www.sqlite.org/rescode.html)."""
    if isinstance(error, sqlite3.ProgrammingError):
        return StoreUnavailable("The vault is closed.")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # no code: a text that is not UTF-8
    if code in _DAMAGED:
        return VaultError("The file of the vault is damaged, or is not a vault.", hint=f"Restore {path} from a backup.")
    message, hint = _UNAVAILABLE.get(code, ("The vault cannot be used now.", "Check the disk of {path}."))
    return StoreUnavailable(message, hint=hint.format(path=path))


_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
_LOCKED = (
    "The vault is locked by another program.",
    "Try again. If it stays locked, end the program that has {path} open.",
)
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_FULL: (
        "The vault's disk is full.",
        "Make room on the disk of {path}. No restart is needed.",
    ),
    sqlite3.SQLITE_READONLY: (
        "The vault cannot be written.",
        "Check the modes of {path} and its folder, and whether the disk is read-only.",
    ),
    sqlite3.SQLITE_PERM: (
        "The vault cannot be written.",
        "Check the modes of {path} and its folder, and whether the disk is read-only.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "The vault cannot be opened.",
        "Check the modes of {path} and its folder, and whether the disk is read-only.",
    ),
}


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the kind of the path's network file system, or "". Locks and SQLite's log do not work there."""
    real, best, found = path.resolve(), -1, ""
    lines = mounts.read_text(errors="replace").splitlines() if mounts.exists() else []
    for _, point, kind, *_ in (line.split(" ", 3) for line in lines if line.count(" ") >= 3):
        at = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)  # a blank is written \040
        if real.is_relative_to(at) and len(at) > best:
            best, found = len(at), kind.removeprefix("fuse.")
    return found if found in _NETWORK else ""
