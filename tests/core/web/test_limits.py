"""Input longer than any browser sends is refused before it is parsed."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from deputize.core.web.app import MAX_ADDRESS, MAX_HEADER_BYTES, MAX_HEADERS
from deputize.core.web.local.server import serve
from tests.core.web.web_application import World, hidden, make, path_of


async def test_too_long_url_is_refused_and_a_long_code_accepted(world: World) -> None:
    good = await world.send("GET", f"/callback/google?code={'c' * (MAX_ADDRESS - 100)}&state=x")
    assert (good.status_code, good.headers["location"]) == (303, "/refused")
    for path in (f"/callback/google?code={'c' * MAX_ADDRESS}", f"/connect/{'t' * MAX_ADDRESS}", f"/{'x' * 50_000}"):
        refused = await world.send("GET", path)
        assert refused.status_code == 414 and refused.headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize(
    "headers",
    [
        [("x", "y")] * (MAX_HEADERS + 1),
        [("x" * MAX_HEADER_BYTES, "y")],
        [(f"x{number}", "y" * 1000) for number in range(70)],
    ],
    ids=["many", "one", "together"],
)
async def test_too_many_or_too_long_headers_are_refused(headers: list[tuple[str, str]], world: World) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url=world.base) as client:
        assert (await client.get("/health", headers=httpx.Headers(headers))).status_code == 431
        fine = [(f"x{number}", "y" * 1000) for number in range(50)]
        assert (await client.get("/health", headers=httpx.Headers(fine))).status_code == 200


@pytest.mark.parametrize("local", [False, True])
async def test_too_long_form_or_too_many_fields_are_refused(local: bool) -> None:
    world = await make(local=local)
    consent = await world.asked()
    opened, jar = await world.look(path_of(consent), "" if local else "alice")
    jar = jar if local else {**jar, "host-session": "alice"}
    for extra in ({"x": "y" * 20_000}, {f"x{number}": "" for number in range(30)}):
        data = {"form": hidden(opened), **extra}
        assert (await world.send("POST", path_of(consent), cookies=jar, data=data)).status_code == 403
    assert (await world.status(consent))[0] == "pending" and not world.events("consent.opened")


async def test_local_server_limits_the_request_head() -> None:
    world = await make(local=True)
    async with serve(world.app) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        answer = asyncio.create_task(reader.read())
        for _ in range(100):
            if answer.done() or writer.transport.is_closing():
                break
            writer.write(b"x: " + b"y" * 10_000 + b"\r\n")
            await asyncio.sleep(0.001)
        assert (await asyncio.wait_for(answer, 5)).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
        writer.close()
