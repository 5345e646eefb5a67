"""npm `oidc-provider` as a subprocess: a certified OpenID Connect server, and people who sign in there.

    with OidcProvider() as server:
        transport = server.transport          # https://plain.op.test/... and all of op.test is answered
        await Person(server, "alice").visit(url)

Which issuers and clients there are stands in `tests/counterparts/oidc_provider/server.mjs`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import urlencode, urljoin

import httpx
from joserfc.jwk import ECKey

from deputize.core import (
    App,
    Consent,
    Deputy,
    Effect,
    Provider,
    Request,
    Run,
    Secret,
    Steps,
    Toolkit,
    allow_all,
    any_of,
)
from deputize.core.background_loop import portal
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.oauth.app import Source
from deputize.core.oauth.client_key import ClientKey
from deputize.core.oauth.discover import discover
from deputize.core.policy.policy import Policy
from tests.support.counterparts import CHECKOUT, OIDC_PROVIDER_HOME, node
from tests.support.sandbox_deputy import PAGES, build, new_vault, public_names
from tests.support.strict_emulate import forms

SERVER: Final = CHECKOUT / "tests" / "counterparts" / "oidc_provider" / "server.mjs"
SECONDS_TO_ANSWER: Final = 30.0
READ, WRITE = "api:read", "api:write"

notes = Toolkit("notes", provider="op")


@notes.tool(needs=[any_of(READ)])
def count_notes() -> Steps:
    """How many notes have I, and who am I?"""
    found = yield Request("GET", "/notes")
    return found


@notes.tool(needs=[any_of(WRITE)], effect=Effect.WRITES, shows=False)
def write_note(text: str, *, run: Run) -> Steps:
    """Write a note."""
    made = yield Request("POST", "/notes", json={"key": run.key.uuid, "text": text}, repeat="idem")
    return made


@cache
def client_key() -> ClientKey:
    """Return the key with which the clients `signs` and `boundsigns` authenticate."""
    made = ECKey.generate_key("P-256", {"kid": "of-the-client"}, private=True)
    return ClientKey(Secret(json.dumps(made.as_dict(private=True))), "ES256", "of-the-client")


class OidcProvider:
    """The server, for the length of a with block."""

    def __init__(self) -> None:
        self.port = 0
        public = ECKey.import_key(json.loads(client_key().jwk.reveal())).as_dict(private=False)
        self._given = {"pages": PAGES, "jwks": {"keys": [public]}}

    @classmethod
    def at(cls, port: int) -> Self:
        """Return the server that another process has started."""
        running = cls()
        running.port = port
        return running

    def __enter__(self) -> Self:
        binary = node()
        assert binary, "no Node; require_oidc_provider() tells the reader"
        self._process = subprocess.Popen(
            [binary, str(SERVER), str(OIDC_PROVIDER_HOME)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
        assert self._process.stdin and self._process.stdout
        watchdog = threading.Timer(SECONDS_TO_ANSWER, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps(self._given) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            assert line, f"oidc-provider ended with status {self._process.wait()}"
            self.port = int(json.loads(line)["port"])
        except BaseException:
            self.__exit__()
            raise
        finally:
            watchdog.cancel()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # it ends with its stdin
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def transport(self) -> AtHome:
        """Return a transport that finds op.test on this machine."""
        return AtHome(self.port)

    def keep_alive(self) -> AtHome:
        """Return the same for many requests; the caller closes it."""
        return AtHome(self.port, keep_alive=50)

    def alive(self, issuer: str, user: str = "") -> dict[str, list[dict[str, str]]]:
        """Return what is still valid at an issuer, of one user or all: lists of refresh and access tokens, grants."""
        whole = self._asked("alive")[issuer]
        return {kind: [one for one in rows if user in ("", one["user"])] for kind, rows in whole.items()}

    def events(self) -> dict[str, int]:
        """Return how often it has answered what, since it was started."""
        return self._asked("events")

    def logouts(self) -> list[dict[str, str]]:
        """Return the requests by which it has notified clients of sign-outs, since it was started."""
        return list(self._asked("logouts")["logouts"])

    def person(self, name: str, *groups: str, acr: str = "") -> None:
        """Set the groups of a person at the issuers of tenants, and the ``acr`` of the person's next sign-ins there."""
        given = {"name": name} | ({"groups": ",".join(groups)} if groups else {}) | ({"acr": acr} if acr else {})
        self._asked(f"person?{urlencode(given)}")

    def _asked(self, what: str) -> dict[str, Any]:
        answer = httpx.get(f"http://127.0.0.1:{self.port}/{what}", headers={"host": "control.op.test"})
        return dict(answer.raise_for_status().json())


class AtHome(httpx.AsyncBaseTransport):
    """A transport that sends requests for op.test to a port of this machine, as a TLS-terminating proxy would."""

    def __init__(self, port: int, *, keep_alive: int = 0) -> None:
        self._place = httpx.URL(f"http://127.0.0.1:{port}")
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=keep_alive, keepalive_expiry=30.0)
        self._wire = httpx.AsyncHTTPTransport(limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if not url.host.endswith(".op.test") or url.scheme != "https" or url.port:
            raise httpx.ConnectError(f"no counterpart for {url.scheme}://{url.netloc.decode()}", request=request)
        headers = [*request.headers.raw, (b"x-forwarded-proto", b"https")]
        place = self._place.copy_with(raw_path=url.raw_path)
        sent = httpx.Request(request.method, place, headers=headers, content=request.content)
        sent.extensions = {"timeout": request.extensions["timeout"]} if "timeout" in request.extensions else {}
        return await self._wire.handle_async_request(sent)

    async def aclose(self) -> None:
        await self._wire.aclose()


class Person:
    """A person with a browser that remembers where they are signed in."""

    def __init__(self, server: OidcProvider, name: str) -> None:
        self.name = name
        self.browser = httpx.AsyncClient(transport=server.transport())

    async def visit(self, url: str) -> dict[str, str]:
        """Follow the server's pages, signing in and approving; return what comes back to our pages."""
        place = await self._follow(url, {"login": self.name, "password": "any"})
        assert place.startswith(PAGES), "the server's pages lead nowhere"
        return dict(httpx.URL(place).params)

    async def enter(self, url: str, code: str) -> None:
        """Enter a device code at the server, signing in and approving."""
        place = await self._follow(url, {"login": self.name, "password": "any", "user_code": code})
        assert not place.startswith(PAGES)

    async def _follow(self, url: str, knows: dict[str, str]) -> str:
        """Fill in the server's forms with known values; return the first page that is ours, or has no form."""
        request = self.browser.build_request("GET", url)
        for _ in range(20):
            answer = await self.browser.send(request)
            if answer.is_redirect:
                target = urljoin(str(request.url), answer.headers["location"])
                if target.startswith(PAGES):
                    return target
                request = self.browser.build_request("GET", target)
                continue
            assert answer.status_code == 200, f"{request.url.host} answered {answer.status_code}: {answer.text[:300]}"
            found = forms(answer.text)
            if not found:
                break
            filled = found[0].fields | {name: value for name, value in knows.items() if name in found[0].fields}
            request = self.browser.build_request("POST", urljoin(str(request.url), found[0].action), data=filled)
        return str(request.url)

    async def consent(self, deputy: Deputy, consent: Consent) -> Consent:
        """Walk a consent to its end; return how it ended."""
        started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
        back = await self.visit(started.url)
        await deputy.consents.finish(consent.app, back, AnyLocalUser(), started.nonce.reveal())
        ended = await deputy.consents.status(consent.id)
        assert ended is not None
        return ended

    async def connect(self, deputy: Deputy, *scopes: str, app: str = "", **more: Any) -> None:
        """Consent to everything requested for these scopes; more of them each time is a step-up."""
        for one in await deputy.connect(self.name, "op", scopes=scopes, app=app, **more):
            ended = await self.consent(deputy, one)
            assert ended.status == "granted", (ended.status, ended.reason_code)


def app_of(client: str, **more: Any) -> App:
    """Return a client that the server knows."""
    if client.endswith("signs"):
        return App("op", client, None, client, key=client_key(), **more)
    secret = None if client.endswith("native") else Secret(f"{client}-secret-{client}-secret-32")
    return App("op", client, secret, client, **more)


@asynccontextmanager
async def deputy_for(
    server: OidcProvider,
    *clients: str,
    issuer: str = "plain",
    path: Path | None = None,
    key: bytes = b"",
    sources: Mapping[str, Source] = MappingProxyType({}),
    policy: Policy = allow_all,
    **more: Any,
) -> AsyncIterator[Deputy]:
    """Build a deputy whose apps are these clients of an issuer, on a vault in memory or at ``path``.

    ``sources``: grant sources of some apps.
    """
    row = await found(server, issuer, dpop=issuer == "dpop")
    deputy = await build(
        vault=await new_vault(path, key or None),
        transport=server.keep_alive,
        apps=[app_of(client, source=sources.get(client)) for client in clients],
        providers={"op": row},
        toolkits=[notes],
        policy=policy,
        **more,
    )
    try:
        async with deputy:
            yield deputy
    finally:
        await portal().hop(deputy.http.close)  # what refreshes have left open there


async def found(server: OidcProvider, issuer: str, **more: Any) -> Provider:
    """Return an issuer from its own metadata."""
    return await discover(
        f"https://{issuer}.op.test",
        name="op",
        label="The server",
        api={"notes": f"https://api.op.test/{issuer}"},
        transport=server.transport(),
        resolve=public_names,
        resource="https://api.op.test/resource" if issuer == "resource" else "",
        **more,
    )
