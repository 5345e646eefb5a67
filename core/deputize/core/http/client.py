"""Every request of ours leaves here: one pooled transport for each event loop, and nothing kept between two users.

An `httpx.Request` goes in, a fully read `httpx.Response` comes out. There is no client object in between, so there is
no cookie jar, no redirect, no default header, no proxy or login from the environment and no log line with a URL in it,
and a call costs a fraction of one. Whatever goes wrong is a `ProviderUnavailable` that says whether the request may
have arrived.
"""

from __future__ import annotations

import asyncio
import functools
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import TypeAlias
from weakref import WeakKeyDictionary

import httpx

from deputize.core.errors import DeputizeError, ProviderUnavailable
from deputize.core.http.aiohttp import FastTransport, _Body, _tls
from deputize.core.http.request import _pinned, is_untouched
from deputize.core.http.uninstrumented import AsGiven, untraced

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
        self,
        request: httpx.Request,
        *,
        timeout: float = 20.0,
        max_bytes: int = 10 * 2**20,
        address: str = "",
        cut: bool = False,
        enough: Callable[[bytes], bool] | None = None,
    ) -> httpx.Response:
        """The whole answer, of any status, within ``timeout`` seconds and ``max_bytes`` (on the wire, and unpacked).

        ``address``: the IP address to connect to, whatever the host's name leads to by now; our own transports and
        httpx's keep to it, others connect as they like. A content encoding of gzip or deflate is undone. The response
        knows nothing of its request. ``cut``: of a stream of events that breaks off, or is not over in time, what has
        come is the answer. ``enough``: told each part of a body as it comes, says whether the rest is wanted no more;
        the connection ends there. Raises `ProviderUnavailable`, with ``sent=False`` only where nothing of the
        request can have left, ``reason="too_long"`` for an answer that is longer, and ``"late"`` for one that did not
        come in time.
        """
        door = (
            min(timeout, 20.0) * 0.4
        )  # twice this is less than the whole: a shut door is known as one, and nothing was sent
        request.extensions["timeout"] = {"pool": door, "connect": door, "read": None, "write": None}
        came = _Came(enough)
        try:
            async with asyncio.timeout(timeout):
                transport = self._shared or await self._transport()
                if address and isinstance(transport, FastTransport | httpx.AsyncHTTPTransport):
                    request = _pinned(request, address)
                with untraced():
                    return await _fetch(transport, request, max_bytes, came)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None) from None  # the frames below hold the headers
        except DeputizeError:
            raise
        except Exception as error:
            if cut and came.is_stream and not isinstance(error, _Unusable):
                return came.so_far()
            failure = _failure(error, request.url.host, timeout)
        raise failure  # here, where it gets no context: that would hold the request

    def elsewhere(self) -> bool:
        """Whether other loops than the running one have transports that are not closed."""
        here = asyncio.get_running_loop()
        with self._guard:
            return any(loop is not here and not loop.is_closed() for loop in self._leases)

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


class _Lease:
    def __init__(self, transport: httpx.AsyncBaseTransport, keeper: AsyncGenerator[None, None]) -> None:
        self.transport, self.keeper = transport, keeper


async def _keep(transport: httpx.AsyncBaseTransport) -> AsyncGenerator[None, None]:
    """Closes the transport on its own loop: a loop that ends, as in asyncio.run, closes its generators first."""
    try:
        yield
    finally:
        await transport.aclose()


_Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class _Whole(httpx.Response):
    """A response with its body here, and without a request. Its headers are read only if somebody asks for one."""

    def __init__(self, status: int, headers: _Headers, body: bytes) -> None:
        self.status_code, self.given, self._content, self._request = status, headers, body, None
        self.default_encoding, self.extensions, self.history = "utf-8", {}, []
        self.is_closed = self.is_stream_consumed = True

    @functools.cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        return httpx.Headers(self.given)

    @property
    def content(self) -> bytes:
        return self._content


class _Came:
    """What has come of an answer so far."""

    def __init__(self, enough: Callable[[bytes], bool] | None) -> None:
        self.status, self.parts, self.enough = 0, list[bytes](), enough
        self.headers: _Headers = ()

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events, as it is: nobody could undo half of a coding."""
        names = {name.lower(): value for name, value in self.headers}
        plain = names.get(b"content-encoding", b"identity") == b"identity"
        return plain and names.get(b"content-type", b"").lower().startswith(b"text/event-stream")

    def so_far(self) -> _Whole:
        """An answer of that."""
        return _Whole(self.status, self.headers, b"".join(self.parts))


async def _fetch(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, limit: int, came: _Came
) -> httpx.Response:
    if isinstance(transport, FastTransport):  # one response object less
        head = await transport.start(request)
        came.status, came.headers = head.status, head.raw_headers
        coding, body = head.headers.get("content-encoding"), await _read(_Body(head), limit, came)
    else:
        request.extensions["trace"] = AsGiven(request.given if is_untouched(request) else request.headers.raw)
        answer = await transport.handle_async_request(request)
        came.status, came.headers = answer.status_code, answer.headers.raw
        coding, body = await _take(answer, limit, came)
    status, headers = came.status, came.headers
    if coding:
        body = _unpack(body, coding.strip().lower(), limit)
        headers = tuple((k, v) for k, v in headers if k.lower() not in (b"content-encoding", b"content-length"))
    if len(body) > limit:
        raise _TooLong(f"more than {limit} bytes")
    return _Whole(status, headers, body)


async def _take(answer: httpx.Response, limit: int, came: _Came) -> tuple[str, bytes]:
    coding = answer.headers.get("content-encoding", "")
    if answer.is_closed:  # read and unpacked by the transport, as httpx.MockTransport does
        return coding and "identity", answer.content
    return coding, await _read(answer.stream, limit, came)


async def _read(stream: httpx.SyncByteStream | httpx.AsyncByteStream, limit: int, came: _Came) -> bytes:
    """The bytes of a stream, not much more than ``limit`` of them; ``came`` has them as they come."""
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport gave a stream that is not asynchronous")
    try:
        async for part in stream:
            came.parts.append(part)
            limit -= len(part)
            if limit < 0 or (came.enough and came.enough(part)):
                break
    finally:
        await stream.aclose()
    return b"".join(came.parts)


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
