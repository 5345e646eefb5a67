"""The HTTP client: one pooled transport per event loop, and no state shared between users; see `deputize.core.http`."""

from __future__ import annotations

import asyncio
import functools
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

import httpx

from deputize.core.errors import DeputizeError, ProviderUnavailable
from deputize.core.http.aiohttp import FastTransport, _Body, _tls
from deputize.core.http.request import _pinned, is_untouched
from deputize.core.http.uninstrumented import AsGiven, untraced

Transport: TypeAlias = httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport]


MAX_STREAM_SECONDS: Final = 3600.0
"""Maximum seconds of a response whose events renew its timeout."""


class Http:
    """Sends requests over one transport for each running event loop.

    ``transport``: None uses aiohttp if it is installed (the extra ``fast``), else httpx's own. A factory creates one
    for each loop, closed at the end of the loop or by `close`. An instance is used from every loop as it is.
    ``keep_alive``: True if the default transport keeps connections for later requests.
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
        on_event: Callable[[], Awaitable[None]] | None = None,
    ) -> httpx.Response:
        """Return the whole response, of any status, within ``timeout`` seconds and ``max_bytes``, compressed and
        unpacked.

        ``address``: the IP address to connect to, whatever the host's name resolves to now; deputize's own transports
        and httpx's obey it, others ignore it. gzip and deflate are decoded. The response has no reference to its
        request. ``cut``: if a stream of events breaks off or times out, return the part that has arrived. ``enough``:
        receives each part of a body and returns True to end the connection there. ``on_event``: awaited after a part
        with data of an event stream, which renews the ``timeout`` up to `MAX_STREAM_SECONDS` in all.

        Raises `ProviderUnavailable`, with ``sent=False`` only if nothing of the request can have left,
        ``reason="too_long"`` for a response that is longer, and ``"late"`` for one that timed out.
        """
        connect = min(timeout, 20.0) * 0.4  # twice this is below the timeout: a failed connect sent nothing
        request.extensions["timeout"] = {"pool": connect, "connect": connect, "read": None, "write": None}
        came = _Came(enough)
        try:
            async with asyncio.timeout(timeout) as limit:
                if on_event:
                    came.on_data = _renewing(limit, timeout, on_event)
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
                return came.so_far(late=isinstance(error, TimeoutError))
            failure = _failure(error, request.url.host, timeout)
        raise failure  # raised here without a context, which would hold the request

    def has_other_transports(self) -> bool:
        """Return True if event loops other than the running one have open transports."""
        here = asyncio.get_running_loop()
        with self._guard:
            return any(loop is not here and not loop.is_closed() for loop in self._leases)

    async def close(self) -> None:
        """Close the transports of the running loop and of closed loops. Safe to call twice."""
        here = asyncio.get_running_loop()
        with self._guard:
            closing = [loop for loop in self._leases if loop is here or loop.is_closed()]
            leases = [self._leases.pop(loop) for loop in closing]
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


def _renewing(
    limit: asyncio.Timeout, seconds: float, on_event: Callable[[], Awaitable[None]]
) -> Callable[[], Awaitable[None]]:
    """Return a function that awaits ``on_event`` and then lets a stream be silent for as many seconds again."""
    now = asyncio.get_running_loop().time
    end = now() + max(seconds, MAX_STREAM_SECONDS)

    async def renew() -> None:
        await on_event()
        limit.reschedule(min(now() + seconds, end))

    return renew


class _Lease:
    def __init__(self, transport: httpx.AsyncBaseTransport, keeper: AsyncGenerator[None, None]) -> None:
        self.transport, self.keeper = transport, keeper


async def _keep(transport: httpx.AsyncBaseTransport) -> AsyncGenerator[None, None]:
    """Close the transport on its own loop. When a loop ends, as in asyncio.run, it closes its generators first."""
    try:
        yield
    finally:
        await transport.aclose()


_Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class _Whole(httpx.Response):
    """A response with its body, without its request. Its headers are parsed on first use."""

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
    """The part of a response that has arrived."""

    def __init__(self, enough: Callable[[bytes], bool] | None) -> None:
        self.status, self.parts, self.enough = 0, list[bytes](), enough
        self.on_data: Callable[[], Awaitable[None]] | None = None
        self.headers: _Headers = ()

    @property
    def is_stream(self) -> bool:
        """True for an uncompressed stream of events. A part of a compressed stream cannot be decoded."""
        names = {name.lower(): value for name, value in self.headers}
        plain = names.get(b"content-encoding", b"identity") == b"identity"
        return plain and names.get(b"content-type", b"").lower().startswith(b"text/event-stream")

    def so_far(self, *, late: bool) -> _Whole:
        """Return a response with the part that has arrived. Its extension ``late`` tells if it timed out."""
        answer = _Whole(self.status, self.headers, b"".join(self.parts))
        answer.extensions["late"] = late
        return answer


async def _fetch(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, limit: int, came: _Came
) -> httpx.Response:
    if isinstance(transport, FastTransport):  # saves a response object
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
    """Return the bytes of a stream, at most slightly more than ``limit``. ``came`` collects them as they arrive."""
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport gave a stream that is not asynchronous")
    try:
        async for part in stream:
            came.parts.append(part)
            limit -= len(part)
            if limit < 0 or (came.enough and came.enough(part)):
                break
            if came.on_data and b"data" in part and came.is_stream:  # a comment, ": ping", is no sign of progress
                await came.on_data()
    finally:
        await stream.aclose()
    return b"".join(came.parts)


_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def _unpack(body: bytes, coding: str, limit: int) -> bytes:
    """Decode a content coding (RFC 9110 8.4.1), to at most one byte over the limit."""
    if coding == "identity" or not body:
        return body
    if coding not in _WINDOW:
        raise _Unusable("a content encoding that was not requested")
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
    """A response cannot be used. The text is deputize's own."""


class _TooLong(_Unusable):
    """A response is too long."""


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
