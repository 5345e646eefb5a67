"""Calls without an id: which of them are the same, and when the next one counts as another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core import Call, Deputy, InvalidInput, User, allow_all
from deputize.core.acts.call_dedup import CALL_TTL
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import Clock, build, connect, new_vault

SEND: Final = "gmail_send_email"
MAIL: Final[dict[str, Any]] = {"to": ["bob@example.test"], "subject": "Lunch", "body": "Yes, gladly."}


async def call(deputy: Deputy, user: str | User = "alice", thread: str = "mcp", **changed: Any) -> Call:
    return await deputy.resolve_call(SEND, MAIL | changed, user=user, thread=thread)


async def test_equal_calls_share_an_id_until_the_outcome_is_delivered() -> None:
    async with await build() as deputy:
        first = await call(deputy)
        assert await asyncio.gather(*(call(deputy) for _ in range(5))) == [first] * 5
        turned = dict(reversed(MAIL.items()))
        assert await deputy.resolve_call(SEND, turned, user="alice", thread="mcp") == first
        await deputy.mark_delivered(first, user="alice")
        second = await call(deputy)
        assert second != first
        await deputy.mark_delivered(first, user="alice")  # handed over again, late
        assert await call(deputy) == second
        assert first.message not in repr(await deputy.vault.store.scan("call", ""))


async def test_call_id_differs_if_any_field_differs() -> None:
    async with await build() as deputy:
        calls = [
            await call(deputy),
            await call(deputy, User("bob")),
            await call(deputy, User("alice", "acme")),
            await call(deputy, thread="mcp other"),
            await call(deputy, body="No."),
        ]
        assert len(set(calls)) == len({one.message for one in calls}) == 5
        await deputy.mark_delivered(calls[0], user="bob")
        assert await call(deputy) == calls[0], "nobody else ends it"


async def test_call_id_survives_restart_and_pending_approvals_then_expires(tmp_path: Path) -> None:
    clock, key = Clock(1_800_000_000.0), bytes(32)
    found = list[Call]()
    for ahead in (0.0, CALL_TTL / 2 + 1, CALL_TTL - 1, CALL_TTL + 1):
        clock.now += ahead
        async with await build(vault=await new_vault(tmp_path / "vault", key), clock=clock) as deputy:
            found.append(await call(deputy))
    assert found[0] == found[1] == found[2] != found[3]


async def test_concurrent_equal_calls_run_one_act() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")

        async def whole() -> Any:
            one = await call(deputy)
            return await deputy.act(SEND, MAIL, user="alice", call=one)

        results = await asyncio.gather(*(whole() for _ in range(4)))
        assert len({one["id"] for one in results}) == 1 == len(sandbox.sent("alice@example.test"))


async def test_call_ids_are_not_stored_for_reads_or_erased_users() -> None:
    async with await build() as deputy:
        reading = await deputy.resolve_call("gmail_search_emails", {"query": "x"}, user="alice", thread="mcp")
        assert reading == Call("mcp") and await deputy.vault.scan("call") == []
        await deputy.mark_delivered(reading, user="alice")
        await call(deputy)
        await deputy.erase("alice")
        assert await deputy.vault.scan("call") == []


@pytest.mark.parametrize(("tool", "wrong"), [(SEND, {"to": "bob"}), ("no_such_tool", {})])
async def test_invalid_call_is_refused(tool: str, wrong: dict[str, Any]) -> None:
    async with await build() as deputy:
        with pytest.raises(InvalidInput):
            await deputy.resolve_call(tool, wrong, user="alice", thread="mcp")


async def test_derived_keys_depend_on_purpose_and_vault_and_are_hidden() -> None:
    async with await build() as deputy, await build() as other:
        key = deputy.derive_key("a")
        assert key.reveal() == deputy.derive_key("a").reveal() and len(bytes.fromhex(key.reveal())) == 32
        assert len({key.reveal(), deputy.derive_key("b").reveal(), other.derive_key("a").reveal()}) == 3
        assert key.reveal() not in f"{key!r} {key}"
        assert deputy.vault.keys.index.hex() not in key.reveal()


async def test_dashboard_url_is_the_same_for_all_users() -> None:
    async with await build() as deputy:
        assert deputy.dashboard_url() == "http://127.0.0.1:8736/connections"
