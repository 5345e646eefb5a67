"""What happens around the programs of a trial, and how a trial ends."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from deputize.core.audit import verify
from deputize.core.vault.rotation import key_uses, reseal
from deputize.sandbox import faults
from tests.properties.oracle import USERS
from tests.properties.simulated_providers import POSTING
from tests.properties.trial import Trial


class Weather:
    """What happens around the programs of a trial: to tokens, clocks, networks and keys."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.stage, self.sandbox = trial, trial.stage, trial.stage.sandbox

    async def expire(self) -> None:
        """Providers refuse all access tokens, though we think them good."""
        self.sandbox.expire_access_tokens()

    async def time(self) -> None:
        """An hour and a bit: tokens expire by our own clock, too, and what is due is done."""
        self.stage.clock.now += 4000.0
        self.trial.oracle.noes_expire()

    async def day(self) -> None:
        """Outcomes are not kept any more: what is asked for then is another act."""
        self.trial.day += 1
        self.trial.oracle.asked.clear()
        self.stage.clock.now += 90_000.0

    async def lose_tokens(self) -> None:
        """The next answer of a token endpoint is lost."""
        self.trial.losses.extend(["/oauth/token"])

    async def lose_post(self) -> None:
        """The answer to the next post is lost."""
        self.trial.losses.extend(["/v1/notes", POSTING["google"]])

    async def bad_gateway(self) -> None:
        """Token endpoints fail once each, before they do anything."""
        for path in ("/oauth/token", "/token"):
            self.sandbox.switches.faults["POST", path] = [faults.bad_gateway()]

    async def down(self) -> None:
        """All providers are down; or up again."""
        self.sandbox.switches.down = not self.sandbox.switches.down

    async def upkeep(self) -> None:
        """What programs do of themselves in the background."""
        await self.trial.quiet()
        for program in self.trial.programs:
            await program.deputy.sweeper.turn()
            for job in program.deputy.sweeper.jobs:
                await job()

    async def new_key(self) -> None:
        """A new root key: everything is sealed with it; programs meet it by and by."""
        keys, deputy = self.trial.keys, self.trial.programs[0].deputy
        keys.now = [secrets.token_bytes(32), *keys.now]
        deputy.vault.rekey(keys.read_keys())
        await reseal(deputy.vault)

    async def old_keys_go(self) -> None:
        """Older root keys are taken away, where no program seals with them and no record needs them."""
        await self.trial.quiet()
        vault = self.trial.programs[1].deputy.vault
        for program in self.trial.programs:
            program.deputy.vault.rekey(self.trial.keys.read_keys())
        await reseal(vault)
        assert len(await key_uses(vault)) <= 1, "a record is sealed with an older key"
        del self.trial.keys.now[1:]
        for program in self.trial.programs:
            program.deputy.vault.rekey(self.trial.keys.read_keys())

    async def restart(self) -> None:
        """Both programs are killed, and started again."""
        self.trial.oracle.hurt_at()
        for program in self.trial.programs:
            await program.restart()

    async def storm(self, provider: str) -> None:
        """The provider refuses all access tokens, and then all act there at once: one refresh each."""
        await self.trial.quiet()
        self.sandbox.expire_access_tokens()
        before = {one: one.refreshes for one in self.trial.witness.codes.values()}
        await asyncio.gather(
            *(self.trial.read(user, provider)(program) for program in self.trial.programs for user in USERS),
            return_exceptions=True,
        )
        await self.trial.quiet()
        for one, count in before.items():
            if one.refreshes - count > 1 and not one.lost:
                self.trial.witness.violated(f"{one.refreshes - count} refreshes of {one.provider} for one refusal")


EVENTS: Final = tuple(name for name in vars(Weather) if not name.startswith("_") and name != "storm")


async def ended(trial: Trial) -> None:
    """The end of a trial: providers are reached again, everybody is disconnected, and nothing is left anywhere."""
    trial.losses.clear()
    trial.stage.sandbox.switches.down = False
    trial.stage.sandbox.switches.faults.clear()
    await trial.quiet()
    deputy = trial.programs[0].deputy
    await deputy.consents.recover()
    await deputy.revoker.many.follow()
    await trial.oracle.all_known(deputy.vault)
    await deputy.revoke_all()
    trial.stage.clock.now += 90_000.0
    await deputy.revoker.retry()
    trial.oracle.nothing_left()
    keys = [deputy.vault.keys.audit, *deputy.vault.keys.old_audit]
    for program in trial.programs:
        await program.stop()
    if folder := trial.programs[0].audited:
        report = verify(folder, keys)
        assert report.ok, report.findings
