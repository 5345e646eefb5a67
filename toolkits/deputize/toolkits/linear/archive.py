"""Linear: put away, bring back, delete."""

from __future__ import annotations

from typing import Final, Literal

from deputize.core import Effect, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits.linear.api import change, entity
from deputize.toolkits.linear.base import LINEAR, WRITE
from deputize.toolkits.linear.rows import lean, said

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
Action = Literal["archive", "restore", "delete"]

_DOES: Final[dict[str, dict[str, str]]] = {
    "issue": {"archive": "IssueArchive", "restore": "IssueUnarchive", "delete": "IssueDelete"},
    "project": {
        "archive": "ProjectDelete",
        "restore": "ProjectUnarchive",
    },  # to the trash: projectArchive is deprecated
    "initiative": {"archive": "InitiativeArchive", "restore": "InitiativeUnarchive", "delete": "InitiativeDelete"},
    "document": {"archive": "DocumentDelete", "restore": "DocumentUnarchive"},  # to the trash
    "project_update": {"archive": "ProjectUpdateArchive", "restore": "ProjectUpdateUnarchive"},
    "initiative_update": {"archive": "InitiativeUpdateArchive", "restore": "InitiativeUpdateUnarchive"},
    "comment": {"delete": "CommentDelete"},
    "label": {"delete": "IssueLabelDelete"},
    "project_label": {"delete": "ProjectLabelDelete"},
    "milestone": {"delete": "ProjectMilestoneDelete"},
}
_SAME: Final = {("project", "delete"): "archive", ("document", "delete"): "archive"}


def _effect(arguments: Arguments) -> Effect:
    effect = Effect.WRITES | Effect.SENDS
    return effect | Effect.DESTRUCTIVE if arguments["action"] == "delete" else effect


@LINEAR.tool(
    needs=[WRITE],
    effect=_effect,
    gravest=Effect.WRITES | Effect.SENDS | Effect.DESTRUCTIVE,
    aliases=["Linear.ArchiveIssue", "Linear.ArchiveProject", "Linear.ArchiveInitiative"],
)
def archive(kind: Kind, id: str, action: Action = "archive") -> Steps:
    """Archive, restore or delete an issue, project, initiative, document, update, comment, label or milestone."""
    does = _DOES[kind]
    act = _SAME.get((kind, action), action)
    if act not in does:
        possible = " or ".join(does)
        raise InvalidInput(
            f"action: a {kind.replace('_', ' ')} only has action={possible}.", hint=f"Use action={possible}."
        )
    result = {"kind": kind, "id": id, "action": action}
    try:
        made = entity((yield from change(does[act], id=id)))
    except NotFound:
        if act == "restore":
            raise
        return result | {"summary": "It is gone already, or was never there."}
    undo = {"kind": kind, "id": id, "action": "archive" if act == "restore" else "restore"}
    back = {"tool": "linear_archive", "args": undo} if "restore" in does and act != "delete" else None
    named = made.get("identifier") or made.get("name") or made.get("title")
    return result | lean({"name": said(named), "undo": back})
