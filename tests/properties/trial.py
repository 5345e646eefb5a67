"""One trial: what users and programs do, one step after the other, and what must be true after each.

The oracle is kept here and by the `Witness`: who said yes to what, who was disconnected when, what was posted. The
product is asked for nothing of that. A step is played plainly, cancelled at one of its awaits, or its program dies.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from deputize.core import ApprovalRequired, Call, DeputizeError, ReconsentRequired, User
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.user_requests import Consent
from tests.properties.oracle import USERS, Answer, Asked, Given, Oracle
from tests.properties.request_log import Witness
from tests.properties.simulated_providers import NAMES, PAL, SCOPES, Stage
from tests.properties.trial_programs import Keys, Place, Program
from tests.support.kill_points import Died
from tests.support.sandbox_deputy import at_provider

How: TypeAlias = Literal["plainly", "cancelled", "before", "after"]
"""How a step ends: by itself, cancelled at an await, or with its program, before or after one of its writes."""
Says: TypeAlias = Literal["yes", "no", "stranger"]
Choice: TypeAlias = Literal["", "another", "switch"]
Work: TypeAlias = Callable[[Program], Awaitable[object]]
PEOPLE: Final = ("alice@example.test", "bob@example.test", "decoy@example.test")
PATIENCE: Final = 60.0
HOUR: Final = 3600.0


@dataclass(eq=False)
class Trial:
    """See the module. ``told``: how often each error was met; ``losses``: paths whose next replies are lost."""

    place: Place
    folder: Path
    stage: Stage = field(default_factory=Stage)
    witness: Witness = field(default_factory=Witness)
    keys: Keys = field(default_factory=Keys)
    told: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    day: int = 0
    oracle: Oracle = field(init=False)
    programs: list[Program] = field(init=False)

    async def begin(self) -> None:
        """Start both programs."""
        self.oracle = Oracle(self.stage, self.witness)
        given = self.place, self.folder, self.stage, self.witness, self.keys, self.losses
        self.programs = [Program(*given) for _ in range(2)]
        for program in self.programs:
            await program.start()
        for user, email in zip(USERS, PEOPLE, strict=False):
            for name in NAMES:
                await self.connect(user, name, email, 2, "yes", "")(self.programs[0])

    # ------------------------------------------------------------- how a step is played

    async def play(self, work: Work, number: int, how: How = "plainly", at: int = 0) -> None:
        """One step, by one of the programs."""
        await self._played(work, self.programs[number], how, at)
        self.oracle.check()

    async def together(self, one: Work, other: Work) -> None:
        """Two steps at the same time, by both programs."""
        first, second = self.programs
        await asyncio.gather(self._played(one, first, "plainly", 0), self._played(other, second, "plainly", 0))
        self.oracle.check()

    async def _played(self, work: Work, program: Program, how: How, at: int) -> None:
        if how in ("before", "after"):
            program.doom(at // 3 + 1, how)
        task = asyncio.ensure_future(work(program))
        if how == "cancelled":
            for _ in range(at):
                await asyncio.sleep(0)
            task.cancel()
        done, _ = await asyncio.wait((task,), timeout=PATIENCE)
        if not done:
            self.witness.violated(f"a step hung: {task}")
        error = None if task.cancelled() else task.exception()
        self.told[type(error).__name__] += error is not None
        program.fate.at = 0
        if program.fate.dead:
            self.oracle.hurt_at()
            await program.restart()
        elif isinstance(error, Died):
            self.witness.violated("a program that lives said that it had died")
        if error is not None and not isinstance(error, DeputizeError | Died):
            raise error

    async def quiet(self) -> None:
        """Wait for what cancelled steps have left in flight."""
        for program in self.programs:
            await program.deputy.engine.in_flight.wait()

    # ------------------------------------------------------------- what users do

    def connect(self, user: str, provider: str, email: str, scopes: int, says: Says, choice: Choice) -> Work:
        """The user is asked for scopes, and somebody answers."""

        async def work(program: Program) -> None:
            with self.witness.acting(user, provider):
                for one in await program.deputy.connect(
                    user,
                    provider,
                    scopes=SCOPES[provider][:scopes],
                    add_account=choice == "another",
                    switch_account=choice == "switch",
                ):
                    await self._walk(program, user, one, email, says)

        return work

    async def _walk(self, program: Program, user: str, asked: Consent, email: str, says: Says) -> None:
        deputy, ticket = program.deputy, asked.link.rpartition("/")[2]
        if says == "stranger":
            stranger = next(one for one in USERS if one != user)
            try:
                await deputy.consents.start(ticket, User(stranger))
            except InvalidInput:
                return
            self.witness.violated(f"{stranger} went on with {user}'s link")
        started = await deputy.consents.start(ticket, User(user))
        back = await at_provider(self.stage.sandbox.transport(), started.url, as_=email, deny=says == "no")
        family = self.witness.consented(back["code"], user, asked.provider, email) if "code" in back else None
        await deputy.consents.finish(asked.app, back, User(user), started.nonce.reveal())
        ended = await deputy.get_consent(asked)
        if family and ended and ended.status in ("failed", "denied", "cancelled"):
            family.refused = True

    def read(self, user: str, provider: str, account: str | None = None) -> Work:
        """An act that only reads."""

        async def work(program: Program) -> None:
            with self.witness.acting(user, provider):
                await self._judged_loss(user, provider, self._read(program, user, provider, account))

        return work

    async def _read(self, program: Program, user: str, provider: str, account: str | None) -> None:
        found = await program.deputy.act(f"{provider}_read", {}, user=user, account=account)
        if account and provider != "google" and found != {"who": account}:
            self.witness.violated(f"{user} asked for {account} at {provider} and got {found}")

    async def _judged_loss(self, user: str, provider: str, act: Awaitable[Any]) -> Any:
        try:
            return await act
        except ReconsentRequired as error:
            self.oracle.lost(user, provider, error.reason)
            raise

    def refresh(self, user: str, provider: str) -> Work:
        """The same where the provider has refused all tokens just before."""

        async def work(program: Program) -> None:
            self.stage.sandbox.expire_access_tokens()
            await self.read(user, provider)(program)

        return work

    def text(self, user: str, provider: str, number: int) -> str:
        """What names a post."""
        return f"{self.day} {user} {provider} {number}"

    def post(self, user: str, provider: str, number: int) -> Work:
        """An act that others see: the same one whenever it has the same number, within a day."""
        text = self.text(user, provider, number)

        async def work(program: Program) -> None:
            with self.witness.acting(user, provider) as acting:
                self.oracle.began[text] = acting.began
                call = Call("thread", "message", text)
                act = program.deputy.act(f"{provider}_post", {"text": text}, user=user, call=call)
                try:
                    await self._judged_loss(user, provider, act)
                except ApprovalRequired as error:
                    self.oracle.asked[text] = Asked(user, error.approval.id, error.approval.account)
                    raise
                self.oracle.done.add(text)

        return work

    def approved(self, user: str, provider: str, number: int) -> Work:
        """The same as a user in a chat sees it: asked, answered, done."""

        async def work(program: Program) -> None:
            post, text = self.post(user, provider, number), self.text(user, provider, number)
            try:
                await post(program)
            except ApprovalRequired:
                asked = self.oracle.asked[text]
                self.oracle.answers[text, asked.email] = "yes"
                await program.deputy.decide(asked.approval, "approve", by=user)
                await post(program)

        return work

    def decide(self, by: str, number: int, answer: Answer) -> Work:
        """Somebody answers one of the approvals that were asked."""

        async def work(program: Program) -> None:
            if not self.oracle.asked:
                return
            text = sorted(self.oracle.asked)[number % len(self.oracle.asked)]
            user, approval, email = self.oracle.asked[text]
            with self.witness.acting(user):
                if by != user:
                    return await self._refused(program, approval, by)
                if answer == "yes":
                    self.oracle.answers[text, email] = "yes"
                await program.deputy.decide(approval, "approve" if answer == "yes" else "reject", by=by)
                self.oracle.answers[text, email] = answer

        return work

    async def _refused(self, program: Program, approval: str, by: str) -> None:
        try:
            await program.deputy.decide(approval, "approve", by=by)
        except NotFound:
            return
        self.witness.violated(f"{by} approved what somebody else was asked")

    def give(self, user: str, provider: str, most: int) -> Work:
        """A mandate for so many posts."""

        async def work(program: Program) -> None:
            given = Given(user, most, self.stage.clock() + HOUR)
            self.oracle.mandates.append(given)
            tools = [f"{provider}_post"]
            try:
                await program.deputy.create_mandate(
                    user, tools=tools, targets=[PAL], max_acts=most, expires_at=given.until
                )
            finally:
                given.stands = True

        return work

    def spend(self, user: str, provider: str) -> Work:
        """A mandate for one post, and more posts than that."""

        async def work(program: Program) -> None:
            await self.give(user, provider, 1)(program)
            await asyncio.gather(*(self.post(user, provider, n)(program) for n in range(4)), return_exceptions=True)

        return work

    def end_mandates(self, user: str) -> Work:
        """The user takes back all that counts."""

        async def work(program: Program) -> None:
            given = self.oracle.given_by(user)
            for one in await program.deputy.mandates(user):
                await program.deputy.revoke_mandate(user, one)
            self.oracle.mandates_ended(given)

        return work

    def revoke(self, user: str, provider: str, account: str | None = None) -> Work:
        """The user disconnects a provider, one account there, or all ("")."""

        async def work(program: Program) -> None:
            before, given = self.witness.families(user, provider), self.oracle.given_by(user)
            self.oracle.hurt_at(provider)
            with self.witness.acting(user, provider):
                await program.deputy.revoke(user, provider, account=account if provider else None)
            self.oracle.disconnected([one for one in before if not provider or account in (None, one.email)])
            if not provider:
                self.oracle.mandates_ended(given)

        return work

    def revoke_all(self) -> Work:
        """Everybody is disconnected; the other program hears of it within half a second."""

        async def work(program: Program) -> None:
            before, given = list(self.witness.codes.values()), self.oracle.given_by(*USERS)
            self.oracle.hurt_at()
            with self.witness.acting(""):
                await program.deputy.revoke_all()
            for one in self.programs:
                await one.deputy.vault.ended.refresh(fresh=True)
            self.oracle.disconnected(before)
            self.oracle.mandates_ended(given)

        return work
