"""``deputize serve`` for two tenants: each issuer's tokens and sign-ins are for its own tenant."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import mcp_types as types
import pytest

from deputize.cli.http_app import application
from deputize.core import User
from deputize.core.background_loop import portal
from deputize.core.settings import Settings
from deputize.core.web.local.server import serve
from tests.cli.conftest import Command
from tests.cli.serving_world import KEY, Person, around
from tests.support.login_issuer import CLIENT, SECRET, LoginIssuer
from tests.support.mcp_clients import client
from tests.support.ports import free_port

MAIL = {"to": ["bob@example.test"], "subject": "Hello", "body": "Hello Bob"}


@pytest.mark.processes
async def test_each_tenant_has_its_own_issuer_endpoint_and_users(home: Path) -> None:
    async with around(home) as world, AsyncExitStack() as undo:
        issuers = {
            name: LoginIssuer("", pages=world.base, audience=f"{world.base}/mcp/{name}", path=f"/sign-in/{name}")
            for name in ("acme", "beta")
        }
        for issuer in issuers.values():
            issuer.url = await undo.enter_async_context(serve(issuer))
        usual = {"client_id": CLIENT, "client_secret": SECRET, "scopes": ["agents"], "introspect": True}
        tables = {name: usual | {"issuer": one.url, "tenant": f"{name}-org"} for name, one in issuers.items()}
        settings = world.settings().model_copy(update={"serve": Settings.load(serve={"tools": ["gmail"]}).serve})
        settings = settings.model_copy(update={"signin": Settings.load(signin=tables).signin})
        app = await asyncio.to_thread(application, settings)
        await undo.enter_async_context(app.router.lifespan_context(app))
        await undo.enter_async_context(serve(app, world.port))
        acme, beta = (issuers[name] for name in issuers)
        async with httpx.AsyncClient() as http:
            for name, issuer in issuers.items():
                place = f"{world.base}/.well-known/oauth-protected-resource/mcp/{name}"
                assert (await http.get(place)).json()["authorization_servers"] == [issuer.url]
            for endpoint, token in (
                ("/mcp/beta", acme.token("alice")),
                ("/mcp/beta", acme.token("alice", aud=f"{world.base}/mcp/beta")),
                ("/mcp/beta", acme.token("alice", aud=f"{world.base}/mcp/beta", iss=beta.url)),
                ("/mcp/beta", acme.opaque_token("alice")),
                ("/mcp/acme", world.issuer.token("alice")),
            ):
                refused = await http.post(f"{world.base}{endpoint}", headers={"authorization": f"Bearer {token}"})
                assert refused.status_code == 401, endpoint
            assert (await http.post(f"{world.base}/mcp")).status_code == 404, "no endpoint of no tenant"

        alice, stranger = Person("alice"), Person("alice")
        await alice.open(f"{world.base}/sign-in/acme")
        await stranger.open(f"{world.base}/sign-in/beta")
        assert f"{beta.url}#alice" in (await stranger.browser.open(f"{world.base}/connections")).text

        async def stolen(ctx: Any, asked: Any) -> types.ElicitResult:
            refused = await stranger.browser.open(asked.url)
            assert refused.status == 403 and "This link cannot be used" in refused.text
            return types.ElicitResult(action="decline")

        opaque = acme.opaque_token("alice")
        async with client(f"{world.base}/mcp/acme", opaque, elicitation_callback=stolen) as mcp:
            assert (await mcp.call_tool("gmail_send_email", MAIL)).is_error
        async with client(f"{world.base}/mcp/acme", opaque, elicitation_callback=alice.answers) as mcp:
            sent = await mcp.call_tool("gmail_send_email", MAIL)
            assert not sent.is_error, sent.content
        owner = User(f"{acme.url}#alice", "acme-org")
        assert len(await app.state.deputy.connections(owner)) == 1
        for other in (
            User(f"{acme.url}#alice"),
            User(f"{acme.url}#alice", "beta-org"),
            User(f"{beta.url}#alice", "beta-org"),
        ):
            assert await app.state.deputy.connections(other) == []
        assert not any(opaque.encode() in one for one in beta.told), "a token was shown to another issuer"
        await portal().hop(app.state.deputy.http.close)  # what exchanges of codes have left open there


def test_tables_without_an_issuer_and_a_second_issuer_are_reported(cli: Command) -> None:
    usual = {"DEPUTIZE_KEY": KEY, "DEPUTIZE_BASE_URL": "https://agents.example.com"}
    acme = {"DEPUTIZE_SIGNIN__ACME__ISSUER": "https://login.acme.test", "DEPUTIZE_SIGNIN__ACME__CLIENT_ID": "x"}
    at = f":{free_port()}"
    for env, said in (
        ({"DEPUTIZE_SIGNIN__ACME__CLIENT_ID": "x"}, "signin.acme.issuer is missing"),
        ({"DEPUTIZE_SIGNIN__ACME__ISSUER": "https://login.acme.test"}, "DEPUTIZE_SIGNIN__ACME__CLIENT_ID"),
        (acme | {"DEPUTIZE_SERVE__ISSUER": "https://login.test"}, "serve.issuer and signin are both set"),
        (acme | {"DEPUTIZE_SERVE__STEP_UP_SECONDS": "300"}, "serve.step_up_seconds and signin are both set"),
        (acme | {"DEPUTIZE_SERVE__REQUIRED_CLAIMS": '{"hd": "a.test"}'}, "serve.required_claims and signin are"),
        (acme | {"DEPUTIZE_SERVE__SCIM_TOKEN": "t" * 32}, "serve.scim_token and signin are both set"),
        (acme | {"DEPUTIZE_SIGNIN__ACME__ISSUER": "http://127.0.0.1:9"}, "signin.acme.issuer is http://127.0.0.1:9"),
    ):
        done = cli("serve", "--http", at, **usual | env)
        assert done.exit_code == 1 and said in done.stderr, done.stderr
