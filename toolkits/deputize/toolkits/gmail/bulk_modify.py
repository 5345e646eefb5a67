"""Gmail: change the state and labels of many emails at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Audience, Danger, Effect, Need, Preview, Request, Run, SaveNote, Steps, Undo
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GETS, GMAIL, KNOWS_LABELS, MODIFY, modifies, reads
from deputize.toolkits.gmail.bulk_selection import Action, Plan, find_ids, make_plan, resolve_change
from deputize.toolkits.gmail.preview import undo_call
from deputize.toolkits.gmail.query import is_selective
from deputize.toolkits.gmail.rows import email_row

_OPPOSITE: Final = {
    **{"read": "unread", "star": "unstar", "archive": "to_inbox", "important": "not_important"},
    **{"spam": "not_spam", "trash": "untrash"},
}
_OPPOSITES: Final = _OPPOSITE | {after: before for before, after in _OPPOSITE.items()}
_LARGE_STEPS: Final = frozenset({"trash", "spam", "archive"})
_LOSES: Final = frozenset({"trash", "spam"})
_HIDES: Final = frozenset({"archive", "read", "not_important"})
_MAX_IDS: Final = 1000  # ids that batchModify takes
_UNDO: Final = 100  # ids that an undo in a result carries

_TRIAGE: Final[Mapping[str | bool, Any]] = {  # what another toolkit calls these actions
    **{"mark_read": "read", "mark_unread": "unread", "unarchive": "to_inbox", "mark_not_spam": "not_spam"},
    **{"mark_important": "important", "mark_not_important": "not_important"},
}
_LABELS: Final = {"labels_to_add": "add_labels", "labels_to_remove": "remove_labels"}

Names = list[str]
Ids = Annotated[list[str], Field(max_length=_MAX_IDS)]


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
    return [*changes, *(replace(need, ask=MODIFY) for need in looks)]  # gmail.modify allows reads: one scope is enough


def _effect(arguments: Arguments) -> Effect:
    """Return DESTRUCTIVE for trash and spam, and for hiding (archive, read, not important) the results of a query."""
    if arguments["dry_run"]:
        return Effect.READS
    grave = arguments["action"] in _LOSES or (arguments["query"] and arguments["action"] in _HIDES)
    return Effect.DESTRUCTIVE if grave else Effect.WRITES


@GMAIL.tool(
    needs=_needs,
    effect=_effect,
    gravest=Effect.DESTRUCTIVE,
    aliases=[
        *(
            Alias(f"Gmail.{name}", {"email_id": "message_ids[]"}, sets={"action": action})
            for name, action in (("ArchiveEmail", "archive"), ("ReportSpam", "spam"), ("TrashEmail", "trash"))
        ),
        Alias("Gmail.ChangeEmailLabels", {"email_id": "message_ids[]", "email_ids": "message_ids", **_LABELS}),
        Alias("Gmail.ChangeThreadLabels", {"thread_id": "thread_ids[]", **_LABELS}),
        Alias(
            "Gmail.SetThreadTrashStatus",
            {"thread_id": "thread_ids[]", "in_trash": "action"},
            values={"action": {True: "trash", False: "untrash"}},
        ),
        Alias("Gmail.TriageEmails", {"email_ids": "message_ids"}, sets={"limit": 50}, values={"action": _TRIAGE}),
    ],
)
def update_emails(
    action: Action | None = None,
    add_labels: Annotated[Names | None, Field(description="names")] = None,
    remove_labels: Names | None = None,
    message_ids: Ids | None = None,
    thread_ids: Annotated[Ids | None, Field(description="whole conversations")] = None,
    query: Annotated[str | None, Field(description="Gmail search syntax, instead of ids")] = None,
    limit: Annotated[int, Field(ge=1, le=_MAX_IDS, description="cap for query")] = 100,
    dry_run: Annotated[bool, Field(description="only count and preview")] = False,
    *,
    run: Run,
) -> Steps:
    """Mark emails or threads read or unread, archive, trash, star or label them: by ids or by a query."""
    _check(action, add_labels, remove_labels, message_ids, thread_ids, query)
    kind = "threads" if thread_ids else "messages"
    given = list(dict.fromkeys(message_ids or thread_ids or ()))
    if dry_run:
        return (yield from _dry_run(kind, given, query or "", action, limit))
    if run.noted:
        plan = Plan(**run.noted)
    else:
        change = yield from resolve_change(action, add_labels or (), remove_labels or ())
        plan = yield from make_plan(kind, given, query or "", limit, change, run.zone)
        if plan.ids:
            hides = action in _LOSES or bool(query and action in _HIDES)
            yield _make_preview(plan, hides=hides)
            yield SaveNote({name: value for name, value in vars(plan).items() if name not in ("shown", "messages")})
    failed = yield from _carry_out(plan)
    undo = _undo(plan, [one for one in plan.ids if one not in failed])
    if undo and not run.noted:
        yield undo
    return _result(plan, failed, undo)


def _make_preview(plan: Plan, *, hides: bool) -> Preview:
    """Return the preview: the emails by name and their change. ``hides``: True if the user may not notice them any
    more."""
    what = _WHAT[plan.action]
    return Preview(
        what if plan.kind == "messages" else what.replace("emails", "conversations"),
        audience=Audience.SELF,
        dangers=[Danger.HIDES_MAIL] if hides else (),
        add_labels=sorted(plan.names["add_labels"]) or None,
        remove_labels=sorted(plan.names["remove_labels"]) or None,
        undo=_UNTIL.get(plan.action),
        pins={"emails": sorted(plan.ids), "messages": plan.messages, "adds": plan.add, "takes": plan.remove},
        context={"emails": sorted(plan.shown, reverse=True)},
        beside={"more_match": "yes: they stay as they are" if plan.remaining else None},
    )


_WHAT: Final[Mapping[str | None, str]] = {
    None: "Change the labels of these emails",
    "read": "Mark these emails as read",
    "unread": "Mark these emails as unread",
    "star": "Star these emails",
    "unstar": "Remove the star from these emails",
    "archive": "Archive these emails",
    "to_inbox": "Move these emails to the inbox",
    "important": "Mark these emails as important",
    "not_important": "Mark these emails as not important",
    "spam": "Report these emails as spam",
    "not_spam": "Move these emails out of spam",
    "trash": "Move these emails to the bin",
    "untrash": "Take these emails out of the bin",
}
_UNTIL: Final[Mapping[str | None, str]] = {
    "spam": "they can be taken out of spam for 30 days",
    "trash": "they can be taken out of the bin for 30 days",
}


def _check(
    action: str | None,
    add: Names | None,
    remove: Names | None,
    message_ids: Ids | None,
    thread_ids: Ids | None,
    query: str | None,
) -> None:
    if sum(bool(choice) for choice in (message_ids, thread_ids, (query or "").strip())) != 1:
        raise InvalidInput(
            "Give exactly one of message_ids, thread_ids and query.",
            hint="Keep one of message_ids, thread_ids or query.",
        )
    if not (action or add or remove):
        raise InvalidInput(
            "Give at least one of action, add_labels and remove_labels.",
            hint="Add action, add_labels or remove_labels.",
        )
    if query and action in _LARGE_STEPS and not is_selective(query):
        raise InvalidInput(
            f"query: {action} needs a search term, such as from:, subject: or a word.", hint="Or name message_ids."
        )


# ----------------------------------------------------------------- change


def _carry_out(plan: Plan) -> Asks[dict[str, str]]:
    """Apply the plan, which is safe to repeat. Return errors by id."""
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


def _result(plan: Plan, failed: Mapping[str, str], undo: Undo | None) -> dict[str, Any]:
    changed = [one for one in plan.ids if one not in failed]
    misses = [*plan.failed, *({"id": one, "error": error} for one, error in failed.items())]
    result: dict[str, Any] = {
        "requested": plan.requested,
        "changed": len(changed),
        "unchanged": plan.unchanged,
        "failed": misses[:20],
        "remaining": plan.remaining,
        "undo": undo_call(undo) if len(changed) <= _UNDO else None,
        "summary": f"Changed {len(changed)} of {plan.requested} {plan.kind}."
        + (" More match the query: call again for them." if plan.remaining else ""),
    }
    return {name: value for name, value in result.items() if value or name in ("requested", "changed")}


def _undo(plan: Plan, changed: Sequence[str]) -> Undo | None:
    """Return the call that restores the earlier state, or None if no call does exactly that."""
    if not plan.exact or not changed:
        return None
    args: dict[str, Any] = {"action": _OPPOSITES[plan.action]} if plan.action else {}
    args |= {"add_labels": plan.names["remove_labels"], "remove_labels": plan.names["add_labels"]}
    args |= {"thread_ids" if plan.kind == "threads" else "message_ids": list(changed)}
    given = {name: value for name, value in args.items() if value}
    return Undo("gmail_update_emails", given, {"emails": sorted(changed)})


# ----------------------------------------------------------------- dry run


def _dry_run(kind: str, given: Sequence[str], query: str, action: str | None, limit: int) -> Asks[dict[str, Any]]:
    """Return the number of emails that would change, and the first five."""
    ids, remaining = (given, False) if given else (yield from find_ids(query, action, limit))
    look = api.get_thread if kind == "threads" else api.get_message
    answers = yield from api.many([look(one, "metadata") for one in ids[:5]])
    found = [one.get("messages", [one])[-1] for one in answers if isinstance(one, dict)]
    rows = [{name: value for name, value in email_row(Mail(one), {}).items() if value} for one in found]
    return {"estimate": len(ids), "remaining": remaining, "sample": rows, "time_zone": times.ZONE}
