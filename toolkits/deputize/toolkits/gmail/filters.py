"""Gmail: create and delete filters. A filter that forwards, a permanent copy of the mailbox, cannot be created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Audience, Danger, Effect, Need, Preview, Request, Run, SaveNote, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GMAIL, KNOWS_LABELS, LABELS, knows_to_set, sets
from deputize.toolkits.gmail.deliver import Noted
from deputize.toolkits.gmail.label_lookup import Label, own_names, parse_labels, require_label

LIST_FILTERS: Final = Request("GET", "/users/me/settings/filters")
_HIDING: Final = ("TRASH", "SPAM")
_ACTIONS: Final = {"INBOX": "archive", "UNREAD": "mark_read", "SPAM": "never_spam"}  # by the label that they remove


def _needs(arguments: Arguments) -> Sequence[Need]:
    lists = knows_to_set("filters.list")
    if arguments["action"] == "delete":
        return [lists, sets("filters.delete")]
    return [lists, sets("filters.create"), *([replace(KNOWS_LABELS, ask=LABELS)] if arguments["add_labels"] else [])]


def _effect(arguments: Arguments) -> Effect:
    """Return DESTRUCTIVE to delete a filter, and for a filter that hides mail or lets spam through."""
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
    filter_id: Annotated[str | None, Field(description="to delete, from gmail_get_settings")] = None,
    from_: str | None = None,
    to: str | None = None,
    subject: str | None = None,
    query: Annotated[str | None, Field(description="Gmail search syntax")] = None,
    has_attachment: bool | None = None,
    add_labels: Annotated[list[str] | None, Field(description="names")] = None,
    archive: Annotated[bool, Field(description="skip the inbox")] = False,
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
            raise InvalidInput(
                "delete: needs filter_id, and takes nothing else.",
                hint="gmail_get_settings lists the filters with their ids.",
            )
        return (yield from _delete(filter_id, run.granted, run.noted))
    if filter_id or not criteria or not (takes or star or add_labels):
        raise InvalidInput(
            "create: needs a criterion and an action, and takes no filter_id.", hint="Such as from_ and add_label."
        )
    labels: Sequence[Label] = parse_labels((yield api.LIST_LABELS)) if add_labels else ()
    puts = [str(require_label(labels, one, "add_labels")["id"]) for one in add_labels or ()] + ["STARRED"] * star
    then = {"addLabelIds": sorted(set(puts))} if puts else {}
    then |= {"removeLabelIds": sorted(takes)} if takes else {}
    hides = bool({"INBOX", "UNREAD"} & set(takes)) or any(_hides(one) for one in puts)
    return (yield from _create({"criteria": criteria, "action": then}, own_names(labels), hides))


def _hides(label: str) -> bool:
    return label in _HIDING or label.startswith("CATEGORY_")


def _criteria(
    sender: str | None, to: str | None, subject: str | None, query: str | None, has_attachment: bool | None
) -> dict[str, Any]:
    given = {"from": sender, "to": to, "subject": subject, "query": query}
    terms: dict[str, Any] = {name: single_line(text, name) for name, text in given.items() if text and text.strip()}
    return terms | ({} if has_attachment is None else {"hasAttachment": has_attachment})


def _create(wanted: dict[str, Any], names: Mapping[str, str], hides: bool) -> Asks[dict[str, Any]]:
    """Create the filter, or return an existing one with the same effect, because filters have no other key.

    ``hides``: True if the user may not notice matching emails.
    """
    if there := _find_same(wanted, (yield LIST_FILTERS)):
        return filter_row(there, names) | {"summary": "There is such a filter already."}
    dangers = [Danger.HIDES_MAIL] if hides else []
    yield _make_preview("Create this filter for new emails", wanted, names, dangers=dangers)
    try:
        made = yield Request("POST", "/users/me/settings/filters", json=wanted, repeat="idem")
    except (InvalidInput, Conflict) as refused:
        there = _find_same(wanted, (yield LIST_FILTERS))
        if there is None:
            raise refused from None
        return filter_row(there, names) | {"summary": "There is such a filter already."}
    args = {"action": "delete", "filter_id": made["id"]}
    yield Undo("gmail_manage_filter", args)
    undo = {"tool": "gmail_manage_filter", "args": args}
    return filter_row({**wanted, **made}, names) | {"undo": undo, "summary": "Created; for new mail only."}


def _make_preview(
    what: str,
    one: Mapping[str, Any],
    names: Mapping[str, str],
    *,
    destroys: bool = False,
    dangers: Sequence[Danger] = (),
) -> Preview:
    """Return the preview of a filter: its criteria, word for word, and its actions."""
    criteria, action = one.get("criteria") or {}, one.get("action") or {}
    adds, takes = (sorted(map(str, action.get(name) or ())) for name in ("addLabelIds", "removeLabelIds"))
    fields: dict[str, Any] = {
        _CRITERION_NAMES.get(str(name), str(name)): value for name, value in criteria.items() if value != ""
    }
    return Preview(
        what,
        audience=Audience.SELF,
        destroys=destroys,
        dangers=dangers,
        pins={"filter": one.get("id"), "adds": adds, "takes": takes},
        **fields,
        then=[*(_ADDS.get(label, f"label: {names.get(label, label)}") for label in adds)]
        + [_TAKES.get(label, f"take away: {names.get(label, label)}") for label in takes]
        + [f"forward to: {address}" for address in [action.get("forward")] if address],
    )


_CRITERION_NAMES: Final[Mapping[str, str]] = {
    "hasAttachment": "has_attachment",
    "negatedQuery": "query_not",
    "excludeChats": "without_chats",
}
_BIN: Final = "move to the bin: deleted after 30 days"
_ADDS: Final = {"STARRED": "star", "TRASH": _BIN, "SPAM": "report as spam", "IMPORTANT": "important"}
_TAKES: Final = {
    **{"INBOX": "archive: not in the inbox", "UNREAD": "mark as read", "SPAM": "never treat as spam"},
    "IMPORTANT": "never important",
}


def _find_same(wanted: Mapping[str, Any], listed: Any) -> Mapping[str, Any] | None:
    found = (listed or {}).get("filter") or ()
    return next((one for one in found if _digest(one) == _digest(wanted)), None)


def _digest(one: Mapping[str, Any]) -> Any:
    """Return a filter's criteria and actions, without the order of its lists."""
    criteria, action = one.get("criteria") or {}, one.get("action") or {}
    plain = {name: value for name, value in criteria.items() if value}
    acts = {name: sorted(value) for name, value in action.items() if isinstance(value, list) and value}
    return plain, acts, action.get("forward")


def _delete(filter_id: str, granted: frozenset[str], noted: Noted) -> Asks[dict[str, Any]]:
    found = (yield LIST_FILTERS).get("filter") or ()
    gone = next((one for one in found if one.get("id") == filter_id), None)
    if gone is None and noted:
        return {**noted["filter"], "deleted": True, "summary": "The filter is gone already."}
    if gone is None:
        raise NotFound("filter_id: no filter has this id.", hint="Read the settings of section filters.")
    names = own_names(parse_labels((yield api.LIST_LABELS))) if granted & KNOWS_LABELS.accepts else {}
    row = filter_row(gone, names)
    yield _make_preview("Delete this filter", gone, names, destroys=True)
    yield SaveNote({"filter": row})
    try:
        yield Request("DELETE", "/users/me/settings/filters/{id}", at={"id": filter_id}, repeat="idem")
    except NotFound:
        return row | {"deleted": True, "summary": "The filter is gone already."}
    args = _recreate_args(gone, names)
    if args is None:
        return row | {"deleted": True, "summary": "Deleted."}
    yield Undo("gmail_manage_filter", args)
    return row | {"deleted": True, "undo": {"tool": "gmail_manage_filter", "args": args}, "summary": "Deleted."}


def _recreate_args(one: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the arguments that create exactly this filter, or None if no call does."""
    criteria, action = one.get("criteria") or {}, one.get("action") or {}
    takes = {str(label): True for label in action.get("removeLabelIds") or ()}
    args = {"from_": criteria.get("from"), "has_attachment": criteria.get("hasAttachment")}
    args |= {name: criteria.get(name) for name in ("to", "subject", "query")}
    args |= {"archive": takes.get("INBOX"), "mark_read": takes.get("UNREAD"), "never_spam": takes.get("SPAM")}
    puts = [str(label) for label in action.get("addLabelIds") or ()]
    args |= {"star": "STARRED" in puts, "add_labels": [names.get(label, label) for label in puts if label != "STARRED"]}
    says = {name.rstrip("_"): value for name, value in args.items() if value or name == "has_attachment"}
    says = {"action": "create"} | {name: value for name, value in says.items() if value is not None}
    same = set(criteria) <= {"from", "to", "subject", "query", "hasAttachment"} and set(takes) <= set(_ACTIONS)
    named = all(label in names or not label.startswith("Label_") for label in puts)
    return says if same and named and not action.get("forward") else None


def filter_row(one: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a filter as a row: its criteria (``when``) and actions (``then``)."""
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
