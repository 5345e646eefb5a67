"""Simulated hosts: slack.com with pages and API, and the host of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox import authorize_page
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.slack import methods, tokens
from deputize.sandbox.slack.call import failed
from deputize.sandbox.slack.scopes import WORDS
from deputize.sandbox.world import World

AUTHORIZE_PAGE = authorize_page.AuthorizePage("slack", "Slack", "/oauth/v2/authorize", WORDS, parameter="user_scope")


def handle(ask: Ask, world: World) -> Reply:
    """Serve the consent page, the token endpoint, or a method."""
    if ask.path == AUTHORIZE_PAGE.path and ask.method in ("GET", "POST"):
        return authorize_page.handle(ask, world, AUTHORIZE_PAGE)
    if ask.path == "/api/oauth.v2.access":
        if ask.method != "POST":
            raise failed("invalid_post_type")
        return tokens.token(ask, world)
    return methods.handle(ask, world)


HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {"slack.com": handle, "files.slack.com": methods.handle_files}
