"""Every page that a user meets, served on loopback, with content on each of them."""

from __future__ import annotations

import base64
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, ConsentRequired, PolicyDenied, User, Verdict, ask_before_sending
from deputize.core.web.app import Brand, pages_app
from deputize.core.web.local.server import serve
from tests.core.web.web_application import SESSION, World, make, signed_in
from tests.support.chromium import Chromium
from tests.support.undo_toolkit import KIT

LETTER = (
    "Dear Bob,\n\nas agreed the offer is attached. " + "It is valid until the end of the month. " * 12 + "\n\nAlice"
)
SENT = "To: bob@example.test\r\nSubject: Offer\r\n\r\nHello"


def png(width: int = 96, height: int = 64) -> bytes:
    """Return a logo: a picture of one colour."""
    raw = b"".join(b"\0" + b"\x0a\x7a\x55" * width for _ in range(height))

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b"")


BRAND = Brand(
    "Acme Mail", logo=png(), colour="#0a5", support="mailto:help@acme.example", privacy="https://acme.example/privacy"
)


@dataclass
class Gallery:
    """The pages by name. ``forms``: those that result from pressing a button on another one, as (page, selector)."""

    world: World
    pages: dict[str, str]
    forms: dict[str, tuple[str, str]]

    async def open(self, browser: Chromium, name: str) -> None:
        """Open a page, and press its button if it has one, as the user named by the browser's cookie."""
        page, button = self.forms.get(name, (name, ""))
        await browser.open(self.world.base + self.pages[page])
        if button:
            await browser.run(f"window.left = 1; document.querySelector({button!r}).click(); true")
            gone = "document.querySelector('details[open]') || !window.left && document.readyState == 'complete'"
            assert await browser.until(f"!!({gone})")


async def as_user(browser: Chromium, gallery: Gallery, user: str = "alice") -> None:
    await browser.cookie(gallery.world.base, SESSION, user)


@asynccontextmanager
async def opened() -> AsyncIterator[Gallery]:
    """Return all pages, for Alice."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = await make(base=f"http://127.0.0.1:{port}", toolkits=[KIT])
    world.app = pages_app(world.deputy, verifier=signed_in, brand=BRAND, return_to=["/chat"])
    granted = await world.asked("send")
    assert "is connected" in (await world.browser().allow(granted.link, as_="alice@example.test")).text
    await world.connected("modify", "send")
    await _acted(world)
    pages = await _asked(world) | {"connecting": await _on_the_way(world)}
    pages |= {
        "granted": granted.link.removeprefix(world.base),
        "connections": "/connections",
        "activity": "/activity",
        "refused": "/refused",
    }
    place = world.deputy.vault.key_prefix(User("alice"), "google", "google")
    async with serve(world.app, port), world.deputy.vault.store.lock(f"consent-{place}", 600):
        yield Gallery(
            world,
            pages,
            {
                "mandate": ("approve", "details summary"),
                "disconnect": ("connections", "form[action$='/revoke'] button"),
                "undo": ("activity", "form[action$='/undo'] button"),
            },
        )


async def _acted(world: World) -> None:
    mail = world.sandbox.mailbox("alice@example.test").mails()[0].id
    world.deputy.policy = lambda act: Verdict.ALLOW
    for tool, given in (("gmail_star", {"id": mail}), ("gmail_trash", {"id": mail}), ("gmail_star", {"id": mail})):
        world.clock.now += 4000
        await world.deputy.act(tool, given, user="alice", call=Call("t", "m", f"{tool}{world.clock.now}"))
    note = {"to": "bob@example.test", "subject": "Offer \u202e<b>4711</b> " + "of November " * 20, "text": SENT}
    await world.deputy.act("notes_post_note", note, user="alice", call=Call("t", "m", "note"))
    world.deputy.policy = lambda act: Verdict.DENY
    with pytest.raises(PolicyDenied):
        await world.deputy.act("gmail_star", {"id": mail}, user="alice", call=Call("t", "m", "denied"))
    world.deputy.policy = lambda act: Verdict.ASK if act.tool.name == "gmail_star" else ask_before_sending(act)


async def _asked(world: World) -> dict[str, str]:
    note: dict[str, Any] = {"to": "bob@example.test", "subject": "Offer", "text": LETTER}
    calls = [
        ("notes_post_note", note | {"over": False}, Call("t", "m", "1")),
        ("notes_post_note", {**note, "to": "carol@example.test"}, Call("t", "m", "2")),
        ("notes_list_notes", {}, Call("t", "m", "3")),
    ]
    found = await world.deputy.check_calls(calls, user="alice")
    first, second = (one.approval for one in found if isinstance(one, ApprovalRequired))
    [consent] = (one.consent for one in found if isinstance(one, ConsentRequired))
    await world.deputy.decide(second, "reject", by="alice")
    await _change(world, first.id)
    return {
        "approve": f"/approve/{first.id}",
        "rejected": f"/approve/{second.id}",
        "step": f"/asks/{first.request_id}",
        "connect": consent.link.removeprefix(world.base),
    }


async def _on_the_way(world: World) -> str:
    """Return the page of a consent whose code is being redeemed, while that holds its lock."""
    consent = await world.asked("labels")
    for record in await world.deputy.vault.scan("consent"):
        if record.json["id"] == consent.id:
            now = {"status": "confirmed", "returned": world.clock.now}
            assert await world.deputy.vault.swap(record, record.json | now)
    return consent.link.removeprefix(world.base)


async def _change(world: World, approval: str) -> None:
    """Mark the request as changed since it was answered, with a warning of where a value comes from."""
    key = world.deputy.vault.key_prefix(User("alice")) + approval.partition("-")[0]
    record = await world.deputy.vault.get("approval", key)
    assert record and await world.deputy.vault.swap(record, record.json | {"changed": ["text", "audience"]})


def saved(name: str, picture: str, folder: str = ".screenshots") -> None:
    """Save a screenshot."""
    (place := Path(folder)).mkdir(exist_ok=True)
    (place / f"{name}.png").write_bytes(base64.b64decode(picture))
