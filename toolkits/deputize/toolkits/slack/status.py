"""Slack: the user's own status, presence and do-not-disturb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Audience, Change, Effect, Need, Preview, Request, Run, Steps, Undo, any_of
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.text import Outside
from deputize.toolkits._shared.when import parse_length
from deputize.toolkits.slack import api, preview, rows, users, zone
from deputize.toolkits.slack.base import EMOJI, SLACK, Asks, Caller, Json
from deputize.toolkits.slack.mrkdwn import unescape

_TEXT: Final = 100  # characters of a status
_LONGEST: Final = 7 * 24 * 60  # minutes of do-not-disturb


def _needs(arguments: Arguments) -> Sequence[Need]:
    found = []
    if arguments["text"] is not None or arguments["emoji"] is not None:
        found.append(any_of("users.profile:write", method="users.profile.set"))
    if arguments["presence"] is not None:
        found.append(any_of("users:write", method="users.setPresence"))
    if arguments["snooze"] is not None:
        method = "dnd.endSnooze" if arguments["snooze"].strip().rstrip("mh") == "0" else "dnd.setSnooze"
        found.append(any_of("dnd:write", method=method))
    return found or [any_of("users.profile:write", method="users.profile.set")]


def _effect(arguments: Arguments) -> Effect:
    """Return the effect. A text or emoji needs approval, because the workspace and its partners read it."""
    said = arguments["text"] is not None or arguments["emoji"] is not None
    return Effect.WRITES | Effect.SENDS if said else Effect.WRITES


@SLACK.tool(needs=_needs, effect=_effect, gravest=Effect.WRITES | Effect.SENDS, toolset="more")
def set_status(
    text: Annotated[str | None, Field(max_length=_TEXT, description="empty removes it")] = None,
    emoji: Annotated[str | None, Field(description="name; empty removes it")] = None,
    until: Annotated[str | None, Field(description="+1h, 17:00 or ISO")] = None,
    presence: Literal["auto", "away"] | None = None,
    snooze: Annotated[str | None, Field(description="e.g. 45m; 0 ends")] = None,
    *,
    run: Run,
) -> Steps:
    """Set status, presence or do-not-disturb."""
    if text is None and emoji is None and presence is None and snooze is None:
        raise InvalidInput(
            "Give at least one of text, emoji, presence and snooze.", hint="Add text, emoji, presence or snooze."
        )
    if until and text is None and emoji is None:
        raise InvalidInput("until: only together with text or emoji.", hint="snooze has a length of its own.")
    there = yield from zone.read_zone(run, until=until)
    ends = int(times.moment(until, run.now, "until", there).timestamp()) if until else 0
    if until and ends <= run.now:
        told = datetime.fromtimestamp(ends, there).isoformat(timespec="minutes")
        raise InvalidInput(f"until: must be in the future; this is {told}.", hint="Such as +1h, or tomorrow 9:00.")
    symbol = _symbol(emoji)
    minutes = _minutes(snooze) if snooze is not None else None
    caller = Caller.of(run)
    said = text is not None or symbol is not None
    now = (yield from _status(caller)) if said else {}
    texts = {name: value for name, value in (("text", text), ("emoji", symbol)) if value is not None}
    yield Preview(
        "Set your status" if said else "Change your presence or notifications",
        audience=Audience.ORGANISATION if said else Audience.SELF,
        where="your own profile",
        destroys=text is not None and now.get("text", "") not in ("", text),
        **_changes(now, texts),
        until=preview.instant(ends) if ends else "it is changed" if text or symbol else None,
        presence=presence,
        notifications=None if minutes is None else f"off for {minutes} minutes" if minutes else "on again",
        pins={"until": ends if said else None},
    )
    requests = _requests(_profile(text, symbol, ends) if said else None, presence, minutes)
    done, failed = yield from api.run_all(requests)
    undo = _undo_fields(now) if "status" in done else None
    if undo:
        yield Undo("slack_set_status", _raw(now), texts)
    return rows.lean(
        {
            "status": (f"{symbol or ''} {text or ''}".strip() or "none") if "status" in done else None,
            "until": times.full(ends * 1000) if ends and "status" in done else None,
            "presence": presence if "presence" in done else None,
            "snooze_until": _snooze_end(minutes, run.now) if "snooze" in done else None,
            "failed": failed,
            "undo": {"tool": "slack_set_status", "args": undo} if undo else None,
        }
    )


def _changes(now: Json, texts: Mapping[str, str]) -> dict[str, Any]:
    return {name: Change(now[name], value) if name in now else value for name, value in texts.items()}


def _requests(profile: Json | None, presence: str | None, minutes: int | None) -> dict[str, Request]:
    found: dict[str, Request] = {}
    if profile is not None:
        found["status"] = api.call("users.profile.set", {"profile": profile}, repeat="idem")
    if presence is not None:
        found["presence"] = api.call("users.setPresence", {"presence": presence}, repeat="idem")
    if minutes:
        found["snooze"] = api.call("dnd.setSnooze", {"num_minutes": minutes}, repeat="idem")
    elif minutes is not None:
        found["snooze"] = api.call("dnd.endSnooze", {}, repeat="idem")
    return found


def _profile(text: str | None, symbol: str | None, ends: int) -> Json:
    """Return the fields that users.profile.set changes."""
    profile: Json = {"status_expiration": ends}
    profile |= {"status_text": text} if text is not None else {}
    return profile | ({"status_emoji": symbol} if symbol is not None else {})


def _snooze_end(minutes: int | None, now: float) -> str:
    return times.full(int(now + minutes * 60) * 1000) if minutes else "ended"


def _symbol(emoji: str | None) -> str | None:
    """Return ``:name:``, or "" to clear the emoji. Raises `InvalidInput`."""
    name = emoji.strip().strip(":") if emoji is not None else None
    if name and not EMOJI.fullmatch(name):
        raise InvalidInput(f'emoji: "{Outside().line(name, 40)}" is no name of an emoji.', hint="Such as palm_tree.")
    return f":{name}:" if name else name


def _minutes(snooze: str) -> int:
    length = (0, timedelta()) if snooze.strip() == "0" else parse_length(snooze)
    if length is None:
        said = Outside().line(snooze, 40)
        raise InvalidInput(f'snooze: "{said}" is no duration.', hint="Such as 45m or 2h; 0 ends it.")
    minutes = length[0] * 1440 + length[1] // timedelta(minutes=1)
    if minutes > _LONGEST:
        raise InvalidInput(f"snooze: at most a week, not {minutes} minutes.", hint="Such as 2h.")
    return minutes


def _status(caller: Caller) -> Asks[Json]:
    """Return the current status, if it may be read."""
    if "users:read" not in caller.granted:
        return {}
    user = ((yield from api.optional(users.info(caller.user))) or {}).get("user") or {}
    yield from zone.save_zone(user)
    profile = users.profile_of(user)
    if not profile:
        return {}
    return {
        "text": unescape(str(profile.get("status_text") or "")),
        "emoji": str(profile.get("status_emoji") or ""),
        "lasts": not profile.get("status_expiration"),
    }


def _raw(now: Json) -> Json:
    return {"text": now["text"], "emoji": now["emoji"].strip(":")}


def _undo_fields(now: Json) -> Json | None:
    """Return the arguments that restore a status, or None for a status that would expire."""
    if not now.get("lasts"):
        return None
    outside = Outside()
    return {name: outside.line(value, _TEXT) for name, value in _raw(now).items()}
