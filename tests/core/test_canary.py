"""No secret leaves a program that is watched by every usual means: a list of sinks, searched for every secret.

`tests.adapters.test_canary` does the same for what frameworks store, `test_frames` for more failures.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import threading
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import APP, GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.support.canary import Wiretap, files, hits
from tests.support.counterparts import require
from tests.support.lanes import sample

ROOT: Final = Path(__file__).parents[2]
SINKS: Final = (
    "home/vault.sqlite",
    "home/audit",
    "watched/log",
    "watched/frames",
    "watched/sentry",
    "watched/spans",
    "stderr",
    "processes",
    "headers",
)
"""Everything that is searched, by name prefix: all files, what reporters would send, what others receive."""
LOGGERS: Final = ("httpcore", "asyncio", "uvicorn", "deputize", "host")
"""Loggers that must have logged, since silence would prove nothing. aiohttp, httpx and Authlib log nothing of
deputize's."""
SEEN: Final = {"access_token", "refresh_token", "code", "code_verifier", "client_secret", "state", "ticket"}


class World:
    """The provider behind a recorded connection, and Alice's browser."""

    def __init__(self) -> None:
        self.sandbox = Sandbox()
        self.sandbox.switches.rotate = True
        self.sandbox.register(replace(APP, redirect_uris=("http://127.0.0.1/agents/callback/google",)))
        self.tap = Wiretap(httpx.ASGITransport(self.sandbox.app))
        self.headers = set[str]()

    @property
    def app(self) -> ASGIApp:
        async def passing(request: Request) -> Response:
            self.headers |= {f"{name}: {value}" for name, value in request.headers.items() if name != "authorization"}
            path = request.scope["raw_path"].decode() + (f"?{request.url.query}" if request.url.query else "")
            asked = httpx.Request(
                request.method, f"http://127.0.0.1{path}", headers=request.headers.raw, content=await request.body()
            )
            answer = await self.tap.handle_async_request(asked)
            headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
            return Response(answer.content, answer.status_code, headers)

        app = Starlette()
        app.add_route("/{path:path}", passing, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
        return app

    @property
    def secrets(self) -> dict[str, str]:
        """Return all secrets but tickets, which an error may contain as part of a link."""
        return {secret: kind for secret, kind in self.tap.secrets.items() if kind != "ticket"}

    @property
    def tickets(self) -> dict[str, str]:
        """Return what leads to a consent for some minutes."""
        return {secret: kind for secret, kind in self.tap.secrets.items() if kind == "ticket"}

    @staticmethod
    def logged(sinks: Mapping[str, bytes | str]) -> dict[str, bytes | str]:
        """Return the sinks that outlive a ticket, or that others read."""
        return {name: data for name, data in sinks.items() if name not in ("watched/frames", "watched/sentry")}

    async def grants(self, wish: Mapping[str, Any]) -> None:
        match wish:
            case {"open": link}:
                self.tap.secrets[link.rpartition("/")[2]] = "ticket"
                async with httpx.AsyncHTTPTransport() as network:
                    page = await Browser(Wiretap(network, self.tap.secrets)).allow(link, as_="alice@example.test")
                assert "is connected" in page.text
            case {"secret": ticket}:
                self.tap.secrets[ticket] = "ticket"
            case {"expire": True}:
                self.sandbox.expire_access_tokens()
            case {"lasting": True}:  # tokens outlive what is tried with them
                self.sandbox.switches.rotate = False
                self.sandbox.switches.faults["POST", "oauth2.googleapis.com/revoke"] = [(503, {}, {})] * 1000
            case {"fault": status}:
                tokens = [secret for secret, kind in self.tap.secrets.items() if kind.endswith("token")]
                said = json.dumps({"error": {"code": status, "message": f"Bearer {' '.join(tokens)}"}}).encode()
                self.sandbox.switches.faults["GET", "/gmail"] = [(status, {}, said)] * 4


class Processes:
    """What every account of the machine, and every process of this one, may read of a process and its children."""

    def __init__(self, pid: int) -> None:
        self._process, self._over = psutil.Process(pid), threading.Event()
        self.seen = set[str]()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            try:
                self.seen.add(repr(own := self._process.cmdline()))
                for child in self._process.children(recursive=True):
                    if (command := child.cmdline()) != own:  # else it is about to become another program
                        self.seen |= {repr(command), repr(child.environ())}
            except psutil.Error:
                continue

    def end(self) -> str:
        """Return all of it."""
        self._over.set()
        self._thread.join()
        return "\n".join(self.seen)


def settings(folder: Path, url: str, key: str) -> dict[str, str]:
    """Set the program's environment: its own secrets are there, and nowhere else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEPUTIZE_")}
    return kept | {
        "DEPUTIZE_HOME": str(folder / "home"),
        "DEPUTIZE_SANDBOX_URL": url,
        "DEPUTIZE_KEY": key,
        "DEPUTIZE_APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
        "DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
    }


async def lived(folder: Path, transport: str, world: World, key: str) -> tuple[dict[str, bytes | str], int]:
    """Return what a watched program left in every sink, and how many errors it met."""
    command = ("-m", "tests.support.watched_host", str(folder / "watched"), transport)
    errors = 0
    async with serve(world.app) as url:
        process = await create_subprocess_exec(
            sys.executable, *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, env=settings(folder, url, key)
        )
        assert process.stdin and process.stdout and process.stderr
        processes, troubles = Processes(process.pid), asyncio.create_task(process.stderr.read())
        try:
            async for line in process.stdout:
                wish = json.loads(line)
                errors = wish.get("errors", errors)
                await world.grants(wish)
                process.stdin.write(b"done\n")
            await process.wait()
        finally:
            listed = processes.end()
            if process.returncode is None:
                process.kill()
    said = await troubles
    assert process.returncode == 0, said.decode()
    sinks: dict[str, bytes | str] = {
        **files(folder),
        "stderr": said,
        "processes": listed,
        "headers": "\n".join(world.headers),
    }
    return sinks, errors


@pytest.mark.counterpart
@pytest.mark.parametrize("transport", sample(["aiohttp", "httpx"]))
async def test_L1_no_sink_of_an_application_contains_a_secret(tmp_path: Path, transport: str) -> None:
    require("OpenTelemetry's instrumentation of httpx, aiohttp and ASGI", installed(), 'pip install -e ".[test]"')
    world, key = World(), secrets.token_urlsafe(32)
    tmp_path.chmod(0o700)
    sinks, errors = await lived(tmp_path, transport, world, key)
    assert errors > 8 and world.tap.kinds() >= SEEN
    assert [sink for sink in SINKS if not any(name.startswith(sink) and data for name, data in sinks.items())] == []
    log = str(sinks["watched/log"], "utf8") if isinstance(sinks["watched/log"], bytes) else sinks["watched/log"]
    spoke = {line.partition(" ")[0].partition(".")[0] for line in log.splitlines()}
    assert spoke >= set(LOGGERS) - ({"httpcore"} if transport == "aiohttp" else set())
    assert "GET /agents/connect/-" in log and '"vars"' in str(sinks["watched/sentry"])
    arguments = {"from:bob": "argument", "Friday?": "argument"}
    assert hits(arguments, {name: sinks[name] for name in ("watched/log", "watched/spans")}) == []
    found = hits(world.secrets | {key: "root key"}, sinks) + hits(world.tickets, world.logged(sinks))
    assert found == [], "\n".join(found)
    assert not [line for line in world.headers if "alice@" in line or line.startswith(("baggage", "traceparent"))]


def installed() -> bool:
    try:
        names = ("sdk.trace", "instrumentation.httpx", "instrumentation.aiohttp_client", "instrumentation.asgi")
        return all(find_spec(f"opentelemetry.{name}") for name in names)
    except ModuleNotFoundError:
        return False
