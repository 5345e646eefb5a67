"""Shipping of the audit: every row arrives, through outages, crashes, hostile collectors and several processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

import deputize.core.audit.collectors as collectors
from deputize.core.audit import Audit
from deputize.core.audit.collectors import BatchRefused
from deputize.core.audit.cursor import NewRows
from deputize.core.audit.events import VaultCopied
from deputize.core.audit.export_settings import AuditExportSettings
from deputize.core.audit.rows import Key
from deputize.core.errors import AuditNotExported, ProviderUnavailable, SettingsError
from deputize.core.vault.audit_shipping import KIND, Export, LagGate, Shipper, exports_of, read_state
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.support.collectors import Certificates, HttpPeer, SyslogPeer, certificates

ROOT = b"r" * 32


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    store = await asyncio.to_thread(lambda: open_store(str(tmp_path / "vault.sqlite"), create=True))
    vault = await Vault.open(store, [ROOT])
    yield vault
    await vault.close()


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def audit_of(vault: Vault, trail: Path) -> Audit:
    return Audit(trail, vault.keys.audit, rotate_bytes=4000)


def write(audit: Audit, count: int) -> None:
    for _ in range(count):
        audit.write(VaultCopied())
    audit.flush()


def shipper(vault: Vault, trail: Path, url: str, **settings: Any) -> Shipper:
    [export] = exports_of({"siem": export_settings(url=url, **settings)})
    return Shipper(vault, trail, export, poll=0.02, first_pause=0.02)


def export_settings(**given: Any) -> AuditExportSettings:
    return AuditExportSettings.model_validate(given)


def uids(peer: HttpPeer | SyslogPeer) -> list[str]:
    return [row["metadata"]["uid"] for row in peer.rows]


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def acknowledged(vault: Vault, audit: Audit, count: int) -> None:
    """Wait until the vault says that the collector has so many rows. The collector itself has them a little sooner."""
    async with asyncio.timeout(10.0):
        while (one := await vault.get(KIND, f"row.siem.{audit.writer}")) is None or one.json["next"] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_https_collector_gets_each_row_once_across_restarts(
    vault: Vault, trail: Path, certs: Certificates
) -> None:
    audit = audit_of(vault, trail)
    async with HttpPeer().serve(certs.server_context()) as peer:
        given = {"ca_file": certs.ca, "authorization": "Splunk s3cret"}
        write(audit, 40)
        assert await shipper(vault, trail, peer.url, **given).ship(once=True) == 40
        write(audit, 3)
        assert await shipper(vault, trail, peer.url, **given).ship(once=True) == 3
        assert await shipper(vault, trail, peer.url, **given).ship(once=True) == 0
        assert uids(peer) == [f"{audit.writer}.{n}" for n in range(43)]
        assert b"authorization: Splunk s3cret" in peer.requests[0].replace(b"Authorization", b"authorization")
    state = await read_state(vault, "siem", trail)
    assert state.error == "" and state.lag(state.at) < 5
    audit.close()


async def test_syslog_receiver_gets_each_row_once(vault: Vault, trail: Path, certs: Certificates) -> None:
    audit = audit_of(vault, trail)
    write(audit, 40)
    async with SyslogPeer().serve(certs.server_context()) as peer:
        url = f"syslog+tls://localhost:{peer.port}"
        assert await shipper(vault, trail, url, ca_file=certs.ca).ship(once=True) == 40
        assert uids(peer) == [f"{audit.writer}.{n}" for n in range(40)]
        assert all(one.startswith((b"<109>1 ", b"<110>1 ")) for one in peer.messages)
        write(audit, 5)
        peer.reset = True
        with pytest.raises(ProviderUnavailable):
            await shipper(vault, trail, url, ca_file=certs.ca).ship(once=True)
        peer.reset = False
        assert await shipper(vault, trail, url, ca_file=certs.ca).ship(once=True) == 5
    audit.close()


async def test_client_certificate_identifies_deputize(vault: Vault, trail: Path, certs: Certificates) -> None:
    audit = audit_of(vault, trail)
    write(audit, 2)
    context = certs.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certs.ca)
    async with SyslogPeer().serve(context) as peer:
        url = f"syslog+tls://localhost:{peer.port}"
        with pytest.raises(ProviderUnavailable):
            await shipper(vault, trail, url, ca_file=certs.ca).ship(once=True)
        own = {"ca_file": certs.ca, "client_cert_file": certs.client, "client_key_file": certs.client_key}
        assert await shipper(vault, trail, url, **own).ship(once=True) == 2
    audit.close()


@pytest.mark.parametrize("scheme", ["https", "syslog+tls"])
async def test_certificate_of_another_host_is_refused(vault: Vault, trail: Path, tmp_path: Path, scheme: str) -> None:
    other = certificates(tmp_path, "collector.example")
    audit = audit_of(vault, trail)
    write(audit, 1)
    peer: Any = HttpPeer() if scheme == "https" else SyslogPeer()
    async with peer.serve(other.server_context()):
        port = peer.url.split(":")[2].split("/")[0] if scheme == "https" else peer.port
        with pytest.raises(ProviderUnavailable):
            await shipper(vault, trail, f"{scheme}://localhost:{port}", ca_file=other.ca).ship(once=True)
    assert not (peer.bodies if scheme == "https" else peer.messages)
    audit.close()


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (302, "location: http://169.254.169.254/\r\n", b"", "answered 302: redirects are not followed"),
        (401, "", b"no", "answered 401"),
        (503, "", b"", "answered 503"),
        (200, "content-type: text/html\r\n", b"<form>sign in</form>", "with a web page"),
        (200, "", b"x" * (1 << 20), "unusable answer"),
    ],
)
async def test_rows_are_shipped_again_if_the_collector_does_not_acknowledge_them(
    vault: Vault, trail: Path, status: int, headers: str, body: bytes, error: str
) -> None:
    audit = audit_of(vault, trail)
    write(audit, 2)
    async with HttpPeer().serve() as peer:
        peer.answer = lambda _: (status, headers, body)
        with pytest.raises(ProviderUnavailable, match=error):
            await shipper(vault, trail, peer.url).ship(once=True)
        assert len(peer.requests) == 1
        assert error in (await read_state(vault, "siem", trail)).error
        peer.answer = lambda _: (204, "", b"")
        assert await shipper(vault, trail, peer.url).ship(once=True) == 2
    audit.close()


async def test_collector_that_answers_slowly_for_ever_is_left(
    vault: Vault, trail: Path, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collectors, "SEND_TIMEOUT_SECONDS", 0.4)
    audit = audit_of(vault, trail)
    write(audit, 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        async with HttpPeer().serve() as slow:
            slow.delay, slow.answer = 0.05, lambda _: (200, "", b"x" * 1000)
            syslog = f"syslog+tls://localhost:{deaf.getsockname()[1]}"
            for url, more in ((slow.url, {}), (syslog, {"ca_file": certs.ca})):
                async with asyncio.timeout(3):
                    with pytest.raises(ProviderUnavailable, match=r"within 0\.4 seconds"):
                        await shipper(vault, trail, url, **more).ship(once=True)
    audit.close()


async def test_row_that_is_refused_alone_does_not_hold_up_the_others(vault: Vault, trail: Path) -> None:
    audit = audit_of(vault, trail)
    audit._append("act.result", user="u", tool="t", call_id="\u0001" * 4000, decision="done")
    write(audit, 20)
    async with HttpPeer().serve() as peer:
        peer.answer = lambda body: (413, "", b"") if len(body) > 12_000 else (200, "", b"")
        assert await shipper(vault, trail, peer.url).ship(once=True) == 21
        assert sorted({int(uid.rpartition(".")[2]) for uid in uids(peer)}) == [*range(21)]
        [cut] = [row for row in peer.rows if row["metadata"]["sequence"] == 0]
        assert cut["unmapped"]["truncated"] is True
        peer.answer = lambda _: (400, "", b"")
        write(audit, 1)
        with pytest.raises(BatchRefused):
            await shipper(vault, trail, peer.url).ship(once=True)
    audit.close()


async def test_otlp_request_is_one_of_the_published_schema(vault: Vault, trail: Path) -> None:
    audit = audit_of(vault, trail)
    write(audit, 3)
    async with HttpPeer().serve() as peer:
        peer.answer = lambda _: (200, "content-type: application/json\r\n", b'{"partialSuccess":{}}')
        assert await shipper(vault, trail, peer.url, format="otlp").ship(once=True) == 3
        request = json_format.Parse(peer.bodies[0], ExportLogsServiceRequest())
        records = request.resource_logs[0].scope_logs[0].log_records
        assert [one.event_name for one in records][:1] == ["deputize.vault.copied"] and len(records) == 3
        write(audit, 1)
        for garbage in (b"<ok>", b"[1]", b'{"partialSuccess":{"rejectedLogRecords":"1"}}'):
            peer.answer = lambda _, body=garbage: (200, "", body)  # type: ignore[misc]
            with pytest.raises(BatchRefused):
                await shipper(vault, trail, peer.url, format="otlp").ship(once=True)
    audit.close()


async def test_outage_under_load_loses_nothing(vault: Vault, trail: Path) -> None:
    audit, peer = audit_of(vault, trail), HttpPeer()
    async with peer.serve():
        port = int(peer.url.split(":")[2].split("/")[0])
        shipping = asyncio.create_task(shipper(vault, trail, peer.url).ship())
        await asyncio.to_thread(write, audit, 100)
        await until(lambda: len(peer.rows) == 100)
    for _ in range(10):
        await asyncio.to_thread(write, audit, 100)
        await asyncio.sleep(0.02)
    async with peer.serve(port=port):
        await until(lambda: len(set(uids(peer))) == 1100)
    assert set(uids(peer)) == {f"{audit.writer}.{n}" for n in range(1100)}
    shipping.cancel()
    await asyncio.wait([shipping])
    audit.close()


async def test_one_process_ships_and_another_takes_over(vault: Vault, trail: Path) -> None:
    audit = audit_of(vault, trail)
    async with HttpPeer().serve() as peer:
        first = asyncio.create_task(shipper(vault, trail, peer.url).ship())
        write(audit, 5)
        await acknowledged(vault, audit, 5)
        with pytest.raises(TimeoutError):
            await shipper(vault, trail, peer.url).ship(once=True)
        first.cancel()
        await asyncio.wait([first])
        write(audit, 5)
        assert await shipper(vault, trail, peer.url).ship(once=True) == 5
        assert len(uids(peer)) == len(set(uids(peer))) == 10
    audit.close()


async def test_rows_of_a_new_audit_key_are_shipped_by_a_running_process(vault: Vault, trail: Path) -> None:
    before = audit_of(vault, trail)
    other = await Vault.open(vault.store, [ROOT])
    async with HttpPeer().serve() as peer:
        task = asyncio.create_task(shipper(vault, trail, peer.url).ship())
        await asyncio.to_thread(write, before, 3)
        await until(lambda: len(peer.rows) == 3)
        await other.renew_audit_key()
        after = audit_of(other, trail)
        await asyncio.to_thread(write, after, 4)
        await until(lambda: len(set(uids(peer))) == 7)
        task.cancel()
        await asyncio.wait([task])
    before.close()
    after.close()


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.core.vault.test_audit_shipping import ROOT, open_store, shipper
from deputize.core.vault.vault import Vault
async def main():
    vault = await Vault.open(open_store(sys.argv[1], create=False), [ROOT])
    await shipper(vault, Path(sys.argv[2]), sys.argv[3]).ship()
asyncio.run(main())
"""


@pytest.mark.processes
async def test_killed_between_send_and_acknowledgement_loses_nothing(vault: Vault, trail: Path, tmp_path: Path) -> None:
    audit = audit_of(vault, trail)
    write(audit, 30)
    async with HttpPeer().serve() as peer:
        received = asyncio.Event()

        def hold(_: bytes) -> tuple[int, str, bytes]:
            received.set()
            return 200, "", b"x" * 100

        peer.answer, peer.delay = hold, 0.1
        words = [sys.executable, "-c", KILLED, str(tmp_path / "vault.sqlite"), str(trail), peer.url]
        child = await asyncio.to_thread(lambda: subprocess.Popen(words, cwd=Path.cwd()))
        async with asyncio.timeout(30):
            await received.wait()
        os.kill(child.pid, signal.SIGKILL)
        await asyncio.to_thread(child.wait)
        peer.answer, peer.delay = lambda _: (200, "", b""), 0.0
        assert await shipper(vault, trail, peer.url).ship(once=True) == 30
        assert len(uids(peer)) == 60 and set(uids(peer)) == {f"{audit.writer}.{n}" for n in range(30)}
    audit.close()


async def test_gate_refuses_acts_while_a_collector_lags(vault: Vault, trail: Path) -> None:
    [export] = exports_of({"siem": export_settings(url="https://siem.example", max_lag_seconds=60)})
    audit, now = audit_of(vault, trail), [1_000_000_000.0]
    gate = LagGate(vault, trail, [export], lambda: now[0])
    with pytest.raises(AuditNotExported, match="'siem', and acts are refused after 60 seconds"):
        await gate.check(writes=True)
    await gate.check(writes=False)
    async with HttpPeer().serve() as peer:
        working = shipper(vault, trail, peer.url, max_lag_seconds=60)
        working.clock = lambda: now[0]
        await working.ship(once=True)
        await LagGate(vault, trail, [export], lambda: now[0]).check(writes=True)
        now[0] += 50
        write(audit, 1)
        peer.answer = lambda _: (500, "", b"")
        with suppress(ProviderUnavailable):
            await working.ship(once=True)
        await LagGate(vault, trail, [export], lambda: now[0]).check(writes=True)
        now[0] += 20
        with pytest.raises(AuditNotExported, match="from 72 seconds ago"):
            await LagGate(vault, trail, [export], lambda: now[0]).check(writes=True)
        everything = Export("siem", export.collector, 60, "all")
        with pytest.raises(AuditNotExported):
            await LagGate(vault, trail, [everything], lambda: now[0]).check(writes=False)
    audit.close()


async def test_state_from_a_clock_that_was_ahead_proves_nothing(vault: Vault, trail: Path) -> None:
    [export] = exports_of({"siem": export_settings(url="https://siem.example", max_lag_seconds=60)})
    audit, now = audit_of(vault, trail), [2_000_000_000.0]
    async with HttpPeer().serve() as peer:
        working = shipper(vault, trail, peer.url, max_lag_seconds=60)
        working.clock = lambda: now[0]
        write(audit, 1)
        await working.ship(once=True)
        now[0] = 1_000_000_000.0  # the clock is put right, and then the collector fails
        write(audit, 1)
        peer.answer = lambda _: (500, "", b"")
        with suppress(ProviderUnavailable):
            await working.ship(once=True)
        with pytest.raises(AuditNotExported, match="No row of the audit has reached the collector 'siem'"):
            await LagGate(vault, trail, [export], lambda: now[0]).check(writes=True)
        peer.answer = lambda _: (200, "", b"")
        await working.ship(once=True)
        await LagGate(vault, trail, [export], lambda: now[0]).check(writes=True)
    audit.close()


def test_positions_are_records_of_a_kind_that_rotation_knows() -> None:
    from deputize.core.vault.record import KINDS

    assert KIND in KINDS


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://siem.example/in"},
        {"url": "https://user:pass@siem.example/"},
        {"url": "tcp://siem.example"},
        {"url": "https://siem.example/\r\nx: y"},
        {"url": "syslog+tls://siem.example:6514/path"},
        {"url": "syslog+tls://siem.example:99999"},
        {"url": "syslog+tls://siem.example", "format": "jsonl"},
        {"url": "https://siem.example", "authorization": "Bearer a\r\nHost: b"},
        {"url": "https://siem.example", "max_lag_seconds": 1},
        {"url": "https://siem.example", "client_key_file": "/x"},
        {"url": "http://127.0.0.1:1", "ca_file": "/x"},
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        export_settings(**given)


def test_unusable_certificates_and_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for name, more in (("a", {"ca_file": tmp_path / "bad.pem"}), ("a", {"ca_file": tmp_path / "none"}), ("A.b", {})):
        with pytest.raises(SettingsError, match=f"audit_export.{name}"):
            exports_of({name: export_settings(url="https://siem.example", **more)})


def test_jsonl_lines_are_the_rows_exactly(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit", b"k" * 32)
    write(audit, 2)
    audit.close()
    rows = NewRows(tmp_path / "audit", [Key(b"k" * 32)]).read(10, 1 << 20)
    [path] = (tmp_path / "audit").glob("*.jsonl")
    body = collectors._BODIES["jsonl"][1](rows)
    assert body == path.read_bytes() and json.loads(body.splitlines()[0])["seq"] == 0
