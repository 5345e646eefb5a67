"""Simulated hosts: github.com, with the consent page, and api.github.com."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox import authorize_page
from deputize.sandbox.github import api, api_actions, api_gists, device, tokens
from deputize.sandbox.github.scopes import WORDS, drop_included
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.world import World

AUTHORIZE_PAGE = authorize_page.AuthorizePage(
    "github",
    "GitHub",
    "/login/oauth/authorize",
    WORDS,
    issuer="https://github.com/login/oauth",
    strict=False,
    needs_scope=False,
    always=lambda app: app.permissions,
    only_always=lambda app: bool(app.permissions),
    normal=drop_included,
)


def handle(ask: Ask, world: World) -> Reply:
    """Serve the consent page, the token endpoint and the device flow."""
    if ask.path == AUTHORIZE_PAGE.path and ask.method in ("GET", "POST"):
        return authorize_page.handle(ask, world, AUTHORIZE_PAGE)
    if ask.path == "/login/oauth/access_token" and ask.method == "POST":
        return tokens.token(ask, world)
    if ask.path == "/login/device/code" and ask.method == "POST":
        return device.codes(ask, world, lambda app, scope: authorize_page.scopes_of(scope, AUTHORIZE_PAGE, app))
    if ask.path == "/login/device" and ask.method in ("GET", "POST"):
        return device.page(ask, world, WORDS)
    raise tokens.not_found()


HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {
    "github.com": handle,
    api.HOST: api.handle,
    api_actions.BLOBS: api_actions.blob,
    api_gists.RAW: api_gists.raw,
}
