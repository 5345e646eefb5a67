"""The interface of stores: encrypted bytes under a kind and a key, compare-and-swap, and locks that end with their
holder.

A `StoreType` opens stores by their address. A store declares its abilities beyond the contract (`local_reads`,
`in_order`, `backup`), so that callers need not know its class.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from deputize.core.audit.trail import AuditTable
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.key_source import KeyList

Changes: TypeAlias = Mapping[tuple[str, str], Callable[[bytes], bytes]]
"""Functions from the old value of a record to its new one, by kind and key."""


Keep: TypeAlias = Callable[[str, bytes], bool]
"""Given the key and the value that a record of the vault has, returns whether it stays instead of the copy's."""


class HeldLock(Protocol):
    """A lock that may be lost while its holder continues, for example because its connection broke."""

    async def confirm(self) -> float:
        """Return the time on the store's clock, in Unix seconds, at which the lock was certainly held.

        Raises `StoreUnavailable` if another process may hold the lock by now: the caller must write nothing more then.
        """
        ...


class Store(Protocol):
    """A store of encrypted records. Built in are memory, sqlite (the default) and postgres; packages can add others.

    A record's place is ``(kind, key)``: both short strings of ``[a-z0-9._-]``. Values are opaque bytes. Every write is
    durable when it returns (memory: until the process ends). Any method may be called from any thread and event loop.
    Methods raise `StoreUnavailable` (the operation did not happen, unless the hint says that it may have) or
    `VaultError` (damaged, or not a store of deputize).
    """

    @property
    def local_reads(self) -> bool:
        """True if a read takes microseconds, without a network, so that polling for others' writes is cheap."""
        ...

    @property
    def in_order(self) -> bool:
        """True if writes happen in the order of their calls on one event loop, even before one is awaited. Then two
        writes with a required order may share a sync to disk. False for a store whose locks can be lost (`HeldLock`),
        because the lock must be confirmed before each write."""
        ...

    @property
    def backup(self) -> Backup | None:
        """The backup interface of this vault; None for a store that is backed up by other means."""
        ...

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return the value, or None. Every act calls this, so it waits for no writer and blocks no event loop."""
        ...

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        """Insert a new record. Return False, and change nothing, if the key has one."""
        ...

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        """Replace the value if it equals ``old``. Return False, and change nothing, otherwise."""
        ...

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        """Delete the record if its value equals ``old``. Return False, and change nothing, otherwise."""
        ...

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        """Return all records of a kind whose key begins with ``prefix``, in key order.

        ``after``: only keys after this one, which need not exist; ``most``: the maximum number, for pages.
        """
        ...

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[HeldLock | None]:
        """Hold a lock that is exclusive among all tasks, threads and processes of this store.

        The system releases it if its holder dies; it is never taken away from a live holder. Not re-entrant. Yields
        None if the lock cannot be lost in another way. Raises `TimeoutError` after ``timeout`` seconds.
        """
        ...

    async def close(self) -> None:
        """Finish pending calls, then close files and threads. Safe to call twice."""
        ...


@runtime_checkable
class FailsOver(Protocol):
    """A store whose server may fail over to another that lacks the last writes."""

    on_failover: Callable[[int], Awaitable[None]] | None
    """Awaited after a failover, with the number of records that this process wrote again. All other calls wait for it.
    It is called again if it raises."""

    async def timeline(self) -> str:
        """Return the id of the server's history, which changes with each failover; empty if the server hides it."""
        ...


@runtime_checkable
class Tails(Protocol):
    """A store that can identify record versions without reading whole records, which callers may have cached."""

    async def tails(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """Return key and last 16 bytes of each record whose key begins with ``prefix``, in key order."""
        ...


RecordRead: TypeAlias = tuple[Literal["get", "scan", "tails"], str, str]
"""One read of a batch: the method of the store, the kind, and the key or the key prefix."""
RecordWrite: TypeAlias = tuple[str, str, bytes | None, bytes]
"""One write of a batch: kind, key, the old value (None: an insert) and the new one."""


@runtime_checkable
class Batches(Tails, Protocol):
    """A store over a network that carries out several operations in one round trip to its server.

    If a store does not have these methods, deputize asks it once for each record. deputize looks for
    ``lock_and_read``, so a store that wraps another store must pass on all of these methods or none.
    """

    async def read(self, *wanted: RecordRead) -> list[Any]:
        """Return what each of these reads returns by itself, in their order, as of one moment."""
        ...

    async def write(self, *puts: RecordWrite) -> int:
        """Make these writes in order, in one transaction, until one does not apply. Return how many were made. Each is
        of another record."""
        ...

    def lock_and_read(
        self, name: str, timeout: float, *wanted: RecordRead
    ) -> AbstractAsyncContextManager[tuple[HeldLock, list[Any]]]:
        """Hold a lock as `Store.lock` does, and read once it is held: nothing that its last holder wrote is missing."""
        ...


@runtime_checkable
class Unshared(Protocol):
    """A store that can detect writes of other processes."""

    def unshared(self) -> object | None:
        """Return the same object as long as only this process writes, or None if the store cannot tell."""
        ...


@runtime_checkable
class Inspects(Protocol):
    """A store that can look for damage that hides records."""

    async def find_damage(self) -> list[tuple[str, str]]:
        """Return the damage found, each with a remedy. Reads the whole vault. Raises `StoreUnavailable`."""
        ...


class Watch(Protocol):
    """Wakes a task that waits for records."""

    async def changed(self, timeout: float) -> None:
        """Wait until a record may have been written since the last call, or for at most ``timeout`` seconds. The caller
        must read the record to find out."""
        ...


@runtime_checkable
class Watches(Protocol):
    """A store that notifies about writes of other processes, so that callers poll less often."""

    def watch(self, *prefixes: tuple[str, str]) -> AbstractAsyncContextManager[Watch]:
        """Watch records, each by kind and key prefix, from the beginning of the block on."""
        ...


class Backup(Protocol):
    """Backups of one vault as files with mode 0600, made and restored while others use the vault.

    Methods raise `SettingsError` (the file exists, or cannot be written), `VaultError` (not a vault, damaged) or
    `StoreUnavailable`, and have changed nothing then.
    """

    def copy(self, to: Path, changes: Changes) -> None:
        """Make a consistent copy at ``to``, which must not exist, with these records changed. May block."""
        ...

    def draft(self, backup: Path) -> AbstractAsyncContextManager[Draft]:
        """Yield a copy of a backup to work on. The copy is removed at the end of the block."""
        ...

    def put_in_place(self, backup: Path) -> None:
        """Copy the backup to the vault's place, if there is no vault any more. May block."""
        ...

    def remove(self) -> None:
        """Remove the files that `put_in_place` has created."""
        ...


class Draft(Protocol):
    """A vault that is being restored: a copy of a backup, which can be published as the vault."""

    @property
    def store(self) -> Store:
        """The copy's records."""
        ...

    async def publish(self, kept: Mapping[str, Keep]) -> None:
        """Close the copy, and replace the vault's content by it in one step, also for processes that use the vault.

        ``kept``: by kind, a function that decides which records of the vault stay. They are read in the same step,
        while nobody else can write. If the vault is too damaged for that, none of its records stay.
        """
        ...


@frozen
class StoreType(Frozen):
    """A type of stores. ``name``: the scheme of their URLs, as in ``name://...``.

    Each function receives the URL from the settings. ``open``: opens the store, and creates it if the flag is set;
    raises `SettingsError` for an address it cannot use, without quoting a password. ``exists``: True if a vault is
    there. ``durable``: records outlive the process. ``backup``: the backup interface, even without a vault. ``risks``:
    possible losses of a vault there, each with a remedy; it may query the store, and block. ``audit``: the table beside
    the records for the audit rows of all machines, without querying it. ``set_aside``: moves the content away, under
    names with the given ending, and returns the new paths: ``lost-...`` for the remains of a lost vault, ``moved-...``
    for one that was copied to another store. ``moved``: the path to which content was last moved. ``key_list``:
    the list of wrapped root keys in that database; without it, the list is a file.
    """

    name: str
    open: Callable[[str, bool], Store]
    exists: Callable[[str], bool]
    durable: bool = True
    backup: Callable[[str], Backup] | None = None
    set_aside: Callable[[str, str], list[Path]] | None = None
    moved: Callable[[str], Path | None] | None = None
    risks: Callable[[str], list[tuple[str, str]]] | None = None
    audit: Callable[[str], AuditTable] | None = None
    key_list: Callable[[str], KeyList] | None = None
