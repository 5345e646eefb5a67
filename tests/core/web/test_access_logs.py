"""Access logs of an application's server, or of its middlewares, contain no secret of the pages' requests."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.logging import TRACE_LOG_LEVEL
from uvicorn.middleware.message_logger import MessageLoggerMiddleware

from deputize.core.errors import SettingsError
from deputize.core.shared_services import FixedPages
from deputize.core.web.ops.access_logs import LinkFilter, hide_links, remove_links
from deputize.sandbox.google import APP
from tests.core.web.web_application import World, answered, make, path_of, press
from tests.support.counterparts import require
from tests.support.replace_parts import exchange

AT = "/agents"
TICKET = "3q2-7wAAAAAAcanary_canaryAAAAAAAAAAAAAAAAAAA"


class Noted:
    """Wraps an application and reads each scope: before it, when a response begins, and when it has ended."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.before, self.later = list[str](), list[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Any) -> None:
            self.later.append(repr(scope))
            await send(message)

        self.before.append(repr(scope))
        await self.app(scope, receive, sent)
        self.later.append(repr(scope))


async def walk(world: World) -> list[str]:
    """Connect Alice's account. Return what nobody else may read: ticket, code and state."""
    asked = await world.asked()
    url, jar = await press(world, asked)
    back = await answered(world, url)
    refused = await world.send("GET", f"{path_of(asked)}?return_to=/canary-query", user="alice")
    landed = await world.send(
        "GET", back, user="alice", cookies=jar, headers={"referer": f"{world.base}{path_of(asked)}"}
    )
    assert (landed.status_code, refused.status_code) == (303, 403)
    assert (await world.status(asked))[0] == "granted"
    query = httpx.URL(back).params
    return [asked.link.rpartition("/")[2], query["code"], query["state"], "canary-query"]


def none_in(secrets: list[str], noted: list[str]) -> bool:
    return bool(noted) and not any(secret in line for secret in secrets for line in noted)


async def test_middleware_sharing_the_scope_logs_no_ticket_code_or_state(world: World) -> None:
    world.app = noted = Noted(world.app)
    assert none_in(await walk(world), noted.later)


def fastapi_with(pages: ASGIApp) -> ASGIApp:
    """Return an application with a middleware of the kind that wraps requests."""

    async def passing(request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        return await call_next(request)

    app = FastAPI()
    app.mount(AT, pages)
    app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    return app


def starlette_with(pages: ASGIApp) -> ASGIApp:
    return Starlette(routes=[Mount(AT, pages)])


async def mounted(host: Callable[[ASGIApp], ASGIApp]) -> World:
    world = await make()
    base = world.base + AT
    world.deputy.pages = FixedPages(base)
    exchange(world.deputy, pages=world.deputy.pages)
    world.sandbox.register(replace(APP, redirect_uris=(f"{base}/callback/google",)))
    world.app = host(world.app)
    return world


@pytest.mark.parametrize("host", [starlette_with, fastapi_with])
async def test_middleware_around_mounted_pages_logs_no_ticket_code_or_state(host: Callable[[ASGIApp], ASGIApp]) -> None:
    world = await mounted(host)
    world.app = noted = Noted(world.app)
    assert none_in(await walk(world), noted.later)


async def test_middleware_inside_a_wrapped_application_never_sees_secrets() -> None:
    world = await mounted(starlette_with)
    between = Noted(world.app)
    world.app = outside = Noted(hide_links(between, AT))
    secrets = await walk(world)
    assert none_in(secrets, between.before) and none_in(secrets, between.later) and none_in(secrets, outside.later)
    assert f"{AT}/connect/-" in between.before[0]


@pytest.mark.parametrize("at", ["", AT])
async def test_middleware_with_a_proxy_root_path_sees_no_secrets(at: str) -> None:
    """``uvicorn --root-path /proxied``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(repr(scope))

    seen: list[str] = []
    for path in (f"/proxied{at}/connect/{TICKET}", f"{at}/connect/{TICKET}"):
        scope: Any = {"type": "http", "path": path, "raw_path": path.encode(), "headers": [], "root_path": "/proxied/"}
        await hide_links(app, at)(scope | {"query_string": b"code=canary-code"}, None, None)  # type: ignore[arg-type]
    assert none_in([TICKET, "canary-code"], seen)
    own: Any = {"type": "http", "path": "/proxied/mine", "query_string": b"a=1", "headers": [], "root_path": "/proxied"}
    await hide_links(app, AT)(own, None, None)  # type: ignore[arg-type]
    assert "/proxied/mine" in seen[-1] and "a=1" in seen[-1]


async def test_application_path_is_left_unchanged() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["path"], scope["query_string"]))

    seen: list[Any] = []
    for path in ("/connect/mine", "/agentsy/connect/x"):
        scope: Any = {"type": "http", "path": path, "query_string": b"a=1", "headers": []}
        await hide_links(app, AT)(scope, None, None)  # type: ignore[arg-type]
    await hide_links(app, AT)({"type": "lifespan", "path": "", "query_string": b""}, None, None)  # type: ignore[arg-type]
    assert seen == [("/connect/mine", b"a=1"), ("/agentsy/connect/x", b"a=1"), ("", b"")]
    with pytest.raises(SettingsError, match="agents/"):
        hide_links(app, "/agents/")


@asynccontextmanager
async def uvicorn_of(app: ASGIApp, line: socket.socket) -> AsyncIterator[None]:
    """Return uvicorn with its access log, but without its signal handlers."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
    task = asyncio.create_task(server._serve([line]))
    try:
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def line() -> Iterator[socket.socket]:
    """A socket that listens on loopback: requests before a server is there wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as line:
        line.setblocking(False)
        yield line


async def ask(there: tuple[str, int], paths: list[str]) -> list[int]:
    async with httpx.AsyncClient(base_url=f"http://{there[0]}:{there[1]}") as client:
        return [(await client.get(path)).status_code for path in paths]


async def local_paths(world: World) -> tuple[list[str], list[str]]:
    """Return the addresses of local mode, and the secrets in them."""
    asked = await world.asked()
    callback = "/callback/google?code=canary-code&state=canary-state"
    return [path_of(asked), f"/me/{TICKET}/connections", callback], [asked.link.rpartition("/")[2], TICKET, "canary-"]


async def test_uvicorn_access_log_contains_no_secrets(
    line: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):  # other servers of this process have set them
        caplog.set_level(logging.DEBUG, name)
        monkeypatch.setattr(logging.getLogger(name), "handlers", [caplog.handler])
        monkeypatch.setattr(logging.getLogger(name), "propagate", False)
    world = await make(local=True)
    paths, secrets = await local_paths(world)
    async with uvicorn_of(world.app, line):
        assert await ask(line.getsockname(), paths) == [303, 403, 303]
    lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert [line.split('"')[1] for line in lines] == [
        "GET /connect/- HTTP/1.1",
        "GET /me/-/connections HTTP/1.1",
        "GET /callback/google HTTP/1.1",
    ]
    assert none_in(secrets, [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")])


@pytest.mark.counterpart
async def test_hypercorn_access_log_contains_no_secrets(line: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    require("Hypercorn", find_spec("hypercorn") is not None, 'pip install -e ".[test]"')
    serve, config = import_module("hypercorn.asyncio").serve, import_module("hypercorn.config").Config()
    caplog.set_level(logging.DEBUG)
    world, end = await make(local=True), asyncio.Event()
    paths, secrets = await local_paths(world)
    there = line.getsockname()
    config.bind, config.accesslog = [f"fd://{line.detach()}"], logging.getLogger("access")
    config.access_log_format = "%(R)s %(f)s"
    serving = asyncio.create_task(serve(world.app, config, shutdown_trigger=end.wait))
    assert await ask(there, paths) == [303, 403, 303]
    end.set()
    await serving
    lines = [record.getMessage() for record in caplog.records if record.name == "access"]
    assert len(lines) == 3 and none_in(secrets, lines)


# ------------------------------------------------------------- what the scope does not reach


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"GET /agents/connect/{TICKET}?return_to=/ HTTP/1.1", "GET /agents/connect/-?return_to=/ HTTP/1.1"),
        (f"https://a.example/me/{TICKET}/approve/x", "https://a.example/me/-/approve/x"),
        ('"GET /callback/google?code=a&state=b HTTP/2" 303', '"GET /callback/google HTTP/2" 303'),
        (f"'path': '/connect/{TICKET}', 'x': 1", "'path': '/connect/-', 'x': 1"),
        ("GET /me/settings /connect/short", "GET /me/settings /connect/short"),
    ],
)
def test_remove_links_keeps_everything_except_the_secret_part(text: str, shown: str) -> None:
    assert remove_links(text) == shown


class Odd:
    def __str__(self) -> str:
        return f"/connect/{TICKET}"


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ('%s - "%s %s HTTP/%s" %d', ("1.2.3.4:5", "GET", f"/connect/{TICKET}", "1.1", 200)),
        ("%(r)s %(f)s", ({"r": f"GET /callback/google?code={TICKET}", "f": f"https://a/connect/{TICKET}"},)),
        (f"/connect/{TICKET}", ()),
        ("%s", (Odd(),)),
    ],
)
def test_log_filter_covers_every_record_form(
    message: str, args: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    logger, links = logging.getLogger("some.access"), LinkFilter()
    logger.addFilter(links)
    try:
        logger.warning(message, *args)
    finally:
        logger.removeFilter(links)
    [record] = caplog.records
    assert TICKET not in record.getMessage() and TICKET not in repr(record.args) and "/" in record.getMessage()
    assert len(args) != 5 or len(record.args or ()) == 5, "uvicorn's formatter wants five"


@pytest.mark.counterpart
def test_gunicorn_access_log_contains_no_secrets_with_the_filter(caplog: pytest.LogCaptureFixture) -> None:
    require("gunicorn", find_spec("gunicorn") is not None, 'pip install -e ".[test]"')
    config = import_module("gunicorn.config").Config()
    config.set("accesslog", "-")
    logger = import_module("gunicorn.glogging").Logger(config)
    logger.access_log.propagate = True
    logger.access_log.addFilter(LinkFilter())
    for uri in (f"/connect/{TICKET}", f"/callback/google?code={TICKET}&state=canary"):
        path, _, query = uri.partition("?")
        environ = {
            "REQUEST_METHOD": "GET",
            "RAW_URI": uri,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_REFERER": f"https://a.example/connect/{TICKET}",
        }
        took = SimpleNamespace(seconds=0, microseconds=1)
        logger.access(SimpleNamespace(status="200 OK", headers=[], sent=1), SimpleNamespace(headers=[]), environ, took)
    assert len(caplog.records) == 2
    assert none_in([TICKET], [record.getMessage() for record in caplog.records])


async def test_uvicorn_trace_log_contains_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Nothing: the scope is logged before."""

    hides = LinkFilter()
    traced = MessageLoggerMiddleware(app)  # type: ignore[arg-type]
    traced.logger.addFilter(hides)
    caplog.set_level(TRACE_LOG_LEVEL, traced.logger.name)
    for path in (f"{AT}/callback/google", f"{AT}/connect/{TICKET}", "/mine"):
        query = b"code=canary-code&state=it's" if "callback" in path else b"a=1"
        scope: Any = {"type": "http", "path": path, "raw_path": path.encode(), "query_string": query}
        await traced(scope, None, None)  # type: ignore[arg-type]
    traced.logger.removeFilter(hides)
    assert none_in([TICKET, "canary-code", "it's"], caplog.messages) and "a=1" in caplog.text
