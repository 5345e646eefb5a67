"""Gmail: change the state and labels of many emails at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core.act.toolkit import Alias, Arguments, Effect, Need, Note, Request, Steps
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits import _time
from deputize.toolkits._gmail import api
from deputize.toolkits._gmail.api import Asks
from deputize.toolkits._gmail.base import GETS, GMAIL, KNOWS_LABELS, MODIFY, modifies, reads
from deputize.toolkits._gmail.deliver import Noted
from deputize.toolkits._gmail.names import Label, label_called, labels_in
from deputize.toolkits._gmail.query import out_of_sight, says_which
from deputize.toolkits._gmail.rows import email_row
from deputize.toolkits._mail_in import Mail

Action = Literal[
    "read",
    "unread",
    "star",
    "unstar",
    "archive",
    "to_inbox",
    "important",
    "not_important",
    "spam",
    "not_spam",
    "trash",
    "untrash",
]
_STATES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {  # labels to add and to remove
    "read": ((), ("UNREAD",)),
    "unread": (("UNREAD",), ()),
    "star": (("STARRED",), ()),
    "unstar": ((), ("STARRED",)),
    "archive": ((), ("INBOX",)),
    "to_inbox": (("INBOX",), ()),
    "important": (("IMPORTANT",), ()),
    "not_important": ((), ("IMPORTANT",)),
    "spam": (("SPAM",), ("INBOX",)),
    "not_spam": (("INBOX",), ("SPAM",)),
    "trash": (("TRASH",), ()),
    "untrash": ((), ("TRASH",)),
}
_OPPOSITE: Final = {
    **{"read": "unread", "star": "unstar", "archive": "to_inbox", "important": "not_important"},
    **{"spam": "not_spam", "trash": "untrash"},
}
_OPPOSITES: Final = _OPPOSITE | {after: before for before, after in _OPPOSITE.items()}
_NARROWED: Final = {  # what a query adds to find only what would change, where Gmail has a term for it
    **{"read": "is:unread", "unread": "is:read", "unstar": "is:starred", "archive": "in:inbox"},
    **{"not_important": "is:important", "not_spam": "in:spam", "untrash": "in:trash"},
}
_LARGE_STEPS: Final = frozenset({"trash", "spam", "archive"})
_MOST: Final = 1000  # ids that batchModify takes
_UNDO: Final = 100  # ids that an undo carries

_LABELS: Final = {"labels_to_add": "add_labels", "labels_to_remove": "remove_labels"}

Names = list[str]
Ids = Annotated[list[str], Field(max_length=_MOST)]


def _needs(arguments: Arguments) -> Sequence[Need]:
    threads = bool(arguments["thread_ids"])
    looks = [reads("threads.get")] if threads else [GETS]
    looks += [reads("messages.list")] if arguments["query"] else []
    if arguments["dry_run"]:
        return looks
    if arguments["add_labels"] or arguments["remove_labels"]:
        looks.append(KNOWS_LABELS)
    kind = "threads" if threads else "messages"
    changes = [modifies(f"{kind}.{arguments['action']}")] if arguments["action"] in ("trash", "untrash") else []
    changes.append(modifies("threads.modify" if threads else "messages.batchModify"))
    return [*changes, *(replace(need, ask=MODIFY) for need in looks)]  # who may change may look: one scope is enough


def _effect(arguments: Arguments) -> Effect:
    if arguments["dry_run"]:
        return Effect.READS
    return Effect.DESTRUCTIVE if arguments["action"] in ("trash", "spam") else Effect.WRITES


@GMAIL.tool(
    needs=_needs,
    effect=_effect,
    gravest=Effect.DESTRUCTIVE,
    aliases=[
        *(
            Alias(f"Gmail.{name}", {"email_id": "message_ids[]"}, sets={"action": action})
            for name, action in (("ArchiveEmail", "archive"), ("ReportSpam", "spam"), ("TrashEmail", "trash"))
        ),
        Alias("Gmail.ChangeEmailLabels", {"email_id": "message_ids[]", **_LABELS}),
        Alias("Gmail.ChangeThreadLabels", {"thread_id": "thread_ids[]", **_LABELS}),
        Alias(
            "Gmail.SetThreadTrashStatus",
            {"thread_id": "thread_ids[]", "trash": "action"},
            values={"action": {True: "trash", False: "untrash"}},
        ),
        Alias("Gmail.TriageEmails", {"email_ids": "message_ids"}),
    ],
)
def update_emails(
    action: Action | None = None,
    add_labels: Annotated[Names | None, Field(description="names")] = None,
    remove_labels: Names | None = None,
    message_ids: Ids | None = None,
    thread_ids: Ids | None = None,
    query: str | None = None,
    limit: Annotated[int, Field(ge=1, le=_MOST, description="cap for query")] = 100,
    dry_run: Annotated[bool, Field(description="only count and preview")] = False,
    *,
    noted: Noted,
) -> Steps:
    """Change state or labels of emails or threads, chosen by ids or by a query."""
    _check(action, add_labels, remove_labels, message_ids, thread_ids, query)
    kind = "threads" if thread_ids else "messages"
    given = list(dict.fromkeys(message_ids or thread_ids or ()))
    if dry_run:
        return (yield from _preview(kind, given, query or "", action, limit))
    if noted:
        plan = Plan(**noted)
    else:
        change = yield from _change(action, add_labels or (), remove_labels or ())
        plan = yield from _planned(kind, given, query or "", limit, change)
        if plan.ids:
            yield Note(vars(plan))
    failed = yield from _carry_out(plan)
    return _result(plan, failed)


def _check(
    action: str | None,
    add: Names | None,
    remove: Names | None,
    message_ids: Ids | None,
    thread_ids: Ids | None,
    query: str | None,
) -> None:
    """Raise `InvalidInput` for arguments that do not say what to do, or to which emails."""
    if sum(bool(choice) for choice in (message_ids, thread_ids, (query or "").strip())) != 1:
        raise InvalidInput("Give exactly one of message_ids, thread_ids and query.")
    if not (action or add or remove):
        raise InvalidInput("Give at least one of action, add_labels and remove_labels.")
    if query and action in _LARGE_STEPS and not says_which(query):
        raise InvalidInput(f"query: {action} needs a term that chooses, such as from:, subject: or a word.")


# ----------------------------------------------------------------- planning


@dataclass(frozen=True, slots=True)
class Change:
    """Labels to add and to remove, by id, and what people call the same."""

    add: Sequence[str]
    remove: Sequence[str]
    action: str | None
    names: Mapping[str, Names]

    def touches(self, labels: Collection[str]) -> bool:
        """Whether a mail with these labels would change."""
        return not set(self.add) <= set(labels) or bool(set(self.remove) & set(labels))

    def is_whole(self, labels: Collection[str]) -> bool:
        """Whether all of it is new to such a mail, so that the opposite brings it back."""
        return not set(self.add) & set(labels) and set(self.remove) <= set(labels)


@dataclass
class Plan:
    """What will be done to which emails, in a form that can be noted and worked off by a later run."""

    kind: str
    ids: list[str]
    add: list[str]
    remove: list[str]
    action: str | None
    names: dict[str, Names]
    requested: int
    unchanged: int
    failed: list[dict[str, str]]
    exact: bool
    remaining: bool


def _change(action: str | None, add: Sequence[str], remove: Sequence[str]) -> Asks[Change]:
    """The change as labels by id. Raises `InvalidInput` for names that are not the user's own labels."""
    added, removed = (list(part) for part in _STATES.get(action or "", ((), ())))
    labels = labels_in((yield api.LIST_LABELS)) if add or remove else []
    added += [_own(labels, name, "add_labels") for name in add]
    removed += [_own(labels, name, "remove_labels") for name in remove]
    if set(added) & set(removed):
        raise InvalidInput("A label cannot be added and removed at once.")
    return Change(added, removed, action, {"add_labels": list(add), "remove_labels": list(remove)})


def _own(labels: Sequence[Label], name: str, field: str) -> str:
    label = label_called(labels, name, field)
    if label.get("type") == "system":
        raise InvalidInput(f"{field}: {label['name']} is a state of Gmail's.", hint="Use action for states.")
    return str(label["id"])


def _planned(kind: str, given: Sequence[str], query: str, limit: int, change: Change) -> Asks[Plan]:
    """Which of the emails would really change: only those are touched, and only those can be undone."""
    ids, remaining = (given, False) if given else (yield from _found(query, change.action, limit))
    look = api.get_thread if kind == "threads" else api.get_message
    answers = yield from api.many([look(one, "minimal") for one in ids])
    pairs = list(zip(ids, answers, strict=True))
    touched = {one: parts for one, answer in pairs if (parts := _touched(answer, change))}
    failed = [{"id": one, "error": answer.message} for one, answer in pairs if isinstance(answer, DeputizeError)]
    return Plan(
        kind=kind,
        ids=list(touched),
        add=list(change.add),
        remove=list(change.remove),
        action=change.action,
        names=dict(change.names),
        requested=len(ids),
        unchanged=len(ids) - len(touched) - len(failed),
        failed=failed,
        exact=all(change.is_whole(labels) for parts in touched.values() for labels in parts),
        remaining=remaining,
    )


def _touched(answer: Any, change: Change) -> Sequence[Collection[str]]:
    """The labels of each message, of a message or conversation, if one of them would change."""
    if isinstance(answer, DeputizeError):
        return []
    labels = [one.get("labelIds") or () for one in answer.get("messages", [answer])]
    return labels if any(change.touches(one) for one in labels) else []


def _found(query: str, action: str | None, limit: int) -> Asks[tuple[list[str], bool]]:
    """The ids that a query finds, and whether there are more than were asked for."""
    q = " ".join(part for part in (query.strip(), _NARROWED.get(action or "", "")) if part)
    ids: list[str] = []
    token: Any = None
    while len(ids) < limit:
        params = {"q": q, "maxResults": min(limit - len(ids), 500)}
        params |= {"includeSpamTrash": True} if out_of_sight(q) else {}
        page = yield Request("GET", "/users/me/messages", params=params | ({"pageToken": token} if token else {}))
        ids += [str(one["id"]) for one in page.get("messages") or ()]
        token = page.get("nextPageToken")
        if not token:
            break
    return ids[:limit], bool(token)


# ----------------------------------------------------------------- doing


def _carry_out(plan: Plan) -> Asks[dict[str, str]]:
    """Change what the plan says. Everything here may be repeated. The errors, by id."""
    moved = plan.action if plan.action in ("trash", "untrash") else None
    add, remove = ([label for label in part if not (moved and label == "TRASH")] for part in (plan.add, plan.remove))
    failed: dict[str, str] = {}
    if plan.ids and (add or remove):
        failed |= yield from _relabel(plan, {"addLabelIds": add, "removeLabelIds": remove})
    if moved:
        path = f"/users/me/{plan.kind}/{{id}}/{moved}"
        moves = [Request("POST", path, at={"id": one}, repeat="idem") for one in plan.ids]
        failed |= _refusals(plan.ids, (yield from api.many(moves)))
    return failed


def _relabel(plan: Plan, labels: Mapping[str, list[str]]) -> Asks[dict[str, str]]:
    if plan.kind == "messages":
        content = {"ids": plan.ids, **labels}
        yield Request("POST", "/users/me/messages/batchModify", json=content, repeat="idem")
        return {}
    path = "/users/me/threads/{id}/modify"
    answers = yield from api.many(
        [Request("POST", path, at={"id": one}, json=dict(labels), repeat="idem") for one in plan.ids]
    )
    return _refusals(plan.ids, answers)


def _refusals(ids: Sequence[str], answers: Sequence[Any]) -> dict[str, str]:
    return {one: answer.message for one, answer in zip(ids, answers, strict=True) if isinstance(answer, DeputizeError)}


def _result(plan: Plan, failed: Mapping[str, str]) -> dict[str, Any]:
    """What was changed, and how it is undone."""
    changed = [one for one in plan.ids if one not in failed]
    misses = [*plan.failed, *({"id": one, "error": error} for one, error in failed.items())]
    result: dict[str, Any] = {
        "requested": plan.requested,
        "changed": len(changed),
        "unchanged": plan.unchanged,
        "failed": misses[:20],
        "remaining": plan.remaining,
        "undo": _undo(plan, changed),
        "summary": f"Changed {len(changed)} of {plan.requested} {plan.kind}."
        + (" More match the query: call again for them." if plan.remaining else ""),
    }
    return {name: value for name, value in result.items() if value or name in ("requested", "changed")}


def _undo(plan: Plan, changed: Sequence[str]) -> dict[str, Any] | None:
    """The call that brings back what was; None where no call would do exactly that."""
    if not plan.exact or not 0 < len(changed) <= _UNDO:
        return None
    args: dict[str, Any] = {"action": _OPPOSITES[plan.action]} if plan.action else {}
    args |= {"add_labels": plan.names["remove_labels"], "remove_labels": plan.names["add_labels"]}
    args |= {"thread_ids" if plan.kind == "threads" else "message_ids": list(changed)}
    return {"tool": "gmail_update_emails", "args": {name: value for name, value in args.items() if value}}


# ----------------------------------------------------------------- preview


def _preview(kind: str, given: Sequence[str], query: str, action: str | None, limit: int) -> Asks[dict[str, Any]]:
    """How many emails it would be, and the first five of them."""
    ids, remaining = (given, False) if given else (yield from _found(query, action, limit))
    look = api.get_thread if kind == "threads" else api.get_message
    answers = yield from api.many([look(one, "metadata") for one in ids[:5]])
    found = [one.get("messages", [one])[-1] for one in answers if isinstance(one, dict)]
    rows = [{name: value for name, value in email_row(Mail(one), {}).items() if value} for one in found]
    return {"estimate": len(ids), "more": remaining, "sample": rows, "time_zone": _time.ZONE}
