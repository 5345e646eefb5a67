"""``deputize serve`` with /metrics on its own port, and the probes on the main one."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from deputize.cli.http_app import numbers
from tests.cli.conftest import Command
from tests.cli.serving_world import KEY, around
from tests.cli.several_servers import Server
from tests.support.mcp_clients import client
from tests.support.ports import free_port
from tests.support.sandbox_deputy import build


@pytest.mark.processes
async def test_metrics_are_served_on_their_own_port_only(home: Path) -> None:
    async with around(home) as world:
        port = free_port()
        one = Server(home / "machine", world.environment | {"DEPUTIZE_SERVE__METRICS": f":{port}"})
        await one.start()
        try:
            async with client(f"{one.url}/mcp", world.issuer.token("alice")) as mcp:
                assert (await mcp.call_tool("gmail_whoami", {})).is_error
            async with httpx.AsyncClient() as http:
                told = await http.get(f"http://127.0.0.1:{port}/metrics")
                outcome = 'deputize_acts_total{tool="gmail_whoami",provider="google",outcome="consent_required"} 1'
                assert outcome in told.text and "alice" not in told.text
                assert (await http.get(f"http://localhost:{port}/metrics")).text.startswith("# ")
                rebound = await http.get(f"http://127.0.0.1:{port}/metrics", headers={"host": f"evil.example:{port}"})
                assert rebound.status_code == 400 and "deputize_" not in rebound.text
                assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 404
                assert "deputize_acts_total" not in (await http.get(f"{one.url}/metrics")).text
        finally:
            assert await one.end() == 0
        taken = Server(home / "other", one.env | {"DEPUTIZE_SERVE__METRICS": f":{world.port}"})
        with pytest.raises(AssertionError, match=rf"Port {world.port} on 127\.0\.0\.1 cannot be used"):
            await _with_taken(world.port, taken)


@pytest.mark.parametrize(
    ("host", "asked", "status"),
    [
        ("127.0.0.1", "evil.example:9464", 400),
        ("127.0.0.1", "localhost:9464", 200),
        ("::1", "[::1]:9464", 200),
        ("::1", "evil.example", 400),
        ("127.0.0.2", "127.0.0.2:9464", 200),
        ("localhost", "127.0.0.1:9464", 200),
        ("localhost", "evil.example", 400),
        ("0:0:0:0:0:0:0:1", "evil.example", 400),
        ("::ffff:127.0.0.1", "evil.example", 400),
        ("0:0:0:0:0:0:0:1", "[::1]:9464", 200),
        ("0.0.0.0", "deputize.agents.svc:9464", 200),  # noqa: S104
        ("::", "deputize:9464", 200),
        ("10.0.0.5", "numbers.intranet.example", 200),
    ],
)
async def test_loopback_metrics_refuse_foreign_host_names(host: str, asked: str, status: int) -> None:
    async with await build() as deputy, httpx.AsyncClient(transport=httpx.ASGITransport(numbers(deputy, host))) as http:
        assert (await http.get("http://there/metrics", headers={"host": asked})).status_code == status


@pytest.mark.parametrize(("leads", "status"), [(["127.0.0.1"], 400), (["127.0.0.1", "::1"], 400), (["10.0.0.5"], 200)])
async def test_metrics_host_check_resolves_the_configured_name(
    leads: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for LOCALHOST, 127.1, and names from the machine's hosts file."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: [(0, 0, 0, "", (one, 0)) for one in leads])
    async with await build() as deputy:
        app = numbers(deputy, "metrics.internal")
        monkeypatch.undo()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
            assert (await http.get("http://there/metrics", headers={"host": "evil.example"})).status_code == status
            assert (await http.get("http://metrics.internal/metrics")).status_code == 200


async def _with_taken(port: int, server: Server) -> None:
    listening = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
    async with listening:
        await server.start()


def test_invalid_metrics_port_is_refused_before_anything_is_opened(cli: Command) -> None:
    done = cli("serve", "--http", ":8000", DEPUTIZE_KEY=KEY, DEPUTIZE_SERVE__METRICS="9464")
    assert done.exit_code == 1 and "serve.metrics" in done.stderr
