"""Collectors of the settings: shipped to by a deputy and by ``audit ship``, watched by ``doctor`` and metrics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deputize.core import AuditNotExported, Deputy
from deputize.core.audit.events import KeyAdded
from deputize.core.settings import Settings
from deputize.core.web.ops.metrics import Metrics
from tests.cli.conftest import Command, Provider, connected
from tests.cli.test_doctor import lines
from tests.support.ports import free_port


class Collector(ThreadingHTTPServer):
    """A collector in this process: keeps what it accepts, unless its ``status`` refuses."""

    def __init__(self) -> None:
        self.received, self.status = bytearray(), 200
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/in"

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in bytes(self.received).splitlines()]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body, server = self.rfile.read(int(self.headers["content-length"])), self.server
        assert isinstance(server, Collector)
        if server.status == 200:
            server.received += body
        self.send_response(server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def settings_of(home: Path, collector: Collector, **more: Any) -> Settings:
    return Settings.load(home=home / "deputize", port=0, audit_export={"siem": {"url": collector.url, **more}})


def test_deputy_ships_its_audit_and_metrics_tell_the_lag(home: Path, collector: Collector) -> None:
    with Deputy.from_settings(settings_of(home, collector)) as deputy:
        deputy.audit.write(KeyAdded("k1"))
        until(lambda: "key.added" in {row["metadata"]["event_code"] for row in collector.rows})
        transport = httpx.ASGITransport(Metrics(deputy).app())

        async def scrape() -> str:
            async with httpx.AsyncClient(transport=transport, base_url="http://metrics") as client:
                return (await client.get("/metrics")).text

        [line] = [one for one in deputy.run(scrape()).splitlines() if one.startswith("deputize_audit_export_lag")]
        name, value = line.split(" ")
        assert name == 'deputize_audit_export_lag_seconds{collector="siem"}' and 0 <= float(value) < 60


def test_ship_sends_the_rest_once_and_fails_loudly(cli: Command, home: Path, collector: Collector) -> None:
    with Deputy.from_settings(Settings.load(home=home / "deputize", port=0)) as deputy:
        deputy.audit.write(KeyAdded("k1"))
    env = {"DEPUTIZE_AUDIT_EXPORT__SIEM__URL": collector.url}
    done = cli("audit", "ship", "--once", **env)
    assert done.exit_code == 0 and "siem: 2 rows acknowledged." in done.stderr
    assert [row["metadata"]["event_code"] for row in collector.rows] == ["key.added", "chain.anchor"]
    assert "siem: 0 rows acknowledged." in cli("audit", "ship", "--once", **env).stderr
    with Deputy.from_settings(Settings.load(home=home / "deputize", port=0)) as deputy:
        deputy.audit.write(KeyAdded("k2"))
    collector.status = 401
    failed = cli("audit", "ship", "siem", "--once", **env)
    assert failed.exit_code == 1 and "answered 401" in failed.stderr
    assert "answered 401" in json.dumps(lines(cli("doctor", "--json", DEPUTIZE_PORT="0", **env))["audit export siem"])
    offline = lines(cli("doctor", "--offline", "--json", DEPUTIZE_PORT="0", **env))["audit export siem"]
    assert "answered 401" in json.dumps(offline)  # as the last program that shipped has told
    assert "no collector 'other'" in cli("audit", "ship", "other", **env).stderr


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (200, "open", "nothing was shipped yet"),
        (400, "open", "nothing was shipped yet"),  # it refuses an empty batch
        (401, "bad", "Nothing was shipped yet. {place} answered 401."),
        (0, "bad", "Nothing was shipped yet. "),
    ],
)
def test_doctor_tries_a_collector_before_the_first_row(
    cli: Command, home: Path, collector: Collector, status: int, state: str, said: str
) -> None:
    collector.status = status
    url = collector.url if status else f"http://127.0.0.1:{free_port()}"
    env = {"DEPUTIZE_AUDIT_EXPORT__SIEM__URL": url, "DEPUTIZE_PORT": "0"}
    found = lines(cli("doctor", "--json", **env))["audit export siem"]
    assert found["state"] == state and said.format(place=urlsplit(url).netloc) in found["found"], found
    assert collector.rows == [] and not (home / "deputize" / "vault.sqlite").exists()
    quiet = lines(cli("doctor", "--offline", "--json", **env))["audit export siem"]
    assert (quiet["state"], "nothing was shipped yet" in quiet["found"]) == ("open", True)


@pytest.mark.parametrize("refuses", ["writes", "all"])
def test_act_is_refused_while_the_collector_lags(
    home: Path, provider: Provider, collector: Collector, refuses: str
) -> None:
    connected(home, provider, "gmail.readonly")
    collector.status = 503
    settings = settings_of(home, collector, max_lag_seconds=10, max_lag_refuses=refuses)
    settings = settings.model_copy(update={"sandbox_url": provider.url, "apps": _apps(home, provider)})
    with Deputy.from_settings(settings) as deputy:
        search = ("gmail_search_emails", {"query": "from:bob"})
        if refuses == "all":
            with pytest.raises(AuditNotExported, match="No row of the audit has reached the collector 'siem'"):
                deputy.run(deputy.act(*search, user="alice"))
        else:
            assert deputy.run(deputy.act(*search, user="alice"))["items"]
        with pytest.raises(AuditNotExported):
            deputy.run(deputy.act("gmail_send_email", {"to": ["b@x.test"], "subject": "s", "body": "b"}, user="alice"))
        deputy.audit.flush()
        assert "audit_not_exported" in [row.get("decision") for row in deputy.audit.rows()]


def _apps(home: Path, provider: Provider) -> Any:
    from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

    given = {"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}}
    return Settings.load(home=home / "deputize", sandbox_url=provider.url, port=0, apps=given).apps


def test_verify_compares_the_audit_with_what_the_collector_received(
    cli: Command, home: Path, collector: Collector
) -> None:
    with Deputy.from_settings(Settings.load(home=home / "deputize", port=0)) as deputy:
        for number in range(5):
            deputy.audit.write(KeyAdded(f"k{number}"))
    env = {"DEPUTIZE_AUDIT_EXPORT__SIEM__URL": collector.url}
    assert cli("audit", "ship", "--once", **env).exit_code == 0
    received = home / "received.log"
    received.write_bytes(b"".join(b"Dec  2 host " + line + b"\n" for line in bytes(collector.received).splitlines()))
    whole = cli("audit", "verify", "--anchors", str(received))
    assert whole.exit_code == 0 and "whole." in whole.stdout
    for path in (home / "deputize" / "audit").glob("*.jsonl"):
        path.unlink()
    gone = cli("audit", "verify", "--anchors", str(received))
    assert gone.exit_code == 1 and "truncated" in gone.stdout
    received.write_bytes(received.read_bytes().replace(b'\\"seq\\":5', b'\\"seq\\":9'))
    assert "not ours" in cli("audit", "verify", "--anchors", str(received)).stdout
