"""The webhook of ``deputize serve`` that offboards users, signed by the reference library of Standard Webhooks."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook as Sender

from deputize.cli.http_app import application
from deputize.core import Deputy, SettingsError, User
from deputize.core.background_loop import portal
from deputize.core.web.local.server import serve
from deputize.core.web.signin.sign_in_sessions import Session, Sessions
from tests.cli.serving_world import Around, around
from tests.cli.tenants_world import WEBHOOKS, tenants

WEBHOOK = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


@asynccontextmanager
async def served(home: Path, secret: str = WEBHOOK) -> AsyncIterator[tuple[Around, Deputy, httpx.AsyncClient]]:
    """Serve with the webhook, as the settings say, in this process."""
    async with around(home) as world:
        settings = world.settings()
        values = {**settings.serve.model_dump(), "offboarding_secret": secret}
        settings.serve = type(settings.serve).model_validate(values)
        app = await asyncio.to_thread(application, settings)
        async with app.router.lifespan_context(app), serve(app, world.port), httpx.AsyncClient() as http:
            yield world, app.state.deputy, http
        await portal().hop(app.state.deputy.http.close)


def message(subject: Any, *, kind: str = "user.offboarded", **more: Any) -> str:
    return json.dumps({"type": kind, "timestamp": "2027-01-15T08:00:00Z", "data": {"subject": subject}} | more)


async def send(
    world: Around, http: httpx.AsyncClient, body: str, *, secret: str = WEBHOOK, name: str = "msg_1", at: float = 0.0
) -> int:
    """Send a message as the library signs it, and return the status."""
    stamp = datetime.fromtimestamp(int(at or time.time()), UTC)
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(int(stamp.timestamp())),
        "webhook-signature": Sender(secret).sign(name, stamp, body),
    }
    return (await http.post(f"{world.base}/signals/webhook", content=body, headers=headers)).status_code


async def offboarded(deputy: Deputy) -> int:
    await deputy.audit.settle()
    return sum(row["event"] == "user.offboarded" for row in await asyncio.to_thread(deputy.audit.rows))


@pytest.mark.processes
async def test_signed_message_ends_the_sessions_of_its_subject_once(home: Path) -> None:
    async with served(home) as (world, deputy, http):
        issuer = world.issuer.url
        sessions = Sessions(deputy.vault, issuer, deputy.clock)
        alice, bob = [await sessions.begin(Session(User(f"{issuer}#{name}"))) for name in ("alice", "bob")]
        assert await send(world, http, message("alice")) == 204
        assert await sessions.user(alice) is None and await sessions.user(bob)
        again = await sessions.begin(Session(User(f"{issuer}#alice"), issued=deputy.clock()))  # hired again
        assert await send(world, http, message("alice")) == 204, "a repetition is accepted"
        assert await sessions.user(again) and await offboarded(deputy) == 1, "and has no effect"
        assert await send(world, http, message("nobody"), name="msg_2") == 204, "as for a known user"
        assert await send(world, http, message("alice", kind="user.created"), name="msg_3") == 204
        assert await offboarded(deputy) == 2 and await sessions.user(again)


@pytest.mark.processes
async def test_forged_old_and_long_messages_do_nothing(home: Path) -> None:
    other = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
    async with served(home) as (world, deputy, http):
        url, body = f"{world.base}/signals/webhook", message("alice")
        assert await send(world, http, body, secret=other) == 401
        assert await send(world, http, body, at=time.time() - 600) == 401
        assert await send(world, http, body, at=time.time() + 600) == 401
        assert await send(world, http, message("alice", pad="x" * 20000)) == 401
        assert (await http.post(url, content=body)).status_code == 401
        now = datetime.now(UTC)
        stamp, signature = str(int(now.timestamp())), Sender(WEBHOOK).sign("msg_1", now, body)
        good = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}
        for wrong in (
            {"webhook-id": "msg_2"},
            {"webhook-timestamp": str(int(stamp) + 1)},
            {"webhook-timestamp": "now"},
            {"webhook-signature": signature.removeprefix("v1,")},
            {"webhook-signature": signature.replace("v1,", "v1a,")},
            {"webhook-signature": "v1, v1,= " * 9 + signature},
            {"webhook-id": "a b"},
        ):
            assert (await http.post(url, content=body, headers=good | wrong)).status_code == 401, wrong
        assert (await http.post(url, content=body + " ", headers=good)).status_code == 401
        for subject in ("", " ", None, 7, ["alice"], "a\nb", "x" * 3000):
            assert await send(world, http, message(subject), name="msg_9") == 400, subject
        for odd in ("", "[]", "7", '{"type": "user.offboarded"}', "[" * 9000):
            assert await send(world, http, odd, name=f"odd_{len(odd)}") == 204
        assert await offboarded(deputy) == 0
        assert (await http.post(url, content=body, headers=good)).status_code == 204
        rotated = good | {
            "webhook-id": "msg_5",
            "webhook-signature": f"v1,AAAA {Sender(WEBHOOK).sign('msg_5', now, body)}",
        }
        assert (await http.post(url, content=body, headers=rotated)).status_code == 204
        assert await offboarded(deputy) == 2


@pytest.mark.processes
async def test_webhook_is_served_only_with_a_good_secret(home: Path) -> None:
    for bad in ("whsec_", "whsec_%", f"whsec_{base64.b64encode(b'short').decode()}", "hunter2"):
        with pytest.raises(SettingsError, match="offboarding_secret"):
            async with served(home, bad):
                pass
    async with around(home) as world:
        app = await asyncio.to_thread(application, world.settings())
        async with app.router.lifespan_context(app), serve(app, world.port), httpx.AsyncClient() as http:
            assert await send(world, http, message("alice")) in (404, 405)
        await portal().hop(app.state.deputy.http.close)


async def test_webhook_of_a_tenant_reaches_users_of_this_tenant_only(home: Path) -> None:
    async with tenants(home) as world:

        async def post(tenant: str, secret: str, name: str) -> int:
            body, now = message("alice"), datetime.now(UTC)
            headers = {
                "webhook-id": name,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": Sender(secret).sign(name, now, body),
            }
            return (await world.http.post(f"/signals/webhook/{tenant}", content=body, headers=headers)).status_code

        acme, beta = await world.sign_in("alice"), await world.sign_in("alice", "beta")
        assert await post("acme", WEBHOOKS["beta"], "m1") == 401
        assert await post("beta", WEBHOOKS["beta"], "m1") == 204
        assert await world.is_signed_in(acme) and not await world.is_signed_in(beta, "beta")
        assert await post("acme", WEBHOOKS["acme"], "m1") == 204, "ids of one sender do not use up those of another"
        assert not await world.is_signed_in(acme)
