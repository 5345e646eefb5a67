"""GitHub: reading discussions, which only GraphQL offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Account, Continuation, Need, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits.github import documents
from deputize.toolkits.github.api import Json, List, Page
from deputize.toolkits.github.argument_types import Node, Number, Repo, Word
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.name_lookup import pick
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, body_alone, body_of, with_full_body
from deputize.toolkits.github.rows import COMMENT, ZONED, comment, full, login, outer, short
from deputize.toolkits.github.search import MAX_RESULTS, add_qualifiers, check_query, is_elsewhere


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["comment_id"]:
        return [reads("GRAPHQL DiscussionComment", "discussions:read")]
    one = "Discussion" if arguments["number"] else "DiscussionSearch" if arguments["query"] else "Discussions"
    found = [reads(f"GRAPHQL {one}", "discussions:read")]
    return found + ([reads("GRAPHQL Discussions", "discussions:read")] if one == "DiscussionSearch" else [])


@GITHUB.tool(needs=_list_needs, toolset="discussions")
@in_repo("this discussion")
def list_discussions(
    repo: Repo,
    number: Number | None = None,
    comment_id: Annotated[Node | None, Field(description="this one whole, with its replies")] = None,
    offset: Annotated[Offset, Field(description="into the body of the one")] = 0,
    raw: Raw = False,
    query: str = "",
    category: Word | None = None,
    answered: bool | None = None,
    state: Literal["open", "closed", "all"] = "open",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Discussions of a repository (or found by text), or one with its comments."""
    if comment_id:
        return (yield from _comment_alone(repo, number, comment_id, offset, cursor, run.account, raw=raw))
    if number and (offset or raw):
        row = yield from discussion_of(repo, number)
        return {"number": number} | body_alone(row, offset, _read_call(repo, number=number), raw=raw)
    if number:
        return (yield from _one_discussion(repo, number, limit, cursor, run.account))
    if offset or raw:
        raise InvalidInput(
            "offset, raw: only when reading one discussion or comment.", hint="Give number or comment_id."
        )
    bound = ("github_list_discussions", run.account.subject, repo, query, category, answered, state)
    if query.strip():
        states = {"open": "open", "closed": "closed"}.get(state)
        kinds = {True: "answered", False: "unanswered"}
        filters = {"repo": repo, "category": category, "is": [one for one in (states, kinds.get(answered)) if one]}  # type: ignore[arg-type]
        q = add_qualifiers(check_query(query, fixed=True), filters)
        listing = List(bound, _search(q), lambda node: _row_of_repo(repo, node), more={"note": MAX_RESULTS} | ZONED)
        shown = yield from listing.show(limit, cursor)
        if category and not shown["items"] and not cursor:
            _category(category, (yield from _categories(repo)))
        return shown
    categories = yield from _categories(repo)
    chosen = _category(category, categories)["id"] if category else None
    states = {"open": ["OPEN"], "closed": ["CLOSED"]}.get(state)  # type: ignore[assignment]

    def read(token: str, size: int) -> Asks[Page]:
        data = yield from documents.query_repo(
            documents.DISCUSSIONS,
            repo,
            first=size,
            after=token or None,
            categoryId=chosen,
            states=states,
            answered=answered,
        )
        return documents.page_of(data.get("discussions") or {})

    shown = yield from List(bound, read, _row, more=ZONED).show(limit, cursor)
    outside = Prose()
    names = [outside.line(str(one.get("name", "")), 60) for one in categories]
    return {"categories": names, **shown, "untrusted": True}


def _categories(repo: str) -> Asks[list[Json]]:
    known = yield from documents.query_repo(documents.DISCUSSIONS, repo, first=1)
    return list((known.get("discussionCategories") or {}).get("nodes") or [])


def _category(name: str, known: Sequence[Json]) -> Json:
    return dict(pick(name, known, "category", lambda one: str(one["name"])))


def _search(q: str) -> Any:
    def read(token: str, size: int) -> Asks[Page]:
        data = yield from documents.query(documents.DISCUSSION_SEARCH, query=q, first=size, after=token or None)
        search = data.get("search") or {}
        return documents.page_of(search, search.get("discussionCount"))

    return read


def _row_of_repo(repo: str, node: Mapping[str, Any]) -> Json | None:
    there = str((node.get("repository") or {}).get("nameWithOwner", ""))
    return None if is_elsewhere(repo, None, there) else _row(node)


def _row(node: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {
        "number": node.get("number"),
        "title": outside.title(node.get("title")),
        "author": login(node.get("author")),
        "category": outside.line(str((node.get("category") or {}).get("name", "")), 40),
        "answered": bool(node.get("isAnswered")),
        "closed": bool(node.get("closed")),
        "comments": (node.get("comments") or {}).get("totalCount"),
        "updated": short(node.get("updatedAt")),
    }
    return outer(shown, outside)


def _one_discussion(repo: str, number: int, limit: int, cursor: str | None, account: Account) -> Asks[Json]:
    bound = ("github_list_discussions", account.subject, repo, number)
    detail: Json = {}

    def read(token: str, size: int) -> Asks[Page]:
        node = yield from discussion_of(repo, number, min(size, 50), token)
        detail.update(node)
        return documents.page_of(node.get("comments") or {})

    shown = yield from List(bound, read, partial(_comment, repo), 2_500).show(limit, cursor)
    outside = Prose()
    told: Json = {
        "number": number,
        "title": outside.whole_title(detail.get("title")),
        "author": login(detail.get("author")),
        "category": outside.line(str((detail.get("category") or {}).get("name", "")), 60),
        "closed": bool(detail.get("closed")),
        "answer_id": (detail.get("answer") or {}).get("id"),
        "created": full(detail.get("createdAt")),
        "url": detail.get("url"),
    }
    if not cursor:
        told |= body_of(outside, detail, _read_call(repo, number=number))
    return outer(told | {"comments": shown["items"], "next": shown["next"]}, outside)


def discussion_of(repo: str, number: int, first: int = 1, after: str = "") -> Asks[Json]:
    """Return a discussion with a page of its comments. Raises `NotFound`."""
    data = yield from documents.query_repo(documents.DISCUSSION, repo, number=number, first=first, after=after or None)
    if not data.get("discussion"):
        raise NotFound("GitHub: not found, or not visible to this user.", hint="github_list_discussions lists them.")
    return dict(data["discussion"])


def _read_call(repo: str, **what: int | str) -> Continuation:
    """Return the call that reads a discussion's body, or a comment."""
    return Continuation("github_list_discussions", repo=repo, **what)


def _comment_row(repo: str, limit: int, node: Mapping[str, Any]) -> Json:
    return comment(node, _read_call(repo, comment_id=str(node.get("id"))), limit)


def _comment(repo: str, node: Mapping[str, Any]) -> Json:
    told = node.get("replies") or {}
    rows = [_comment_row(repo, _REPLY, one) for one in told.get("nodes") or ()]
    more = int(told.get("totalCount") or 0) - len(rows)
    shown = _comment_row(repo, 500, node) | {"replies": rows} | ({"more_replies": more} if more > 0 else {})
    return shown | ({"is_answer": True} if node.get("isAnswer") else {})


_REPLY: Final = 200  # bytes of a reply below a comment in a list


def _comment_alone(
    repo: str, number: int | None, id: str, offset: int, cursor: str | None, account: Account, *, raw: bool
) -> Asks[Json]:
    """Return a comment whole with its replies. A later part of it, or its raw text, comes without replies."""
    if offset or raw:
        node = yield from load_comment(repo, number, id, "comment_id")
        return with_full_body(_comment_row(repo, 500, node), node, offset, _read_call(repo, comment_id=id), raw=raw)
    first: Json = {}

    def read(token: str, size: int) -> Asks[Page]:
        node = yield from load_comment(repo, number, id, "comment_id", 50, token)
        first.update(node)
        return documents.page_of(node.get("replies") or {})

    bound = ("github_list_discussions", account.subject, repo, id)
    shown = yield from List(bound, read, partial(_comment_row, repo, COMMENT), 1_500).show(50, cursor)
    told = _comment_row(repo, _REPLY, first)
    told = told if cursor else with_full_body(told, first, 0, _read_call(repo, comment_id=id), raw=False)
    return told | {"replies": shown["items"], "next": shown["next"]}


def load_comment(
    repo: str, number: int | None, comment: str, field: str, replies: int = 1, after: str = ""
) -> Asks[Json]:
    """Return the comment if it is in this repository. Its id alone could name a comment of another repository."""
    document = documents.DISCUSSION_COMMENT
    data = yield from documents.query(document, id=comment, first=replies, after=after or None)
    node = data.get("node") or {}
    there = node.get("discussion") or {}
    home = str((there.get("repository") or {}).get("nameWithOwner", ""))
    if is_elsewhere(repo, None, home) or number not in (None, there.get("number")):
        raise InvalidInput(
            f"{field}: not a comment of this repository or discussion.",
            hint="github_list_discussions with number lists them.",
        )
    return dict(node)
