"""The programs of a schedule, the vault that they share, and what happens around them."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import hashlib
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from deputize.core import Account, DeputizeError, Deputy, Secret, User
from deputize.core.audit import Audit, Fact, Row
from deputize.core.audit.events import Event
from deputize.core.audit.pseudonyms import pseudonymize
from deputize.core.grants.token_families import TokenFamily, families
from deputize.core.providers.origin import origin_of
from deputize.core.vault.grant import Grant
from deputize.core.vault.seal import Sealer
from deputize.core.vault.vault import Vault
from deputize.core.vault.vault_keys import VaultKeys
from tests.simulation.loop import EPOCH, LANE, Process, SimulatedLoop, simulated
from tests.simulation.providers import APPS, LIFETIME, ROWS, SCOPES, TOOLKITS, Line, Providers
from tests.simulation.stores import Disk, Model, SimulatedStore

T = TypeVar("T")
PAGES: Final = "http://127.0.0.1:8736"
USERS: Final = ("alice", "bob")
ROOT_KEY: Final = bytes(range(32))


class CutOff(Exception):
    """A call did not end: its process died, or its caller was cancelled."""


def email_of(user: str, number: int = 0) -> str:
    """The first or second account of a user."""
    return f"{user}{number or ''}@example.test"


@functools.cache
def _template() -> tuple[dict[str, bytes], Sealer, VaultKeys]:
    """The records of a vault in which every user has connected every provider."""
    with simulated(0) as loop:
        disk, sealer = Disk(loop, "sqlite", {}), Sealer([ROOT_KEY])

        async def connected() -> VaultKeys:
            vault = await Vault.open(SimulatedStore(disk, Process("template")), sealer)
            for user in USERS:
                for app in APPS:
                    await vault.add(_initial_grant(user, app.name))
            return vault.keys

        return disk.records, sealer, loop.run(connected())


def _initial_grant(user: str, provider: str) -> Grant:
    app = next(one for one in APPS if one.name == provider)
    return Grant(
        user=User(user),
        provider=provider,
        app=provider,
        account=Account(f"id-of-{email_of(user)}", email_of(user)),
        scopes=frozenset(SCOPES),
        access_token=Secret(f"at-{provider}-{user}"),
        refresh_token=Secret(f"rt-{provider}-{user}"),
        expires_at=EPOCH + LIFETIME,
        obtained_at=EPOCH,
        origin=origin_of(ROWS[provider], app),
        family=hashlib.sha256(f"{provider} {user}".encode()).hexdigest()[:32],
    )


@dataclass(eq=False)
class RootKeys:
    """The key source of all programs: newest first."""

    now: list[bytes] = field(default_factory=lambda: [ROOT_KEY])
    name = "the simulation"

    def exists(self) -> bool:
        return True

    def read_keys(self) -> list[bytes]:
        return list(self.now)


@dataclass(eq=False)
class Program:
    """One program: a new process whenever it is started again."""

    number: int
    process: Process
    deputy: Deputy
    line: Line
    store: SimulatedStore


@dataclass(eq=False)
class World:
    """One schedule's programs, store, providers and clock. ``met``: how often each thing happened."""

    loop: SimulatedLoop
    model: Model
    users: tuple[str, ...]
    names: tuple[str, ...]
    weather: dict[str, float] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    cancel_at: int = 0
    """The number of the call whose caller is cancelled, 0 for none."""
    programs: list[Program] = field(default_factory=list)
    log: list[str] | None = None
    rows: list[Row] = field(default_factory=list)
    audits: list[_Rows] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    _calls: int = 0
    _lives: int = 0

    def __post_init__(self) -> None:
        records, sealer, self.keys = _template()
        self.sealer, self.root_keys = copy.copy(sealer), RootKeys()
        self.sealer.source = self.root_keys
        self.rng = self.loop.rng
        self.disk = Disk(self.loop, self.model, dict(records))
        self.providers = Providers(self.loop, ends_all=self.rng.choice((("birch",), ("birch", "cedar"))))
        self.vault = Vault(_Oracle(self.disk), self.sealer, self.keys)  # type: ignore[arg-type]
        self.disk.committed = self._written
        if self.log is not None:
            self.disk.trace = self.providers.trace = self.say

    def say(self, what: str) -> None:
        """Write a line of the log."""
        if self.log is not None:
            self.log.append(f"{self.loop.now - self.began:9.3f} {what}")

    @property
    def began(self) -> float:
        return self._began

    # ------------------------------------------------------------- beginning

    async def begin(self, programs: int, connected: float) -> None:
        """Start the programs. ``connected``: the probability that a user has connected a provider before."""
        self._began = self.loop.now
        for user in USERS:
            for name in ROWS:
                if user in self.users and name in self.names and self.rng.random() < connected:
                    self._connected(user, name)
                else:
                    del self.disk.records[f"grant/{self.vault.record_key(_initial_grant(user, name))}"]
        for number in range(programs):
            self.programs.append(await self.start(number))

    def _connected(self, user: str, name: str) -> None:
        family = self.providers.family(user, name, email_of(user), "initial", requested=0, asked=0)
        family.redeemed, family.access = True, {f"at-{name}-{user}": LIFETIME}
        family.refresh = f"rt-{name}-{user}"
        self.providers._know(f"at-{name}-{user}", family)
        self.providers._know(family.refresh, family)

    async def start(self, number: int) -> Program:
        """Start a program as a new process."""
        self._lives += 1
        process = Process(f"P{number}.{self._lives}")
        store = SimulatedStore(self.disk, process)
        line = Line(self.providers, process, self.weather)
        vault = Vault(store, self.sealer, self.keys)
        clock = lambda: EPOCH + self.loop.now  # noqa: E731
        deputy = Deputy(
            vault,
            APPS,
            pages=PAGES,
            audit=_Rows.of(self, process, clock),
            providers=ROWS,
            toolkits=TOOLKITS,
            transport=line,
            clock=clock,
            requests_per_minute=math.inf,
        )
        deputy.audit._handing = _Handing(deputy.audit)  # type: ignore[assignment]
        vault.ended._clock = deputy.audit.names._clock = self.loop.time  # type: ignore[union-attr]
        process.on_death.append(lambda: self._died(process))
        return Program(number, process, deputy, line, store)

    def _died(self, process: Process) -> None:
        self.met["processes that died"] += 1
        self.say(f"{process.name} died")

    def _written(self, where: str, value: bytes) -> None:
        """See whether a record that was written has tokens that a process received."""
        kind, _, key = where.partition("/")
        if self.providers.unstored and kind in ("received", "grant", "outbox"):
            self.providers.stored(self.vault.unsealed(kind, key, value)[1].reveal())

    def known_families(self) -> list[TokenFamily]:
        """The token families that the vault knows now."""
        return _finished(families(self.vault))

    def has_met_faults(self) -> bool:
        """Whether anything went wrong in the jobs of this schedule."""
        return any(name.startswith("fault") for name in self.met)

    def has_work_left(self) -> bool:
        """Whether the store has records that upkeep may still remove."""
        return any(where.startswith(("received/", "outbox/", "intent/")) for where in self.disk.records)

    def use_new_root_key(self) -> list[bytes]:
        """Put a new root key first, and return all."""
        self.root_keys.now.insert(0, self.rng.randbytes(32))
        self.vault.rekey(self.root_keys.now)
        return self.root_keys.read_keys()

    # ------------------------------------------------------------- calls

    def some(self) -> Program:
        """Any program."""
        return self.programs[self.rng.randrange(len(self.programs))]

    async def call(self, program: Program, work: Callable[[Deputy], Coroutine[Any, Any, T]]) -> T:
        """Run the work in a program's process. Raises `CutOff` if that dies first."""
        process = program.process
        if process.dead:
            raise CutOff
        self._calls += 1
        context = contextvars.copy_context()
        context.run(LANE.set, process.main)
        task = self.loop.create_task(work(program.deputy), context=context)
        if self._calls == self.cancel_at:
            self.loop.after(self.rng.random() ** 3 * 2.0, task.cancel)
        ended: asyncio.Future[None] = self.loop.create_future()
        task.add_done_callback(lambda _: _set(ended))
        process.on_death.append(lambda: _set(ended))
        await ended
        if not task.done() or task.cancelled():
            raise CutOff
        return task.result()  # type: ignore[no-any-return]

    async def restart(self, program: Program) -> None:
        """Replace a process by a new one."""
        program.process.die()
        self.programs[program.number] = await self.start(program.number)

    async def tried(self, work: Awaitable[T]) -> T | None:
        """Await it. Errors that deputize documents are counted, others are wrong."""
        try:
            return await work
        except CutOff:
            self.met["calls that were cut off"] += 1
        except DeputizeError as error:
            self.met[type(error).__name__] += 1
            self.say(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.providers.violated(f"{type(error).__name__}: {error}")
        return None


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Run work that never waits."""
    try:
        while True:
            work.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]


class _Rows(Audit):
    """An audit whose rows the world keeps. Those that its process had not handed over when it died are lost."""

    world: World
    process: Process
    waiting: list[Row]

    @classmethod
    def of(cls, world: World, process: Process, clock: Callable[[], float]) -> _Rows:
        audit = cls(None, world.keys.audit, clock=clock)
        audit.world, audit.process, audit.waiting = world, process, []
        world.audits.append(audit)
        return audit

    def _write(self, event: Event, facts: dict[str, Fact]) -> None:
        for listener in self.listeners:
            listener(event)
        facts = {name: value for name, value in pseudonymize(facts, None, self.digest).items() if value or value == 0}
        place: Row = {"ts": int(self._clock() * 1e9), "writer": self.process.name, "seq": next(self.world.numbers)}
        self.waiting.append(place | {"event": event.event} | facts)

    def hand_over(self) -> None:
        """Keep the rows that were written up to now."""
        self.world.rows += [] if self.process.dead else self.waiting
        self.waiting.clear()


@dataclass(eq=False)
class _Handing:
    """`deputize.core.batching_thread.AnsweringThread` of an audit, without a thread."""

    audit: Audit

    async def ask(self, question: None) -> None:
        await asyncio.sleep(0)
        self.audit.hand_over()

    def end(self) -> None:
        """Nothing waits."""


@dataclass(eq=False)
class _Oracle:
    """The disk as the oracle reads it: at once."""

    disk: Disk
    local_reads = in_order = True
    backup = None

    async def get(self, kind: str, key: str) -> bytes | None:
        return self.disk.records.get(f"{kind}/{key}")

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        return self.disk.scan(kind, prefix, after, most)
