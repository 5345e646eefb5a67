"""aiohttp's connections behind httpx's interface, if aiohttp is installed (the extra ``fast``)."""

from __future__ import annotations

import asyncio
import functools
import io
import select
import ssl
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

import httpx

from deputize.core.errors import SettingsError

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.tracing import Trace

from deputize.core.http.request import is_untouched
from deputize.core.http.uninstrumented import remove_added

_allowed_headers: ContextVar[frozenset[str]] = ContextVar("_allowed_headers", default=frozenset())
"""Header names of the request that this task is sending: no others may be sent."""


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class FastTransport(httpx.AsyncBaseTransport):
    """aiohttp's connections behind httpx's interface, with httpx's behaviour: each request once, without changes.

    No cookies, no proxy, no redirect, no retry. Belongs to the event loop that first uses it. ``tls``: trusted
    certificates instead of httpx's defaults. ``keep_alive``: True to reuse connections. Raises `ImportError` if aiohttp
    is missing.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, keep_alive: bool = True) -> None:
        import aiohttp
        import yarl

        self._aiohttp, self._parse = aiohttp, yarl.URL
        self._limits = functools.lru_cache(maxsize=64)(aiohttp.ClientTimeout)
        self._tls, self._keep_alive = tls, keep_alive
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response once its head has arrived. Raises httpx's transport exceptions."""
        head = await self.start(request)
        return httpx.Response(head.status, headers=head.raw_headers, stream=_Body(head))

    async def start(self, request: httpx.Request) -> aiohttp.ClientResponse:
        """Send a request like `handle_async_request`, but return aiohttp's response object."""
        url, headers, body = await _parts(request)
        limits = request.extensions.get("timeout", {})
        _allowed_headers.set(frozenset(name.lower() for name, _ in headers))
        try:
            return await (self._session or self._open()).request(
                request.method,
                self._parse(url, encoded=True),
                headers=headers,
                data=(io.BytesIO(body) if len(body) > 2**20 else body) if body else None,
                allow_redirects=False,
                server_hostname=request.extensions.get("sni_hostname"),
                timeout=self._limits(
                    connect=limits.get("pool"), sock_connect=limits.get("connect"), sock_read=limits.get("read")
                ),
            )
        except Exception as error:
            raise _as_httpx_error(error) from error

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        client = self._aiohttp
        session: aiohttp.ClientSession = client.ClientSession(
            connector=_connector()(
                ssl=self._tls or _tls(),
                limit=100,
                resolver=client.ThreadedResolver(),
                force_close=not self._keep_alive,
            ),
            cookie_jar=client.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_field_size=2**16,
            max_line_size=2**16,
            skip_auto_headers=("Content-Type", "Accept", "Accept-Encoding", "User-Agent"),
        )
        if not hasattr(session, "_retry_connection"):
            session.detach()
            raise SettingsError(f"aiohttp {client.__version__} is not known to send once: install another version.")
        session._retry_connection = False  # no public switch. If on, a lost PUT, DELETE or GET would be sent again
        session._trace_configs = []  # tracers add theirs to every session, and would log each URL with its query
        self._session = session
        return session


async def _parts(request: httpx.Request) -> tuple[str, Sequence[tuple[str, str]], bytes]:
    """Return URL, headers and body in aiohttp's types."""
    if is_untouched(request):
        return request.written, request.given, request.body
    url = request.url if not request.url.userinfo else request.url.copy_with(userinfo=b"")
    # Chunks were for a stream; the body is sent whole, with its length.
    headers = [(k.decode(), v.decode()) for k, v in request.headers.raw if k.lower() != b"transfer-encoding"]
    return str(url), headers, await request.aread()


class _Body(httpx.AsyncByteStream):
    def __init__(self, head: aiohttp.ClientResponse) -> None:
        self._head = head

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            part = await self._head.content.readany()
        except Exception as error:
            raise _as_httpx_error(error) from error
        if not part:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        if not self._head.closed:  # a connection not read to the end cannot be used again
            self._head.close()


@functools.cache
def _connector() -> type[aiohttp.TCPConnector]:
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        """A connector that skips idle connections which the server closed while the loop was busy, because a write
        would be lost. It also removes headers that are not in the request."""

        async def connect(
            self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
        ) -> aiohttp.connector.Connection:
            remove_added(req.headers, _allowed_headers.get())
            for _ in range(3):
                connection = await super().connect(req, traces, timeout)
                if not _is_closed_by_peer(connection.transport):
                    return connection
                connection.close()
                await asyncio.sleep(0)  # lets the loop notice others in the pool that were probably closed, too
            return await super().connect(req, traces, timeout)

    return Connector


def _is_closed_by_peer(transport: asyncio.Transport | None) -> bool:
    line = transport.get_extra_info("socket") if transport else None
    if line is None:
        return False
    poll = select.poll()
    poll.register(line.fileno(), getattr(select, "POLLRDHUP", 0))  # hang-ups and errors are always reported
    return bool(poll.poll(0))


@functools.cache
def _table() -> tuple[tuple[type[Exception], type[httpx.TransportError]], ...]:
    import aiohttp

    return (  # the first match wins
        (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
        (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
        (aiohttp.ClientConnectorError, httpx.ConnectError),  # refused, unknown host, TLS: nothing was sent
        (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
        (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
        (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),  # from here on it may have been sent
        (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
        (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
        (aiohttp.ClientError, httpx.ReadError),
        (TimeoutError, httpx.ReadTimeout),
        (OSError, httpx.ReadError),
        (ValueError, httpx.LocalProtocolError),  # a line break in a header
    )


def _as_httpx_error(error: Exception) -> Exception:
    """Return the exception that httpx's own transport would raise, or the same one if it is no network error."""
    for aiohttp_error, httpx_error in _table():
        if isinstance(error, aiohttp_error):
            return httpx_error(type(error).__name__)
    return error
