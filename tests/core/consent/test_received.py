"""What a code brought is sealed before anything else happens to it, so any process can finish a consent."""

from __future__ import annotations

from contextlib import suppress

import pytest

from deputize.core import Deputy, StoreUnavailable, User
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.vault.vault import Vault
from tests.core.consent.test_consents import House
from tests.support.house import build
from tests.support.kits import gmail
from tests.support.mortal import Died, Fate, MortalLine, MortalStore

ALICE = User("alice")
LOCAL = AnyLocalUser()
WHOAMI = "GET openidconnect.googleapis.com/v1/userinfo"


async def process(house: House, fate: Fate) -> Deputy:
    """Another process on the house's vault."""
    return await build(
        vault=await Vault.open(MortalStore(house.store, fate), [b"k" * 32]),
        transport=MortalLine(house.line, fate),
        clock=house.clock,
        toolkits=[gmail],
    )


@pytest.mark.parametrize(("step", "number"), [(WHOAMI, 1), ("insert grant", 1), ("swap consent", 3)])
async def test_W12_a_consent_whose_process_was_killed_with_the_tokens_is_finished_at_the_next_look(
    step: str, number: int
) -> None:
    house = await House().begin()
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    fate = Fate(number, "before", step)
    dying = await process(house, fate)
    with suppress(Died):
        await dying.consents.finish("google", back, LOCAL, started.nonce.reveal())
    assert fate.last == f"before {step}"
    assert await house.status(asked) == ("granted", "")
    assert house.live() == 2 and await house.grant() is not None
    await house.deputy.close()


async def test_A10_a_consent_that_cannot_be_closed_after_the_grant_was_stored_is_kept_in_both_places() -> None:
    house = await House().begin()
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    fate = Fate(3, "before", "swap consent")
    refusing = _Refusing(house.store, fate)
    one = await build(vault=await Vault.open(refusing, [b"k" * 32]), transport=house.line, clock=house.clock)
    with pytest.raises(StoreUnavailable):
        await one.consents.finish("google", back, LOCAL, started.nonce.reveal())
    grant = await house.grant()
    active = grant is not None and grant.status == "active"
    assert (active, house.live() == 2) == (True, True)
    assert await house.status(asked) == ("granted", "")
    await house.deputy.close()


class _Refusing(MortalStore):
    """A store that refuses once where a process would die, and serves afterwards."""

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        try:
            return await super().swap(kind, key, old, new)
        except Died:
            self.fate.dead = False
            raise StoreUnavailable("The vault is locked by another program.") from None
