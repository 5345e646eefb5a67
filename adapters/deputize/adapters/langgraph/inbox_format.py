"""Deputize's pauses in the format of LangGraph inboxes, beside deputize's own keys.

    action_requests, review_configs        LangChain's HITLRequest: Agent Chat UI, Agent Inbox, useStream, Deep Agents
    action_request, config, description    the older Agent Inbox, of the first request

Both inboxes display the values of ``args`` as Markdown, and one of them runs its HTML. Arguments are untrusted content,
so everything except plain words is put in a code span or block, where it cannot become a link, heading, image or
button. Escapes would not suffice: GitHub's Markdown turns bare addresses into links after it has read the escapes.

Edits are not offered. A form would edit ``args``, which contain displayed values and not the tool's arguments: their
names differ, and one act of the tool may depend on another's id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, count
from typing import Any, Final

from deputize.core import InvalidInput

__all__ = ["as_hitl", "asks_of", "link", "literal"]

Payload = dict[str, Any]
Rows = list[tuple[str, str]]
"""Names and Markdown values, in display order."""

DECISIONS: Final = ("approve", "reject")
"""The decisions that an inbox may offer for each request, in LangChain's terms."""

CONFIG: Final = {"allow_accept": True, "allow_ignore": True, "allow_respond": True, "allow_edit": False}
"""The same for the older Agent Inbox, where a text answer is a rejection with its reason."""

WHAT_YES_MEANS: Final = "Approve after you have opened the link. Reject if you do not want to connect."

WHAT_YES_MEANS_THEN: Final = "Approve after that decision to continue. Reject to withdraw the request."

_WORD: Final = r"[^\W_]+(?:[-'][^\W_]+)*"
_PLAIN: Final = re.compile(rf"(?:{_WORD}(?:[,;?!]|(?<=[^\W\d_])\.)?(?: (?=[^\W_])|$))+")
"""Words on one line without Markdown syntax: no number and dot that begin a list, no dot inside a name."""

_ADDRESS: Final = re.compile(r"https?://[\w.\-\[\]:]+[\w\-.~:/?#\[\]@!$&'()*+,;=%]*", re.ASCII)


def as_hitl(pause: Mapping[str, Any]) -> Payload:
    """Return the pause with the keys of LangChain's `HITLRequest` and of Agent Inbox.

    ``pause``: ``{"type": "deputize.consent", "consents": [...]}``, or the same for approvals, with at least one. Each
    becomes one action request, in this order. Raises `InvalidInput` for anything else.
    """
    kind, asks = asks_of(pause)
    requests = [_REQUESTS[kind](ask) for ask in asks]
    first = requests[0]
    return {
        **pause,
        "action_requests": requests,
        "review_configs": [{"action_name": one["name"], "allowed_decisions": list(DECISIONS)} for one in requests],
        "action_request": {"action": first["name"], "args": first["args"]},
        "config": dict(CONFIG),
        "description": first["description"],
    }


def asks_of(pause: Mapping[str, Any]) -> tuple[str, list[Payload]]:
    """Return ``consent`` or ``approval``, and the requests of this pause. Raises `InvalidInput` unless the pause is
    deputize's."""
    kind = str(pause.get("type")).removeprefix("deputize.")
    asks = pause.get(f"{kind}s")
    if kind not in _REQUESTS or not isinstance(asks, list) or not asks:
        raise InvalidInput(f"A pause of type {pause.get('type')!r} has no deputize requests.", fix_by="operator")
    return kind, asks


def _connect(consent: Payload) -> Payload:
    """Return the action request of a consent: its link and purpose."""
    rows = [("open", link(consent["link"])), ("to allow", _listed(consent["scope_descriptions"]))]
    rows += [(name, literal(consent[name])) for name in ("account", "reason_code") if consent.get(name)]
    return _request(f"connect_{consent['provider']}", [*rows, ("then", WHAT_YES_MEANS)])


def _act(approval: Payload) -> Payload:
    """Return the action request of an approval: its summary, every previewed value, and its page."""
    changed = _listed(approval.get("changed_fields", ()))
    rows = [("what", literal(approval.get("summary") or approval["tool"]))]
    rows += [(name, literal(approval[name])) for name in ("account", "fault") if approval.get(name)]
    if role := approval.get("approvers"):
        rows += [("who decides", literal(f"Somebody with the role {role}, not you. {WHAT_YES_MEANS_THEN}"))]
    rows += [("changed since your last yes", changed)] if changed else []
    rows += [("all of it", link(approval["link"]))] if approval.get("link") else []
    return _request(approval["tool"], [*rows, *((name, literal(text)) for name, text in approval["preview"].items())])


_REQUESTS: Final[Mapping[str, Callable[[Payload], Payload]]] = {"consent": _connect, "approval": _act}


def _request(name: str, rows: Rows) -> Payload:
    """Return an action request. ``arguments`` and ``args`` are equal, because Agent Inbox reads the first and other
    inboxes the second."""
    args = _by_name(rows)
    description = "\n\n".join(_paragraph(name, text) for name, text in args.items())
    return {"name": name, "args": args, "arguments": dict(args), "description": description}


def _by_name(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return all lines by name. A repeated name gets a number. deputize's own lines come first and keep their names."""
    found: dict[str, str] = {}
    for name, text in rows:
        names = chain([name], (f"{name} ({number})" for number in count(2)))
        found[next(one for one in names if one not in found)] = text
    return found


def _paragraph(name: str, text: str) -> str:
    between = "\n\n" if "\n" in text else " "
    return f"**{_listed([name])}:**{between}{text}"


def _listed(names: Iterable[str]) -> str:
    """Return names on one line, where no code block can begin and no Markdown can follow."""
    return ", ".join(literal(" ".join(name.split())) for name in names)


def literal(text: str) -> str:
    """Return Markdown that shows this text literally (CommonMark 0.31, 4.5 and 6.1)."""
    if not text:
        return "(empty)"
    if _PLAIN.fullmatch(text):
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    if "\n" in text:
        fence = "`" * max(3, longest + 1)
        return f"{fence}\n{text}\n{fence}"
    mark, pad = "`" * (longest + 1), " " if text[0] in " `" or text[-1] in " `" else ""
    return f"{mark}{pad}{text}{pad}{mark}"


def link(url: str) -> str:
    """Return a link whose text is its whole address. Any other address becomes literal text."""
    return f"<{url}>" if _ADDRESS.fullmatch(url) else literal(url)
