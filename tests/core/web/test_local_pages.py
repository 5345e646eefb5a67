"""The pages on loopback: one server for the process, found by others of the same vault, on one port."""

from __future__ import annotations

import asyncio
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from deputize.core import Deputy, SettingsError
from deputize.core.background_loop import portal
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.core.web.app import pages_app
from deputize.core.web.local import pages as local_pages
from deputize.core.web.local.pages import LocalPages, same_vault
from deputize.core.web.local.server import require_host, serve
from deputize.core.web.pages.brand import Brand
from deputize.core.web.pages.local_links import connections_link, show_anew
from deputize.sandbox import Browser, Sandbox
from tests.support.sandbox_deputy import google_app


async def _deputy(port: int = 0, *, vault: Vault | None = None, sandbox_url: Sandbox | None = None) -> Deputy:
    vault = vault or await Vault.open(MemoryStore(), [secrets.token_bytes(32)])
    pages, transport = partial(LocalPages, port=port), (sandbox_url or Sandbox()).transport()
    return Deputy(vault, [google_app()], pages=pages, toolkits=[], transport=transport, agent="Helper")


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class _Wire(httpx.AsyncBaseTransport):
    """Loopback over the network, everything else at the sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.provider, self.real = sandbox.transport(), httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        here = request.url.host == "127.0.0.1"
        return await (self.real if here else self.provider).handle_async_request(request)

    async def aclose(self) -> None:
        await self.real.aclose()


async def test_consent_completes_over_real_sockets() -> None:
    sandbox = Sandbox()
    deputy = await _deputy(sandbox_url=sandbox)
    (consent,) = await deputy.connect("alice", "google", scopes=["gmail.readonly"])
    assert consent.link.startswith("http://127.0.0.1:")
    async with _Wire(sandbox) as wire:
        page = await Browser(wire).allow(consent.link)
    assert "Google is connected" in page.text
    assert (await deputy.wait_for_consents([consent]))[0].status == "granted"


async def test_local_pages_are_served_once_for_tasks_threads_and_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = 0
    real = local_pages._application

    def counted(deputy: Deputy, brand: Brand | None) -> object:
        nonlocal entered
        entered += 1
        return real(deputy, brand)

    monkeypatch.setattr(local_pages, "_application", counted)
    pages = (await _deputy()).pages
    tasks = [pages.base_url() for _ in range(10)]
    threads = [asyncio.to_thread(lambda: asyncio.run(pages.base_url())) for _ in range(5)]
    sync = [asyncio.to_thread(lambda: portal().run(pages.base_url())) for _ in range(5)]
    assert len(set(await asyncio.gather(*tasks, *threads, *sync))) == 1
    assert entered == 1


async def test_local_pages_listen_on_loopback_and_answer_their_own_host_only() -> None:
    url = await (await _deputy()).pages.base_url()
    port = int(url.rpartition(":")[2])
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/health")).status_code == 200
        for host in ("evil.example.test", f"evil.example.test:{port}", "localhost", "127.0.0.1.evil.example.test"):
            response = await client.get(f"{url}/connections", headers={"host": host})
            assert response.status_code == 400 and "Your connections" not in response.text
    assert _listening(port) == {"127.0.0.1"}


def _listening(port: int) -> set[str]:
    """Return the addresses on which a server listens on this port."""
    found = set()
    with open("/proc/net/tcp") as lines:
        for line in list(lines)[1:]:
            address, _, number = line.split()[1].partition(":")
            if int(number, 16) == port and line.split()[3] == "0A":
                found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


@contextmanager
def _stranger() -> Iterator[int]:
    """A program that listens on the port and is not deputize."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


@pytest.mark.processes
async def test_answer_in_progress_arrives_when_the_pages_close() -> None:
    begun = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            begun.set()
            await asyncio.sleep(1.5)  # as on a busy machine
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"is connected"})

    async with httpx.AsyncClient() as client:
        async with serve(slow) as url:
            asked = asyncio.create_task(client.get(url))
            await begun.wait()
        assert (await asked).text == "is connected"


async def test_closing_waits_until_the_browser_has_followed_the_last_redirect() -> None:
    sandbox = Sandbox()
    deputy = await _deputy(sandbox_url=sandbox)
    (consent,) = await deputy.connect("alice", "google", scopes=["gmail.readonly"])

    class SlowFollower(_Wire):
        """A browser that takes a moment between the answer to the callback and the page to which it leads."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if request.url.path.startswith("/callback/"):
                await asyncio.sleep(0.5)
            return answer

    async with SlowFollower(sandbox) as wire:
        browsing = asyncio.create_task(Browser(wire).allow(consent.link))
        (ended,) = await deputy.wait_for_consents([consent])
        await deputy.close()  # as the command `connect` does, at once
        page = await browsing
    assert ended.status == "granted"
    assert "Google is connected" in page.text


async def test_closing_does_not_wait_for_a_browser_that_does_not_follow() -> None:
    deputy = await _deputy()
    async with httpx.AsyncClient(trust_env=False) as client:
        link = await connections_link(deputy, "alice")
        assert (await client.get(link)).status_code == 303
    begun = time.monotonic()
    await deputy.close()
    assert time.monotonic() - begun < 10


async def test_second_deputy_of_a_process_serves_its_own_pages_after_the_first_closed() -> None:
    port, answers = _free(), []
    for _ in range(2):
        deputy = await _deputy(port)
        async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
            answers.append((await client.get(await connections_link(deputy, "alice"))).status_code)
            await deputy.close()
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{port}/health")
    assert answers == [200, 200]


async def test_closing_the_user_of_another_process_leaves_its_server_running() -> None:
    port, vault = _free(), await Vault.open(MemoryStore(), [secrets.token_bytes(32)])
    first, second = await _deputy(port, vault=vault), await _deputy(port, vault=vault)
    url = await first.pages.base_url()
    assert await second.pages.base_url() == url
    await second.pages.close()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/health")).status_code == 200
    await first.pages.close()


async def test_taken_port_is_named_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    with _stranger() as port:

        async def closed(deputy: Deputy, port: int) -> bool:
            return False  # does not wait for an answer that never comes

        monkeypatch.setattr(local_pages, "same_vault", closed)
        with pytest.raises(SettingsError) as refused:
            await (await _deputy(port)).pages.base_url()
        assert str(port) in str(refused.value) and "DEPUTIZE_PORT" in refused.value.hint


async def test_pages_of_another_process_with_the_same_vault_are_used() -> None:
    first = await _deputy()
    url = await first.pages.base_url()
    second = await _deputy(int(url.rpartition(":")[2]), vault=first.vault)
    assert await second.pages.base_url() == url
    (consent,) = await second.connect("alice", "google", scopes=["gmail.readonly"])
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
        assert "Helper wants to act for you" in (await client.get(consent.link)).text


async def test_renewed_link_is_bound_to_the_next_browser() -> None:
    deputy = await _deputy()
    (consent,) = await deputy.connect("alice", "google", scopes=["gmail.readonly"])
    wrong, right = (httpx.AsyncClient(trust_env=False, follow_redirects=True) for _ in range(2))
    async with wrong, right:
        assert (await wrong.get(consent.link)).status_code == 200
        assert (await right.get(consent.link)).status_code == 403
        await show_anew(deputy, consent.link)
        assert (await right.get(consent.link)).status_code == 200


async def test_pages_of_another_vault_on_the_port_are_not_used() -> None:
    port = int((await (await _deputy()).pages.base_url()).rpartition(":")[2])
    with pytest.raises(SettingsError, match=str(port)):
        await (await _deputy(port)).pages.base_url()


async def test_pages_are_taken_over_when_their_process_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_pages, "CHECK_INTERVAL_SECONDS", 0.0)
    first = await _deputy()
    app = require_host(pages_app(first, verifier=None, local=True), {"127.0.0.1"})
    second = await _deputy(port := _free(), vault=first.vault)
    async with serve(app, port) as url:
        assert await second.pages.base_url() == url
    assert await second.pages.base_url() == url
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/health")).status_code == 200


async def test_health_challenge_can_be_checked_by_the_same_vault_only() -> None:
    deputy = await _deputy()
    url = await deputy.pages.base_url()
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = [(await client.get(f"{url}/health", params={"challenge": c})).text for c in ("a", "b", "a")]
    assert answers[0] == answers[2] != answers[1]
    assert deputy.vault.keys.web.hex() not in answers[0]
    port = int(url.rpartition(":")[2])
    assert await same_vault(deputy, port)
    assert not await same_vault(await _deputy(), port)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"not json", b"\xff\xfe", b"null", b'{"deputize": "replayed"}'])
async def test_neighbour_with_a_wrong_health_answer_is_not_used(body: bytes) -> None:
    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    async with serve(app, 0) as url:  # type: ignore[arg-type]
        assert not await same_vault(await _deputy(), int(url.rpartition(":")[2]))


async def test_free_port_has_no_neighbour() -> None:
    assert not await same_vault(await _deputy(), _free())


async def test_missing_web_extra_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    deputy = await _deputy()
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SettingsError) as refused:
        await deputy.pages.base_url()
    assert refused.value.hint == 'pip install "deputize[web]"'


@pytest.mark.processes
@pytest.mark.parametrize("module", ("deputize.core.web.pages.local_links", "deputize.core.from_settings"))
def test_module_loads_no_web_framework(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"starlette", "jinja2", "uvicorn"} & set(done.stdout.split())


@pytest.mark.processes
async def test_pages_keep_their_address_on_a_new_background_loop() -> None:
    deputy = await _deputy()
    before = await deputy.pages.base_url()
    await asyncio.to_thread(portal().close)
    assert await deputy.pages.base_url() == before
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{before}/health")).status_code == 200
