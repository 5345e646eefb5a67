"""npm `emulate` as a subprocess, and its services at the providers' own addresses.

    with Emulate("google", "slack") as emulate:
        transport = Production(emulate.urls)      # an httpx transport: https://gmail.googleapis.com/... is answered

`Production` adds nothing to emulate's answers but the addresses. emulate takes any unknown token for its first user and
checks few scopes: what tests rely on stands in `tests.support.strict_emulate`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import anyio.to_thread
import httpx

from tests.support.counterparts import EMULATE_HOME, node

SERVICES: Final = ("google", "github", "slack", "linear", "okta")
BOBS_SECRET: Final = "xylophone-of-bob"  # in Bob's mail, calendar and repository; alice's agent must never see it
SECONDS_TO_ANSWER: Final = 30.0


class OAuthClient(NamedTuple):
    """The OAuth client that the seed registers at a service."""

    id: str
    secret: str


class Emulate:
    """The named services, for the length of a with block; `urls` are their addresses on this machine.

    Args:
        services: one or several of SERVICES; none named: all of them.
        redirect_uris: registered at every client beside those of the seed; emulate compares them with port and path.
    """

    def __init__(self, *services: str, redirect_uris: Sequence[str] = ()) -> None:
        self.services = services or SERVICES
        self.urls: dict[str, str] = {}
        self._redirect_uris = redirect_uris

    def __enter__(self) -> Self:
        binary = node()
        assert binary, "no Node; require_emulate() tells the reader"
        self._process = subprocess.Popen(
            [binary, str(Path(__file__).with_name("launcher.mjs")), str(EMULATE_HOME), *self.services],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ.get("PATH", os.defpath)},  # emulate takes its own address from other variables
        )
        try:
            self.urls = {service: str(url) for service, url in self._ask(_seed(self._redirect_uris)).items()}
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # the launcher ends with its stdin
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def reset(self) -> None:
        """Replay the seed. emulate keeps tokens issued before: start it again for an empty token store."""
        self._ask({"reset": True})

    def _ask(self, line: object) -> dict[str, Any]:
        """Return the launcher's answer to one line; emulate prints its own warnings in between."""
        assert self._process.stdin and self._process.stdout
        watchdog = threading.Timer(SECONDS_TO_ANSWER, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
            answer = next((said for said in self._process.stdout if said.startswith("{")), None)
        finally:
            watchdog.cancel()
        assert answer, f"emulate ended with status {self._process.wait()}"
        return dict(json.loads(answer))


def oauth_client(service: str) -> OAuthClient:
    """Return the confidential client of a service."""
    client = next(_clients(_seed()[service]))
    return OAuthClient(client["client_id"], client["client_secret"])


def _seed(redirect_uris: Sequence[str] = ()) -> dict[str, Any]:
    seed: dict[str, Any] = json.loads(Path(__file__).with_name("seed.json").read_text())
    for service in SERVICES:
        for client in _clients(seed[service]):
            client["redirect_uris"] += redirect_uris
    return seed


def _clients(seed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from seed.get("oauth_clients", seed.get("oauth_apps", ()))


class Route(NamedTuple):
    """A path at a provider, or everything below it if it ends with a slash, and its counterpart at emulate."""

    host: str
    path: str
    service: str
    target: str


ROUTES: Final = (
    Route("accounts.google.com", "/o/oauth2/v2/auth", "google", "/o/oauth2/v2/auth"),
    Route("accounts.google.com", "/o/oauth2/v2/auth/", "google", "/o/oauth2/v2/auth/"),
    Route("accounts.google.com", "/.well-known/openid-configuration", "google", "/.well-known/openid-configuration"),
    Route("oauth2.googleapis.com", "/token", "google", "/oauth2/token"),
    Route("oauth2.googleapis.com", "/revoke", "google", "/oauth2/revoke"),
    Route("openidconnect.googleapis.com", "/v1/userinfo", "google", "/oauth2/v2/userinfo"),
    Route("www.googleapis.com", "/oauth2/v3/certs", "google", "/oauth2/v3/certs"),
    Route("www.googleapis.com", "/calendar/", "google", "/calendar/"),
    Route("www.googleapis.com", "/drive/", "google", "/drive/"),
    Route("www.googleapis.com", "/upload/drive/", "google", "/upload/drive/"),
    Route("gmail.googleapis.com", "/gmail/", "google", "/gmail/"),
    Route("gmail.googleapis.com", "/upload/gmail/", "google", "/upload/gmail/"),
    Route("github.com", "/login/oauth/", "github", "/login/oauth/"),
    Route("api.github.com", "/", "github", "/"),
    Route("slack.com", "/", "slack", "/"),
    Route("api.linear.app", "/graphql", "linear", "/graphql"),
    Route("api.linear.app", "/oauth/", "linear", "/oauth/"),
    Route("linear.app", "/", "linear", "/"),
    Route("okta.example.test", "/", "okta", "/"),
)
ISSUERS: Final = {"google": "https://accounts.google.com"}
GITHUB_PAGES: Final = {
    "html_url",
    "clone_url",
    "diff_url",
    "patch_url",
}  # on github.com, all other links on its API host


class Place(NamedTuple):
    """The target of a request: a raw path, in which an encoded slash stays encoded."""

    service: str
    path: str
    target: str


def place(request: httpx.Request) -> Place:
    """Return the emulated target of a provider's address.

    Raises `httpx.ConnectError` for any other, so nothing leaves the machine.
    """
    url, path = request.url, raw_path(request)
    for route in ROUTES if url.scheme == "https" and url.port is None else ():
        if url.host == route.host and (rest := _below(route.path, path)) is not None:
            return Place(route.service, path, route.target + rest)
    raise httpx.ConnectError(f"no counterpart for {url.scheme}://{url.netloc.decode()}{path}", request=request)


def raw_path(request: httpx.Request) -> str:
    """Return the path as sent, without its query."""
    return request.url.raw_path.partition(b"?")[0].decode("ascii")


def _below(start: str, path: str) -> str | None:
    """Return the rest of a path after a route's path, or None if the route does not cover it."""
    if path == start or (start.endswith("/") and path.startswith(start)):
        return path[len(start) :]
    return None


class Production(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """An httpx transport that answers the providers' addresses from emulate.

    Serves sync and async clients, in any number of threads and event loops at once; holds no connection open. The async
    side runs in a thread, so that cancelling the caller leaves the service to finish, as in production.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = dict(urls)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await anyio.to_thread.run_sync(self.handle_request, request, abandon_on_cancel=True)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._forward(place(request), request)

    def _forward(self, to: Place, request: httpx.Request) -> httpx.Response:
        """Send one request to emulate with the standard library's client, which logs nothing."""
        advertised = self._urls[to.service]
        query = request.url.query.decode("ascii")
        address = urlsplit(advertised)
        headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_CALLERS_WIRE}
        headers["host"] = address.netloc  # GitHub's Link headers name the host that was asked
        wire = http.client.HTTPConnection("127.0.0.1", address.port, timeout=SECONDS_TO_ANSWER)
        with contextlib.closing(wire):
            wire.request(
                request.method, f"{to.target}?{query}" if query else to.target, request.content or None, headers
            )
            answer = wire.getresponse()
            content, told = answer.read(), answer.getheaders()
        links = Links(to.service, advertised)
        kept = [(name, links.in_text(value)) for name, value in told if name.lower() not in _OF_EMULATES_WIRE]
        if "json" in answer.headers.get_content_type() and advertised.encode() in content:
            content = json.dumps(links.in_json(json.loads(content))).encode()
        return httpx.Response(answer.status, headers=kept, content=content, request=request)


_OF_THE_CALLERS_WIRE: Final = {"host", "accept-encoding", "connection", "transfer-encoding"}
_OF_EMULATES_WIRE: Final = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Links:
    """Replacement of emulate's links to itself by the provider's."""

    def __init__(self, service: str, advertised: str) -> None:
        self._service = service
        self._link = re.compile(re.escape(advertised) + r"([^\s\"<>;,]*)")

    def in_text(self, text: str, key: str = "") -> str:
        """Return the value of a header or JSON member; the member's key distinguishes GitHub's pages from its API."""
        return self._link.sub(lambda found: self._public(found[1], key), text)

    def in_json(self, value: Any, key: str = "") -> Any:
        """Return the same value with every string that is a link replaced; links inside longer texts are content."""
        if isinstance(value, dict):
            return {name: self.in_json(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self.in_json(one, key) for one in value]
        if isinstance(value, str) and self._link.fullmatch(value):
            return self.in_text(value, key)
        return value

    def _public(self, link: str, key: str) -> str:
        if not link and self._service in ISSUERS:
            return ISSUERS[self._service]
        if key in GITHUB_PAGES:
            return "https://github.com" + link
        path = link.partition("?")[0]
        for route in ROUTES:
            if route.service == self._service and (rest := _below(route.target, path)) is not None:
                return f"https://{route.host}{route.path}{rest}{link[len(path) :]}"
        raise AssertionError(f"emulate links to a place that no route names: {path}")
