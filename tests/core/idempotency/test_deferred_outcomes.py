"""Outcomes that could not be stored: bounded in number, reported once, and dropped when their user is erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import pytest

from deputize.core import Call, DeputizeError, Deputy, OutcomeUnknown, allow_all
from deputize.core.vault.vault import Vault
from tests.core.consent.test_consents import House
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.sandbox_deputy import build

CALL: Final = Call("t", "m1", "c")


async def nothing() -> None:
    pass


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    made = await House().begin()
    monkeypatch.setattr(made.store, "close", nothing)  # which is another process's, too
    await made.connected(*ALL)
    made.line.seen.clear()
    yield made
    await made.deputy.close()


async def unsaved(house: House) -> None:
    """Send a mail whose outcome could not be stored."""
    house.store.failing["swap", "act"] = 1
    await house.act("send", **MAIL)
    assert house.mails == 1 and len(house.deputy.ledger.unsaved) == 1


async def another(house: House) -> Deputy:
    vault = await Vault.open(house.store, [b"k" * 32])
    given: dict[str, Any] = {"toolkits": [gmail], "policy": allow_all, "clock": house.deputy.clock}
    return await build(house.sandbox, vault=vault, **given)


async def test_deferred_outcomes_are_bounded_during_a_store_outage(house: House) -> None:
    await unsaved(house)
    house.store.failing["swap", "act"] = house.store.failing["insert", "act"] = 1000
    for number in range(30):
        with suppress(DeputizeError):
            await house.act("send", message=f"m{number + 2}", **MAIL)
    assert (house.mails, len(house.deputy.ledger.unsaved)) == (1, 1)


async def test_deferred_outcome_is_unknown_and_not_repeated_after_exit(house: House) -> None:
    """Closing succeeds, though the store still refuses writes."""
    await unsaved(house)
    house.store.failing["swap", "act"] = 1000
    await house.deputy.close()
    house.store.failing.clear()
    async with await another(house) as other:
        with pytest.raises(OutcomeUnknown):
            await other.act("gmail_send", MAIL, user="alice", call=CALL)
    assert house.mails == 1


async def test_deferred_outcome_is_repeated_by_no_process(house: House) -> None:
    await unsaved(house)
    async with await another(house) as other:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await other.act("gmail_send", MAIL, user="alice", call=CALL)
        with pytest.raises(OutcomeUnknown):  # it has said so: nobody takes that back
            await house.act("send", **MAIL)
    assert house.mails == 1 and not house.deputy.ledger.unsaved


async def test_deferred_outcome_of_an_erased_user_is_not_stored(house: House) -> None:
    await unsaved(house)
    await house.deputy.erase("alice")
    await house.deputy.ledger.unsaved.settle_all()
    rows = [record.json for record in await house.deputy.vault.scan("act")]
    assert not [row for row in rows if "result" in row], rows
