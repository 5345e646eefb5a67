"""GitHub: notifications and stars."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from deputize.core import Audience, Change, Effect, Need, Preview, Request, Run, Steps, Undo
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.tools.preview import Instant
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.zone import in_zone, nobody
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages, rest
from deputize.toolkits.github.argument_types import Repo, Thread, When
from deputize.toolkits.github.base import GITHUB, PUBLIC, REPO, Asks, need_if_private, needs, reads
from deputize.toolkits.github.issues import moment
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose
from deputize.toolkits.github.rows import ZONED, outer, short
from deputize.toolkits.github.show_fields import HOME, home_of

_KINDS: Final = {"Issue": "issues", "PullRequest": "pull", "Discussion": "discussions", "Commit": "commit"}


def notifications(method: str) -> Need:
    """Return the need of a method for notifications. A GitHub App has no permission for them."""
    return needs(method, "notifications", REPO, app=("notifications",))


@GITHUB.tool(
    needs=lambda arguments: [
        notifications("GET R/notifications" if arguments["repo"] else "GET /notifications"),
    ],
    toolset="inbox",
)
@in_repo()
def list_notifications(
    repo: Repo | None = None,
    all_: bool = False,
    participating: Annotated[bool, Field(description="only what I take part in")] = False,
    after: When | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """My notifications; all includes those already read."""
    run = yield from in_zone(run, nobody, after=after)
    bound = ("github_list_notifications", run.account.subject, repo, all_, participating, after)
    params = {
        "all": all_ or None,
        "participating": participating or None,
        "since": moment(after, run.now, "after", run.zone),
    }
    method = "R/notifications" if repo else "/notifications"
    return (yield from List(bound, pages(method, repo or "", params=params), _row, more=ZONED).show(limit, cursor))


def _row(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    subject, repo = row.get("subject") or {}, row.get("repository") or {}
    number = re.search(r"/(\d{1,15})$", str(subject.get("url") or ""))
    shown: Json = {
        "thread_id": row.get("id"),
        "reason": row.get("reason"),
        "repo": repo.get("full_name"),
        "private": bool(repo.get("private")),
        "kind": subject.get("type"),
        "number": int(number[1]) if number and subject.get("type") in _KINDS else None,
        "title": outside.title(subject.get("title")),
        "unread": bool(row.get("unread")),
        "updated": short(row.get("updated_at")),
    }
    return outer(shown, outside)


# ----------------------------------------------------------------- mark, mute


def _check_count(ids: list[str]) -> list[str]:
    if len(ids) > 50:
        raise ValueError("at most 50")
    return list(dict.fromkeys(ids))


Action = Literal["read", "done", "mute", "subscribe"]
_THREAD: Final = "/notifications/threads/{thread_id}"
_METHODS: Final = {
    "read": f"PATCH {_THREAD}",
    "done": f"DELETE {_THREAD}",
    "mute": f"PUT {_THREAD}/subscription",
    "subscribe": f"PUT {_THREAD}/subscription",
}


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    if not arguments["thread_ids"]:
        return [notifications("PUT /notifications")]
    method = _METHODS.get(arguments["action"], _METHODS["read"])
    return [notifications(method), notifications("GET /notifications")]


@GITHUB.tool(needs=_update_needs, effect=Effect.WRITES, toolset="inbox")
def update_notifications(
    action: Action,
    thread_ids: Annotated[list[Thread], AfterValidator(_check_count)] | None = None,
    before: When | None = None,
    *,
    run: Run,
) -> Steps:
    """Mark notifications read or done, mute or watch their threads. before: read everything up to then."""
    if bool(thread_ids) == bool(before) or (before and action != "read"):
        raise InvalidInput(
            "thread_ids, before: give one of them; before only together with action=read.",
            hint="Keep one of thread_ids, before.",
        )
    if before:
        run = yield from in_zone(run, nobody, before=before)
        until = str(moment(before, run.now, "before", run.zone))
        at = Instant.of(until)
        yield Preview("Mark all notifications as read", audience=Audience.SELF, until=at, pins={"until": until})
        yield from api.send(rest("PUT /notifications", json={"last_read_at": until, "read": True}, repeat="idem"))
        return {"done": [], "failed": [], "summary": "Everything up to then is read, or will be in a moment."}
    rows = yield from api.get("/notifications", params={"all": "true", "per_page": 50})
    titles = {str(row.get("id")): _thread_title(row) for row in rows or ()}
    named = [titles.get(one, f"number {one}") for one in thread_ids or ()]
    context, pins = {"threads": named}, {"threads": list(thread_ids or ())}
    yield Preview(_WHAT[action], audience=Audience.SELF, context=context, pins=pins)
    return (yield from _change_all(action, thread_ids or ()))


_WHAT: Final = {
    "read": "Mark these notifications as read",
    "done": "Mark these notifications as done",
    "mute": "Mute these threads",
    "subscribe": "Watch these threads",
}


def _thread_title(row: Mapping[str, Any]) -> str:
    return f"{(row.get('repository') or {}).get('full_name')}: {(row.get('subject') or {}).get('title')}"


def _change_all(action: Action, threads: Sequence[str]) -> Asks[Json]:
    """Change each thread. Return those that succeeded and those that failed."""
    done: list[str] = []
    failed: list[Json] = []
    for thread in threads:
        try:
            yield from api.send(_change(action, thread))
        except (NotFound, InvalidInput) as refused:
            failed.append({"thread_id": thread, "why": refused.message})
        except DeputizeError:
            if not done:
                raise
            return {"done": done, "failed": failed, "summary": f"Stopped after {len(done)}; the rest was not done."}
        else:
            done.append(thread)
    return {"done": done, "failed": failed, "summary": f"{len(done)} done."}


def _change(action: Action, thread: str) -> Request:
    body = {"mute": {"ignored": True}, "subscribe": {"ignored": False}}.get(action)
    return rest(_METHODS[action], at={"thread_id": thread}, json=body, repeat="idem")


# ----------------------------------------------------------------- stars


_STARRED: Final = "/user/starred/{owner}/{repo}"


def _star_needs(arguments: Arguments) -> Sequence[Need]:
    method = f"{'DELETE' if arguments['starred'] is False else 'PUT'} {_STARRED}"
    look = reads(f"GET {_STARRED}", "starring:read")
    return [needs(method, PUBLIC, REPO, app=("starring:write",)), need_if_private(method, "metadata:read"), look, HOME]


@GITHUB.tool(needs=_star_needs, effect=Effect.WRITES, toolset="inbox")
@in_repo()
def set_star(repo: Repo, starred: bool = True) -> Steps:
    """Star or unstar a repository."""
    home = yield from home_of(repo)
    args = {"repo": home.name, "starred": not starred}
    told = {"repo": home.name, "starred": starred}
    if (yield from _is_starred(home.name)) == starred:
        return told | {"summary": "It was so already."}
    what = "Star this repository" if starred else "Remove the star from this repository"
    yield home.shows(what, star=Change(_STARS[not starred], _STARS[starred]))
    verb = "PUT" if starred else "DELETE"
    yield from api.send(rest(f"{verb} {_STARRED}", home.name, repeat="idem"))
    yield Undo("github_set_star", args, holds={"star": _STARS[starred]})
    return told | {"undo": {"tool": "github_set_star", "args": args}}


_STARS: Final = {True: "yes", False: "no"}


def _is_starred(repo: str) -> Asks[bool]:
    try:
        yield from api.send(rest(f"GET {_STARRED}", repo))
    except NotFound:
        return False
    return True
