"""Google's simulated hosts, and the host of a newsletter in a mailbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox.google import consent, people_api, tokens, userinfo
from deputize.sandbox.google.calendar import api as calendar
from deputize.sandbox.google.calendar.call import HOST as CALENDAR
from deputize.sandbox.google.drive import api as drive
from deputize.sandbox.google.gmail import api
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.world import World

NEWSLETTER = "shop.example.test"  # sender of a mail in Alice's mailbox
ONE_CLICK = b"List-Unsubscribe=One-Click"


def unsubscribe(ask: Ask, world: World) -> Reply:
    """Return 202 for a one-click unsubscribe (RFC 8058) without credentials, 400 for anything else."""
    wanted = (ask.method, ask.path, ask.body) == ("POST", "/unsubscribe", ONE_CLICK)
    form = ask.headers.get("content-type", "") == "application/x-www-form-urlencoded"
    if not wanted or not form or {"authorization", "cookie"} & set(ask.headers):
        return Reply(400)
    return Reply(202)


def by_path(ask: Ask, world: World) -> Reply:
    """Answer for Drive or Calendar, which share a host."""
    return drive.handle(ask, world) if ask.path.startswith(drive.ROOTS) else calendar.handle(ask, world)


HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {
    "accounts.google.com": consent.handle,
    "oauth2.googleapis.com": tokens.handle,
    userinfo.HOST: userinfo.handle,
    api.HOST: api.handle,
    CALENDAR: by_path,
    people_api.HOST: people_api.handle,
    NEWSLETTER: unsubscribe,
}
