"""Linear: archiving, restoring and deleting."""

from __future__ import annotations

from typing import Any, Final, Literal

from deputize.core import Effect, Preview, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits.linear.api import change, entity
from deputize.toolkits.linear.base import LINEAR, READ, WRITE
from deputize.toolkits.linear.load_entity import Existing, Kind, load_existing
from deputize.toolkits.linear.preview import undo
from deputize.toolkits.linear.rows import lean, line

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
_TRASHED: Final = frozenset(("ProjectDelete", "DocumentDelete", "IssueDelete", "InitiativeDelete"))
_FOLLOWS: Final = {  # objects archived along, which a user may overlook
    "label": "It is removed from everything that has it.",
    "project_label": "It is removed from everything that has it.",
    "milestone": "Its issues stay, without a milestone.",
}


def _effect(arguments: Arguments) -> Effect:
    effect = Effect.WRITES | Effect.SENDS
    return effect | Effect.DESTRUCTIVE if arguments["action"] == "delete" else effect


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=_effect,
    gravest=Effect.WRITES | Effect.SENDS | Effect.DESTRUCTIVE,
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
        found = yield from load_existing(kind, id)
        if "restore" in does and action != "delete" and found.away == (act == "archive"):
            return result | {"summary": f"It {'was put away already' if found.away else 'is not put away'}."}
        yield _show(kind, does[act], found, final=action == "delete")
        made = entity((yield from change(does[act], id=found.id)))
    except NotFound:
        if act == "restore":
            raise
        return result | {"summary": "It is gone already, or was never there."}
    back: dict[str, Any] | None = None
    if "restore" in does and act != "delete":
        args = {"kind": kind, "id": id, "action": "archive" if act == "restore" else "restore"}
        back = {"tool": "linear_archive", "args": args}
        yield undo(back, version=found.version)
    named = made.get("identifier") or made.get("name") or made.get("title")
    return result | lean({"name": line(named), "undo": back})


def _show(kind: Kind, operation: str, found: Existing, *, final: bool) -> Preview:
    """Return the preview of the action, with what is lost."""
    what = {"Unarchive": "Restore this {}", "Archive": "Archive this {}"}
    says = next((text for part, text in what.items() if operation.endswith(part)), "Delete this {}")
    says = "Move this {} to the trash" if operation in _TRASHED else says
    called: dict[str, Any] = {kind: found.words or None}
    return found.place.show(
        says.format(kind.replace("_", " ")),
        destroys=final and operation not in _TRASHED,
        undo="it can be restored from the trash for 30 days" if operation in _TRASHED else None,
        pins={"id": found.id, "version": found.version},
        **called,
        by=found.by or None,
        text=found.text or None,
        note=_FOLLOWS.get(kind),
    )
