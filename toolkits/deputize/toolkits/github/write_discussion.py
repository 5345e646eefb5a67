"""GitHub: starting discussions, commenting in them, marking answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Account, ActKey, Need, Preview, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import documents
from deputize.toolkits.github.api import Json
from deputize.toolkits.github.argument_types import Node, Number, Repo, Word
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.discussions import discussion_of, load_comment
from deputize.toolkits.github.idempotent_create import find_written, write_once
from deputize.toolkits.github.name_lookup import pick
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Title, add_mark, is_marked
from deputize.toolkits.github.show_fields import HOME, Home, home_of, title_of


def _write_needs(arguments: Arguments) -> Sequence[Need]:
    look = reads("GRAPHQL DiscussionComment", "discussions:read")
    if arguments["answer_id"]:
        return [*changes("GRAPHQL DiscussionAnswer", "discussions:write"), look, HOME]
    if arguments["number"]:
        found = [reads("GRAPHQL Discussion", "discussions:read"), *([look] if arguments["reply_to"] else [])]
        return [*changes("GRAPHQL DiscussionReply", "discussions:write"), *found, HOME]
    known = [reads("GRAPHQL Discussions", "discussions:read"), HOME]
    return [*changes("GRAPHQL DiscussionCreate", "discussions:write"), *known]


@GITHUB.tool(needs=_write_needs, effect=SENDS, toolset="discussions")
@in_repo("this discussion")
def write_discussion(
    repo: Repo,
    number: Annotated[Number | None, Field(description="an existing one")] = None,
    category: Word | None = None,
    title: Title | None = None,
    body: Body = "",
    reply_to: Annotated[Node | None, Field(description="comment id")] = None,
    answer_id: Annotated[Node | None, Field(description="mark this comment")] = None,
    *,
    run: Run,
) -> Steps:
    """Start a discussion, comment or reply in one, or mark the answer."""
    if answer_id and (body or title or reply_to):
        raise InvalidInput(
            "answer_id: cannot be combined with other arguments; it marks an answer.", hint="Leave out answer_id."
        )
    if not answer_id and not body.strip():
        raise InvalidInput("body: needed.", hint="Add body.")
    if not (answer_id or number) and not (title and category):
        raise InvalidInput("title, category: needed for a new discussion.", hint="github_list_discussions names them.")
    if run.noted:
        repo = str(run.noted.get("repo") or repo)
        return (yield from _find_earlier(repo, number, title or "", run))
    home = yield from home_of(repo)
    if answer_id:
        return (yield from _mark_answer(home, number, answer_id))
    if number:
        return (yield from _reply(home, number, body, reply_to, run))
    return (yield from _start(home, category or "", title or "", body, run))


def _find_earlier(repo: str, number: int | None, title: str, run: Run) -> Asks[Json]:
    """Return the item that an earlier run, whose response was lost, may have written."""
    if number:
        in_one = lambda: _find_marked(repo, number, run.key, run.account)  # noqa: E731
        return _receipt(number, (yield from find_written(in_one, "comment")), "Written.")
    new = lambda: _find_started(repo, title, run.key, run.account)  # noqa: E731
    made = yield from find_written(new, "discussion")
    return _receipt(made.get("number"), made, "Started.")


def _receipt(number: int | None, made: Mapping[str, Any], summary: str) -> Json:
    return {"number": number, "id": made.get("id"), "url": made.get("url"), "summary": summary}


def _mark_answer(home: Home, number: int | None, id: str) -> Asks[Json]:
    node = yield from load_comment(home.name, number, id, "answer_id")
    yield home.shows(
        "Mark this comment as the answer",
        discussion=title_of(node.get("discussion") or {}),
        comment=node.get("body"),
        by=(node.get("author") or {}).get("login"),
        pins={"comment": id},
    )
    data = yield from documents.query(documents.DISCUSSION_ANSWER, "idem", id=id)
    there = (data.get("markDiscussionCommentAsAnswer") or {}).get("discussion") or {}
    return {"number": there.get("number"), "id": id, "url": there.get("url"), "summary": "Marked."}


def _start(home: Home, category: str, title: str, body: str, run: Run) -> Asks[Json]:
    known = yield from documents.query_repo(documents.DISCUSSIONS, home.name, first=1)
    categories = (known.get("discussionCategories") or {}).get("nodes") or []
    chosen = pick(category, categories, "category", lambda one: str(one["name"]))
    pins = {"place": known["id"], "category": chosen["id"]}
    yield home.shows("Start this discussion", title=title, text=body, category=chosen["name"], pins=pins)
    given = {"repositoryId": known["id"], "categoryId": chosen["id"], "title": title, "body": add_mark(body, run.key)}
    write = _send_mutation(documents.DISCUSSION_CREATE, given, "createDiscussion", "discussion")
    look = lambda: _find_started(home.name, title, run.key, run.account)  # noqa: E731
    made = yield from write_once(None, write, look, "discussion", repo=home.name)
    return _receipt(made.get("number"), made, "Started.")


def _reply(home: Home, number: int, body: str, reply_to: str | None, run: Run) -> Asks[Json]:
    there = yield from discussion_of(home.name, number)
    answered = (yield from load_comment(home.name, number, reply_to, "reply_to")) if reply_to else None
    yield _reply_show(home, there, body, answered)
    given: Json = {"discussionId": there["id"], "body": add_mark(body, run.key)}
    given |= {"replyToId": reply_to} if reply_to else {}
    write = _send_mutation(documents.DISCUSSION_REPLY, given, "addDiscussionComment", "comment")
    look = lambda: _find_marked(home.name, number, run.key, run.account)  # noqa: E731
    made = yield from write_once(None, write, look, "comment", repo=home.name)
    return _receipt(number, made, "Written.")


def _reply_show(home: Home, there: Json, body: str, answered: Json | None) -> Preview:
    who = str(((answered or {}).get("author") or {}).get("login") or "")
    return home.shows(
        "Answer this comment" if answered else "Write this comment",
        text=body,
        on=title_of(there),
        answering=f"{who}:\n{answered.get('body')}" if answered else None,
        pins={"discussion": there["id"], "answering": answered["id"] if answered else None},
    )


def _send_mutation(document: str, given: Mapping[str, Any], field: str, part: str) -> Asks[Json]:
    data = yield from documents.query(document, "write", input=given)
    return dict((data.get(field) or {}).get(part) or {})


def _find_started(repo: str, title: str, key: ActKey, account: Account) -> Asks[Json | None]:
    """Return this act's discussion, from the newest of its title."""
    data = yield from documents.query_repo(documents.DISCUSSIONS, repo, first=20)
    for node in documents.page_of(data.get("discussions") or {}).rows:
        if node.get("title") == title:
            whole = yield from discussion_of(repo, int(node["number"]))
            if is_marked(whole, key, account):
                return whole
    return None


def _find_marked(repo: str, number: int, key: ActKey, account: Account) -> Asks[Json | None]:
    """Return this act's comment or reply."""
    after = ""
    for _ in range(5):
        node = yield from discussion_of(repo, number, 50, after)
        page = documents.page_of(node.get("comments") or {})
        for one in page.rows:
            for text in (one, *((one.get("replies") or {}).get("nodes") or ())):
                if is_marked(text, key, account):
                    return dict(text)
        after = page.following
        if not after:
            return None
    return None
