"""An application that is watched in every usual way while it acts for Alice; what the watchers wrote is in a folder.

    python -m tests.support.watched_host FOLDER aiohttp|httpx

Whoever started it plays the world: each line on stdout is a wish (``{"open": link}``, ``{"expire": true}``), done when
a line comes back. Watchers, each as its own pages say to begin: logging at DEBUG with asyncio's debug mode, Sentry with
its defaults, OpenTelemetry with its instrumentation of httpx, aiohttp and ASGI and a baggage that names the user,
uvicorn with its access log, and a reporter of its own that writes down the locals of every frame of every error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import httpx
import sentry_sdk
import uvicorn
from fastapi import FastAPI
from sentry_sdk.transport import Transport

from deputize.core import Deputy, User
from deputize.core.errors import ApprovalRequired, DeputizeError
from deputize.core.grants import refresh
from deputize.core.http import FastTransport
from deputize.core.settings import Settings
from deputize.core.web.app import pages_app
from deputize.core.web.ops.access_logs import hide_links
from tests.support.canary import _deep, frames
from tests.support.faults import FaultyStore

AT: Final = "/agents"
SEARCH: Final[dict[str, Any]] = {"query": "from:bob"}
LETTER: Final = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}
SCOPES: Final = [f"https://www.googleapis.com/auth/gmail.{name}" for name in ("readonly", "send")]
WRITTEN: Final = ("grant", "intent", "consent", "state")
FAULTS: Final = [
    *((method, kind) for method in ("get", "insert", "swap") for kind in WRITTEN),
    *(("insert", "outbox"), ("delete", "intent"), ("scan", "grant"), ("get", "ticket")),
]


class Watchers:
    """All watchers, and where they write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        logging.basicConfig(filename=folder / "log", level=logging.DEBUG, format="%(name)s %(message)s")
        self.frames = (folder / "frames").open("w", encoding="utf-8", errors="surrogatepass")
        self.tracer: Any = self._opentelemetry()
        self._sentry()

    def _sentry(self) -> None:
        out = (self.folder / "sentry").open("w", encoding="utf-8")

        class Kept(Transport):
            def capture_envelope(self, envelope: Any) -> None:
                print(envelope.serialize().decode(), file=out, flush=True)

        release = "1"  # else it asks git, to which it hands down the whole environment
        sentry_sdk.init("https://key@sentry.example/1", transport=Kept, traces_sample_rate=1.0, release=release)

    def _opentelemetry(self) -> Any:
        api, sdk = import_module("opentelemetry.trace"), import_module("opentelemetry.sdk.trace")
        export = import_module("opentelemetry.sdk.trace.export")
        provider = sdk.TracerProvider()
        spans = (self.folder / "spans").open("w", encoding="utf-8")
        provider.add_span_processor(export.SimpleSpanProcessor(export.ConsoleSpanExporter(out=spans)))
        api.set_tracer_provider(provider)
        import_module("opentelemetry.instrumentation.httpx").HTTPXClientInstrumentor().instrument()
        import_module("opentelemetry.instrumentation.aiohttp_client").AioHttpClientInstrumentor().instrument()
        baggage, context = import_module("opentelemetry.baggage"), import_module("opentelemetry.context")
        context.attach(baggage.set_baggage("user.email", "alice@example.test"))
        return api.get_tracer("host")

    def around(self, app: Any) -> Any:
        """Return the application as its instrumentation wraps it."""
        return import_module("opentelemetry.instrumentation.asgi").OpenTelemetryMiddleware(app)

    async def watch(self, what: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run it in a span; its exception goes to every reporter."""
        with self.tracer.start_as_current_span(what) as span:
            try:
                return await work()
            except Exception as error:
                span.record_exception(error)
                sentry_sdk.capture_exception(error)
                logging.getLogger("host").exception("while %s", what)
                for where, frame in frames(error):
                    for name, value in frame.f_locals.items() if "/tests/" not in where else ():
                        print(where, name, *_deep(value, 4), sep="\n ", file=self.frames)
                return error

    def close(self) -> None:
        """Write out what is still buffered."""
        self.frames.close()
        sentry_sdk.flush()
        logging.shutdown()


def wish(**what: Any) -> Awaitable[object]:
    """Ask the starter of this program to do it, and wait until it is done."""
    print(json.dumps(what), flush=True)
    return asyncio.to_thread(sys.stdin.readline)


class Host:
    """The program itself."""

    def __init__(self, watchers: Watchers, deputy: Deputy) -> None:
        self.watchers, self.deputy = watchers, deputy
        self.store = deputy.vault.store = FaultyStore(deputy.vault.store)
        self.errors = 0

    async def lives(self) -> None:
        """Run consent, acts, an approval, a refresh, faults of providers and of the store, and the end."""
        deputy = self.deputy
        for consent in await deputy.connect("alice", "google", scopes=SCOPES):
            await wish(open=consent.link)
        await self.watchers.watch("searching", lambda: deputy.act("gmail_search_emails", SEARCH, user="alice"))
        try:
            await deputy.act("gmail_send_email", LETTER, user="alice")
        except ApprovalRequired as asked:
            await deputy.decide(asked.approval, "approve", by="alice")
        await self.watchers.watch("sending", lambda: deputy.act("gmail_send_email", LETTER, user="alice"))
        await wish(expire=True)
        await self.watchers.watch("refreshing", lambda: deputy.act("gmail_search_emails", SEARCH, user="alice"))
        for status in (400, 403, 404, 500):
            await wish(fault=status)
            await self.watchers.watch("failing", lambda: deputy.act("gmail_search_emails", SEARCH, user="alice"))
        await self.meets_faults()
        await self.watchers.watch("revoking", lambda: deputy.revoke("alice"))

    async def meets_faults(self) -> None:
        """Let a store fail at each step of each operation."""
        await wish(lasting=True)
        [grant] = await self.deputy.vault.list_grants(User("alice"))

        async def reset(*, expired: bool) -> None:
            self.store.failing.clear()
            for entry in await self.deputy.vault.scan("outbox"):
                await self.deputy.vault.delete(entry)
            again = replace(grant, expires_at=1.0 if expired else grant.expires_at)
            await self.deputy.vault.add(again, self.deputy.refresher.revocation_queue.enqueue_replaced)

        for fault in FAULTS:
            for what, expired, work in (
                ("acting", False, self._act),
                ("refreshing", True, self._act),
                ("connecting", False, self._connect),
                ("revoking", False, self._revoke),
            ):
                await reset(expired=expired)
                self.store.failing[fault] = 10**6
                self.errors += isinstance(await self.watchers.watch(what, work), DeputizeError)
        await reset(expired=False)

    async def _act(self) -> Any:
        return await self.deputy.act("gmail_search_emails", SEARCH, user="alice")

    async def _connect(self) -> Any:
        [asked] = await self.deputy.connect("alice", "google", scopes=[f"{SCOPES[0][:-8]}labels"], add_account=True)
        ticket = asked.link.rpartition("/")[2]
        await wish(secret=ticket)
        return await self.deputy.consents.start(ticket, User("alice"))

    async def _revoke(self) -> Any:
        return await self.deputy.revoke("alice")


async def main(folder: Path, transport: str) -> None:
    """Serve the pages, and run."""
    asyncio.get_running_loop().set_debug(True)
    setattr(refresh, "SAVE_TRIES", 2)  # noqa: B010  # final for everybody else
    watchers = Watchers(folder)
    print("The host begins.", file=sys.stderr)
    line = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{line.getsockname()[1]}{AT}"
    made = FastTransport if transport == "aiohttp" else httpx.AsyncHTTPTransport
    deputy = Deputy.from_settings(Settings.load(base_url=base), transport=made)
    app = FastAPI()
    app.mount(AT, pages_app(deputy, verifier=lambda request: User("alice")))
    served = hide_links(watchers.around(app), AT)
    server = uvicorn.Server(uvicorn.Config(served, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve([line]))
    host = Host(watchers, deputy)
    try:
        await host.lives()
    finally:
        await deputy.close()
        server.should_exit = True
        await serving
        watchers.close()
    await wish(errors=host.errors)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
