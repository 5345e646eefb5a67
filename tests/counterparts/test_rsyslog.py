"""rsyslog receives the audit over TLS with a client certificate, through an outage and hostile values."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deputize.core.audit import Audit
from deputize.core.audit.events import VaultCopied
from deputize.core.audit.export_settings import AuditExportSettings
from deputize.core.vault.audit_shipping import Shipper, exports_of
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.docs.blocks import block
from tests.support.collectors import Certificates, certificates
from tests.support.counterparts import require
from tests.support.ports import free_port

pytestmark = pytest.mark.counterpart

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin") or ""
ROWS = 1000
"""Rows before the outage, and at least in it."""
OUTAGE_SECONDS = float(os.environ.get("DEPUTIZE_OUTAGE_SECONDS", "0"))


class Rsyslog:
    """An rsyslog server on loopback, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.received = folder, folder / "received.log"
        self.certs: Certificates = certificates(folder)
        self.port = free_port()
        config = block("docs/audit-export.md", "imtcp", "conf")
        for documented, here in {
            "global(": f'global(workDirectory="{folder}" ',
            "/etc/rsyslog.d/ca.pem": self.certs.ca,
            "/etc/rsyslog.d/server.pem": self.certs.server,
            "/etc/rsyslog.d/server.key": self.certs.server_key,
            "/var/log/deputize.log": self.received,
            'port="6514"': f'port="{self.port}" address="127.0.0.1"',
        }.items():
            assert documented in config
            config = config.replace(documented, str(here))
        (folder / "rsyslog.conf").write_text(config)

    @contextmanager
    def running(self) -> Iterator[None]:
        words = [RSYSLOGD, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        with (self.folder / "rsyslog.err").open("ab") as log:
            server = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            yield
        finally:
            server.terminate()
            server.wait(10)

    async def wait_until_ready(self) -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return

    def lines(self) -> list[str]:
        """Return the lines that the server has written whole: it writes its buffer, which may end within a line."""
        whole = self.received.read_text().rpartition("\n")[0] if self.received.exists() else ""
        return whole.splitlines()

    def uids(self) -> Counter[str]:
        return Counter(json.loads(line[line.index("{") :])["metadata"]["uid"] for line in self.lines())


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    store = await asyncio.to_thread(lambda: open_store(str(tmp_path / "vault.sqlite"), create=True))
    vault = await Vault.open(store, [b"r" * 32])
    yield vault
    await vault.close()


def shipper(vault: Vault, trail: Path, server: Rsyslog) -> Shipper:
    certs = server.certs
    files = {"ca_file": certs.ca, "client_cert_file": certs.client, "client_key_file": certs.client_key}
    settings = AuditExportSettings.model_validate({"url": f"syslog+tls://localhost:{server.port}", **files})
    return Shipper(vault, trail, exports_of({"syslog": settings})[0], poll=0.05, first_pause=0.1)


async def test_rsyslog_gets_every_row_through_an_outage_under_load(vault: Vault, tmp_path: Path) -> None:
    require("rsyslog with its TLS driver", bool(RSYSLOGD), "apt-get install rsyslog rsyslog-openssl")
    server, trail = Rsyslog(tmp_path), tmp_path / "audit"
    audit = Audit(trail, vault.keys.audit, rotate_bytes=100_000)
    hostile = 'x"]\n<110>1 - forged deputize - - - {"metadata":{"uid":"forged.1"}}\r\x00\u2028' * 30
    audit._append("act.result", user=hostile, tool=hostile, call_id=hostile, thread=hostile, decision="done")
    shipping = asyncio.create_task(shipper(vault, trail, server).ship())

    async def write(seconds: float) -> int:
        count, end = 0, time.monotonic() + seconds
        while count < ROWS or time.monotonic() < end:
            for _ in range(100):
                audit.write(VaultCopied())
            count += 100
            await asyncio.to_thread(audit.flush)
            await asyncio.sleep(0.02 if count < ROWS else 0.2)
        return count

    with server.running():
        await server.wait_until_ready()
        number = 1 + await write(0)
    number += await write(OUTAGE_SECONDS)
    with server.running():
        async with asyncio.timeout(60 + OUTAGE_SECONDS):
            while len(server.uids()) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.1 + OUTAGE_SECONDS / 60)
    shipping.cancel()
    await asyncio.wait([shipping])
    audit.close()
    found = server.uids()
    twice = sum(times > 1 for times in found.values())
    print(f"outage of {OUTAGE_SECONDS:g} s: {number} rows written, {len(found)} received, {twice} of them twice")
    assert found.keys() == {f"{audit.writer}.{seq}" for seq in range(number)}
    assert not any("forged.1" in uid for uid in found) and max(found.values()) <= 2
    [row] = [line for line in server.lines() if f'"{audit.writer}.0"' in line]
    assert "forged" in row and len(row) <= 8192
    event = json.loads(row[row.index("{") :])
    assert event["metadata"]["is_truncated"] is True
