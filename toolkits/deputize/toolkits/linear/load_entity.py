"""Objects of any kind by id, with place, name and text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from deputize.core import Audience
from deputize.core.errors import NotFound
from deputize.toolkits.linear import matching
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, get, nodes
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.preview import (
    Place,
    issue_place,
    issue_words,
    place,
    project_place,
    version_of,
    workspace,
)
from deputize.toolkits.linear.rows import name
from deputize.toolkits.linear.rows import nodes as inner

Kind = Literal[
    "issue",
    "project",
    "initiative",
    "document",
    "project_update",
    "initiative_update",
    "comment",
    "label",
    "project_label",
    "milestone",
]
_PROJECT: Final = {"content": True, "milestones": False, "updates": False, "issues": False}
_MANY: Final = 100
_INITIATIVE: Final = {"content": True, "projects": False, "updates": False}


@dataclass(frozen=True, slots=True)
class Existing:
    """An existing object. ``words``: its name. ``by``: its author, if any. ``away``: archived, or in the trash."""

    id: str
    words: str
    place: Place
    text: str = ""
    by: str = ""
    away: bool = False

    @property
    def version(self) -> str:
        """The digest of the object's text."""
        return version_of(self.text)


def load_existing(kind: Kind, id: str) -> Asks[Existing]:
    """Load the object of this kind and id. Raises `NotFound` if the object is missing or the user may not see it."""
    return matching.look_up(_READ[kind](id.strip()), "id", kind, id)


def _issue(id: str) -> Asks[Existing]:
    node = yield from names.issue(id, "id", "IssueValues")
    return Existing(
        node["id"],
        issue_words(node),
        (yield from issue_place([node])),
        whole_text(node.get("description")),
        away=_away(node),
    )


def _project(id: str) -> Asks[Existing]:
    node = yield from get("Project", id=id, **_PROJECT)
    text = whole_text(node.get("description"), node.get("content"))
    return Existing(node["id"], name(node), (yield from place(inner(node.get("teams")))), text, away=_away(node))


def _initiative(id: str) -> Asks[Existing]:
    node = yield from get("Initiative", id=id, **_INITIATIVE)
    return Existing(
        node["id"], name(node), workspace(), whole_text(node.get("description"), node.get("content")), away=_away(node)
    )


def _document(id: str) -> Asks[Existing]:
    node = yield from get("Document", id=id)
    stands = yield from holder(node)
    return Existing(node["id"], str(node.get("title")), stands, whole_text(node.get("content")), away=_away(node))


def holder(node: Json) -> Asks[Place]:
    """Return the place of a document, or of another object that can belong to several kinds of objects."""
    if issue := node.get("issue"):
        found = yield from issue_place([issue])
        return found.inside(f"issue {issue_words(issue)}")
    if project := node.get("project"):
        return (yield from project_place(project))
    if team := node.get("team"):
        return (yield from place([team]))
    if initiative := node.get("initiative"):
        return workspace(f"initiative {name(initiative)}")
    return Place("", Audience.UNKNOWN)  # on a kind that these tools do not know


def load_by_id(operation: str, id: str) -> Asks[Json]:
    """Load the object with this id. Raises `NotFound`."""
    if not matching.is_id(id):
        raise NotFound(
            "id: nothing of this kind has this id, or it is not visible to this user.",
            hint="linear_lookup or a list has the ids.",
        )
    found: Json = yield from get(operation, id=id)
    return found


def _update(operation: str) -> Callable[[str], Asks[Existing]]:
    def read(id: str) -> Asks[Existing]:
        node = yield from load_by_id(operation, id)
        stands = yield from holder(node)
        return Existing(
            node["id"], _subject_name(node), stands, whole_text(node.get("body")), name(node.get("user")), _away(node)
        )

    return read


def _subject_name(update: Json) -> str:
    """Return the name of an update's subject."""
    return name(update.get("project") or update.get("initiative"))


def comment_place(node: Json) -> Asks[Place]:
    """Return the place of a comment, with the services that get a copy of its thread."""
    found = yield from _subject_place(node)
    threads = [thread for one in (node, node.get("parent") or {}) if (thread := one.get("externalThread"))]
    words = {f"{one.get('name')} ({one.get('displayName')})" for one in threads if one.get("isConnected") is not False}
    return found.synced(sorted(words))


def _subject_place(node: Json) -> Asks[Place]:
    on = node.get("documentContent") or {}
    if document := on.get("document"):
        found = yield from holder(document)
        return found.inside(f"document {document.get('title')}")
    for update in ("projectUpdate", "initiativeUpdate"):
        if node.get(update):
            found = yield from holder(node[update])
            return found.inside("a status update")
    return (yield from holder(node if not on.get("project") else on))


def _comment(id: str) -> Asks[Existing]:
    node = yield from load_by_id("CommentSeen", id)
    stands = yield from comment_place(node)
    by = name(node.get("user")) or name(node.get("botActor"))
    return Existing(node["id"], "", stands, whole_text(node.get("body")), by)


def _label_of(operation: str, id: str) -> Asks[Json]:
    rows = (yield from nodes(operation, first=_MANY, filter={"id": {"eq": id}})) if matching.is_id(id) else []
    for row in rows:
        if row["id"] == id.lower():
            return dict(row)
    raise NotFound(
        "id: no label has this id, or it is not visible to this user.", hint="linear_lookup(kind=labels) lists them."
    )


def _label(operation: str) -> Callable[[str], Asks[Existing]]:
    def read(id: str) -> Asks[Existing]:
        node = yield from _label_of(operation, id)
        stands = (yield from place([node["team"]])) if node.get("team") else workspace()
        return Existing(node["id"], name(node), stands, whole_text(node.get("description")))

    return read


def _milestone(id: str) -> Asks[Existing]:
    node = yield from load_by_id("MilestoneSeen", id)
    stands = yield from project_place(node["project"])
    return Existing(node["id"], name(node), stands, whole_text(node.get("description")))


def _away(node: Json) -> bool:
    return bool(node.get("archivedAt") or node.get("trashed"))


def whole_text(*parts: Any) -> str:
    """Return an object's texts as one text."""
    return "\n\n".join(str(part) for part in parts if part)


_READ: Final[Mapping[str, Callable[[str], Asks[Existing]]]] = {
    "issue": _issue,
    "project": _project,
    "initiative": _initiative,
    "document": _document,
    "project_update": _update("ProjectUpdateSeen"),
    "initiative_update": _update("InitiativeUpdateSeen"),
    "comment": _comment,
    "label": _label("LookupIssueLabels"),
    "project_label": _label("LookupProjectLabels"),
    "milestone": _milestone,
}
