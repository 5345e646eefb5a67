"""Tracers in the application's process see nothing of deputize's requests, and add nothing to them: over both
transports."""

from __future__ import annotations

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import pytest

from deputize.core.http import FastTransport, Http, LeanRequest
from deputize.core.http.uninstrumented import AsGiven
from tests.core.test_http import Server, saying, serving
from tests.support.counterparts import require

GIVEN = [("authorization", "Bearer canary-token-alice"), ("x-kind", "a")]
ADDED = {
    "baggage": "user.email=alice@example.test",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "acme=1",
    "sentry-trace": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
    "X-B3-TraceId": "80f198ee56343ba864fe8b2a57d3eff7",
    "x-datadog-trace-id": "1234567890",
    "elastic-apm-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "newrelic": "eyJ2IjpbMCwxXX0=",
}


@pytest.fixture(params=[FastTransport, lambda: httpx.AsyncHTTPTransport(trust_env=False)], ids=["aiohttp", "httpx"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[Http]:
    http = Http(request.param)
    yield http
    await http.close()


def names(server: Server) -> list[set[str]]:
    """Return the headers of each received request, except those for framing."""
    heads = [{line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line} for head in server.heads]
    return [head - {"host", "content-length", "connection"} for head in heads]


async def ask(http: Http, server: Server) -> None:
    """Send each kind of request: with a body and without, to a checked address, twice over one connection."""
    for request in (
        LeanRequest("GET", f"{server.url}/?code=canary-code", GIVEN),
        LeanRequest("POST", f"{server.url}/token", GIVEN, b"code=canary-code"),
        httpx.Request("GET", f"{server.url}/?state=canary-state", headers=httpx.Headers(GIVEN)),
    ):
        assert (await http.send(request)).content == b"ok"
    await http.send(httpx.Request("POST", f"{server.url}/", headers=GIVEN, content=b"x"), address="127.0.0.1")


class Tracer:
    """Adds headers and records URLs by every method that tracers use."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self._aiohttp(patch)
        self._httpx(patch)
        self._httpcore(patch)

    def _aiohttp(self, patch: pytest.MonkeyPatch) -> None:
        """A trace configuration for each session (OpenTelemetry, Sentry), headers for each request (Datadog)."""
        made, asked = aiohttp.ClientSession.__init__, aiohttp.ClientSession._request

        async def on_start(session: Any, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
            self.seen.append(str(params.url))
            params.headers.update(ADDED)

        def init(session: aiohttp.ClientSession, *given: Any, **named: Any) -> None:
            config = aiohttp.TraceConfig()
            config.on_request_start.append(on_start)
            made(session, *given, **named, trace_configs=[config])

        async def request(session: Any, method: str, url: Any, *, headers: Any, **named: Any) -> Any:
            return await asked(session, method, url, headers=[*headers, *ADDED.items()], **named)

        patch.setattr(aiohttp.ClientSession, "__init__", init)
        patch.setattr(aiohttp.ClientSession, "_request", request)

    def _httpx(self, patch: pytest.MonkeyPatch) -> None:
        """A transport of httpx that adds them (OpenTelemetry)."""
        sent = httpx.AsyncHTTPTransport.handle_async_request

        async def handle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            request.headers.update(ADDED)
            return await sent(transport, request)

        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)

    def _httpcore(self, patch: pytest.MonkeyPatch) -> None:
        """A connection that adds them (Elastic)."""
        import httpcore

        sent = httpcore.AsyncHTTPConnection.handle_async_request

        async def handle(connection: Any, request: httpcore.Request) -> httpcore.Response:
            request.headers = [*request.headers, *((k.encode(), v.encode()) for k, v in ADDED.items())]
            return await sent(connection, request)

        patch.setattr(httpcore.AsyncHTTPConnection, "handle_async_request", handle)


async def test_request_has_its_own_headers_only_under_tracers(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = Tracer(monkeypatch)
    async with serving(saying()) as server:
        await ask(http, server)
    assert names(server) == [{"authorization", "x-kind"}] * 2 + [{"authorization", "x-kind"}] * 2
    assert tracer.seen == []


class SendsTwice(httpx.AsyncHTTPTransport):
    """An application's own transport, which repeats what it sends."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await (await super().handle_async_request(request)).aread()
        return await super().handle_async_request(request)


async def test_repeated_request_of_a_custom_transport_has_no_added_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracer = Tracer(monkeypatch)
    http = Http(lambda: SendsTwice(trust_env=False))
    async with serving(saying()) as server:
        await http.send(LeanRequest("GET", server.url, GIVEN))
        await http.close()
    assert names(server) == [{"authorization", "x-kind"}] * 2
    assert tracer.seen == []


async def test_httpcore_traces_nothing_after_the_request_head(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    called = AsGiven.__call__

    async def call(self: AsGiven, event: str, info: Mapping[str, Any]) -> None:
        asked.append(event)
        await called(self, event, info)

    monkeypatch.setattr(AsGiven, "__call__", call)
    http = Http(lambda: httpx.AsyncHTTPTransport(trust_env=False))
    async with serving(saying()) as server:
        for _ in range(2):
            await http.send(LeanRequest("GET", server.url))
        await http.close()
    connects, head = "connection.connect_tcp", "http11.send_request_headers"
    assert asked == [f"{connects}.started", f"{connects}.complete", *[f"{head}.started", f"{head}.complete"] * 2]


async def test_opentelemetry_tracer_skips_our_requests(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    off: list[str] = []
    utils: Any = ModuleType("opentelemetry.instrumentation.utils")

    @contextmanager
    def suppress_http_instrumentation() -> Iterator[None]:
        off.append("off")
        yield
        off.append("on")

    utils.suppress_http_instrumentation = suppress_http_instrumentation
    monkeypatch.setitem(sys.modules, utils.__name__, utils)
    async with serving(saying()) as server:
        await http.send(LeanRequest("GET", server.url))
    assert off == ["off", "on"]


# ------------------------------------------------------------------ with the real ones

WATCHED = """
import asyncio, json, sys

import httpx, sentry_sdk
from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sentry_sdk.transport import Transport

class Kept(Transport):
    events = []
    def capture_envelope(self, envelope):
        self.events.append(envelope.serialize().decode())

spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))
HTTPXClientInstrumentor().instrument()
AioHttpClientInstrumentor().instrument()
sentry_sdk.init("https://key@sentry.example/1", transport=Kept, traces_sample_rate=1.0, send_default_pii=True)

from deputize.core.http import FastTransport, Http, LeanRequest

GIVEN = [("authorization", "Bearer canary-token-alice"), ("x-kind", "a")]

async def main(url):
    context.attach(baggage.set_baggage("user.email", "alice@example.test"))
    with trace.get_tracer("host").start_as_current_span("host"), sentry_sdk.start_transaction(name="host"):
        async with httpx.AsyncClient() as client:
            await client.get(f"{url}/?of=the-host")
        for make in (FastTransport, httpx.AsyncHTTPTransport):
            http = Http(make)
            for request in (
                LeanRequest("GET", f"{url}/?code=canary-code", GIVEN),
                LeanRequest("POST", f"{url}/token", GIVEN, b"code=canary-code"),
                httpx.Request("GET", f"{url}/?state=canary-state", headers=httpx.Headers(GIVEN)),
            ):
                await http.send(request)
            await http.send(httpx.Request("GET", f"{url}/?p=canary-pinned", headers=GIVEN), address="127.0.0.1")
            await http.close()
        sentry_sdk.capture_message("what came before")

asyncio.run(main(sys.argv[1]))
provider.force_flush()
print(json.dumps({"spans": [span.to_json() for span in spans.get_finished_spans()], "sentry": Kept.events}))
"""


def installed(*modules: str) -> bool:
    try:
        return all(find_spec(name) for name in modules)
    except ModuleNotFoundError:
        return False


@pytest.mark.counterpart
async def test_opentelemetry_and_sentry_add_no_headers_and_record_nothing() -> None:
    """Their own instrumentation of httpx and aiohttp, enabled as their documentation says."""
    there = (
        "opentelemetry.sdk.trace",
        "opentelemetry.instrumentation.httpx",
        "opentelemetry.instrumentation.aiohttp_client",
    )
    require("OpenTelemetry's instrumentation of httpx and aiohttp", installed(*there), 'pip install -e ".[test]"')
    async with serving(saying()) as server:
        process = await create_subprocess_exec(sys.executable, "-c", WATCHED, server.url, stdout=PIPE, stderr=PIPE)
        said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    of_host, *ours = names(server)
    assert of_host >= {"baggage", "traceparent", "sentry-trace"}, (
        "they watch: a canary that sees nothing proves nothing"
    )
    assert ours == [{"authorization", "x-kind"}] * 8
    noted = said.decode()
    assert "of=the-host" in noted and json.loads(noted)["sentry"]
    assert "canary" not in noted
