"""Collectors outside of deputize that receive audit rows: over HTTPS, or as syslog over TLS.

A collector acknowledges a batch, or `send` raises. Until then the batch is kept and sent again, so a row may arrive
twice. It has the same id each time.

| Collector | Acknowledges a batch by |
|---|---|
| HTTPS | a 2xx response that is not a web page. OTLP: one that rejects no record |
| syslog (RFC 5425) | its ``close_notify`` after ours, or the end of its TCP stream: its TLS layer has read everything |

Syslog itself acknowledges nothing. What the receiver has read but not stored is lost if it crashes.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, Protocol, TypeAlias

import anyio
import httpx
from anyio.streams.tls import TLSStream

from deputize.core.audit.cursor import GenuineRow
from deputize.core.audit.export_formats import json_line, otlp_request, syslog_message
from deputize.core.audit.ocsf import ocsf_line
from deputize.core.errors import ProviderUnavailable
from deputize.core.http.client import Http
from deputize.core.http.request import USER_AGENT, LeanRequest

SEND_TIMEOUT_SECONDS: Final = 20.0
"""For one batch, from the connection to the acknowledgement."""
CLOSE_TIMEOUT_SECONDS: Final = 3.0
"""For a syslog receiver's ``close_notify``. Then the TCP stream is closed too, and its end is awaited."""
MAX_RESPONSE_BYTES: Final = 1 << 16

HttpFormat: TypeAlias = Literal["ocsf", "jsonl", "otlp"]


class BatchRefused(ProviderUnavailable):
    """The collector refuses the content of a batch: a smaller one, or shorter rows, may be accepted."""


class Collector(Protocol):
    """The receiver of batches. ``place``: its host and port, for people."""

    @property
    def place(self) -> str:
        """Host and port, without anything secret."""
        ...

    async def send(self, rows: Sequence[GenuineRow]) -> None:
        """Return if the collector has acknowledged all rows. Raises `ProviderUnavailable` or `BatchRefused`."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


def tls_context(ca_file: str = "", cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and name, at TLS 1.2 or newer.

    Raises `OSError` (`ssl.SSLError` too) for files that cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None, password=lambda: "")
    return context


def _lines(write: Callable[[GenuineRow], bytes], rows: Sequence[GenuineRow]) -> bytes:
    return b"".join(write(made) + b"\n" for made in rows)


_BODIES: Final[Mapping[HttpFormat, tuple[str, Callable[[Sequence[GenuineRow]], bytes]]]] = {
    "ocsf": ("application/x-ndjson", lambda rows: _lines(ocsf_line, rows)),
    "jsonl": ("application/x-ndjson", lambda rows: _lines(json_line, rows)),
    "otlp": ("application/json", otlp_request),
}


class HttpCollector:
    """A collector that takes batches by POST. Redirects are refused, so that rows and the credential stay with it."""

    def __init__(self, url: str, form: HttpFormat, authorization: str, context: ssl.SSLContext | None) -> None:
        parsed = httpx.URL(url)
        self.place = parsed.netloc.decode("ascii")
        self._url, self._authorization = url, authorization
        self._form: HttpFormat = form
        limits = httpx.Limits(max_connections=2, max_keepalive_connections=1)
        self._http = Http(lambda: httpx.AsyncHTTPTransport(verify=context or False, limits=limits))

    async def send(self, rows: Sequence[GenuineRow]) -> None:
        kind, write = _BODIES[self._form]
        headers = [("content-type", kind), ("accept", "application/json"), ("user-agent", USER_AGENT)]
        headers += [("authorization", self._authorization)] if self._authorization else []
        body = await asyncio.to_thread(write, rows)
        request = LeanRequest("POST", self._url, headers, body)
        response = await self._http.send(request, timeout=SEND_TIMEOUT_SECONDS, max_bytes=MAX_RESPONSE_BYTES)
        self._check(response)

    def _check(self, response: httpx.Response) -> None:
        status, kind = response.status_code, response.headers.get("content-type", "").lower()
        if status in (400, 413, 422):
            raise BatchRefused(f"{self.place} refused the rows: {status}.", sent=True)
        if 300 <= status < 400:
            raise self._failure(f"answered {status}: redirects are not followed")
        if not 200 <= status < 300:
            raise self._failure(f"answered {status}")
        if "html" in kind:
            raise self._failure(f"answered {status} with a web page, which acknowledges nothing")
        if self._form == "otlp" and _rejects(response.content):
            raise BatchRefused(f"{self.place} rejected records of the batch.", sent=True)

    def _failure(self, what: str) -> ProviderUnavailable:
        hint = "Check the address and the credential of the collector in [audit_export]."
        return ProviderUnavailable(f"{self.place} {what}.", hint=hint, sent=True)

    async def close(self) -> None:
        await self._http.close()


def _rejects(body: bytes) -> bool:
    """Return True if a response to an OTLP request rejects records or is not an ExportLogsServiceResponse."""
    if not body.strip():
        return False
    try:
        answer: Any = json.loads(body)
        partial = answer.get("partialSuccess") or {}
        return int(partial.get("rejectedLogRecords", 0)) > 0
    except (ValueError, TypeError, AttributeError, RecursionError):
        return True


class SyslogCollector:
    """A receiver of syslog over TLS: RFC 5424 messages in the frames of RFC 5425, one connection for each batch."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self.place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host, self._port, self._context = host, port, context

    async def send(self, rows: Sequence[GenuineRow]) -> None:
        data = await asyncio.to_thread(lambda: b"".join(map(_framed, rows)))
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await self._deliver(data)
        except TimeoutError:
            raise self._failure(f"did not acknowledge the rows within {SEND_TIMEOUT_SECONDS:g} seconds") from None
        except ssl.SSLCertVerificationError as error:
            raise self._failure(f"has no certificate for this name that is trusted ({error.verify_message})") from None
        except (OSError, ssl.SSLError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise self._failure(f"could not be reached ({type(error).__name__})") from None

    async def _deliver(self, data: bytes) -> None:
        tcp = await anyio.connect_tcp(self._host, self._port)
        try:
            tls = await TLSStream.wrap(tcp, hostname=self._host, ssl_context=self._context)
            await tls.send(data)
            try:
                with anyio.fail_after(CLOSE_TIMEOUT_SECONDS):
                    await tls.unwrap()
            except anyio.BrokenResourceError as broken:
                if not isinstance(broken.__cause__, ssl.SSLError):
                    raise  # reset: something was not read
            except TimeoutError:
                await tcp.send_eof()
                with suppress(anyio.EndOfStream):
                    while True:
                        await tcp.receive()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(tcp)

    def _failure(self, what: str) -> ProviderUnavailable:
        hint = "Check the address and the certificates of the collector in [audit_export]."
        return ProviderUnavailable(f"{self.place} {what}.", hint=hint, sent=True)

    async def close(self) -> None:
        """Do nothing: each batch closes its own connection."""


def _framed(made: GenuineRow) -> bytes:
    message = syslog_message(made)
    return b"%d %b" % (len(message), message)
