"""How requests reach the sandbox: in process, over ASGI, over a socket, from many loops at once."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from deputize.sandbox import Browser, Sandbox, Seen
from deputize.sandbox.google import GOOGLE_CLIENT_ID
from tests.sandbox.registered_app import ALICE, BOB, ME, TOKEN, TestApp, written


def bearer(reply: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {reply['access_token']}"}


@pytest.mark.parametrize(
    "url",
    [
        "https://gmail.googleapis.com/gmail/v1/users/me/profile",
        "http://127.0.0.1:4711/gmail.googleapis.com/gmail/v1/users/me/profile",
        "http://localhost/gmail.googleapis.com/gmail/v1/users/me/profile",
        "https://sandbox.example.test/gmail.googleapis.com/gmail/v1/users/me/profile",
    ],
)
async def test_production_and_moved_addresses_are_served(app: TestApp, url: str) -> None:
    reply = await app.http.get(url, headers=bearer(await app.connect("readonly")))
    assert reply.json()["emailAddress"] == ALICE


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "http://gmail.googleapis.com/gmail/v1/users/me/profile",
        "https://gmail.googleapis.com:444/gmail/v1/users/me/profile",
        "https://gmail.googleapis.com.evil.example.test/gmail/v1/users/me/profile",
        "https://evil.example.test/gmail.googleapis.com/gmail/v1/users/me/profile",
        "http://127.0.0.1:4711/unheard.example.test/",
        "http://127.0.0.1:4711/",
        "https://www.googleapis.com:8443/calendar/v3/calendars/primary",
    ],
)
async def test_other_addresses_are_unreachable_and_not_recorded(app: TestApp, sandbox: Sandbox, url: str) -> None:
    with pytest.raises(httpx.ConnectError):
        await app.http.get(url)
    assert sandbox.requests == []


async def test_asgi_app_serves_hosts_as_first_path_segment(app: TestApp, sandbox: Sandbox) -> None:
    token = bearer(await app.connect("readonly"))
    mounted = Starlette(routes=[Mount("/play", app=sandbox.app)])
    for asgi, base in ((sandbox.app, ""), (mounted, "/play")):
        transport = httpx.ASGITransport(asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            path = f"{base}/gmail.googleapis.com/gmail/v1/users/alice%40example.test/profile"
            assert (await http.get(path, headers=token)).json()["emailAddress"] == ALICE
            assert (await http.get(f"{base}/unheard.example.test/")).status_code == 404
    assert sandbox.requests[-1].path == "/gmail/v1/users/alice%40example.test/profile"


@pytest.fixture
def served(sandbox: Sandbox) -> Iterator[str]:
    """The sandbox on a free loopback port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(sandbox.app, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


async def test_browser_and_app_work_over_a_socket(served: str, sandbox: Sandbox, app: TestApp) -> None:
    flow = app.flow("send")
    wire = httpx.AsyncHTTPTransport()
    browser = Browser(wire)
    page = await browser.open(flow.link.replace("https://", f"{served}/"))
    with pytest.raises(httpx.ConnectError):  # our callback is not there: it has come as far as that
        await browser.submit(page, page.forms[0], account=ALICE, decision="allow", scope=page.forms[0].offers("scope"))
    await wire.aclose()
    code = await app.code(flow)
    async with httpx.AsyncClient() as http:
        sandbox.switches.lose_token_reply = 1
        token = TOKEN.replace("https://", f"{served}/")
        with pytest.raises(httpx.TransportError):
            await http.post(token, data=flow.form(code))
        assert sandbox.live_tokens()[ALICE] == 1 and sandbox.requests[-1].status is None
        assert (await http.post(token, data=flow.form(code))).json()["error"] == "invalid_grant"


@pytest.mark.processes
async def test_fifty_parallel_sends_all_arrive_once(app: TestApp, sandbox: Sandbox) -> None:
    gmail = await app.gmail("send")
    replies = await asyncio.gather(*(gmail.send("POST", "/messages/send", written(subject=f"n{n}")) for n in range(50)))
    assert len({reply.json()["id"] for reply in replies}) == 50
    assert {mail.subject for mail in sandbox.sent(ALICE)} == {f"n{n}" for n in range(50)}
    assert len([mail for mail in sandbox.mailbox(BOB).mails() if mail.subject.startswith("n")]) == 50


async def test_fifty_parallel_uses_of_one_code_yield_tokens_once(app: TestApp, sandbox: Sandbox) -> None:
    flow = app.flow("send")
    form = flow.form(await app.code(flow))
    replies = await asyncio.gather(*(app.http.post(TOKEN, data=form) for _ in range(50)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 49
    assert sandbox.live_tokens()[ALICE] == 0


async def test_concurrent_refreshes_of_a_rotating_grant_succeed_once(app: TestApp, sandbox: Sandbox) -> None:
    sandbox.switches.rotate, sandbox.switches.token_delay = True, 0.01
    first = await app.connect("send")
    replies = await asyncio.gather(*(app.refresh(first["refresh_token"]) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 19


async def test_one_transport_serves_many_threads_with_their_own_loops(app: TestApp, sandbox: Sandbox) -> None:
    token = bearer(await app.connect("modify"))
    transport = sandbox.transport()

    async def work(number: int) -> None:
        http = httpx.AsyncClient(transport=transport)
        for turn in range(5):
            body = written(subject=f"t{number}.{turn}")
            (await http.post(f"{ME}/messages/send", json=body, headers=token)).raise_for_status()
            (await http.get(f"{ME}/messages", params={"q": "in:sent"}, headers=token)).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(asyncio.run, work(number)) for number in range(8)]
        await asyncio.gather(*(asyncio.wrap_future(job) for job in jobs))
    assert len({mail.subject for mail in sandbox.sent(ALICE)}) == 40


async def test_delayed_token_reply_blocks_no_other_request(app: TestApp, sandbox: Sandbox) -> None:
    token = bearer(await app.connect("readonly"))
    refresh = (await app.connect("send", prompt="consent"))["refresh_token"]
    sandbox.switches.token_delay = 0.2
    waiting = asyncio.create_task(app.refresh(refresh))
    await asyncio.sleep(0)
    assert (await app.http.get(f"{ME}/profile", headers=token)).status_code == 200
    assert not waiting.done()
    assert (await waiting).status_code == 200


async def test_request_list_names_person_and_path_without_secrets(app: TestApp, sandbox: Sandbox) -> None:
    flow = app.flow("readonly")
    code = await app.code(flow)
    reply = (await app.http.post(TOKEN, data=flow.form(code))).json()
    await app.http.get(f"{ME}/messages", params={"q": "from:bob"}, headers=bearer(reply))
    await app.http.get(f"{ME}/messages", headers={"Authorization": "Bearer forged"})
    assert sandbox.requests == [
        Seen("GET", "accounts.google.com", "/o/oauth2/v2/auth", 200, ""),
        Seen("POST", "accounts.google.com", "/o/oauth2/v2/auth", 302, ALICE),
        Seen("POST", "oauth2.googleapis.com", "/token", 200, ALICE),
        Seen("GET", "gmail.googleapis.com", "/gmail/v1/users/me/messages", 200, ALICE),
        Seen("GET", "gmail.googleapis.com", "/gmail/v1/users/me/messages", 401, ""),
    ]
    noted = repr(sandbox.requests)
    for secret in (code, flow.state, flow.verifier, reply["access_token"], reply["refresh_token"], GOOGLE_CLIENT_ID):
        assert secret not in noted
    assert sandbox.count("gmail.googleapis.com") == 2
    assert sandbox.count("oauth2.googleapis.com", "/token", method="POST") == 1
    assert sandbox.count("oauth2.googleapis.com", "/token", method="GET") == 0
    assert sandbox.count("gmail.googleapis.com", "/gmail/v1/users/me/drafts") == 0


async def test_reset_restores_the_initial_data(app: TestApp, sandbox: Sandbox) -> None:
    before = sandbox.mailbox(ALICE).mails()
    gmail = await app.gmail("modify")
    await gmail.post("/messages/send", written(to=ALICE))
    sandbox.reset()
    assert sandbox.requests == [] and sandbox.sent(ALICE) == [] and sum(sandbox.live_tokens().values()) == 0
    assert [mail.id for mail in sandbox.mailbox(ALICE).mails()] == [mail.id for mail in before]
    assert (await gmail.send("GET", "/profile")).status_code == 401


async def test_returned_mails_are_copies(sandbox: Sandbox) -> None:
    mail = sandbox.mailbox(ALICE).mails()[0]
    mail.labels.append("TRASH")
    assert "TRASH" not in sandbox.mailbox(ALICE).mails()[0].labels
    with pytest.raises(KeyError):
        sandbox.mailbox("eve@example.test")
