"""A page is a handler, a template and a sentence: added as CONTRIBUTING.md says, it has what built-in pages have."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from starlette.requests import Request
from starlette.responses import Response

from deputize.core import Connection, User
from deputize.core.errors import InvalidInput
from deputize.core.web.app import PAGES, Page, Site, pages_app
from deputize.core.web.pages.local_links import me_token
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import current_path
from tests.core.web.web_application import World, cookies_of, hidden, make, signed_in, words_of

HEADS: Final[Mapping[bool, str]] = {True: "Your agents are on", False: "Your agents are off"}
"""The page's own sentences."""

TEMPLATE: Final = """{% extends "base.html" %}
{% block title %}{{ head }}{% endblock %}
{% block main %}
<h1>{{ head }}</h1>
<p>Connected accounts: {{ connected | length }}</p>
<form method="post" action="{{ action }}">
<input type="hidden" name="form" value="{{ token(action) }}">
<button name="agents" value="off">Turn them off</button>
</form>
{% endblock %}
"""

OFF: Final = set[User]()


async def agents(site: Site, request: Request) -> Response:
    """Show whether the user's agents are enabled."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/agents")
    connected: list[Connection] = await site.deputy.connections(user)
    head = HEADS[user not in OFF]
    return await site.with_forms(
        request, "agents.html", user, "'self'", action=current_path(request), head=head, connected=connected
    )


async def turn(site: Site, request: Request) -> Response:
    """Disable them."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/agents")
    if (await site.form(request, user)).get("agents") != "off":
        raise InvalidInput("This form is none of ours.", fix_by="user", reason="invalid_form")
    OFF.add(user)
    return see_other(current_path(request))


async def broken(site: Site, request: Request) -> Response:
    """Show how an error is rendered."""
    raise RuntimeError("a secret")


MINE: Final = (
    Page("GET", "/agents", agents, own=True),
    Page("POST", "/agents", turn, own=True),
    Page("GET", "/broken", broken),
)


@pytest.fixture(autouse=True)
def nobody_is_off() -> None:
    OFF.clear()


async def _with_page(folder: Path, *, local: bool = False) -> World:
    (folder / "agents.html").write_text(TEMPLATE)
    world = await make(local=local)
    verifier = None if local else signed_in
    world.app = pages_app(world.deputy, verifier=verifier, local=local, pages=[*PAGES, *MINE], templates=[folder])
    return world


async def test_added_page_uses_its_own_template_and_texts(tmp_path: Path) -> None:
    world = await _with_page(tmp_path)
    await world.connected("readonly")
    shown = await world.send("GET", "/agents", user="alice")
    assert shown.status_code == 200 and "Your agents are on Connected accounts: 1" in words_of(shown)
    assert "form-action 'self'" in shown.headers["content-security-policy"]
    assert (await world.send("GET", "/connections", user="alice")).status_code == 200


async def test_added_form_is_accepted_only_from_its_user_and_browser(tmp_path: Path) -> None:
    world = await _with_page(tmp_path)
    shown = await world.send("GET", "/agents", user="alice")
    jar = {name: line.partition(";")[0] for name, line in cookies_of(shown).items()}
    data = {"form": hidden(shown), "agents": "off"}
    for user, cookies in (("bob", jar), ("alice", {})):
        refused = await world.send("POST", "/agents", user=user, cookies=cookies, data=data)
        assert refused.status_code == 403 and not OFF
    assert (await world.send("POST", "/agents", user="alice", cookies=jar, data=data)).status_code == 303
    assert "Your agents are off" in words_of(await world.send("GET", "/agents", user="alice"))


async def test_visitor_is_asked_to_sign_in_except_in_local_mode(
    tmp_path: Path,
) -> None:
    world = await _with_page(tmp_path)
    assert (await world.send("GET", "/agents")).status_code == 401
    world = await _with_page(tmp_path, local=True)
    assert (await world.send("GET", "/agents")).status_code == 404
    shown, _ = await world.look(f"/me/{me_token(world.deputy, User('alice'))}/agents")
    assert "Your agents are on" in words_of(shown)


async def test_exception_in_an_added_page_is_an_error_page_without_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = await _with_page(tmp_path)
    with caplog.at_level(logging.WARNING):
        shown = await world.send("GET", "/broken", user="alice")
    assert shown.status_code == 500 and "a secret" not in shown.text + caplog.text
    assert "RuntimeError in test_add_page.py" in caplog.text and "GET /broken" in caplog.text


async def test_template_of_the_same_name_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "message.html").write_text('{% extends "base.html" %}{% block main %}Acme: {{ title }}{% endblock %}')
    world = await _with_page(tmp_path)
    assert "Acme: Nothing here" in (await world.send("GET", "/nowhere")).text
