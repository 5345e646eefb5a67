"""People: lookup by id, address, handle or name, and their rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from deputize.core import Request
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.toolkits._shared.people import id_elsewhere
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.slack import api, refs
from deputize.toolkits.slack.base import Asks, Caller, Json, Row

_NAME: Final = 40  # bytes
_TOLD: Final = 10  # names of a refusal
_LOOKED_UP: Final = 10  # people whose names are fetched for one result
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200e\u200f\u2061-\u206f\u3164\ufe00-\ufe0f\uffa0]"
)
_ALIKE: Final = str.maketrans(  # small letters of Cyrillic and Greek that look like Latin ones, or whose capitals do
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458\u04bb\u0501"
    "\u03b1\u03b2\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u0131",
    "abekmhopctyxsijhd" + "abeikvoptuxi",
)


def info(user: str) -> Request:
    return api.call("users.info", {"user": user})


def listing(caller: Caller, cursor: str | None, limit: int = api.PAGE) -> Request:
    return api.call("users.list", {"limit": limit, "cursor": cursor, "team_id": caller.team})


# ----------------------------------------------------------------- display


def profile_of(user: Row) -> Row:
    """Return a user's profile, or an empty one."""
    profile = user.get("profile")
    return profile if isinstance(profile, dict) else {}


def names_of(user: Row) -> tuple[str, str, str]:
    """Return the handle, display name and real name without cleaning."""
    profile = profile_of(user)
    real = profile.get("real_name") or user.get("real_name") or ""
    return str(user.get("name") or ""), str(profile.get("display_name") or ""), str(real)


def shown_name(user: Row) -> str:
    """Return a user's cleaned name."""
    handle, display, real = names_of(user)
    return Outside().line(real or display or handle, _NAME)


def with_id(user: Row) -> str:
    """Return a user's name and always the id, because a display name proves nothing."""
    name, told = shown_name(user), f"{user.get('id')}{', external' if is_external(user) else ''}"
    return f"{name} ({told})" if name else told


def with_handle(user: Row) -> str:
    """Return a user's name for a preview: without cleaning, and with the handle, which is unique."""
    handle, display, real = names_of(user)
    marks = ", ".join([f"@{handle}"] * bool(handle) + ["external"] * is_external(user))
    name = real or display or str(user.get("id") or "")
    return f"{name} ({marks})" if marks else name


def is_external(user: Row) -> bool:
    """True if a user belongs to another workspace, or is a guest."""
    return bool(user.get("is_stranger") or user.get("is_restricted"))


def row(user: Row) -> Json:
    outside, profile = Outside(), profile_of(user)
    handle, display, real = names_of(user)
    found: Json = {
        "id": user.get("id"),
        "handle": outside.line(handle, 40),
        "name": outside.line(real or display, _NAME),
        "title": outside.line(str(profile.get("title") or ""), 60),
        "email": outside.line(str(profile.get("email") or ""), 80),
        "time_zone": outside.line(str(user.get("tz") or ""), 40),
        "status": outside.line(f"{profile.get('status_emoji') or ''} {profile.get('status_text') or ''}", 60),
        "bot": bool(user.get("is_bot") or user.get("id") == "USLACKBOT"),
        "deleted": bool(user.get("deleted")),
        "external": is_external(user),
    }
    outside.mark(found)
    return {name: value for name, value in found.items() if value}


# ----------------------------------------------------------------- lookup


def find(asked: Sequence[str], field: str, caller: Caller) -> Asks[list[Json]]:
    """Return the users with these ids, addresses, handles or names, one for each. ``me`` is the user.

    Raises `NotFound` with near names if a name does not belong to exactly one person.
    """
    found, missing = yield from look_up(asked, caller, field)
    for name in list(missing):
        if id := (yield from id_elsewhere(name, field, "slack")):
            found += _users_of(id, (yield from api.optional(info(id))))
            del missing[name]
    if missing:
        names = ", ".join(map(_quote, list(missing)[:_TOLD]))
        near = list(dict.fromkeys(one for close in missing.values() for one in close))[:_TOLD]
        hint = f"Near: {', '.join(near)}." if near else "Look with slack_find_users."
        raise NotFound(f"{field}: {names} {'is' if len(missing) == 1 else 'are'} not exactly one person.", hint=hint)
    return found


def _quote(name: str) -> str:
    return f'"{Outside().line(name, 60)}"'


def look_up(asked: Sequence[str], caller: Caller, field: str) -> Asks[tuple[list[Json], dict[str, list[str]]]]:
    """Return the users that match exactly, in order, and near names for every other text. Raises `InvalidInput`."""
    asked = list(dict.fromkeys(one.strip() for one in asked))
    if "" in asked:
        raise InvalidInput(f"{field}: a name is empty.", hint="Leave it out.")
    direct = {one: request for one in asked if (request := _direct(one, caller))}
    answers = dict(zip(direct, (yield from api.many(list(direct.values()))), strict=True))
    by_name = [one for one in asked if not _id_of(one, caller) and not refs.email(one)]
    everybody = (yield from list_everyone(caller, by_name)) if by_name else api.Listed([], True)
    found: list[Json] = []
    missing: dict[str, list[str]] = {}
    for one in asked:
        hits = exact_matches(everybody, one) if one in by_name else _users_of(_id_of(one, caller), answers.get(one))
        if len(hits) == 1:
            found += hits
        else:
            missing[one] = near_names(hits or everybody.rows, one)
    return found, missing


def _direct(one: str, caller: Caller) -> Request | None:
    """Return the request that finds one person. None: a name, or an id that may not be read."""
    if user := _id_of(one, caller):
        return info(user) if "users:read" in caller.granted else None
    address = refs.email(one)
    return api.call("users.lookupByEmail", {"email": address}) if address else None


def _id_of(one: str, caller: Caller) -> str:
    """Return the id in a text, or the user's own id for ``me``."""
    return caller.user if refs.is_self(one) else refs.user_id(one)


def _users_of(user: str, answer: Any) -> list[Json]:
    if answer is None:
        return [{"id": user}]
    return [] if isinstance(answer, DeputizeError) else [dict(answer["user"])]


def list_everyone(caller: Caller, wanted: Sequence[str]) -> Asks[api.Listed]:
    """Return the workspace's people: at most five pages, or until all these handles were found."""
    handles = {_fold_handle(one) for one in wanted}
    if "" in handles:
        raise InvalidInput("users: a name is empty.", hint="Leave it out.")

    def has_all(users: Sequence[Json]) -> bool:
        return handles <= {fold_name(str(user.get("name") or "")) for user in users}

    return (yield from api.list_pages(lambda cursor: listing(caller, cursor), "members", has_all))


def _fold_handle(name: str) -> str:
    return fold_name(name.strip().removeprefix("@"))


def fold_name(name: str) -> str:
    """Fold a name to what a reader can distinguish: no case, width, blanks, invisible letters or look-alikes."""
    seen = _UNSEEN.sub("", unicodedata.normalize("NFKC", Outside().text(name)))
    return " ".join(seen.casefold().translate(_ALIKE).split())


def exact_matches(everybody: api.Listed, name: str) -> list[Json]:
    """Return the users with exactly this handle, or else those whose display or real name equals or resembles it.

    Only handles are unique: if not all people were read, no other name is safe. Users choose their other names, so a
    display name counts no more than somebody else's real name.
    """
    wanted = _fold_handle(name)
    living = [user for user in everybody.rows if not user.get("deleted")]
    if hits := [dict(user) for user in living if fold_name(names_of(user)[0]) == wanted]:
        return hits
    return [dict(user) for user in living if everybody.whole and wanted in map(fold_name, names_of(user)[1:])]


def near_names(users: Iterable[Row], name: str) -> list[str]:
    """Return at most five users with near names, with their ids."""
    wanted = _fold_handle(name)[:100]
    known = [(part.casefold(), user) for user in users if not user.get("deleted") for part in names_of(user) if part]
    parts = {name for name, _ in known if wanted and (wanted in name or name in wanted)}
    close = parts | set(get_close_matches(wanted, [name for name, _ in known], 5, 0.5))
    shown = [f"@{Outside().line(names_of(user)[0], 40)} = {with_id(user)}" for name, user in known if name in close]
    return list(dict.fromkeys(shown))[:5]


def names(ids: Iterable[str], caller: Caller) -> Asks[dict[str, str]]:
    """Return names of the first ten people by id, or nothing if people may not be read."""
    wanted = list(dict.fromkeys(one for one in ids if one))[:_LOOKED_UP]
    if "users:read" not in caller.granted or not wanted:
        return {}
    try:
        answers = yield from api.many([info(one) for one in wanted])
    except DeputizeError:
        return {}
    pairs: Mapping[str, object] = dict(zip(wanted, answers, strict=True))
    return {one: shown_name(answer["user"]) for one, answer in pairs.items() if isinstance(answer, dict)}
