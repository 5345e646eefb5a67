"""Token families: those that a newer consent replaces are revoked, and no pending revocation is lost."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.core import PROVIDERS, App, Deputy, Secret, User
from deputize.core.audit import Audit
from deputize.core.grants.revocation_queue import ABANDON_AFTER_SECONDS
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.github import GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET
from deputize.sandbox.linear import LINEAR_CLIENT_ID, LINEAR_CLIENT_SECRET
from deputize.sandbox.salesforce import SALESFORCE_CLIENT_ID, SALESFORCE_CLIENT_SECRET
from tests.core.consent.test_consents import House
from tests.support.faults import REVOKE, Line, Meddler, answer
from tests.support.gmail_toolkit import ALL, gmail
from tests.support.provider_fields import with_fields
from tests.support.sandbox_deputy import Clock, build, connect, consent, new_vault

ALICE = User("alice")
LINEAR = App("linear", LINEAR_CLIENT_ID, Secret(LINEAR_CLIENT_SECRET))
SALESFORCE = App("salesforce", SALESFORCE_CLIENT_ID, Secret(SALESFORCE_CLIENT_SECRET))
GITHUB = App("github", GITHUB_CLIENT_ID, Secret(GITHUB_CLIENT_SECRET))
LINEAR_REVOKE = ("api.linear.app", "/oauth/revoke")
LEAKED = ("api.github.com", "/credentials/revoke")


class Home:
    """Alice's deputy with one app, at a provider where each consent is its own token family."""

    def __init__(self, *apps: App) -> None:
        self.sandbox = Sandbox()
        self.line = Line(self.sandbox.transport())
        self.apps = apps
        self.vault: Vault | None = None
        self.audit: Audit | None = None
        self.deputy: Deputy

    async def begin(self) -> Home:
        self.deputy = await build(
            self.sandbox, vault=self.vault, audit=self.audit, transport=self.line, apps=self.apps, toolkits=[gmail]
        )
        return self

    async def allow(self, *scopes: str, deputy: Deputy | None = None) -> str:
        """Consent as Alice to these scopes; return how that ended."""
        one = deputy or self.deputy
        [asked] = await one.connect("alice", self.apps[0].provider, scopes=scopes)
        return (await consent(one, self.sandbox, asked)).status

    @property
    def families(self) -> int:
        """Return how many token families are alive at the provider."""
        return len({one.family for one in self.sandbox._world.authority.tokens.values() if one.lives(time.time())})

    async def debts(self) -> list[dict[str, Any]]:
        return [record.json for record in await self.deputy.vault.scan("outbox")]


@pytest.fixture
async def linear() -> AsyncIterator[Home]:
    made = await Home(LINEAR).begin()
    assert await made.allow("read") == "granted"
    yield made
    await made.deputy.close()


# ------------------------------------------------------------- D1: what a newer consent replaces


@pytest.mark.parametrize(
    ("app", "first", "second"), [(LINEAR, "read", "write"), (SALESFORCE, "api", "id"), (GITHUB, "gist", "repo")]
)
async def test_step_up_revokes_replaced_tokens_and_disconnect_revokes_all(app: App, first: str, second: str) -> None:
    home = await Home(app).begin()
    assert await home.allow(first) == "granted" and home.families == 1
    assert await home.allow(second) == "granted" and home.families == 1 and await home.debts() == []
    [grant] = await home.deputy.vault.list_grants(ALICE)
    assert await home.deputy.refresher.get_live(grant) == grant and grant.status == "active"
    assert [one.upstream for one in await home.deputy.revoke("alice")] == ["done"]
    assert home.families == 0 and home.sandbox.live_tokens()["alice@example.test"] == 0
    await home.deputy.close()


async def test_step_up_revokes_nothing_if_one_revocation_ends_all() -> None:
    house = await House().begin()
    await house.connected("readonly")
    await house.connected("readonly", "send")
    assert house.line.count(REVOKE) == 0 and await house.act()
    await house.deputy.revoke("alice")
    assert house.live() == 0
    await house.deputy.close()


async def test_older_tokens_are_kept_until_disconnect_if_revocation_may_end_the_newer(linear: Home) -> None:
    """At oidc-provider two consents of one browser are one grant: revoking the older tokens ended the newer ones."""
    row = with_fields(PROVIDERS["linear"], ends_replaced="with_grant")
    clock = Clock(time.time())
    one = await build(
        linear.sandbox,
        vault=linear.deputy.vault,
        transport=linear.line,
        apps=[LINEAR],
        providers={"linear": row},
        clock=clock,
    )
    assert await linear.allow("write", deputy=one) == "granted"
    assert await one.revoker.retry() == ["queued"] and linear.line.count(LINEAR_REVOKE) == 0 and linear.families == 2
    clock.now += 2 * ABANDON_AFTER_SECONDS
    linear.line.answers[LINEAR_REVOKE] = [answer(503)] * 6
    assert [told.upstream for told in await one.revoke("alice")] == ["queued"]
    assert await one.revoker.retry() == ["queued", "queued"]  # the time that it was held does not count
    clock.now += ABANDON_AFTER_SECONDS
    assert await one.revoker.retry() == ["abandoned", "abandoned"]
    assert await one.revoker.retry() == ["done", "done"]
    assert linear.families == 0 and await linear.debts() == []


async def test_failed_step_up_revocation_is_queued_and_repeated_at_disconnect(linear: Home) -> None:
    linear.line.answers[LINEAR_REVOKE] = [answer(503)]
    assert await linear.allow("write") == "granted"
    assert linear.families == 2 and len(await linear.debts()) == 1
    await linear.deputy.revoke("alice", "linear")
    assert linear.families == 0 and await linear.debts() == []


async def test_racing_consents_leave_one_family_and_disconnect_none(linear: Home) -> None:
    other = await build(linear.sandbox, vault=linear.deputy.vault, transport=linear.line, apps=[LINEAR])
    ended = await asyncio.gather(
        linear.allow("timeSchedule:write"),
        linear.allow("issues:create", deputy=other),
        linear.allow("comments:create"),
    )
    assert set(ended) == {"granted"}
    await linear.deputy.revoker.retry()
    assert linear.families == 1
    await linear.deputy.revoke("alice")
    assert linear.families == 0 and await linear.debts() == []


async def test_second_consent_without_refresh_token_keeps_the_first_and_all_are_revoked(linear: Home) -> None:
    """The new access token is of another family than the refresh token that is kept: a later revocation must name
    both."""
    [before] = await linear.deputy.vault.list_grants(ALICE)
    _drop_refresh_token(linear)
    assert await linear.allow("write") == "granted"
    [after] = await linear.deputy.vault.list_grants(ALICE)
    assert after.refresh_token == before.refresh_token and after.access_token != before.access_token
    await linear.deputy.revoker.retry()
    assert linear.families == 2  # both are in use
    await linear.deputy.revoke("alice")
    assert linear.families == 0 and await linear.debts() == []


Change = Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]]


class Between(httpx.AsyncBaseTransport):
    """Linear's token endpoint, whose responses are changed in transit."""

    def __init__(
        self, home: Home, change: Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]]
    ) -> None:
        self._inner, self._change = home.line.inner, change
        home.line.inner = self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await self._inner.handle_async_request(request)
        if (request.url.host, request.url.path) != ("api.linear.app", "/oauth/token"):
            return reply
        return await self._change(request, reply)


def _drop_refresh_token(home: Home) -> None:
    """Remove the refresh token from replies to codes."""

    async def without(request: httpx.Request, reply: httpx.Response) -> httpx.Response:
        await reply.aread()
        return answer(200, {name: value for name, value in reply.json().items() if name != "refresh_token"})(request)

    Between(home, without)


async def test_refresh_overtaken_by_a_step_up_leaves_no_family(linear: Home) -> None:
    [grant] = await linear.deputy.vault.list_grants(ALICE)
    asked, go_on = threading.Event(), threading.Event()  # the refresh runs on another event loop

    async def late(request: httpx.Request, reply: httpx.Response) -> httpx.Response:
        if b"grant_type=refresh_token" in request.content:
            asked.set()
            await asyncio.to_thread(go_on.wait, 10)
        return reply

    Between(linear, late)
    refreshing = asyncio.create_task(linear.deputy.refresher.get_live(grant, failed=grant.access_token))
    assert await asyncio.to_thread(asked.wait, 10)
    assert await linear.allow("write") == "granted"
    go_on.set()
    await refreshing
    await linear.deputy.revoker.retry()
    assert linear.families == 1
    await linear.deputy.revoke("alice")
    assert linear.families == 0 and await linear.debts() == []


async def test_compromise_report_covers_queued_tokens_without_the_app_secret() -> None:
    home = await Home(GITHUB).begin()
    await home.allow("gist")
    home.line.answers["api.github.com", "/applications/"] = [answer(503)]
    await home.allow("repo")
    assert home.families == 2
    home.deputy.apps.clear()
    await home.deputy.revoke("alice", leaked=True)
    assert home.families == 0 and home.line.count(LEAKED) == 2 and await home.debts() == []
    await home.deputy.close()


async def test_compromise_report_for_everybody_covers_queued_tokens() -> None:
    home = await Home(GITHUB).begin()
    await home.allow("gist")
    home.line.answers["api.github.com", "/applications/"] = [answer(503)]
    await home.allow("repo")
    await home.deputy.revoke_all(leaked=True)
    assert home.families == 0 and await home.debts() == []
    await home.deputy.close()


# ------------------------------------------------------------- D2: who may remove a debt


async def _rival(house: House) -> Deputy:
    """Return another process on the same vault."""
    return await build(
        house.sandbox, vault=house.deputy.vault, toolkits=[gmail], transport=house.line, clock=house.clock
    )


@pytest.mark.parametrize("step", range(1, 30))
async def test_concurrent_queue_processing_at_any_step_of_a_disconnect_loses_nothing(house: House, step: int) -> None:
    other = await _rival(house)
    house.line.answers[REVOKE] = [answer(503)]  # whoever is first is not heard
    house.store.meddler = Meddler(step, other.revocation_queue.retry)
    await house.deputy.revoke("alice", "google")
    house.store.meddler = None
    await house.deputy.revoker.retry()
    assert house.live() == 0 and await house.deputy.vault.scan("outbox") == []
    assert (await house.deputy.vault.list_grants(ALICE))[0].status == "revoked"


async def test_interrupted_disconnect_is_finished_by_the_next_process(house: House) -> None:
    grant = await house.grant()
    assert grant
    await house.deputy.revocation_queue.enqueue_grant(grant)  # and here the process died
    other = await _rival(house)
    house.line.answers[REVOKE] = [answer(503)]
    assert await other.revoker.retry() == ["queued"]
    assert (await house.deputy.vault.list_grants(ALICE))[0].status == "revoked" and "grant.revoked" in [
        row["event"] for row in other.audit.rows()
    ]
    assert await other.revoker.retry() == ["done"] and house.live() == 0


async def test_queued_revocation_does_not_end_a_newer_grant(house: House) -> None:
    """If revoking one token ends all: the new grant has the old one's tokens, and takes over their revocation."""
    house.line.answers[REVOKE] = [answer(503)]
    await house.deputy.revoke("alice", "google")
    await house.connected("readonly")
    await house.deputy.revoker.retry()
    assert await house.act() is not None and house.live() > 0
    await house.deputy.revoke("alice", "google")
    assert house.live() == 0 and await house.deputy.vault.scan("outbox") == []


async def test_queued_revocation_revokes_only_its_token_when_a_newer_grant_exists() -> None:
    home = await Home(GITHUB).begin()
    await home.allow("gist")
    home.line.answers["api.github.com", "/applications/"] = [answer(503)]
    assert [one.upstream for one in await home.deputy.revoke("alice")] == ["queued"]
    assert await home.allow("repo") == "granted" and home.families == 2
    assert await home.deputy.revoker.retry() == ["done"] and home.families == 1
    await home.deputy.revoke("alice")
    assert home.families == 0
    await home.deputy.close()


async def test_only_the_rejected_token_is_revoked_when_another_user_has_the_account() -> None:
    home, bob = await Home(GITHUB).begin(), "bob@example.test"
    assert await home.allow("gist") == "granted"
    for user in ("bob", "alice"):
        [asked] = await home.deputy.connect(user, "github", scopes=["repo"])
        ended = await consent(home.deputy, home.sandbox, asked, as_=bob)
    assert ended.reason_code == "account_mismatch" and await home.debts() == []
    assert home.sandbox.live_tokens()[bob] == 1, "only the token that was rejected has ended"
    await home.deputy.close()


async def test_queued_revocation_is_kept_while_its_app_is_not_configured(house: House) -> None:
    app = house.deputy.apps.pop("google")
    assert [one.upstream for one in await house.deputy.revoke("alice")] == ["queued"]
    assert len(await house.deputy.vault.scan("outbox")) == 1
    house.deputy.apps["google"] = app
    assert await house.deputy.revoker.retry() == ["done"] and house.live() == 0


async def test_queued_revocation_is_kept_when_its_tombstone_cannot_be_written(house: House) -> None:
    house.store.failing["swap", "grant"] = 1
    with pytest.raises(Exception, match="locked"):
        await house.deputy.revoke("alice", "google")
    other = await _rival(house)
    await other.revoker.retry()
    assert house.live() == 0 and (await house.deputy.vault.list_grants(ALICE))[0].status == "revoked"


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, new_vault

folder, before = Path(sys.argv[1]), sys.argv[2]
end_grant = Vault.end_grant

async def ending(self, grant, ended, next_owner):
    if before == "tombstone":
        os.kill(os.getpid(), signal.SIGKILL)
    done = await end_grant(self, grant, ended, next_owner)
    os.kill(os.getpid(), signal.SIGKILL)
    return done

async def main():
    Vault.end_grant = ending
    vault = await new_vault(folder / "vault" / "vault.sqlite", b"k" * 32)
    deputy = await build(Sandbox(state=folder / "sandbox.json"), vault=vault)
    await deputy.revoke("alice")

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize("before", ["tombstone", "telling"])
async def test_disconnect_of_a_killed_process_is_finished_by_another(tmp_path: Path, before: str) -> None:
    sandbox, path = Sandbox(state=tmp_path / "sandbox.json"), tmp_path / "vault" / "vault.sqlite"
    deputy = await build(sandbox, vault=await new_vault(path, b"k" * 32))
    await connect(deputy, sandbox, *ALL)
    await deputy.close()
    command = [sys.executable, "-c", DYING, str(tmp_path), before]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    sandbox = Sandbox(state=tmp_path / "sandbox.json")
    deputy = await build(sandbox, vault=await new_vault(path, b"k" * 32))
    assert len(await deputy.vault.scan("outbox")) == 1 and sandbox.live_tokens()["alice@example.test"] > 0
    await deputy.consents.recover()
    assert sandbox.live_tokens()["alice@example.test"] == 0 and await deputy.vault.scan("outbox") == []
    assert await deputy.connections("alice") == []
    await deputy.close()
