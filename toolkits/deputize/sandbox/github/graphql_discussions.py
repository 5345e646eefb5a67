"""GraphQL: discussions with their comments, replies and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.graphql_nodes import Failed, connection, find_repo, format_comment


def discussions(call: Call, repo: Json, first: int, after: str | None, by: Mapping[str, Any]) -> Json:
    """Return a page of a repository's discussions, newest first."""
    rows = [
        _brief(call, repo, row)
        for row in reversed(call.records("discussions", repo))
        if by.get("categoryId") in (None, row["category"])
        and (not by.get("states") or ("CLOSED" if row["closed"] else "OPEN") in by["states"])
        and by.get("answered") in (None, bool(row["answer"]))
    ]
    return connection(rows, first, after)


def _brief(call: Call, repo: Json, row: Json) -> Json:
    category = next(one for one in call.store["categories"] if one["id"] == row["category"])
    return format_comment(repo, row) | {
        "number": row["number"],
        "title": row["title"],
        "url": f"https://github.com/{repo['full_name']}/discussions/{row['number']}",
        "updatedAt": row["at"],
        "isAnswered": bool(row["answer"]),
        "closed": row["closed"],
        "category": {"name": category["name"]},
        "answer": {"id": row["answer"]} if row["answer"] else None,
        "repository": {"nameWithOwner": repo["full_name"]},
        "comments": lambda first=30, after=None: connection(
            [_comment(repo, row, one) for one in row["comments"]], first, after
        ),
    }


def discussion(call: Call, repo: Json, number: int) -> Json:
    row = next((one for one in call.records("discussions", repo) if one["number"] == number), None)
    if row is None:
        raise Failed("NOT_FOUND", f"Could not resolve to a Discussion with the number of {number}.")
    return _brief(call, repo, row)


def _comment(repo: Json, discussion: Json, row: Json) -> Json:
    where = f"https://github.com/{repo['full_name']}/discussions/{discussion['number']}#{row['id']}"
    return format_comment(repo, row) | {
        "url": where,
        "isAnswer": discussion["answer"] == row["id"],
        "replies": lambda first, after=None: connection(
            [format_comment(repo, one) for one in row["replies"]], first, after
        ),
    }


def search(call: Call, query: str, first: int = 30, after: str | None = None, **_: Any) -> Json:
    """Search discussions by words, in one repository."""
    words = [one.lower() for one in query.split() if ":" not in one]
    places = [one.removeprefix("repo:") for one in query.split() if one.startswith("repo:")]
    rows = [
        _brief(call, repo, row)
        for repo in call.store["repos"].values()
        if call.sees(repo) and (not places or repo["full_name"] in places)
        for row in call.records("discussions", repo)
        if all(word in f"{row['title']} {row['body']}".lower() for word in words)
    ]
    return connection(rows, first, after, discussionCount=len(rows))


def _find_discussion(call: Call, id: str) -> tuple[Json, Json]:
    for name, rows in call.store["discussions"].items():
        for row in rows:
            if row["id"] == id or any(one["id"] == id for one in row["comments"]):
                return find_repo(call, name, write=True), row
    raise Failed("NOT_FOUND", "Could not resolve to a node.")


def comment_node(call: Call, id: str) -> Json:
    """Return a comment or reply by its id."""
    for name, rows in call.store["discussions"].items():
        for row in rows:
            for one in [*row["comments"], *(reply for each in row["comments"] for reply in each["replies"])]:
                if one["id"] == id:
                    repo = find_repo(call, name)
                    return _comment(repo, row, {"replies": [], **one}) | {"discussion": _brief(call, repo, row)}
    raise Failed("NOT_FOUND", "Could not resolve to a node.")


def create_discussion(call: Call, input: Json) -> Json:
    name = next((r["full_name"] for r in call.store["repos"].values() if f"R_{r['id']}" == input["repositoryId"]), "")
    repo = find_repo(call, name, write=True)
    rows = call.records("discussions", repo)
    row: Json = {
        "id": f"D_made{call.next_id()}",
        "number": 50 + len(rows),
        "title": input["title"],
        "body": input["body"],
    }
    row |= {
        "user": call.me,
        "category": input["categoryId"],
        "at": call.now,
        "closed": False,
        "answer": None,
        "comments": [],
    }
    rows.append(row)
    return {"discussion": _brief(call, repo, row)}


def add_comment(call: Call, input: Json) -> Json:
    """Add a comment, or a reply to one."""
    repo, row = _find_discussion(call, input["discussionId"])
    made: Json = {
        "id": f"DC_made{call.next_id()}",
        "user": call.me,
        "body": input["body"],
        "at": call.now,
        "replies": [],
    }
    to = next((one for one in row["comments"] if one["id"] == input.get("replyToId")), None)
    if input.get("replyToId") and to is None:
        raise Failed("NOT_FOUND", "Could not resolve to a node.")
    (to["replies"] if to else row["comments"]).append(made)
    return {"comment": _comment(repo, row, made)}


def mark_answer(call: Call, input: Json) -> Json:
    repo, row = _find_discussion(call, input["id"])
    row["answer"] = input["id"]
    return {"discussion": _brief(call, repo, row)}
