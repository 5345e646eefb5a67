"""One schedule: a few jobs, a few faults, an end of all faults, and the verdict."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from deputize.core import Consent, Deputy
from tests.simulation.jobs import Jobs
from tests.simulation.loop import Stuck, simulated
from tests.simulation.oracle import judge
from tests.simulation.providers import ROWS, Wrong
from tests.simulation.stores import MODELS, Model
from tests.simulation.world import USERS, Program, World

HALF_DONE: Final = (
    *4 * ("received grant",),
    "received",
    "received me",
    "intent",
    "intent token",
    "intent grant",
    "outbox",
    "outbox grant",
    "outbox revoke",
    "consent",
    "approval",
    "act",
    "act notes",
)
"""Writes and requests, with the last of which a process may die."""
HEALED: Final = 400.0
"""Seconds until every lease and every pause before another try has ended."""


@dataclass
class Came:
    """What came of a schedule. ``wrong``: what must not happen and did."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)


def play(seed: int, model: Model | None = None, *, log: bool = False) -> Came:
    """Play the schedule of this seed. ``model``: of the store; None draws it."""
    came = Came(seed)
    with simulated(seed) as loop:
        rng = loop.rng
        drawn: Model = rng.choice(MODELS)
        world = World(
            loop,
            model or drawn,
            USERS[: rng.choice((1, 1, 2))],
            tuple(rng.sample(sorted(ROWS), rng.choice((1, 1, 2)))),
            met=came.met,
            log=came.log if log else None,
        )
        schedule = Schedule(world, Jobs(world))
        try:
            loop.run(schedule.play())
        except Stuck:
            world.providers.violated("everything waits, or goes on for ever")
        except Wrong as wrong:
            world.providers.violated(str(wrong))
        came.wrong = world.providers.wrong
        came.met["steps of the loop"] += loop.steps
    return came


@dataclass(eq=False)
class Schedule:
    """See the module."""

    world: World
    jobs: Jobs

    async def play(self) -> None:
        """All of it."""
        world, rng = self.world, self.world.rng
        world.loop.now = rng.choice((10.0, 3570.0, 3700.0, 3700.0))  # valid, soon over, or expired tokens
        await world.begin(rng.choice((2, 2, 2, 3)), rng.choice((1.0, 1.0, 0.8, 0.3)))
        faults = self._faults()
        tasks = [asyncio.ensure_future(self._fault(*fault)) for fault in faults]
        spread = rng.choice((0.0, 0.2, 0.2, 3.0, 60.0))
        work = [self._later(rng.random() * spread, self.jobs.draw) for _ in range(rng.choice((1, 2, 2, 3, 3, 5)))]
        await self._in_time(asyncio.gather(*work))
        if not faults:
            self._one_refresh()
        await self.quiesce(tasks)
        await judge(world, self.jobs)

    def _one_refresh(self) -> None:
        """Without a fault, a token that expired is refreshed once, however many calls need it."""
        for family in self.world.providers.families.values():
            if family.refreshes > 1:
                self.world.providers.violated(f"{family.name} was refreshed {family.refreshes} times without a cause")

    async def _later(self, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds)
        await job()

    async def _in_time(self, work: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(6000.0):
                await work
        except TimeoutError:
            self.world.providers.violated("a job hangs")

    # ------------------------------------------------------------- faults

    def _faults(self) -> list[tuple[str, int]]:
        """Draw what goes wrong: names of faults, and the program that they meet."""
        rng, world = self.world.rng, self.world
        kinds = ["crash", "crash", "crash", "cancel", "weather", "weather", "trouble", "trouble", "down"]
        if world.model == "postgres":
            kinds += ["locks", "locks", "flaky"]
        return [(rng.choice(kinds), rng.randrange(len(world.programs))) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]

    async def _fault(self, kind: str, number: int) -> None:
        world, rng = self.world, self.world.rng
        program = world.programs[number]
        world.met[f"fault: {kind}"] += 1
        if kind == "crash":
            if rng.random() < 0.3:
                program.process.fuse = program.process.steps + int(10 ** rng.uniform(0.0, 2.6)) + 1
            elif rng.random() < 0.4:
                program.process.last_marks = [""] * int(10 ** rng.uniform(0.0, 1.5))
            else:
                program.process.last_marks = rng.choice(HALF_DONE).split()
            await self._restart(program, received="received" in program.process.last_marks)
        elif kind == "cancel":
            world.cancel_at = rng.randint(1, 8)
        elif kind == "weather":
            kind = rng.choice(("cut before", "cut after", "cut after", "slow", "unsent"))
            world.weather[kind] = rng.choice((0.1, 0.3))
        elif kind == "trouble":
            trouble = self._trouble()
            await asyncio.sleep(rng.random() * 0.3)
            world.providers.trouble.add(trouble)
            await asyncio.sleep(rng.choice((0.2, 3.0, 100.0)))
            world.providers.trouble.discard(trouble)
        elif kind == "down":
            await asyncio.sleep(rng.random() * 0.5)
            world.disk.down |= {rng.choice([one.process.name for one in world.programs])}
            await asyncio.sleep(rng.choice((0.1, 2.0, 30.0)))
            world.disk.down.clear()
        elif kind == "flaky":
            world.disk.flaky = rng.choice((0.05, 0.3))
        elif kind == "locks":
            await asyncio.sleep(rng.random() ** 2)
            for _ in range(50):  # most often there is none to lose
                if any(lock.holder is program.process for lock in world.disk.locks.values()):
                    break
                await asyncio.sleep(0.02)
            await asyncio.sleep(rng.random() * 0.1)
            world.say(f"the session of {program.process.name} was cut")
            world.disk.drop_locks(program.process)

    def _trouble(self) -> tuple[str, str]:
        """Draw what fails at a provider."""
        rng = self.world.rng
        return rng.choice(self.world.names), rng.choice(("token", "revoke", "me", "me", "api", "401"))

    async def _restart(self, program: Program, *, received: bool) -> None:
        """Start the program again some time after it has died. Its providers may fail from then on.

        ``received``: it has received tokens, so that another program may ask whose they are.
        """
        died = asyncio.Event()
        program.process.on_death.append(died.set)
        await died.wait()
        if self.world.rng.random() < 0.4:
            some = {(name, "me") for name in self.world.names} if received else {self._trouble()}
            self.world.providers.trouble |= some
        await asyncio.sleep(self.world.rng.choice((0.01, 0.5, 5.0, 100.0)))
        self.world.programs[program.number] = await self.world.start(program.number)

    # ------------------------------------------------------------- the end of all faults

    async def quiesce(self, faults: list[asyncio.Task[None]]) -> None:
        """End all faults, restart what is dead, and let all upkeep run until nothing is left to do."""
        world, rng = self.world, self.world.rng
        for fault in faults:
            fault.cancel()
        world.weather.clear()
        world.providers.trouble.clear()
        world.disk.down.clear()
        world.disk.flaky, world.cancel_at = 0.0, 0
        crash = rng.random() < 0.3
        for program in list(world.programs):
            program.process.fuse, program.process.last_marks = 0, []
            if program.process.dead or crash:
                await world.restart(program)
        for _ in range(2):
            await asyncio.sleep(HEALED)
            await world.tried(self.jobs.keep_up(world.some()))
            for _, consent in self.jobs.consents:
                await world.tried(world.call(world.some(), partial(_get_consent, consent)))
            if not world.has_work_left():
                return


async def _get_consent(consent: Consent, deputy: Deputy) -> Consent | None:
    return await deputy.get_consent(consent)
