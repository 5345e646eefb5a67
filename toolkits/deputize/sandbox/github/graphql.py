"""api.github.com/graphql: the queries that the tools need beside REST. Replies contain only the selected fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.graphql_changes import (
    auto_merge,
    create_commit,
    delete_label,
    remove_labels,
    resolve_thread,
    set_draft,
    update_label,
)
from deputize.sandbox.github.graphql_discussions import add_comment, create_discussion, mark_answer, search
from deputize.sandbox.github.graphql_nodes import Failed
from deputize.sandbox.github.graphql_people import organization
from deputize.sandbox.github.graphql_repository import node, repository
from deputize.sandbox.graphql import Field, InvalidDocument, read_document
from deputize.sandbox.http_types import Refused, Reply


def handle(call: Call) -> Reply:
    """Return 200 in all cases, with errors beside the data."""
    sent = call.body()
    try:
        kind, fields = read_document(str(sent.get("query", "")), sent.get("variables") or {})
    except InvalidDocument as wrong:
        return call.reply({"errors": [{"message": str(wrong)}]})
    data: Json = {}
    errors: list[Json] = []
    for field in fields:
        try:
            data[field.alias] = select_fields(ROOTS[field.name](call, **field.arguments), field.fields)
        except KeyError:
            message = f"Field '{field.name}' doesn't exist"
            return call.reply({"errors": [{"message": message, "extensions": {"code": "undefinedField"}}]})
        except Failed as failed:
            data[field.alias] = None
            errors.append({"type": failed.kind, "path": [field.alias], "message": str(failed)})
        except Refused:
            data[field.alias] = None
            errors.append({"type": "NOT_FOUND", "path": [field.alias], "message": "Could not resolve to a node."})
    reply = call.reply({"data": data} | ({"errors": errors} if errors else {}))
    return replace(reply, changes=kind == "mutation")


def select_fields(value: Any, fields: list[Field]) -> Any:
    """Return the selected fields of a value."""
    if not fields or value is None:
        return value
    if isinstance(value, list):
        return [select_fields(one, fields) for one in value]
    told: Json = {}
    for field in fields:
        part = value[field.name]
        told[field.alias] = select_fields(part(**field.arguments) if callable(part) else part, field.fields)
    return told


ROOTS: dict[str, Callable[..., Json]] = {
    "repository": repository,
    "node": node,
    "search": search,
    "organization": organization,
    "resolveReviewThread": resolve_thread(True),
    "unresolveReviewThread": resolve_thread(False),
    "markPullRequestReadyForReview": set_draft(False),
    "convertPullRequestToDraft": set_draft(True),
    "enablePullRequestAutoMerge": auto_merge,
    "createCommitOnBranch": create_commit,
    "createDiscussion": create_discussion,
    "addDiscussionComment": add_comment,
    "markDiscussionCommentAsAnswer": mark_answer,
    "removeLabelsFromLabelable": remove_labels,
    "deleteLabel": delete_label,
    "updateLabel": update_label,
}
