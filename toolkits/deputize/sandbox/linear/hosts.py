"""Simulated hosts: linear.app, with the consent page, and api.linear.app."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox import authorize_page
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.linear import api, tokens, uploads
from deputize.sandbox.world import World

AUTHORIZE_PAGE = authorize_page.AuthorizePage(
    "linear", "Linear", "/oauth/authorize", tokens.WORDS, always=lambda app: ("read",)
)


def pages(ask: Ask, world: World) -> Reply:
    """Serve the consent page."""
    if ask.path == AUTHORIZE_PAGE.path and ask.method in ("GET", "POST"):
        return authorize_page.handle(ask, world, AUTHORIZE_PAGE)
    raise tokens.error(404, "not_found", "There is nothing here.")


def handle(ask: Ask, world: World) -> Reply:
    """Serve tokens or the API."""
    return tokens.handle(ask, world) if ask.path.startswith("/oauth/") else api.handle(ask, world)


HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {
    "linear.app": pages,
    "api.linear.app": handle,
    uploads.HOST: uploads.get,
    uploads.STORE: uploads.put,
}
