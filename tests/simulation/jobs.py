"""What users, their frameworks and operators do in a schedule. Each step may run in another program."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from deputize.core import ApprovalRequired, Call, ConsentRequired, DeputizeError, Deputy, ReconsentRequired, User
from deputize.core.approvals.service import Decision
from deputize.core.consent.consents import DeviceCode
from deputize.core.user_requests import Consent
from deputize.core.vault.rotation import reseal
from tests.simulation.loop import EPOCH
from tests.simulation.providers import ACTING, LIFETIME, PAL, SCOPES, Acting, Disconnect, Family
from tests.simulation.world import CutOff, Program, World, email_of

REPEATS: Final = 3


@dataclass(eq=False)
class Note:
    """A post that a user wants. ``calls``: how many calls want it; ``approvals``: how many the user gave; ``done``: the
    calls that returned a result."""

    text: str
    calls: int = 1
    approvals: int = 0
    done: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Given:
    """A mandate that a user gave, or may have given. ``ended``: when its end had returned."""

    user: str
    acts: int
    ended: int = 0


@dataclass(eq=False)
class Jobs:
    """All jobs of a schedule, and what the oracle has to know about them."""

    world: World
    notes: list[Note] = field(default_factory=list)
    mandates: list[Given] = field(default_factory=list)
    consents: list[tuple[Family | None, Consent]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng, self.providers = self.world.rng, self.world.providers

    def draw(self) -> Awaitable[None]:
        """Any job of any user, anywhere."""
        user, provider = self.rng.choice(self.world.users), self.rng.choice(self.world.names)
        drawn = self.rng.random()
        for probability, job in (
            (0.25, self.read),
            (0.15, self.post),
            (0.25, self.connect),
            (0.16, self.disconnect),
            (0.08, self.upkeep),
            (0.05, self.spend_mandate),
            (0.03, self.change_key),
        ):
            drawn -= probability
            if drawn < 0:
                self.world.met[job.__name__] += 1
                return job(user, provider)
        self.world.met["disconnect everybody"] += 1
        return self.disconnect("", "")

    @contextmanager
    def _acting(self, user: str, provider: str) -> Iterator[Acting]:
        acting = Acting(user, provider, self.providers.tick(), self.world.loop.now)
        token = ACTING.set(acting)
        try:
            yield acting
        finally:
            ACTING.reset(token)

    # ------------------------------------------------------------- acts

    async def read(self, user: str, provider: str) -> None:
        """Read, a few times at once."""
        number, account = self.rng.choice((1, 1, 1, 2, 3)), self.rng.choice((None, None, None, email_of(user, 1)))
        await asyncio.gather(*(self.world.tried(self.read_once(user, provider, account)) for _ in range(number)))

    async def read_once(self, user: str, provider: str, account: str | None = None) -> Any:
        """Read once, as any account or as a named one. Raises what the act raises."""
        with self._acting(user, provider):
            try:
                found = await self.world.call(
                    self.world.some(),
                    lambda deputy: deputy.act(f"{provider}_read", {}, user=user, account=account),
                )
                if account and found["who"] != account:
                    self.providers.violated(f"{user} asked for {account} at {provider} and got {found['who']}")
                return found
            except (ReconsentRequired, ConsentRequired) as error:
                if account is None:
                    self._judge_loss(user, provider, error)
                raise

    def _judge_loss(self, user: str, provider: str, error: DeputizeError) -> None:
        """A user is asked to connect again: only if something was ordered, lost or asked for there."""
        group = [f for f in self.providers.families.values() if (f.user, f.provider) == (user, provider)]
        ordered = any(d.user in ("", user) and d.provider in ("", provider) for d in self.providers.disconnects)
        if len(group) == 1 and group[0].alive and group[0].consent == "initial" and not group[0].lost and not ordered:
            self.providers.violated(f"{user} has to connect {provider} again, and {group[0].name} is alive: {error}")

    async def post(self, user: str, provider: str) -> None:
        """Post a note, with an approval. Frameworks repeat the call, at once or after a while, in any program."""
        note = Note(f"note {len(self.notes)} of {user}", calls=1 + (self.rng.random() < 0.25))
        self.notes.append(note)
        calls = [f"{note.text} a", f"{note.text} b"][: note.calls]
        with self._acting(user, provider):
            for call in calls:
                await self.world.tried(self._ask(note, user, provider, call, decide=call == calls[0]))
            repeats = [self.rng.choice(calls) for _ in range(self.rng.randint(1, REPEATS))]
            await asyncio.gather(*(self.world.tried(self._act(note, user, provider, call)) for call in repeats))
            if self.rng.random() < 0.5:
                await asyncio.sleep(self.rng.choice((0.5, 20.0)))
                await self.world.tried(self._act(note, user, provider, calls[0]))

    async def _act(self, note: Note, user: str, provider: str, call: str) -> None:
        where = Call("thread", "message", call)
        work = {"text": note.text}
        try:
            await self.world.call(
                self.world.some(), lambda deputy: deputy.act(f"{provider}_post", work, user=user, call=where)
            )
        except (ReconsentRequired, ConsentRequired) as error:
            self._judge_loss(user, provider, error)
            raise
        note.done.add(call)

    async def _ask(self, note: Note, user: str, provider: str, call: str, *, decide: bool) -> None:
        try:
            await self._act(note, user, provider, call)
        except ApprovalRequired as error:
            approval = error.approval.id
            if not decide:
                return
            if self.rng.random() < 0.05:
                await self._refused(lambda deputy: deputy.decide(approval, "approve", by="mallory"))
            decision: Decision = "approve" if self.rng.random() < 0.85 else "reject"
            note.approvals += decision == "approve"
            twice = 1 + (self.rng.random() < 0.2)
            deciding = (
                self.world.call(self.world.some(), lambda deputy: deputy.decide(approval, decision, by=user))
                for _ in range(twice)
            )
            await asyncio.gather(*(self.world.tried(one) for one in deciding))

    async def spend_mandate(self, user: str, provider: str) -> None:
        """Give a mandate for one or two posts, try more of them at once, and end it."""
        given = Given(user, self.rng.choice((1, 2)))
        self.mandates.append(given)
        tools, acts = [f"{provider}_post"], given.acts
        until = EPOCH + self.world.loop.now + LIFETIME
        with self._acting(user, provider):
            mandate = await self.world.tried(
                self.world.call(
                    self.world.some(),
                    lambda deputy: deputy.create_mandate(
                        user, tools=tools, targets=[PAL], max_acts=acts, expires_at=until
                    ),
                )
            )
        await asyncio.gather(*(self._spend(user, provider) for _ in range(3)))
        if mandate and self.rng.random() < 0.5:
            ended = self.world.call(self.world.some(), lambda deputy: deputy.revoke_mandate(user, mandate))
            if await self.world.tried(_true(ended)):
                given.ended = self.providers.tick()
            await self._spend(user, provider)

    async def _spend(self, user: str, provider: str) -> None:
        note = Note(f"note {len(self.notes)} of {user}")
        self.notes.append(note)
        with self._acting(user, provider):
            for _ in range(self.rng.choice((1, 2))):
                await self.world.tried(self._act(note, user, provider, note.text))

    # ------------------------------------------------------------- consents

    async def connect(self, user: str, provider: str) -> None:
        """Connect an account; the browser may come back twice, and to any program."""
        how, email = self.rng.choice(("", "add", "switch")), email_of(user, self.rng.choice((0, 0, 1)))
        with self._acting(user, provider) as acting:
            asked = await self.world.tried(
                self.world.call(
                    self.world.some(),
                    lambda deputy: deputy.connect(
                        user,
                        provider,
                        scopes=SCOPES[: self.rng.choice((1, 2, 2))],
                        add_account=how == "add",
                        switch_account=how == "switch",
                    ),
                )
            )
            now = self.providers.tick()
            for one in asked or ():
                walk = self._enter_code if self.rng.random() < 0.15 else self._walk
                others = (self.disconnect, self.read, None, None, None)
                beside = [self._soon(job, user, provider) for job in [self.rng.choice(others)] if job]
                await asyncio.gather(walk(user, provider, one, email, acting.began, now), *beside)

    async def _enter_code(self, user: str, provider: str, asked: Consent, email: str, requested: int, now: int) -> None:
        """Connect with a code that the user enters on another device, while the program asks for it."""
        shown, who = list[DeviceCode](), User(user)
        family = self.providers.family(user, provider, email, asked.id, requested=requested, asked=now)
        self.consents.append((family, asked))
        polling = asyncio.ensure_future(
            self.world.tried(
                self.world.call(
                    self.world.some(),
                    lambda deputy: deputy.consents.connect_by_device_code(asked.id, who, shown.append, asyncio.sleep),
                )
            )
        )
        await asyncio.sleep(self.rng.choice((1.0, 6.0, 20.0)))
        if shown:
            self.providers.enter(shown[0].code, family)
        await polling

    async def _walk(self, user: str, provider: str, asked: Consent, email: str, requested: int, now: int) -> None:
        place = len(self.consents)
        self.consents.append((None, asked))
        ticket, who = asked.link.rpartition("/")[2], User(user)
        if self.rng.random() < 0.05:
            await self._refused(lambda deputy: deputy.consents.start(ticket, User("mallory")))
        started = await self.world.tried(
            self.world.call(self.world.some(), lambda deputy: deputy.consents.start(ticket, who))
        )
        if started is None:
            return
        await asyncio.sleep(self.rng.choice((0.0, 0.05, 2.0)))
        back = {"state": parse_qs(urlsplit(started.url).query)["state"][0]}
        if self.rng.random() < 0.1:
            back["error"] = "access_denied"
        else:
            family = self.providers.family(user, provider, email, asked.id, requested=requested, asked=now)
            self.consents[place] = family, asked
            back["code"] = self.providers.authorize(family)
        nonce = started.nonce.reveal()

        async def come_back() -> None:
            for _ in range(2):  # a browser loads the page again if the program died
                try:
                    await self.world.call(
                        self.world.some(), lambda deputy: deputy.consents.finish(provider, back, who, nonce)
                    )
                except CutOff:
                    await asyncio.sleep(0.5)
                else:
                    return

        times = 1 + (self.rng.random() < 0.3)
        await asyncio.gather(*(self.world.tried(come_back()) for _ in range(times)))

    async def _refused(self, work: Callable[[Deputy], Coroutine[Any, Any, object]]) -> None:
        """Somebody else tries what only the user may do."""
        if await self.world.tried(_true(self.world.call(self.world.some(), work))):
            self.providers.violated("mallory could answer for somebody else")

    # ------------------------------------------------------------- ends, and upkeep

    async def disconnect(self, user: str, provider: str) -> None:
        """Disconnect a user from a provider, or everybody from everything."""
        order = Disconnect(user, provider, self.providers.tick())
        self.providers.disconnects.append(order)
        program = self.world.some()
        with self._acting(user, provider):
            done = await self.world.tried(self._returned(order, program, user, provider))
        if done is not None:
            order.ended, order.at = self.providers.tick(), self.world.loop.now

    async def _returned(self, order: Disconnect, program: Program, user: str, provider: str) -> object:
        try:
            return await self.world.call(
                program, lambda deputy: deputy.revoke(user, provider) if user else deputy.revoke_all()
            )
        except CutOff:
            if program.process.dead:
                await asyncio.sleep(0.01)  # what the process had sent to the store is written by then
                order.cut = self.providers.tick()
            raise
        except DeputizeError:
            order.cut = self.providers.tick()
            raise

    async def _soon(self, job: Callable[[str, str], Awaitable[None]], user: str, provider: str) -> None:
        """Do this while a consent is under way, most often when its tokens are about to become a grant."""
        if self.rng.random() < 0.7:
            with suppress(TimeoutError):
                async with asyncio.timeout(10.0):
                    await self.providers.whose_asked.setdefault(provider, asyncio.Event()).wait()
        await asyncio.sleep(self.rng.random() * self.rng.choice((0.1, 0.3, 1.0)))
        await job(user, provider)

    async def upkeep(self, user: str, provider: str) -> None:
        """Do what a program does in the background."""
        with self._acting("", ""):
            await self.world.tried(self.keep_up(self.world.some()))

    async def change_key(self, user: str, provider: str) -> None:
        """Change the root key, and seal everything with it. Programs find it when they need it."""
        keys = self.world.use_new_root_key()
        with self._acting("", ""):
            await self.world.tried(self.world.call(self.world.some(), partial(reseal_with, keys)))

    async def keep_up(self, program: Program) -> None:
        """Run all upkeep of a program once."""
        deputy = program.deputy
        await self.world.call(program, lambda deputy: deputy.sweeper.turn())
        for job in deputy.sweeper.jobs:
            await self.world.call(program, partial(_done, job))
        await self.world.call(program, lambda deputy: deputy.revoker.retry())


async def reseal_with(keys: list[bytes], deputy: Deputy) -> None:
    """Seal everything with the first of these root keys."""
    deputy.vault.rekey(keys)
    await reseal(deputy.vault)


async def _true(work: Awaitable[object]) -> bool:
    await work
    return True


async def _done(job: Callable[[], Awaitable[object]], _: Deputy) -> None:
    await job()
