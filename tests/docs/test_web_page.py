"""The page on web applications: its program serves signed-in users, and its snippets run unchanged."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from itsdangerous import TimestampSigner

from deputize.adapters.acting_user import RunInfo
from deputize.core import Call, Deputy, PolicyDenied, User, allow_all
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.deputies import apps, register_pages
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.docs.blocks import block, run, text
from tests.support.sandbox_deputy import build, connect, consent

WEB: Final = "docs/web-applications.md"
SERVER: Final = "docs/langgraph-server.md"
MAIL: Final = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}


@pytest.fixture
def in_the_web(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Return the settings of a web application, as its variables."""
    for name, value in {
        "HOME": str(tmp_path),
        "VAULT": "memory:",
        "KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "BASE_URL": "https://app.example.com/agents",
        "APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
        "APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
    }.items():
        monkeypatch.setenv(f"DEPUTIZE_{name}", value)
    monkeypatch.setenv("SESSION_KEY", "a key of the test's own")


async def browse(app: Any, path: str, session: Mapping[str, str] | None = None) -> httpx.Response:
    """Send a GET as a browser with this session."""
    cookies = {"session": signed(session)} if session else {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://app.example.com", cookies=cookies) as browser:
        return await browser.get(path)


def signed(user: Mapping[str, str]) -> str:
    """Return the session's cookie as Starlette's middleware signs it."""
    data = base64.b64encode(json.dumps({"user": dict(user)}).encode())
    return TimestampSigner("a key of the test's own").sign(data).decode()


ALICE: Final = {"id": "alice", "tenant": "acme"}


@pytest.mark.usefixtures("in_the_web")
async def test_fastapi_application_acts_as_the_signed_in_user() -> None:
    names = await run(block(WEB, "FastAPI(lifespan"), {"__name__": "app"})
    async with names["deputy"] as deputy:
        assert (await browse(names["app"], "/mail")).status_code == 401
        asked = (await browse(names["app"], "/mail?q=from:bob", ALICE)).json()
        assert asked["connect"].startswith("https://app.example.com/agents/connect/")
        [waiting] = await deputy.consents.list_pending(User("alice", "acme"))
        assert waiting.link == asked["connect"]
        path = waiting.link.removeprefix("https://app.example.com")
        nobody = await browse(names["app"], path)
        assert nobody.status_code == 303 and nobody.headers["location"].startswith("/login?next=")
        assert "Google" in (await browse(names["app"], path, ALICE)).text
        other = await browse(names["app"], path, {"id": "mallory", "tenant": "acme"})
        assert other.status_code == 403 and "Google" not in other.text


class PerHost(httpx.AsyncBaseTransport):
    """A browser's network: the application at one host and port, without a server, and everything else.

    The session is a cookie of the host at which the person signed in, as in a real browser.
    """

    def __init__(self, app: Any, network: httpx.AsyncBaseTransport) -> None:
        self.app, self.network = httpx.ASGITransport(app), network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.port != 8000:
            return await self.network.handle_async_request(request)
        if request.url.path == "/login":
            return httpx.Response(
                200, headers={"set-cookie": f"session={signed(ALICE)}; Path=/; HttpOnly; SameSite=Lax"}
            )
        return await self.app.handle_async_request(request)


SIX: Final = ("google", "slack", "github", "github_app", "linear", "salesforce")


def recipe() -> str:
    """Return the pages' address in the recipe for one's own machine."""
    [at] = re.findall(r"^### Try it .*?`DEPUTIZE_BASE_URL=([\w/:.]+)`", text(WEB), re.MULTILINE | re.DOTALL)
    assert f"`deputize sandbox --pages {at}`" in text(WEB)
    return str(at)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.usefixtures("in_the_web")
async def test_recipe_for_own_machine_connects_every_provider(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    assert "localhost" in recipe()
    at = recipe().replace("localhost", host)  # 127.0.0.1: what the log says of the mistake
    sandbox = Sandbox()
    register_pages(sandbox, at)
    monkeypatch.setenv("DEPUTIZE_BASE_URL", at)
    for app in apps():
        monkeypatch.setenv(f"DEPUTIZE_APPS__{app.name.upper()}__CLIENT_ID", app.client_id)
        if app.client_secret:
            monkeypatch.setenv(f"DEPUTIZE_APPS__{app.name.upper()}__CLIENT_SECRET", app.client_secret.reveal())
        monkeypatch.setenv(f"DEPUTIZE_APPS__{app.name.upper()}__PKCE", str(app.pkce).lower())
    async with serve(sandbox.app) as providers, httpx.AsyncHTTPTransport() as network:
        monkeypatch.setenv("DEPUTIZE_SANDBOX_URL", providers)
        names = await run(
            block(WEB, "FastAPI(lifespan").replace("https_only=True", "https_only=False"), {"__name__": "app"}
        )
        started = caplog.text
        browser, here = Browser(PerHost(names["app"], network)), f"http://{host}:8000"
        async with names["deputy"] as deputy:
            await browser.open(f"{here}/login")
            connected = []
            for provider in SIX:
                [asked] = await deputy.connect(User("alice", "acme"), provider, scopes=SCOPES.get(provider, []))
                page = await browser.allow(asked.link)
                connected += [provider] if "is connected" in page.text else []
            if host == "localhost":
                assert connected == list(SIX) and "cannot be connected" not in started
                assert json.loads((await browser.open(f"{here}/mail?q=from:bob")).text)["items"]
            else:
                assert connected == ["google", "github", "github_app", "linear"]
                assert all(f"The app {one} cannot be connected" in started for one in ("slack", "salesforce"))
                assert "http://localhost:8000/agents" in started
                assert "GET /callback/{app}: This link cannot be used. (browser_mismatch)" in caplog.text


SCOPES: Final = {
    "google": ["gmail.readonly"],
    "slack": ["channels:read"],
    "github": ["repo"],
    "linear": ["read"],
    "salesforce": ["api"],
}


async def test_named_call_writes_once_and_repeats_its_result() -> None:
    assert "call=Call(id=request_id)" in text(WEB)
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        once, again = [
            await deputy.act("gmail_send_email", MAIL, user="alice", call=Call(id="request 7")) for _ in range(2)
        ]
        assert once == again and len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.usefixtures("in_the_web")
async def test_pages_are_mounted_in_a_starlette_application() -> None:
    async with Deputy.from_settings() as deputy:
        names = await run(block(WEB, "Starlette(routes"), {"deputy": deputy, "signed_in": lambda request: None})
        assert (await browse(names["app"], "/agents/health")).status_code == 200


async def test_application_waits_for_the_consent_and_continues() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:

        async def person() -> None:
            while not (waiting := await deputy.consents.list_pending(User("alice"))):  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(0.01)
            await consent(deputy, sandbox, waiting[0])

        at_the_link = asyncio.create_task(person())
        names = await run(
            block(WEB, "[ended] = await deputy.wait_for_consents"), {"deputy": deputy, "user": User("alice")}
        )
        await at_the_link
        assert names["ended"].status == "granted" and names["found"]["items"]


# ------------------------------------------------------------- on LangGraph Server


@pytest.mark.usefixtures("in_the_web")
async def test_pages_are_mounted_beside_langgraph_servers_api(monkeypatch: pytest.MonkeyPatch) -> None:
    code = block(SERVER, "Starlette(routes")
    [base] = re.findall(r"DEPUTIZE_BASE_URL=(https:[^,]+),", code)
    monkeypatch.setenv("DEPUTIZE_BASE_URL", base)
    names = await run(code, {"signed_in": lambda request: User("alice")})
    async with names["deputy"] as deputy:
        [asked] = await deputy.connect("alice", "google", scopes=["gmail.readonly"])
        assert asked.link.startswith(f"{base}/connect/")
        assert "Google" in (await browse(names["app"], urlsplit(asked.link).path)).text
    assert json.loads(block(SERVER, "http", "json"))["http"]["app"].endswith(":app")


async def test_scheduled_run_function_refuses_a_forged_cron_id() -> None:
    names = await run(block(SERVER, "def acting"), {})
    names["crons"]["hers"] = "alice", User("alice")

    def acting(caller: str, **configurable: str) -> User:
        server = SimpleNamespace(user=SimpleNamespace(identity=caller))
        found: User = names["acting"](RunInfo({"configurable": configurable}, SimpleNamespace(server_info=server)))
        return found

    assert acting("alice", cron_id="hers") == acting("alice") == User("alice") and acting("bob") == User("bob")
    for caller, cron in (("bob", "hers"), ("", "hers"), ("bob", "unknown"), ("", "unknown")):
        with pytest.raises(PolicyDenied):
            acting(caller, cron_id=cron)
