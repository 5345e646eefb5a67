"""Token families: all that came from one consent, known from the first token to the last one's end."""

from __future__ import annotations

from dataclasses import replace

from deputize.core import Secret, User
from deputize.core.vault.grant import Account, Grant, SecretBytes
from tests.support.house import new_vault

ALICE = User("alice")


def grant(family: str, refresh: str | None, **more: object) -> Grant:
    """A grant of Alice's."""
    account = Account("1", "alice@example.test")
    made = Grant(ALICE, "linear", "linear", account, frozenset({"read"}), Secret(f"access-{family}"))
    return replace(made, refresh_token=Secret(refresh) if refresh else None, family=family, **more)  # type: ignore[arg-type]


def test_a_grant_keeps_its_family_and_a_row_from_before_there_were_any_is_read() -> None:
    packed = grant("f1", "r1").pack()
    assert Grant.unpack(packed, 1).family == "f1"
    earlier = SecretBytes(packed.reveal().rpartition(b"\0")[0])
    assert Grant.unpack(earlier, 1) == replace(grant("", "r1"), generation=1, access_token=Secret("access-f1"))


async def test_a_grant_that_keeps_an_earlier_refresh_token_is_of_that_ones_family() -> None:
    vault = await new_vault()
    await vault.add(grant("f1", "r1"))
    assert (await vault.add(grant("f2", None))).family == "f1"
    assert (await vault.add(grant("f3", "r3"))).family == "f3"
    [held] = await vault.grants(ALICE)
    assert await vault.replace(held, held.tombstone())
    assert (await vault.grants(ALICE))[0].family == ""
    await vault.close()
