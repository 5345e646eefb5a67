"""Gmail: make and delete filters. None ever forwards: a standing copy of a mailbox is not a tool's business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from deputize.core import Effect, Need, Note, Request, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GMAIL, KNOWS_LABELS, LABELS, knows_to_set, sets
from deputize.toolkits.gmail.deliver import Noted
from deputize.toolkits.gmail.names import Label, label_called, labels_in, own_names

LIST_FILTERS: Final = Request("GET", "/users/me/settings/filters")
_ACTIONS: Final = {"INBOX": "archive", "UNREAD": "mark_read", "SPAM": "never_spam"}  # by the label they take away


def _needs(arguments: Arguments) -> Sequence[Need]:
    lists = knows_to_set("filters.list")
    if arguments["action"] == "delete":
        return [lists, sets("filters.delete")]
    return [lists, sets("filters.create"), *([replace(KNOWS_LABELS, ask=LABELS)] if arguments["add_labels"] else [])]


def _effect(arguments: Arguments) -> Effect:
    """Asks when a filter is deleted, or would hide mail from its reader or let spam through."""
    labels = [one.strip().casefold() for one in arguments["add_labels"] or ()]
    moves = any(one in ("trash", "spam") or one.startswith("category_") for one in labels)
    hides = moves or arguments["archive"] or arguments["mark_read"] or arguments["never_spam"]
    return Effect.DESTRUCTIVE if arguments["action"] == "delete" or hides else Effect.WRITES


@GMAIL.tool(
    needs=_needs,
    effect=_effect,
    gravest=Effect.DESTRUCTIVE,
    toolset="more",
)
def manage_filter(
    action: Literal["create", "delete"],
    filter_id: str | None = None,
    from_: str | None = None,
    to: str | None = None,
    subject: str | None = None,
    query: str | None = None,
    has_attachment: bool | None = None,
    add_labels: list[str] | None = None,
    archive: bool = False,
    mark_read: bool = False,
    star: bool = False,
    never_spam: bool = False,
    *,
    run: Run,
) -> Steps:
    """Create or delete a mail filter."""
    criteria = _criteria(from_, to, subject, query, has_attachment)
    takes = [label for label, on in (("INBOX", archive), ("UNREAD", mark_read), ("SPAM", never_spam)) if on]
    if action == "delete":
        if not filter_id or criteria or takes or star or add_labels:
            raise InvalidInput("delete: needs filter_id, and takes nothing else.")
        return (yield from _delete(filter_id, run.granted, run.noted))
    if filter_id or not criteria or not (takes or star or add_labels):
        raise InvalidInput("create: needs a criterion and an action, and takes no filter_id.")
    labels: Sequence[Label] = labels_in((yield api.LIST_LABELS)) if add_labels else ()
    puts = [str(label_called(labels, one, "add_labels")["id"]) for one in add_labels or ()] + ["STARRED"] * star
    then = {"addLabelIds": sorted(set(puts))} if puts else {}
    then |= {"removeLabelIds": sorted(takes)} if takes else {}
    return (yield from _create({"criteria": criteria, "action": then}, own_names(labels)))


def _criteria(
    sender: str | None, to: str | None, subject: str | None, query: str | None, has_attachment: bool | None
) -> dict[str, Any]:
    given = {"from": sender, "to": to, "subject": subject, "query": query}
    said: dict[str, Any] = {name: single_line(value, name) for name, value in given.items() if value and value.strip()}
    return said | ({} if has_attachment is None else {"hasAttachment": has_attachment})


def _create(wanted: dict[str, Any], names: Mapping[str, str]) -> Asks[dict[str, Any]]:
    """The new filter, or the one that does exactly that already: what it does is the only key there is."""
    if there := _same(wanted, (yield LIST_FILTERS)):
        return filter_row(there, names) | {"summary": "There is such a filter already."}
    try:
        made = yield Request("POST", "/users/me/settings/filters", json=wanted, repeat="idem")
    except (InvalidInput, Conflict) as refused:
        there = _same(wanted, (yield LIST_FILTERS))
        if there is None:
            raise refused from None
        return filter_row(there, names) | {"summary": "There is such a filter already."}
    undo = {"tool": "gmail_manage_filter", "args": {"action": "delete", "filter_id": made["id"]}}
    return filter_row({**wanted, **made}, names) | {"undo": undo, "summary": "Created; for new mail only."}


def _same(wanted: Mapping[str, Any], listed: Any) -> Mapping[str, Any] | None:
    found = (listed or {}).get("filter") or ()
    return next((one for one in found if _digest(one) == _digest(wanted)), None)


def _digest(one: Mapping[str, Any]) -> Any:
    """What a filter does, whatever the order its lists are in."""
    criteria, action = one.get("criteria") or {}, one.get("action") or {}
    plain = {name: value for name, value in criteria.items() if value}
    acts = {name: sorted(value) for name, value in action.items() if isinstance(value, list) and value}
    return plain, acts, action.get("forward")


def _delete(filter_id: str, granted: frozenset[str], noted: Noted) -> Asks[dict[str, Any]]:
    if noted:
        row = dict(noted["filter"])
    else:
        found = (yield LIST_FILTERS).get("filter") or ()
        gone = next((one for one in found if one.get("id") == filter_id), None)
        if gone is None:
            raise NotFound("filter_id: no filter has this id.", hint="Read the settings of section filters.")
        names = own_names(labels_in((yield api.LIST_LABELS))) if granted & KNOWS_LABELS.accepts else {}
        row = filter_row(gone, names)
        yield Note({"filter": row})
    try:
        yield Request("DELETE", "/users/me/settings/filters/{id}", at={"id": filter_id}, repeat="idem")
    except NotFound:
        return row | {"deleted": True, "summary": "The filter is gone already."}
    return row | {"deleted": True, "summary": "Deleted."}


def filter_row(one: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A filter: when, and what then."""
    outside = Outside()
    criteria, action = one.get("criteria") or {}, one.get("action") or {}
    when = {name: outside.line(str(value), 80) for name, value in criteria.items() if isinstance(value, str) and value}
    when |= {"has_attachment": criteria["hasAttachment"]} if "hasAttachment" in criteria else {}
    puts = [str(label) for label in action.get("addLabelIds") or ()]
    then: dict[str, Any] = {
        "add_labels": [outside.line(names.get(label, label), 40) for label in puts if label != "STARRED"],
        "star": "STARRED" in puts,
        "trash": "TRASH" in puts,
        "forward": outside.line(str(action.get("forward") or ""), 80),
        **{_ACTIONS[label]: True for label in action.get("removeLabelIds") or () if label in _ACTIONS},
    }
    return {"id": one.get("id"), "when": when, "then": {name: value for name, value in then.items() if value}}
