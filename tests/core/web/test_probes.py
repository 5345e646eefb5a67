"""/healthz and /readyz: whether the process lives, and whether it should get requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from deputize.core import Deputy
from deputize.core.audit import Audit
from deputize.core.errors import StoreUnavailable
from deputize.core.vault.record import FIRST
from deputize.core.web.ops import probes
from deputize.core.web.ops.probes import Probes
from tests.support.sandbox_deputy import build


class Probed:
    """A deputy and its probes. ``looks``: how often its probes read the store."""

    def __init__(self, deputy: Deputy, http: httpx.AsyncClient, of: Probes) -> None:
        self.deputy, self.http, self.of, self.looks = deputy, http, of, 0
        get = deputy.vault.store.get
        self.down: Exception | None = None
        self.slow = 0.0

        async def counted(kind: str, key: str) -> bytes | None:
            if (kind, key) != FIRST:  # what a deputy does by itself
                return await get(kind, key)
            self.looks += 1
            await asyncio.sleep(self.slow)
            if self.down:
                raise self.down
            return await get(kind, key)

        deputy.vault.store.get = counted  # type: ignore[method-assign]

    async def ask(self, path: str = "/readyz") -> tuple[int, str]:
        answer = await self.http.get(path, headers={"host": "10.1.2.3:8000"})
        assert answer.headers["cache-control"] == "no-store"
        return answer.status_code, answer.text


@asynccontextmanager
async def probed(audit: Audit | None = None) -> AsyncIterator[Probed]:
    async with await build(audit=audit) as deputy:
        of = Probes(deputy)
        transport = httpx.ASGITransport(Starlette(routes=of.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            yield Probed(deputy, http, of)


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ANSWER_TTL", 0.0)


async def test_liveness_does_not_depend_on_the_store() -> None:
    async with probed() as one:
        one.down = StoreUnavailable("The vault does not answer.")
        one.of.leave()
        assert await one.ask("/healthz") == (200, "ok") and one.looks == 0


async def test_readiness_follows_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "READ_TIMEOUT_SECONDS", 0.05)
    async with probed() as one:
        assert await one.ask() == (200, "ok")
        one.down = StoreUnavailable("connection to postgresql://deputize:hunter2@db failed")
        assert await one.ask() == (503, "store_unavailable")
        one.down, one.slow = None, 1.0
        assert await one.ask() == (503, "store_unavailable")
        one.slow = 0.0
        assert await one.ask() == (200, "ok")


async def test_process_with_an_outdated_key_is_not_ready() -> None:
    async with probed() as one:
        one.deputy.vault.rekey([bytes(range(32))])
        assert await one.ask() == (503, "vault_error")


async def test_process_that_cannot_audit_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(tmp_path / "audit", b"a" * 32)
    full = True
    add = type(audit._sink).append

    def append(sink: object, data: bytes) -> None:
        if full:
            raise OSError(28, "No space left on device")
        add(sink, data)  # type: ignore[arg-type]

    monkeypatch.setattr(type(audit._sink), "append", append)
    async with probed(audit) as one:
        audit._append("act.intent", n=0)
        with pytest.raises(StoreUnavailable):
            await audit.settle()
        assert await one.ask() == (503, "audit_unavailable")
        full = False
        assert await one.ask() == (200, "ok"), "it tried by itself"


async def test_process_told_to_stop_is_not_ready() -> None:
    async with probed() as one:
        one.of.leave()
        assert await one.ask() == (503, "leaving") and one.looks == 0


async def test_concurrent_probes_read_the_store_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ANSWER_TTL", 60.0)
    async with probed() as one:
        one.slow = 0.01
        assert set(await asyncio.gather(*(one.ask() for _ in range(50)))) == {(200, "ok")}
        assert one.looks == 1
