"""The clock of a machine jumps by an hour, either way, under a running deputy; its providers' clocks do not.

What counts until a time may end early or late by that hour. Nothing is done twice, and nothing hangs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.core import ApprovalRequired, Call, Deputy, RateLimited, allow_all
from deputize.core.audit import Audit, read, verify
from deputize.core.failures import Kind, Outcome
from deputize.core.grants.backoff import Backoff
from deputize.core.http import Http
from deputize.core.vault.grant import User
from deputize.core.web.signin.issuer import Issuer
from deputize.core.web.signin.sign_in_sessions import Session, Sessions
from deputize.sandbox import Sandbox
from tests.faults.conftest import Row
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.sandbox_deputy import Clock, build, connect, new_vault

HOUR = 3600.0
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])


async def acting(clock: Clock, **more: Any) -> tuple[Deputy, Sandbox]:
    """Return a deputy with this clock, at a provider with its own."""
    sandbox = Sandbox(clock=Clock(clock.now))
    deputy = await build(sandbox, toolkits=[gmail], clock=clock, **more)
    await connect(deputy, sandbox, *ALL)
    return deputy, sandbox


async def act(deputy: Deputy, call: str, tool: str = "send", **arguments: Any) -> Any:
    return await deputy.act(f"gmail_{tool}", arguments or MAIL, user="alice", call=Call("t", "m", call))


@JUMPS
async def test_acts_continue_with_the_token_and_are_not_repeated_after_a_clock_jump(jump: float, row: Row) -> None:
    clock = Clock(1_800_000_000.0)
    deputy, sandbox = await acting(clock, policy=allow_all)
    first = await act(deputy, "a")
    clock.now += jump
    assert await act(deputy, "a") == first
    sandbox.expire_access_tokens()  # whatever our clock says of them
    assert await act(deputy, "b") and len(sandbox.sent("alice@example.test")) == 2
    await deputy.sweeper.turn()
    assert await act(deputy, "a") == first
    row(f"clock {jump:+.0f} s: acts, tokens, sweeps", "the result", "once", "-")
    await deputy.close()


@JUMPS
async def test_approval_counts_or_is_requested_again_after_a_clock_jump(jump: float, row: Row) -> None:
    clock = Clock(1_800_000_000.0)
    deputy, sandbox = await acting(clock)
    with pytest.raises(ApprovalRequired) as asked:
        await act(deputy, "a")
    clock.now += jump
    with pytest.raises(ApprovalRequired) as again:
        await act(deputy, "a")
    assert (again.value.approval.id == asked.value.approval.id) is (jump < 0)
    await deputy.decide(again.value.approval, "approve", by="alice")
    assert await act(deputy, "a") == await act(deputy, "a") and len(sandbox.sent("alice@example.test")) == 1
    row(f"clock {jump:+.0f} s: approvals", "an approval, the same one where it still counts", "once", "-")
    await deputy.close()


@JUMPS
async def test_consent_counts_or_is_requested_again_after_a_clock_jump(jump: float, row: Row) -> None:
    clock = Clock(1_800_000_000.0)
    deputy, sandbox = await acting(clock)
    await deputy.connect("bob", "google", scopes=["gmail.readonly"])
    clock.now += jump
    await deputy.sweeper.turn()
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    row(f"clock {jump:+.0f} s: consents", "a link that works", "-", "-")
    await deputy.close()


async def test_rate_limit_is_not_prolonged_when_the_clock_is_set_back() -> None:
    clock = Clock(1_800_000_000.0)
    deputy, _ = await acting(clock, requests_per_minute=2)
    with pytest.raises(RateLimited):
        for n in range(20):
            await act(deputy, f"r{n}", "search", query="x")
    clock.now -= HOUR
    with pytest.raises(RateLimited) as told:
        await act(deputy, "s", "search", query="x")
    assert told.value.retry_after and told.value.retry_after <= 62
    clock.now += told.value.retry_after
    assert await act(deputy, "s", "search", query="x") is not None
    await deputy.close()


def test_refresh_pause_is_not_prolonged_when_the_clock_is_set_back() -> None:
    clock = Clock(1_800_000_000.0)
    backoff = Backoff(clock)
    backoff.record_failure("place", Outcome(Kind.TRANSIENT))
    assert backoff.pause("place")
    clock.now -= HOUR
    assert backoff.pause("place") is None


@JUMPS
async def test_session_stays_or_ends_cleanly_after_a_clock_jump(jump: float) -> None:
    clock = Clock(1_800_000_000.0)
    sessions = Sessions(await new_vault(), "https://id.example", clock)
    cookie = await sessions.begin(Session(User("alice")))
    clock.now += jump
    assert (await sessions.user(cookie) is None) is (jump > 0)
    assert await sessions.user(await sessions.begin(Session(User("alice")))) == User("alice")


async def test_new_issuer_key_is_found_after_the_clock_was_set_back() -> None:
    asked = list[str]()

    def answers(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path.startswith("/.well-known"):
            return httpx.Response(200, json={"issuer": "https://id.example", "jwks_uri": "https://id.example/keys"})
        return httpx.Response(200, json={"keys": []})

    clock = Clock(1_800_000_000.0)
    issuer = Issuer("https://id.example", Http(httpx.MockTransport(answers)), clock)
    await issuer.keys()
    clock.now -= HOUR
    await issuer.keys()
    assert asked.count("/keys") == 2
    await issuer.keys()
    assert asked.count("/keys") == 2


async def test_audit_stays_verifiable_with_anchors_when_the_clock_is_set_back(tmp_path: Path) -> None:
    clock, lines = Clock(1_800_000_000.0), list[str]()
    audit = Audit(tmp_path / "audit", b"k" * 32, clock=clock, anchor=lines.append, anchor_every=60)
    for jump in (0.0, -HOUR, 61.0, HOUR):
        clock.now += jump
        audit._append("act.intent", n=1)
        await audit.settle()
    audit.close()
    assert len(lines) == 5 and verify(tmp_path / "audit", [b"k" * 32]).ok
    assert sum(row["event"] == "act.intent" for row in read(tmp_path / "audit")) == 4
