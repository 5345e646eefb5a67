"""GitHub: writing, answering and changing comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Account, ActKey, Change, Need, Preview, Request, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Number, Repo
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.comments import IN_THREAD, Kind, place_of
from deputize.toolkits.github.idempotent_create import write_once
from deputize.toolkits.github.issues import moment
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, add_mark, is_marked, is_own, new_body
from deputize.toolkits.github.rows import COMMENT
from deputize.toolkits.github.show_fields import (
    HOME,
    ISSUE,
    Home,
    home_of,
    issue_of,
    loses,
    restorable_text,
    subject_of,
    title_of,
)

_COMMENTS: Final = "R/issues/{issue_number}/comments"
_REPLIES: Final = "R/pulls/{pull_number}/comments/{comment_id}/replies"


def _write_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["comment_id"]:
        path, review = place_of(arguments["comment_kind"]), arguments["comment_kind"] == "review"
        rights = ("pull_requests",) if review else ("issues", "pull_requests")
        look = reads(f"GET {path}", *(f"{one}:read" for one in rights))
        return [*changes(f"PATCH {path}", *(f"{one}:write" for one in rights)), look, ISSUE, HOME]
    found = [ISSUE, HOME]
    if arguments["reply_to"]:
        found.append(reads(f"GET {place_of('review')}", "pull_requests:read"))
        return changes(f"POST {_REPLIES}", "pull_requests:write") + found
    return changes(f"POST {_COMMENTS}", "issues:write", "pull_requests:write") + found


@GITHUB.tool(needs=_write_needs, effect=SENDS)
@in_repo("this issue, pull request or comment")
def write_comment(
    repo: Repo,
    body: Body,
    number: Number | None = None,
    reply_to: Annotated[Number | None, Field(description="id of a review comment")] = None,
    comment_id: Annotated[Number | None, Field(description="of mine, to edit")] = None,
    comment_kind: Kind = "conversation",
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    *,
    run: Run,
) -> Steps:
    """Comment on an issue or pull request, reply to a review comment, or edit my comment."""
    edit = Edit(append, replaces, if_text)
    if not body.strip() and replaces is None:
        raise InvalidInput("body: empty.", hint="Say what the comment says.")
    if edit != Edit() and not comment_id:
        raise InvalidInput("append, replaces, if_text: only when editing a comment.", hint="Give comment_id.")
    if comment_id:
        if number or reply_to:
            raise InvalidInput(
                "comment_id: cannot be combined with number or reply_to; it edits a comment.",
                hint="Leave out comment_id.",
            )
        return (yield from _edit_comment(repo, comment_id, comment_kind, body, edit, run))
    if not number:
        raise InvalidInput("number: needed: the number of the issue or pull request.", hint="Add number.")
    if run.noted:
        repo = str(run.noted.get("repo") or repo)
    else:
        home = yield from home_of(repo)
        repo = home.name
        yield (yield from _show(home, number, reply_to, body))
    request, listed = _requests(repo, number, reply_to, add_mark(body, run.key), run.now)
    look = lambda: _find_marked(listed, run.key, run.account)  # noqa: E731
    made = yield from write_once(run.noted, api.write(request), look, "comment", repo=repo)
    if not run.noted and made.get("body"):
        kind = "review_comment" if reply_to else "comment"
        back = {"kind": kind, "repo": repo, "id": str(made.get("id"))}
        yield Undo("github_delete", back, holds={"text": made["body"]})
    return _receipt(made, "Written.") | {"number": number}


def _show(home: Home, number: int, reply_to: int | None, body: str) -> Asks[Preview]:
    """Preview the whole comment, and its subject."""
    issue = yield from issue_of(home, number)
    answered: Json = {}
    if reply_to:
        answered = yield from api.get(place_of("review"), home.name, at={"comment_id": reply_to})
    who = str((answered.get("user") or {}).get("login") or "")
    return home.shows(
        "Answer this comment on code" if reply_to else "Write this comment",
        text=body,
        on=title_of(issue),
        answering=f"{who}, {answered.get('path')}:\n{answered.get('body')}" if reply_to else None,
        context={"link": (answered or issue).get("html_url")},
        pins={"issue": issue.get("id"), "number": number, "answering": reply_to},
    )


def _requests(repo: str, number: int, reply_to: int | None, text: str, now: float) -> tuple[Request, Request]:
    """Return the request that writes the comment, and the one that lists it afterwards."""
    if reply_to:
        at = {"pull_number": number, "comment_id": reply_to}
        listed = rest("GET R/pulls/{pull_number}/comments", repo, at={"pull_number": number}, params=_NEWEST)
        return rest(f"POST {_REPLIES}", repo, at=at, json={"body": text}), listed
    at = {"issue_number": number}
    since = moment("-1d", now, "since")
    listed = rest(f"GET {_COMMENTS}", repo, at=at, params={"per_page": 100, "since": since})
    return rest(f"POST {_COMMENTS}", repo, at=at, json={"body": text}), listed


_NEWEST = {"sort": "created", "direction": "desc", "per_page": 100}


def _edit_comment(repo: str, id: int, kind: Kind, body: str, edit: Edit, run: Run) -> Asks[Json]:
    """Edit the user's own comment. With push access, the user could also change comments of others."""
    home = yield from home_of(repo)
    path, at = place_of(kind), {"comment_id": id}
    row = yield from api.get(path, home.name, at=at)
    if not is_own(row, run.account):
        raise InvalidInput(
            "comment_id: somebody else wrote this comment.", hint="Only the user's own comments can be edited."
        )
    given = new_body(row, body, edit, run.key, limit=IN_THREAD if kind == "review" else COMMENT)
    old = str(row.get("body") or "")
    if not given or given["body"] == old:
        return _receipt(row, "Edited.")
    new = given["body"]
    subject = yield from subject_of(home, row)
    yield home.shows(
        "Change this comment",
        text=Change(old, new),
        on=subject,
        file=row.get("path"),
        pins={"comment": id, "kind": kind},
        destroys=loses(old, new),
    )
    change = rest(f"PATCH {path}", home.name, at=at, json=given, repeat="idem")
    told = _receipt((yield from api.send(change)).data, "Edited.")
    if old.strip() and restorable_text(old) is not None:
        back = {"repo": home.name, "comment_id": id, "comment_kind": kind, "body": old, "if_text": digest(new)}
        yield Undo("github_write_comment", back, holds={"text": new})
    return told


def _find_marked(listed: Request, key: ActKey, account: Account) -> Asks[Json | None]:
    """Return this act's comment, or None."""
    for _ in range(3):
        answer = yield from api.send(listed)
        if found := next((dict(row) for row in answer.data if is_marked(row, key, account)), None):
            return found
        page = api.next_page(answer.headers)
        if not page:
            return None
        listed = replace(listed, params={**(listed.params or {}), "page": page})
    return None


def _receipt(row: Mapping[str, Any], summary: str) -> Json:
    return {"id": row.get("id"), "url": row.get("html_url"), "summary": summary}
