"""The sandbox as an httpx transport in this process: it takes production URLs and opens no socket."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

import anyio
import httpx

from deputize.sandbox.asgi import Play
from deputize.sandbox.http_types import Ask, read_query

MOVED_HOST = "sandbox.example.test"


class SandboxTransport(httpx.AsyncBaseTransport):
    """Serves https URLs of the simulated hosts, and those moved below a loopback address or `MOVED_HOST`.

    Works in any number of event loops and threads at once. Other URLs raise `httpx.ConnectError`.
    """

    def __init__(self, play: Play, hosts: Collection[str]) -> None:
        self._play = play
        self._hosts = hosts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Handle one request. Raise `httpx.ReadError` if its reply gets lost."""
        host, path, base = self._locate(request)
        body = await request.aread()
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = read_query(request.url.query.decode("ascii"))
        outcome = self._play(Ask(request.method, host, path, query, headers, body, base))
        if outcome.delay:
            await anyio.sleep(outcome.delay)
        if outcome.reply is None:
            raise httpx.ReadError("the connection broke before the reply", request=request)
        reply = outcome.reply
        return httpx.Response(reply.status, headers=list(reply.headers), content=reply.body, request=request)

    def _locate(self, request: httpx.Request) -> tuple[str, str, str]:
        """Return the simulated host, its path, and the address below which it was moved, or ""."""
        url = request.url
        path = url.raw_path.decode("ascii").partition("?")[0]
        if url.host in self._hosts and url.scheme == "https" and url.port is None:
            return url.host, path, ""
        host, slash, rest = path.lstrip("/").partition("/")
        if host in self._hosts and (url.host == MOVED_HOST or _loopback(url.host)):
            return host, slash + rest, f"{url.scheme}://{url.netloc.decode('ascii')}"
        raise httpx.ConnectError(f"the sandbox does not play {url.scheme}://{url.host}", request=request)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
