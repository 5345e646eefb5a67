"""Slack: people and user groups."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Alias, Need, Run, Steps, any_of
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import BUDGET, Rows
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.slack import api, refs
from deputize.toolkits.slack import users as people
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import KNOWS_PEOPLE, SLACK, USERS, Asks, Caller, Json, Page, Row

_MAX_PEOPLE = 50  # people asked for at once
_FOR_MISSES = 1_200  # tokens of a result
_INFO = any_of("users:read", method="users.info")
_GROUPS = any_of("usergroups:read", method="usergroups.list")
_GROUP_MEMBERS = any_of("usergroups:read", method="usergroups.users.list")

Users = Annotated[list[str], Field(description="ids, emails, @handles, names or me", max_length=_MAX_PEOPLE)]


_EVERYBODY = Alias("Slack.ListUsers", {"exclude_bots": "bots"}, values={"bots": {True: False, False: True}})


def _find_needs(arguments: Arguments) -> Sequence[Need]:
    named = arguments["users"] or []
    if not named:
        return [KNOWS_PEOPLE]
    return [*refs.people_needs(named), *([_INFO] if any(refs.user_id(one) for one in named) else [])]


@SLACK.tool(needs=_find_needs, aliases=[Alias("Slack.GetUsersInfo", USERS), _EVERYBODY])
def find_users(
    users: Users | None = None,
    query: Annotated[str, Field(description="part of a name")] = "",
    bots: Annotated[bool, Field(description="these too")] = False,
    limit: Page = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Look up people by id, email, @handle or name; or list everyone."""
    caller = Caller.of(run)
    if users and (query or cursor):
        raise InvalidInput("Give users, or query, not both; users come in one page.", hint="Leave out users or query.")
    if users:
        return (yield from _find_named(users, caller))
    place = Place.of(("slack_find_users", run.account.subject, query, bots), cursor, limit, run.now)
    page, token = yield from _list_page(query, place, caller, bots=bots)
    here = page[place.skip :][:limit]
    found = Rows()
    done = next((n for n, one in enumerate(here) if not found.add(people.row(one))), len(here))
    return {
        "items": found.items,
        "next": place.after(done, len(page), token, limit),
        "truncated": done < len(here),
    }


def _find_named(users: Sequence[str], caller: Caller) -> Asks[Json]:
    """Return the people that the call names, and near names for unknown ones."""
    found, missing = yield from people.look_up(users, caller, "users")
    kept = Rows(BUDGET - (_FOR_MISSES if missing else 0))
    shown = [people.row(one) for one in found]
    if len(found) == 1 and "users:read" in caller.granted:
        request = api.call("users.getPresence", {"user": found[0]["id"]})
        shown[0]["presence"] = ((yield from api.optional(request)) or {}).get("presence")
    done = next((n for n, row in enumerate(shown) if not kept.add(row)), len(shown))
    outside = Outside()
    misses = [{"asked": outside.line(one, 80), "suggestions": near} for one, near in missing.items()]
    told = Rows(_FOR_MISSES)
    cut = not all(told.add(one) for one in misses)
    result: Json = {"items": kept.items, "next": None, "truncated": cut or done < len(shown)}
    return result | ({"not_found": told.items} if misses else {})


def _list_page(query: str, place: Place, caller: Caller, *, bots: bool) -> Asks[tuple[list[Json], str]]:
    """Return a page of people, and Slack's next cursor. A query reads five pages."""
    wanted = query.strip().removeprefix("@").casefold()
    token: str | None = place.token or None
    kept: list[Json] = []
    for _ in range(api.MAX_PAGES if wanted else 1):
        answer = yield people.listing(caller, token, api.PAGE if wanted else place.size)
        kept += [one for one in answer.get("members") or () if _fits(one, wanted, bots=bots)]
        token = api.next_cursor(answer) or None
        if token is None:
            break
    return kept, token or ""


def _fits(user: Row, wanted: str, *, bots: bool) -> bool:
    if user.get("deleted") or (not bots and (user.get("is_bot") or user.get("id") == "USLACKBOT")):
        return False
    known = (*people.names_of(user), str(people.profile_of(user).get("email") or ""))
    return any(wanted in name.casefold() for name in known)


# ----------------------------------------------------------------- groups


def _group_needs(arguments: Arguments) -> Sequence[Need]:
    return [_GROUPS, *([_GROUP_MEMBERS] if arguments["group"] else [])]


@SLACK.tool(needs=_group_needs, toolset="more")
def list_user_groups(
    group: Annotated[str | None, Field(description="@handle, name or id: its members")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List user groups, or the members of one."""
    caller = Caller.of(run)
    place = Place.of(("slack_list_user_groups", run.account.subject, group), cursor, limit, run.now)
    answer = yield api.call("usergroups.list", {"include_count": True, "team_id": caller.team})
    groups = [one for one in answer.get("usergroups") or () if isinstance(one, dict)]
    if group is None:
        return _result_page([_group(one) for one in groups[place.skip :][:limit]], len(groups), place, limit)
    chosen = _find_group(groups, group)
    answer = yield api.call("usergroups.users.list", {"usergroup": str(chosen["id"]), "team_id": caller.team})
    ids = [str(one) for one in answer.get("users") or ()]
    here = yield from _people(ids[place.skip :][:limit], caller)
    return {"group": _group(chosen), **_result_page(here, len(ids), place, limit)}


def _result_page(shown: Sequence[Json], total: int, place: Place, limit: int) -> Json:
    kept = Rows()
    done = next((n for n, row in enumerate(shown) if not kept.add(row)), len(shown))
    following = place.after(done, total, "", limit)
    return {"items": kept.items, "next": following, "total": total, "truncated": done < len(shown)}


def _group(group: Row) -> Json:
    outside = Outside()
    row: Json = {
        "id": group.get("id"),
        "handle": outside.line(str(group.get("handle") or ""), 60),
        "name": outside.line(str(group.get("name") or ""), 60),
        "members": group.get("user_count"),
    }
    outside.mark(row)
    return row


def _find_group(groups: Sequence[Row], name: str) -> Row:
    """Return the only group with this id or handle, or else with this name, which several groups may share."""
    wanted = name.strip().removeprefix("@").removeprefix("<!subteam^").partition("|")[0].rstrip(">").casefold()
    for keys in (("id", "handle"), ("name",)):
        hits = [one for one in groups if wanted in (str(one.get(key) or "").casefold() for key in keys)]
        if len(hits) == 1:
            return hits[0]
    handles = {str(_group(one)["handle"]): one for one in groups}
    close = [one for one in handles if wanted in one or one in wanted] or get_close_matches(wanted, handles, 5, 0.5)
    near = ", ".join(f"@{one} = {handles[one].get('id')}" for one in [*close, *handles][:5])
    hint = f"{'Near' if close else 'There are'}: {near}." if near else "There is none."
    raise NotFound("group: not exactly one user group is called so.", hint=hint)


def _people(ids: Sequence[str], caller: Caller) -> Asks[list[Json]]:
    if "users:read" not in caller.granted:
        return [{"id": one} for one in ids]
    answers: list[Any] = yield from api.many([people.info(one) for one in ids])
    pairs = zip(ids, answers, strict=True)
    return [{"id": one} if isinstance(answer, DeputizeError) else people.row(answer["user"]) for one, answer in pairs]
