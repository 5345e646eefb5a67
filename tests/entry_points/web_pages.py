"""Every route of the pages with hostile paths, queries, headers, cookies and forms: never an internal error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote_from_bytes, urlencode, urlsplit

import httpx

from deputize.core import User
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.web import app as web
from deputize.core.web.cookies import cookies_for
from deputize.core.web.pages.local_links import connections_link
from deputize.core.web.pages.site import _form_token
from deputize.sandbox.google import GOOGLE_CLIENT_SECRET
from tests.core.web.web_application import SESSION, World, make, path_of
from tests.entry_points.deputy_methods import logged
from tests.entry_points.hostile_values import TEXTS, Report, place_of, some
from tests.support.canary import hits

RAW: Final = (*(text.encode("utf-8", "surrogatepass") for text in TEXTS), b"\xff\xfe", bytes(range(256)))
"""What a client may send: bytes."""
TEMPLATES: Final = Path(web.__file__).parent / "pages" / "templates"
FIELDS: Final = sorted(
    {name for page in TEMPLATES.rglob("*.html") for name in re.findall(r'name="([a-z_]+)"', page.read_text("utf-8"))}
    - {"robots", "viewport", "form"}
)
"""The fields of all forms."""
QUERIES: Final = ("state", "code", "error", "error_description", "iss", "return_to", "q", "challenge", "cookie", "next")
HEADERS: Final = ("host", "origin", "referer", "sec-fetch-site", "accept-language", "content-type", "content-length")
HEADERS_TOO: Final = (
    "cookie",
    "x-forwarded-for",
    "x-forwarded-proto",
    "authorization",
    "range",
    "if-none-match",
    "expect",
)
COOKIE: Final = "c" * 43
FAILED: Final = "/failed"
"""The one page whose status is 503 by design."""


async def play(random: Random, share: float) -> Report:
    """Return what came of this share of all cases, for a web application and for local mode."""
    report = Report()
    for local in (False, True):
        with logged() as lines:
            await _play(random, share, report, local, lines)
    return report


async def _play(random: Random, share: float, report: Report, local: bool, lines: list[str]) -> None:
    world = await make(local=local)
    world_secrets = {GOOGLE_CLIENT_SECRET: "the client secret"}
    await (world.connected("send") if not local else _connected(world))
    consent, approval = await world.asked("readonly"), await world.approval()
    known = {"ticket": path_of(consent).rpartition("/")[2], "app": "google", "approval": approval.id, "step": "a" * 32}
    me = urlsplit(await connections_link(world.deputy, "alice")).path.removesuffix("/connections") if local else ""
    for page in web.PAGES:
        if page.local and not local:
            continue
        path = (me if page.own else "") + page.path.replace(":path", "")
        names = re.findall(r"{(\w+)}", path)
        good = path.format(**known)
        cases: list[tuple[str, bytes, Mapping[str, Any]]] = []
        for value in RAW:
            value = value[:15_000]  # httpx sends no longer address
            quoted = quote_from_bytes(value, safe="")
            cases += [(path.replace(f"{{{name}}}", quoted).format(**known), b"", {}) for name in names]
            cases += [(f"{good}?{name}={quoted}", b"", {}) for name in QUERIES]
            cases += [(good, b"", {name: value}) for name in (*HEADERS, *HEADERS_TOO)]
            cases += [(good, b"", {"cookie": cookies(world).encode() + b"=" + value})]
            if page.method == "POST":
                cases += [(good, value, {})]
                cases += [(good, urlencode({"form": "", name: value}).encode(), {}) for name in ("decision", "act")]
                cases += [(good, form(world, good, local, name, value), {}) for name in FIELDS]
        for target, body, headers in some(random, cases, share, always=1):
            report.calls += 1
            where = f"{'local ' if local else ''}{page.method} {page.path}"
            shown = next(iter(headers.items()), body or target)
            try:
                answer = await send(world, page.method, target, headers, body)
            except Exception as e:
                report.fault(where, place_of(e), shown)
                continue
            if answer.status_code >= 500 and page.path != FAILED:
                report.fault(where, f"{answer.status_code} {'; '.join(lines[-1:])}", shown)
            lines.clear()
            for hit in hits(world_secrets, {"a page": answer.content}):
                report.fault(where, hit, shown)


def cookies(world: World) -> str:
    """Return the name of the cookie that forms are bound to."""
    return cookies_for(world.base, world.deputy.vault.keys.web).name


def form(world: World, path: str, local: bool, name: str, value: bytes) -> bytes:
    """Return a form of ours that this browser and user may send, with one hostile field."""
    token = _form_token(
        world.deputy.vault.keys.web, COOKIE, User("alice") if not local or "/me/" in path else AnyLocalUser(), path
    )
    fields: dict[str, Any] = {
        "form": token,
        "sure": "yes",
        "decision": "approve",
        "provider": "google",
        "app": "google",
    }
    return urlencode(fields | {name: value}).encode()


async def send(world: World, method: str, target: str, headers: Mapping[str, Any], body: bytes) -> httpx.Response:
    """Send one request of Alice's browser."""
    jar = f"{SESSION}=alice; {cookies(world)}={COOKIE}; {cookies(world)}-link={COOKIE}"
    given: dict[str, Any] = {"cookie": jar, "content-type": "application/x-www-form-urlencoded"}
    request = httpx.Request(method, world.base + target, headers=given | dict(headers), content=body)
    answer = await httpx.ASGITransport(world.app).handle_async_request(request)
    await answer.aread()
    return answer


async def _connected(world: World) -> None:
    page = await world.browser().allow((await world.asked("send")).link, as_="alice@example.test")
    assert "is connected" in page.text
