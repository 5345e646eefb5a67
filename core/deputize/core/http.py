"""Every request of ours leaves here: one pooled transport for each event loop, and nothing kept between two users.

An `httpx.Request` goes in, a fully read `httpx.Response` comes out. There is no client object in between, so there is
no cookie jar, no redirect, no default header, no proxy or login from the environment and no log line with a URL in it,
and a call costs a fraction of one. Whatever goes wrong is a `ProviderUnavailable` that says whether the request may
have arrived.
"""

from __future__ import annotations

import asyncio
import functools
import io
import re
import select
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import httpx

from deputize.core.errors import DeputizeError, InvalidInput, ProviderUnavailable, SettingsError

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.tracing import Trace

Transport: TypeAlias = httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport]


class Http:
    """Sends requests over one transport for each running event loop.

    ``transport``: None takes aiohttp where it is installed (the extra ``fast``), else httpx's own. A factory makes one
    for each loop, closed when the loop ends, or by `close`. An instance is used from every loop as it is.
    ``keep_alive``: whether our own keeps connections for later requests.
    """

    def __init__(self, transport: Transport | None = None, *, keep_alive: bool = True) -> None:
        self._shared = transport if isinstance(transport, httpx.AsyncBaseTransport) else None
        own = functools.partial(_default, keep_alive)
        self._make = own if transport is None or isinstance(transport, httpx.AsyncBaseTransport) else transport
        self._leases: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lease] = WeakKeyDictionary()
        self._guard = Lock()

    async def send(
        self, request: httpx.Request, *, timeout: float = 20.0, max_bytes: int = 10 * 2**20, address: str = ""
    ) -> httpx.Response:
        """The whole answer, of any status, within ``timeout`` seconds and ``max_bytes`` (on the wire, and unpacked).

        ``address``: the IP address to connect to, whatever the host's name leads to by now; our own transports and
        httpx's keep to it, others connect as they like. A content encoding of gzip or deflate is undone. The response
        knows nothing of its request. Raises `ProviderUnavailable`, with ``sent=False`` only where nothing of the
        request can have left, ``reason="too_long"`` for an answer that is longer, and ``"late"`` for one that did not
        come in time.
        """
        door = (
            min(timeout, 20.0) * 0.4
        )  # twice this is less than the whole: a shut door is known as one, and nothing was sent
        request.extensions["timeout"] = {"pool": door, "connect": door, "read": None, "write": None}
        try:
            async with asyncio.timeout(timeout):
                transport = self._shared or await self._transport()
                if address and isinstance(transport, FastTransport | httpx.AsyncHTTPTransport):
                    request = _pinned(request, address)
                return await _fetch(transport, request, max_bytes)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None) from None  # the frames below hold the headers
        except DeputizeError:
            raise
        except Exception as error:
            failure = _failure(error, request.url.host, timeout)
        raise failure  # here, where it gets no context: that would hold the request

    async def close(self) -> None:
        """Close the running loop's transport, and those of loops that are gone. Safe to call twice."""
        here = asyncio.get_running_loop()
        with self._guard:
            ours = [loop for loop in self._leases if loop is here or loop.is_closed()]
            leases = [self._leases.pop(loop) for loop in ours]
        for lease in leases:
            with suppress(RuntimeError):  # "Event loop is closed": its connections went with it
                await lease.keeper.aclose()
        if self._shared:
            await self._shared.aclose()

    async def _transport(self) -> httpx.AsyncBaseTransport:
        loop = asyncio.get_running_loop()
        lease = self._leases.get(loop)
        if lease is None:
            transport = self._make()
            lease = _Lease(transport, _keep(transport))
            with self._guard:
                self._leases[loop] = lease
            await anext(lease.keeper)
        return lease.transport


class _Lease(NamedTuple):
    transport: httpx.AsyncBaseTransport
    keeper: AsyncGenerator[None, None]


async def _keep(transport: httpx.AsyncBaseTransport) -> AsyncGenerator[None, None]:
    """Closes the transport on its own loop: a loop that ends, as in asyncio.run, closes its generators first."""
    try:
        yield
    finally:
        await transport.aclose()


class LeanRequest(httpx.Request):
    """A request for a URL that is already encoded: cheaper to make, since it is parsed only where somebody asks.

    ``url``: absolute, http or https, visible ASCII, without login and fragment; it is sent as written, to ``netloc``
    (host and port, lower case). ``headers`` are all there are, but for Host and Content-Length. Raises `InvalidInput`
    for another URL, without repeating it.
    """

    def __init__(self, method: str, url: str, headers: Sequence[tuple[str, str]] = (), content: bytes = b"") -> None:
        match = _WRITTEN(url)
        if match is None:
            raise InvalidInput("The address of a request is not an encoded http or https URL.", fix_by="operator")
        self.scheme, self.netloc = match[1], match[2].lower()
        self.method, self.written, self.given, self.body = method, url, headers, content
        self.extensions = {}

    @functools.cached_property
    def url(self) -> httpx.URL:  # type: ignore[override]
        return httpx.URL(self.written)

    @functools.cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        length = [("Content-Length", str(len(self.body)))] if self.body or self.method in _WITH_BODY else []
        return httpx.Headers([("Host", self.netloc), *self.given, *length])

    @functools.cached_property
    def stream(self) -> httpx.ByteStream:  # type: ignore[override]
        return httpx.ByteStream(self.body)

    @property
    def content(self) -> bytes:
        return self.body


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """The same request over a connection to this address: its Host, and TLS with the name it is meant for."""
    pinned = httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
    return pinned


_WITH_BODY = ("POST", "PUT", "PATCH")
_WRITTEN = re.compile(
    r"(https?)://((?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)(?:[/?][!-\"$-~]*)?"
).fullmatch


_Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class _Whole(httpx.Response):
    """A response with its body here, and without a request."""

    def __init__(self, status: int, headers: _Headers, body: bytes) -> None:
        super().__init__(status, headers=headers, stream=httpx.ByteStream(body))
        self._body = body

    @property
    def content(self) -> bytes:
        return self._body


async def _fetch(transport: httpx.AsyncBaseTransport, request: httpx.Request, limit: int) -> httpx.Response:
    if isinstance(transport, FastTransport):  # one response object less
        head = await transport.start(request)
        status, coding, body = head.status, head.headers.get("content-encoding"), await _read(_Body(head), limit)
        headers: _Headers = head.raw_headers
    else:
        status, headers, coding, body = await _take(await transport.handle_async_request(request), limit)
    if coding:
        body = _unpack(body, coding.strip().lower(), limit)
        headers = tuple((k, v) for k, v in headers if k.lower() not in (b"content-encoding", b"content-length"))
    if len(body) > limit:
        raise _TooLong(f"more than {limit} bytes")
    return _Whole(status, headers, body)


async def _take(answer: httpx.Response, limit: int) -> tuple[int, _Headers, str, bytes]:
    coding = answer.headers.get("content-encoding", "")
    if answer.is_closed:  # read and unpacked by the transport, as httpx.MockTransport does
        body, coding = answer.content, coding and "identity"
    else:
        body = await _read(answer.stream, limit)
    return answer.status_code, answer.headers.raw, coding, body


async def _read(stream: httpx.SyncByteStream | httpx.AsyncByteStream, limit: int) -> bytes:
    """The bytes of a stream; not much more than ``limit`` of them."""
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport gave a stream that is not asynchronous")
    parts: list[bytes] = []
    try:
        async for part in stream:
            parts.append(part)
            limit -= len(part)
            if limit < 0:
                break
    finally:
        await stream.aclose()
    return b"".join(parts)


_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def _unpack(body: bytes, coding: str, limit: int) -> bytes:
    """Undo a content coding (RFC 9110, section 8.4.1), making no more than one byte over the limit."""
    if coding == "identity" or not body:
        return body
    if coding not in _WINDOW:
        raise _Unusable("a content encoding nobody asked for")
    bare = coding == "deflate" and (body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31 != 0)  # no zlib header
    unpacker = zlib.decompressobj(-15 if bare else _WINDOW[coding])
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise _Unusable(f"broken {coding}") from None
    if len(plain) <= limit and not unpacker.eof:
        raise _Unusable(f"{coding} that ends too early")
    return plain


class _Unusable(Exception):
    """An answer came, and cannot be taken. The text is ours."""


class _TooLong(_Unusable):
    """An answer that is longer than it may be."""


_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def _failure(error: Exception, host: str, timeout: float) -> ProviderUnavailable:
    if isinstance(error, _Unusable):
        reason = "too_long" if isinstance(error, _TooLong) else ""
        return ProviderUnavailable(f"{host} gave an unusable answer: {error}.", sent=True, reason=reason)
    if isinstance(error, TimeoutError):
        return ProviderUnavailable(f"{host} did not answer within {timeout:g} seconds.", sent=True, reason="late")
    if isinstance(error, _UNSENT):
        return ProviderUnavailable(f"{host} could not be reached ({type(error).__name__}).", sent=False)
    return ProviderUnavailable(f"{host} did not answer properly ({type(error).__name__}).", sent=True)


def _default(keep_alive: bool) -> httpx.AsyncBaseTransport:
    try:
        return FastTransport(keep_alive=keep_alive)
    except ImportError:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20 if keep_alive else 0)
        return httpx.AsyncHTTPTransport(verify=_tls(), limits=limits)


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class FastTransport(httpx.AsyncBaseTransport):
    """aiohttp's connections under httpx's interface, with httpx's own behaviour: each request once, as written.

    No cookies, no proxy, no redirect, no second try. Belongs to the event loop that first uses it. ``tls``: what to
    trust instead of httpx's defaults. ``keep_alive``: whether connections are used again. Raises ImportError where
    aiohttp is missing.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, keep_alive: bool = True) -> None:
        import aiohttp
        import yarl

        self._aiohttp, self._parse = aiohttp, yarl.URL
        self._limits = functools.lru_cache(maxsize=64)(aiohttp.ClientTimeout)
        self._tls, self._keep_alive = tls, keep_alive
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and return with the head of the answer. Raises httpx's exceptions, as httpx's transport would."""
        head = await self.start(request)
        return httpx.Response(head.status, headers=head.raw_headers, stream=_Body(head))

    async def start(self, request: httpx.Request) -> aiohttp.ClientResponse:
        """The same, without httpx's response object."""
        url, headers, body = await _parts(request)
        limits = request.extensions.get("timeout", {})
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
            raise _translated(error) from error

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
        session._retry_connection = False  # no public switch. On, a lost PUT, DELETE or GET would be sent again
        self._session = session
        return session


async def _parts(request: httpx.Request) -> tuple[str, Sequence[tuple[str, str]], bytes]:
    """URL, headers and body as aiohttp wants them."""
    if isinstance(request, LeanRequest) and "headers" not in vars(request):  # nobody has touched them
        return request.written, request.given, request.body
    url = request.url if not request.url.userinfo else request.url.copy_with(userinfo=b"")
    # Chunks were for a stream; it goes as one piece, with its length.
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
            raise _translated(error) from error
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
        """Leaves idle connections alone that the server closed while the loop was busy: a write would be lost."""

        async def connect(
            self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
        ) -> aiohttp.connector.Connection:
            for _ in range(3):
                connection = await super().connect(req, traces, timeout)
                if not _hung_up(connection.transport):
                    return connection
                connection.close()
                await asyncio.sleep(0)  # lets the loop see the others in the pool that most likely went the same way
            return await super().connect(req, traces, timeout)

    return Connector


def _hung_up(transport: asyncio.Transport | None) -> bool:
    line = transport.get_extra_info("socket") if transport else None
    if line is None:
        return False
    poll = select.poll()
    poll.register(line.fileno(), getattr(select, "POLLRDHUP", 0))  # hang-ups and errors are reported in any case
    return bool(poll.poll(0))


@functools.cache
def _table() -> tuple[tuple[type[Exception], type[httpx.TransportError]], ...]:
    import aiohttp

    return (  # the first that fits
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


def _translated(error: Exception) -> Exception:
    """The exception httpx's own transport would have raised; the same one where it is none of the network's."""
    for theirs, ours in _table():
        if isinstance(error, theirs):
            return ours(type(error).__name__)
    return error
