"""slack.com: pages and API on one host, files on another."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox import authorize_page
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.slack import methods, tokens
from deputize.sandbox.slack.replies import refused
from deputize.sandbox.slack.scopes import WORDS
from deputize.sandbox.world import World

DESK = authorize_page.Desk("slack", "Slack", "/oauth/v2/authorize", WORDS, parameter="user_scope")


def answer(ask: Ask, world: World) -> Reply:
    """The consent page, the token endpoint, or a method."""
    if ask.path == DESK.path and ask.method in ("GET", "POST"):
        return authorize_page.answer(ask, world, DESK)
    if ask.path == "/api/oauth.v2.access":
        if ask.method != "POST":
            raise refused("invalid_post_type")
        return tokens.token(ask, world)
    return methods.answer(ask, world)


HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {"slack.com": answer, "files.slack.com": methods.answer_files}
