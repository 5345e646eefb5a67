"""What a store is: sealed bytes under a kind and a key, compare-and-swap, and locks that die with their holder.

A `StoreType` is how stores of one kind are found by their address; what such a store can do beyond the contract is
stated (`local_reads`, `in_order`, `backup`), so that nobody has to know its class.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from deputize.core.audit.trail import AuditTable
from deputize.core.value_object import Frozen, frozen

Changes: TypeAlias = Mapping[tuple[str, str], Callable[[bytes], bytes]]
"""By kind and key of a record: what makes its new value of its old one."""


class HeldLock(Protocol):
    """A lock that may be lost while its holder goes on, as where the connection that holds it is cut."""

    async def confirm(self) -> float:
        """The time on the store's own clock, in seconds since 1970, while the lock is held for certain.

        Raises `StoreUnavailable` where another may have it by now: whoever asks must write nothing more.
        """
        ...


class Store(Protocol):
    """Where sealed records lie. Built in are memory, sqlite (the default) and postgres; packages bring others.

    A record's place is ``(kind, key)``: both short strings of ``[a-z0-9._-]``. Values are opaque bytes. Every write
    is durable when it returns (memory: for the life of the process). Any method may be called from any thread and
    event loop, and raises `StoreUnavailable` (did not happen, unless its hint says that it may have) or `VaultError`
    (not a store of ours, damaged).
    """

    @property
    def local_reads(self) -> bool:
        """Whether a read takes microseconds, since nothing is asked over a network: such a store may be looked at often
        to see what another process wrote."""
        ...

    @property
    def in_order(self) -> bool:
        """Whether writes happen in the order in which an event loop asks for them, before it waits for any: then two of
        which one has to be there first may share a sync. Not where its locks can be lost (`HeldLock`), which is asked
        before a write."""
        ...

    @property
    def backup(self) -> Backup | None:
        """Whole copies of this vault; None for a store that is backed up by other means."""
        ...

    async def get(self, kind: str, key: str) -> bytes | None:
        """The value, or None. This is on the path of every act: it waits for no writer, and blocks no event loop."""
        ...

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        """Put a new record. False, and nothing changed, where one is."""
        ...

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        """Replace exactly ``old``. False, and nothing changed, where the value is another or none."""
        ...

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        """Remove exactly ``old``. False, and nothing changed, where the value is another or none."""
        ...

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        """All records of a kind whose key begins with ``prefix``, in key order.

        ``after``: only keys behind this one, which need not be there; ``most``: so many at most, for work by pages.
        """
        ...

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[HeldLock | None]:
        """Exclusive among all tasks, threads and processes of this store; freed by the system if its holder dies.

        Raises TimeoutError after ``timeout`` seconds; never takes a lock away from a holder. Not re-entrant. It gives
        None where nothing but the end of its holder ends it.
        """
        ...

    async def close(self) -> None:
        """Finish what was asked, then let go of files and threads. Safe to call twice."""
        ...


@runtime_checkable
class FailsOver(Protocol):
    """A store whose server may be taken over by another that lacks what was written last."""

    looks: Callable[[int], Awaitable[None]] | None
    """Awaited when that has happened, with how many records this process has written there again. Everybody else who
    asks the store waits for it; it is called again where it raises."""

    async def timeline(self) -> str:
        """The past that the server has, another one after each such change; empty where that cannot be known."""
        ...


@runtime_checkable
class Tails(Protocol):
    """A store that tells records apart without giving them whole, for whoever knows most of them already."""

    async def tails(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """Of all records of a kind whose key begins with ``prefix``, in key order: the key, and the last 16 bytes of
        the value."""
        ...


@runtime_checkable
class Unshared(Protocol):
    """A store that can tell whether others write there, too."""

    def unshared(self) -> object | None:
        """The same object as long as nobody but this process has written there; None where that cannot be told."""
        ...


class Watch(Protocol):
    """Wakes one who waits for records."""

    async def changed(self, timeout: float) -> None:
        """Wait until something may have been written there since the last time; after so many seconds, or fewer, in any
        case. It proves nothing: look."""
        ...


@runtime_checkable
class Watches(Protocol):
    """A store that wakes whoever waits for what another process writes, so that nobody has to ask often."""

    def watch(self, *prefixes: tuple[str, str]) -> AbstractAsyncContextManager[Watch]:
        """A watch of records, each by kind and beginning of the key, from the beginning of the block on."""
        ...


class Backup(Protocol):
    """Copies of one vault as files with mode 0600, made and put back while others use it.

    Methods raise `SettingsError` (a file that is there already, or cannot be written), `VaultError` (no vault, damaged)
    and `StoreUnavailable`, and have changed nothing then.
    """

    def copy(self, to: Path, changes: Changes) -> None:
        """Make a consistent copy at ``to``, where no file is, in which these records are changed. It may block."""
        ...

    def draft(self, backup: Path) -> AbstractAsyncContextManager[Draft]:
        """A copy of a backup to work on, which is removed at the end of the block."""
        ...

    def put_in_place(self, backup: Path) -> None:
        """Where there is no vault any more: make a copy of the backup the vault. It may block."""
        ...

    def remove(self) -> None:
        """Remove what `put_in_place` has put there."""
        ...


class Draft(Protocol):
    """A backup while it is made fit to be the vault again."""

    @property
    def store(self) -> Store:
        """The copy's records."""
        ...

    async def publish(self) -> None:
        """Close the copy, and replace what is in the vault by it as one step: whoever has the vault open goes on with
        the new content."""
        ...


@frozen
class StoreType(Frozen):
    """How stores of one kind are found. ``name``: the scheme of their URLs, as in ``name://...``.

    Each of the functions gets the URL as it was set. ``open``: the store; ``create`` where there is none; raises
    `SettingsError` for an address it cannot use, and repeats no password of it. ``exists``: whether a vault is there.
    ``durable``: what it keeps outlives the process. ``backup``: copies of the vault there, whether it exists or not.
    ``risks``: what a vault there may lose, each with what to do about it; it may ask the store, and wait.
    ``audit``: the table for the rows of all machines' audits that lies beside the records; it is not asked yet.
    ``set_aside``: moves away what lies there, under names that end in what it is told, and says where it is now:
    ``lost-...`` of what is left of a lost vault, ``moved-...`` of one that was copied to another store. ``moved``:
    what was moved away from there so, the last time.
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
