"""The programs of a trial: two that share one vault, each of which may die at any step and is started again."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from deputize.core import Deputy
from deputize.core.audit import Audit
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.vault import Vault
from deputize.sandbox.deputies import apps
from tests.properties.request_log import Wire, Witness
from tests.properties.simulated_providers import Stage, toolkits
from tests.support.kill_points import Fate, MortalStore
from tests.support.sandbox_deputy import build


class Place(Protocol):
    """Where the vault of a trial lies."""

    def open(self, folder: Path) -> Store:
        """The store, as a program that starts opens it; empty the first time in this folder."""
        ...


class InMemory:
    """The store that lives as long as its process: programs of one trial share it, and none closes it."""

    def __init__(self) -> None:
        self._at: tuple[Path | None, MemoryStore] = (None, MemoryStore())

    def open(self, folder: Path) -> Store:
        if self._at[0] != folder:
            self._at = folder, MemoryStore()
        return self._at[1]


class InSqlite:
    """A file."""

    def open(self, folder: Path) -> Store:
        path = folder / "vault" / "vault.sqlite"
        return open_store(str(path), create=not path.exists())


class InPostgres:
    """A database, emptied for each trial. Programs open it on the loop that would have to check it: that is done once,
    before them."""

    def __init__(self, url: str) -> None:
        from deputize.core.vault.stores.postgres.address import Address
        from deputize.core.vault.stores.postgres.schema import migrate
        from deputize.core.vault.stores.postgres.store import PostgresStore

        self._type, self._address, self._folder = PostgresStore, Address.of(url), Path()
        migrate(self._address)
        self._type.open(self._address)

    def open(self, folder: Path) -> Store:
        if self._folder != folder:
            self._folder = folder
            with self._address.connect_waiting() as connection:
                connection.execute("TRUNCATE deputize_record")
        return self._type(self._address)


@dataclass(eq=False)
class Keys:
    """The root keys, newest first, as all programs read them."""

    now: list[bytes] = field(default_factory=lambda: [secrets.token_bytes(32)])

    name = "the trial"

    def exists(self) -> bool:
        return True

    def read_keys(self) -> list[bytes]:
        return list(self.now)


@dataclass(eq=False)
class Program:
    """One process of a trial. ``start`` makes it; where its fate has struck, the next ``start`` is another process."""

    place: Place
    folder: Path
    stage: Stage
    witness: Witness
    keys: Keys
    losses: list[str]
    fate: Fate = field(default_factory=Fate)
    deputy: Deputy = field(init=False)
    wire: Wire = field(init=False)
    store: Store = field(init=False)

    @property
    def audited(self) -> Path | None:
        """Where the audit lies: beside a vault that outlives its programs."""
        return None if isinstance(self.place, InMemory) else self.folder / "audit"

    async def start(self) -> None:
        """Open the vault and be there."""
        self.fate = Fate()
        self.store = self.place.open(self.folder)
        self.wire = Wire(self.stage.sandbox.transport(), self.fate, self.witness, self.losses)
        vault = await Vault.open(MortalStore(self.store, self.fate), Sealer.from_source(self.keys))
        wire: Callable[[], Wire] = lambda: self.wire  # noqa: E731 - a type for mypy
        self.deputy = await build(
            vault=vault,
            audit=Audit(self.audited, vault.keys.audit, old_keys=vault.keys.old_audit),
            transport=wire,
            toolkits=toolkits(),
            clock=self.stage.clock,
            apps=apps(self.stage.sandbox),
            providers=self.stage.providers,
            requests_per_minute=math.inf,
        )

    def doom(self, at: int, when: str) -> None:
        """Die at the so-manieth step from now on."""
        self.fate.steps.clear()
        self.fate.at, self.fate.when = at, "before" if when == "before" else "after"

    async def restart(self) -> None:
        """This process is no more; another one takes its place, with nothing but what was written."""
        self.fate.dead = True
        self.wire.gone()
        await self._let_go()
        await self.start()

    async def stop(self) -> None:
        """End as a program should."""
        await self.deputy.close()
        await self._let_go()

    async def _let_go(self) -> None:
        """The system closes its files; memory stays with whoever else has it."""
        self.deputy.audit.close()
        if not isinstance(self.store, MemoryStore):
            await self.store.close()


PLACES: Final = ("memory", "sqlite", "postgres")
