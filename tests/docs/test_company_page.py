"""The page on setting up a company: its commands and files, on free ports, and people of both tenants."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from deputize.sandbox import Browser, Page
from tests.docs.blocks import ROOT, block, blocks
from tests.docs.test_serve_trying import Desk, ready, until
from tests.support.ports import free_port
from tests.support.saml_provider import SamlProvider

PAGE: Final = "docs/company-setup.md"


@contextlib.contextmanager
def collector() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Receive OpenTelemetry logs, and yield the port and the audit events."""
    events: list[dict[str, Any]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for resource in content["resourceLogs"]:
                for scope in resource["scopeLogs"]:
                    events.extend(json.loads(one["body"]["stringValue"]) for one in scope["logRecords"])
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], events
        server.shutdown()


@contextlib.asynccontextmanager
async def person(base: str, typed: str) -> AsyncIterator[tuple[Browser, Page]]:
    """Sign in at the trial issuer, and yield the browser and its first page."""
    async with httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0)) as wire:
        browser = Browser(wire)
        [login] = (asked := await browser.open(f"{base}/sign-in/acme")).forms
        yield browser, await browser.submit(asked, login, person=typed)


def link_in(page: Page, kind: str) -> str:
    found = re.search(rf'href="([^"]*/{kind}/[^"]+)"', page.text)
    assert found, page.text
    return str(urljoin(page.url, found[1]))


@pytest.mark.processes
async def test_page_sets_up_two_tenants_with_roles_four_eyes_and_export(tmp_path: Path) -> None:
    desk = Desk(tmp_path, free_port(), free_port(), free_port())
    base, home = f"http://localhost:{desk.serve}", tmp_path / "deputize-home"
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    settings, policy, job = blocks(PAGE, "toml")
    providers, folder, _, served, act, preflight = blocks(PAGE, "bash")
    env = block(PAGE, "sandbox.env &&", "bash")
    key = rsa.generate_private_key(65537, 3072)
    idp = SamlProvider("https://idp.beta.example", key, time.time, "bea", {"groups": ["agents-operators"]})
    with contextlib.ExitStack() as ends:
        port, events = ends.enter_context(collector())
        for one in providers.splitlines():
            ends.enter_context(desk.terminal(one))
        with desk.terminal(folder) as made:
            assert made.wait(60) == 0
        texts = {"deputize.toml": settings.replace("4318", str(port)), "policy.toml": policy}
        for name, text in texts.items():
            (home / name).write_text(text.replace("8000", str(desk.serve)))
        (home / "beta.xml").write_bytes(idp.metadata())
        desk.file("sandbox.env", "SALESFORCE__CLIENT_SECRET")
        desk.file("acme.env", "BOB=")
        server = ends.enter_context(desk.terminal(env + served.replace("deputize doctor", "deputize doctor || true")))
        until(lambda: ready(desk.serve) or server.poll() is not None)
        assert server.poll() is None
        async with person(base, "alice agents-users") as (alice, _), person(base, "bob agents-approvers") as (bob, _):
            command = ends.enter_context(desk.terminal(env + act))
            asked = await waiting(alice, f"{base}/connections", "connect")
            assert "is connected" in (await alice.allow(asked, as_="alice@example.test")).text
            page = await bob.open(await waiting(bob, f"{base}/others", "others"))
            [form] = [one for one in page.forms if "approve" in one.offers("decision")]
            await bob.submit(page, form, decision="approve")
            assert command.stdout
            said = command.stdout.read()
            assert '"deleted": true' in said
            assert "approval.approved" in said
            assert (await bob.open(f"{base}/operator")).status == 403
        async with person(base, "olga agents-operators") as (olga, _):
            assert "Salesforce" in (await olga.open(f"{base}/operator")).text
        async with person(base, "audrey agents-auditors") as (audrey, _):
            assert "salesforce_delete_record" in (await audrey.open(f"{base}/audit")).text
        async with httpx.AsyncClient(base_url=base) as bea:
            sent = await bea.get("/sign-in/beta")
            answer = idp.answer(sent.headers["location"])
            await bea.post("/sign-in/beta/callback", data=answer, follow_redirects=True)
            mine = await bea.get("/operator")
        assert "https://idp.beta.example#bea" in mine.text and "Salesforce" not in mine.text
        (tmp_path / "job.toml").write_text(job.replace("8738", str(desk.issuer)))
        with desk.terminal(env + preflight) as checked:
            assert checked.stdout and "Ready." in checked.stdout.read()
        repeated = (
            (tmp_path / "job.toml")
            .read_text()
            .replace("[[calls]]", 'every = "1d"\nuntil = 2099-01-01T00:00:00Z\n[[calls]]')
        )
        (tmp_path / "job.toml").write_text(repeated)
        with desk.terminal(env + preflight) as checked:
            assert checked.stdout and "last sign-in count until" in checked.stdout.read()
        until(lambda: any(one["metadata"]["event_code"] == "approval.approved" for one in events))


async def waiting(browser: Browser, page: str, kind: str) -> str:
    """Return the link of a request on this page, once it is there."""
    found = await browser.open(page)
    for _ in range(300):
        if f"/{kind}/" in found.text:
            break
        await asyncio.sleep(0.1)
        found = await browser.open(page)
    return link_in(found, kind)
