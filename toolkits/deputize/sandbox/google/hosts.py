"""Which of Google's hosts are played, and by what; and one whose newsletter lies in a mailbox there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox.google import consent, newsletter, people_api, tokens, userinfo
from deputize.sandbox.google.calendar import api as calendar
from deputize.sandbox.google.calendar.call import HOST as CALENDAR
from deputize.sandbox.google.gmail import api
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.world import World

HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {
    "accounts.google.com": consent.handle,
    "oauth2.googleapis.com": tokens.handle,
    userinfo.HOST: userinfo.handle,
    api.HOST: api.handle,
    CALENDAR: calendar.handle,
    people_api.HOST: people_api.handle,
    newsletter.HOST: newsletter.handle,
}
