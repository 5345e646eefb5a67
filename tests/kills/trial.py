"""One trial: a provider, a vault, several processes, one of them killed; then the recovery by the next process."""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import random
import re
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from deputize.core import DeputizeError, StoreUnavailable
from deputize.core.audit import verify
from deputize.core.vault.grant import Grant
from deputize.core.vault.record import KINDS
from deputize.core.vault.rollback import all_grants
from deputize.core.vault.rotation import key_uses, reseal
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.kills.killed_process import UPKEEP, USERS, Place, Work, carry_out, leave, run
from tests.support.token_families import alive, unknown

FORK: Final = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.kills.killed_process", "tests.support.fork_preload"])

BEFORE: Final = {
    "connect": (),
    "step-up": ("connect",),
    "wrong account": ("connect",),
    "switch": ("connect",),
    "refresh": ("connect",),
    "disconnect": ("connect", "step-up"),
    "leaked": ("connect", "step-up"),
    "act": ("connect",),
    "key change": ("connect", "step-up"),
    "copy": ("connect", "step-up"),
}
"""The work to be killed, and what has happened before it."""
ISSUED: Final = re.compile(r"POST \S+/(?:token|access_token)$")
"""A process killed in or after this step had a reply that it could not write, or was about to get it."""
PATIENCE: Final = 60.0
APIS: Final = (("GET", "gmail.googleapis.com/"), ("POST", "gmail.googleapis.com/"))
WHOSE: Final = (
    *(("GET", "openidconnect.googleapis.com/"), ("POST", "api.linear.app/graphql")),
    ("GET", "api.github.com/user"),
)
"""The requests for the owner of a token, by provider."""
FAULTS: Final = ("401", "userinfo", "cut")
"""Failures beside a kill: the API refuses valid tokens; user info is unavailable; connections are cut, to the database
if there is one, and during a write whose reply is lost."""
Ended: TypeAlias = tuple[int, list[str]]
"""How many steps a process took, and the names of its errors."""


@dataclass
class Seen:
    """What came of one trial, or of many. ``left_over``: older keys that are still needed, or records not copied;
    ``audit``: audits that do not verify; ``in_flight``: families alive whose tokens no process could write down;
    ``revoked``: grants whose family we have ended, by revoking it or by sending a token twice, though nobody had
    disconnected them; ``disturbed``: trials with faults."""

    trials: int = 0
    killed: int = 0
    writes_twice: int = 0
    wrong_user: int = 0
    shut: int = 0
    unknown: int = 0
    in_flight: int = 0
    outlived: int = 0
    revoked: int = 0
    disturbed: int = 0
    starts_disturbed: int = 0
    left_over: int = 0
    audit: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    wrong_losses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        """Add these results."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def clean(self) -> bool:
        """Return True if nothing forbidden happened."""
        never = (self.writes_twice, self.wrong_user, self.shut, self.unknown, self.outlived, self.starts_disturbed)
        return not any((*never, self.revoked, self.left_over, self.audit)) and not self.wrong_losses


@dataclass(frozen=True)
class Plan:
    """One trial: this work is killed at its step. ``rival``: another process acts at the same time; ``rotation``: the
    root keys change meanwhile. ``faults``: those of `FAULTS` that happen until the next program has passed by once, as
    ``seed`` has it. ``server``: address of the Postgres where the vault lies, "" for a file."""

    work: Work
    rival: bool = False
    rotation: bool = False
    faults: tuple[str, ...] = ()
    seed: int = 0
    server: str = field(default="", repr=False)


async def played(plan: Plan) -> Seen:
    """Run a trial; return its result."""
    sandbox = Sandbox()
    switches = sandbox.switches
    switches.rotate = switches.reuse_kills_family = True
    async with serve(sandbox.app) as base:
        with tempfile.TemporaryDirectory() as made:
            database = await asyncio.to_thread(make_database, plan.server)
            return await _Trial(plan, sandbox, Place(Path(made), base, database)).play()


def make_database(server: str) -> str:
    """Return the address of a database made for one trial, beside another to copy to; "" without a server."""
    if not server:
        return ""
    name = f"/t{secrets.token_hex(6)}?"
    for made in (server.replace("/postgres?", name), server.replace("/postgres?", f"{name[:-1]}_copy?")):
        with Address.of(server).connect_waiting() as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {made.partition('?')[0].rpartition('/')[2]}".encode())
        migrate(Address.of(made))
    return server.replace("/postgres?", name)


def _hang_up(database: str) -> None:
    """Cut all sessions of programs there."""
    with Address.of(database).connect_waiting() as connection:
        connection.autocommit = True
        connection.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            b" WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def length(name: str, provider: str) -> int:
    """Return how many steps this work takes without a kill."""
    sandbox = Sandbox()
    sandbox.switches.rotate = sandbox.switches.reuse_kills_family = True
    async with serve(sandbox.app) as base:
        with tempfile.TemporaryDirectory() as made:
            trial = _Trial(Plan(Work(name, provider)), sandbox, Place(Path(made), base))
            await trial.prepare()
            trial.before()
            taken = await trial.process(trial.plan.work)
            assert taken and not taken[1], f"{name} at {provider}: {taken}"
            return taken[0]


@dataclass
class _Trial:
    plan: Plan
    sandbox: Sandbox
    place: Place
    seen: Seen = field(default_factory=Seen)

    async def play(self) -> Seen:
        await self.prepare()
        self.before()
        works = [self.plan.work, *self._rivals()]
        chance = random.Random(self.plan.seed)  # noqa: S311 - no secret
        if chance.random() < 0.5:  # else all goes well until it is killed
            self._break_apis(chance)
        async with self._cutting(chance):
            ended = await asyncio.gather(*(self.process(work) for work in works), self._rotated())
            if self.plan.faults:
                self._break_apis(chance)
                ended = [*ended[:-1], await self.process(Work("take up")), None]
        self._mend()
        killed = ended[0] is None
        done, under_way = json.loads(self.place.trace.read_text()) if killed else ("", [])
        if self.plan.work.name == "copy":
            self.seen.left_over = await self._missing()
        self._count_errors([*ended[1:-1], await self.process(Work("take up"))])
        if self.plan.work.name == "key change":
            self.seen.left_over = await self._old_keys()
        self.seen.trials, self.seen.killed, self.seen.disturbed = 1, killed, bool(self.plan.faults)
        await self._judge(any(map(ISSUED.search, (done, *under_way))), done)  # the audit's thread may end it meanwhile
        return self.seen

    async def prepare(self) -> None:
        """Connect both users to mail, and Alice to what the work needs."""
        self.place.key_file.touch(mode=0o600)
        self.place.key_file.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        deputy, work = await self.place.deputy(), self.plan.work
        try:
            for user in USERS:
                if (user, work.name, work.provider) != ("alice", "connect", "google"):
                    await carry_out(deputy, Work("connect", "google", user))
            for name in BEFORE[work.name]:
                await carry_out(deputy, Work(name, work.provider))
        finally:
            await leave(deputy)
        if work.name in ("refresh", "act"):
            self.sandbox.expire_access_tokens()

    def before(self) -> None:
        """Do what an operator does before the work."""
        if self.plan.work.name == "key change":
            self.place.renew_keys()

    def _break_apis(self, chance: random.Random) -> None:
        """Let some requests fail from now on."""
        switches = self.sandbox.switches
        for fault, places, statuses in (("401", APIS, (401,)), ("userinfo", WHOSE, (401, 403, 500, 503))):
            if fault in self.plan.faults:
                for place in places:
                    for _ in range(chance.randint(1, 5)):
                        switches.faults.setdefault(place, []).append((chance.choice(statuses), {}, {}))
        if "cut" in self.plan.faults:
            switches.drop_after_commit.append("gmail.googleapis.com/")

    @asynccontextmanager
    async def _cutting(self, chance: random.Random) -> AsyncIterator[None]:
        """Cut the sessions of the trial's database now and then, meanwhile."""
        if "cut" not in self.plan.faults or not self.place.database or self.plan.work.name in UPKEEP:
            yield
            return
        cutting = asyncio.create_task(self._cut(random.Random(chance.random())))  # noqa: S311 - no secret
        try:
            yield
        finally:
            cutting.cancel()
            await asyncio.wait((cutting,))

    async def _cut(self, chance: random.Random) -> None:
        for _ in range(chance.randint(2, 6)):
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            await asyncio.to_thread(_hang_up, self.place.database)

    def _mend(self) -> None:
        """Stop all failures."""
        self.sandbox.switches.faults.clear()
        self.sandbox.switches.drop_after_commit.clear()

    def _rivals(self) -> Sequence[Work]:
        """Return the concurrent work: the same mail and the same need of Alice's, and Bob's mail."""
        if not self.plan.rival or self.plan.work.name == "copy":  # for which nobody may write
            return ()
        same = replace(self.plan.work, at=0) if self.plan.work.name in ("connect", "step-up", "refresh") else None
        return [Work("act", "google"), Work("act", "google", "bob"), *([same] if same else [])]

    async def _rotated(self) -> None:
        """Rotate the root keys as ``deputize key rotate`` does."""
        if not self.plan.rotation or self.plan.work.name in UPKEEP:
            return
        self.place.renew_keys()
        for left in reversed(range(20)):
            try:
                await self._reseal()
                return
            except StoreUnavailable:  # an operator whose session was cut gives the command again
                if "cut" not in self.plan.faults or not left:
                    raise
                await asyncio.sleep(0.2)

    async def _reseal(self) -> None:
        vault = await self.place.vault()
        try:
            await reseal(vault)
        finally:
            await vault.close()

    async def process(self, work: Work) -> Ended | None:
        """Do this in its own process; return None if it was killed."""
        return await asyncio.to_thread(self._process, work)

    def _process(self, work: Work) -> Ended | None:
        ours, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=run, args=(self.place, work, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(PATIENCE):
                raise TimeoutError(f"{work} hung")
            answer: Ended = ours.recv()
            return answer
        except EOFError:
            assert work.at, f"{work} died by itself"
            return None
        finally:
            process.join()
            ours.close()

    def _count_errors(self, ended: Sequence[Ended | None]) -> None:
        for error in [error for one in ended if one for error in one[1]]:
            self.seen.errors[error] += 1
            self.seen.starts_disturbed += error.startswith("start:") and "cut" not in self.plan.faults

    async def _missing(self) -> int:
        """Return how many records differ between the vault and its copy, after the copy was restarted."""
        await self.process(Work("copy"))
        stores = [await asyncio.to_thread(self.place.store, url) for url in (self.place.url, self.place.copy_url)]
        here, there = [{(k, *row) for k in KINDS for row in await store.scan(k)} for store in stores]
        for store in stores:
            await store.close()
        return len(here ^ there)

    async def _old_keys(self) -> int:
        """Return how many older root keys are still needed, after the rotation was restarted if no process could
        continue it. No process has them any more after that."""
        if len(await self._key_uses()) > 1:
            await self.process(Work("key change"))
        uses = await self._key_uses()
        self.place.key_file.write_text(self.place.key_file.read_text().split()[0])
        return len(uses) - 1

    async def _key_uses(self) -> Collection[str]:
        vault = await self.place.vault()
        uses = await key_uses(vault)
        await vault.close()
        return uses

    async def _judge(self, in_flight: bool, done: str) -> None:
        """Judge the state of the provider and the vault."""
        for user in USERS:
            subjects = [mail.subject for mail in self.sandbox.sent(f"{user}@example.test")]
            self.seen.writes_twice += subjects.count(f"From {user}") > 1
            self.seen.wrong_user += any(subject != f"From {user}" for subject in subjects)
        vault = await self.place.vault()
        for kind in KINDS:
            self.seen.shut += (await vault.scan_openable(kind))[1]
        here = alive(self.sandbox, time.time)
        async for grant in all_grants(vault):
            ended = grant.status == "active" and self._family(grant) not in here
            if ended or grant.reason == "invalid_grant":  # the provider ends none of itself
                self.seen.revoked += 1
                self.seen.notes.append(f"{self.plan}, killed after {done!r}: {grant!r} has no family that is alive")
            if grant.status == "needs_reauth":
                right = grant.reason == "lost_rotation" and in_flight
                (self.seen.losses if right else self.seen.wrong_losses)[grant.reason] += 1
        lost = await unknown(vault, self.sandbox, time.time)
        report = verify(self.place.folder / "audit", [vault.keys.audit, *vault.keys.old_audit])
        self.seen.audit = not report.ok or bool(report.unproven)
        self.seen.notes += [f"{self.plan}, killed after {done!r}: {one}" for one in (*report.findings, *report.misuses)]
        await vault.close()
        await self._end_all()
        left = alive(self.sandbox, time.time)
        if in_flight:
            self.seen.in_flight += bool(lost | left)
            return
        self.seen.unknown, self.seen.outlived = len(lost), len(left)
        if lost or left:
            self.seen.notes.append(f"{self.plan}, killed after {done!r}: {len(lost)} unknown, {len(left)} outlived")

    def _family(self, grant: Grant) -> str:
        """Return its family at the provider; "" if the provider knows none of its tokens."""
        authority = self.sandbox._world.authority
        found = (authority.find(token.reveal()) for token in (grant.refresh_token, grant.access_token) if token)
        return next((token.family for token in found if token), "")

    async def _end_all(self) -> None:
        """Disconnect all users; return what is still alive."""
        deputy = await self.place.deputy()
        try:
            await deputy.revoke_all()
            await deputy.revoker.retry()
        except DeputizeError as error:
            self.seen.errors[f"end: {error.code}"] += 1
        finally:
            await leave(deputy)
