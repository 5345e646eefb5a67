"""GitHub: reacting to issues, pull requests and comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Account, Change, Need, Run, Steps, Undo
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Number, Repo
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.comments import Kind, place_of
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import is_own
from deputize.toolkits.github.show_fields import HOME, ISSUE, home_of, issue_of, subject_of, title_of

Reaction = Literal["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"]
_ISSUE: Final = "R/issues/{issue_number}"
_STATES: Final = {True: "there", False: "not there"}
_PAGES: Final = 10  # of reactions of one kind


def _place(comment: Any, kind: Kind) -> str:
    return place_of(kind) if comment else _ISSUE


def _needs(arguments: Arguments) -> Sequence[Need]:
    place = _place(arguments["comment_id"], arguments["comment_kind"])
    rights = ("pull_requests",) if "pulls" in place else ("issues", "pull_requests")
    write = f"DELETE {place}/reactions/{{reaction_id}}" if arguments["remove"] else f"POST {place}/reactions"
    looks = [reads(f"GET {one}", *(f"{right}:read" for right in rights)) for one in (place, f"{place}/reactions")]
    return [*changes(write, *(f"{one}:write" for one in rights)), *looks, ISSUE, HOME]


@GITHUB.tool(needs=_needs, effect=SENDS)
@in_repo("this issue, pull request or comment")
def react(
    repo: Repo,
    reaction: Reaction,
    number: Annotated[Number | None, Field(description="of an issue or pull request")] = None,
    comment_id: Annotated[Number | None, Field(description="in place of number")] = None,
    comment_kind: Kind = "conversation",
    remove: bool = False,
    *,
    run: Run,
) -> Steps:
    """React to an issue, pull request or comment, or take my reaction away."""
    if bool(number) == bool(comment_id):
        raise InvalidInput("number, comment_id: give one of them.", hint="Keep one of number, comment_id.")
    home = yield from home_of(repo)
    place = _place(comment_id, comment_kind)
    at: Json = {"comment_id": comment_id} if comment_id else {"issue_number": number}
    if comment_id:
        row = yield from api.get(place, home.name, at=at)
        about: Json = {"comment": row.get("body") or "", "by": (row.get("user") or {}).get("login")}
        about |= {"on": (yield from subject_of(home, row))}
    else:
        row = yield from issue_of(home, int(number or 0))
        about = {"on": title_of(row)}
    own = yield from _find_own(home.name, place, at, reaction, run.account)
    if (own is None) == remove:
        return _receipt(reaction, remove=remove)
    yield home.shows(
        "Remove this reaction" if remove else "Add this reaction",
        reaction=reaction,
        **about,
        state=Change(_STATES[remove], _STATES[not remove]),
        pins={"id": row.get("node_id"), "reaction": (own or {}).get("id"), **at},
    )
    if own is not None:
        method, at_own = f"DELETE {place}/reactions/{{reaction_id}}", {**at, "reaction_id": own["id"]}
        try:
            yield from api.send(rest(method, home.name, at=at_own, repeat="idem"))
        except NotFound as missing:  # it existed before: an answer was lost, and it is gone
            if "right" in missing.message:
                raise
    else:
        method = f"POST {place}/reactions"
        yield from api.send(rest(method, home.name, at=at, json={"content": reaction}, repeat="idem"))
    back: Json = {"repo": home.name, "reaction": reaction, "remove": not remove}
    back |= {"comment_id": comment_id, "comment_kind": comment_kind} if comment_id else {"number": number}
    yield Undo("github_react", back, holds={"state": _STATES[not remove]})
    return _receipt(reaction, remove=remove)


def _find_own(repo: str, place: str, at: Json, reaction: str, account: Account) -> Asks[Mapping[str, Any] | None]:
    """Return the user's own reaction of this kind, or None."""
    rows = yield from api.list_rows(f"{place}/reactions", repo, _PAGES, at=at, params={"content": reaction})
    return next((row for row in rows if is_own(row, account)), None)


def _receipt(reaction: str, *, remove: bool) -> Json:
    return {"reaction": reaction, "summary": "Taken away." if remove else "There."}
