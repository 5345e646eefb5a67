"""Our pauses as inboxes for LangGraph know them, in one value beside our own keys.

    action_requests, review_configs        LangChain's HITLRequest: Agent Chat UI, Agent Inbox, useStream, Deep Agents
    action_request, config, description    the older Agent Inbox, of the first request

Both inboxes show the values of ``args`` as Markdown, and one of them runs the HTML in it. An argument is text that a
model or a stranger chose: all but plain words stands in a code span or block, where no link, heading, image or button
can be made of it. Escapes would not do: GitHub's Markdown makes links of bare addresses after it has read the escapes.

No edit is offered. A form would edit ``args``, which hold what the user says yes to, and not what the tool is called
with: the two have other names, and one act of the tool may follow from another's id.
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
"""Names with Markdown, in the order in which a person reads them."""

DECISIONS: Final = ("approve", "reject")
"""What an inbox may offer for each request, in LangChain's words."""

CONFIG: Final = {"allow_accept": True, "allow_ignore": True, "allow_respond": True, "allow_edit": False}
"""The same for an older Agent Inbox, where words in the place of an answer are a no, and its reason."""

WHAT_YES_MEANS: Final = "Approve once you have been there. Reject if you do not want to connect."

_WORD: Final = r"[^\W_]+(?:[-'][^\W_]+)*"
_PLAIN: Final = re.compile(rf"(?:{_WORD}(?:[,;?!]|(?<=[^\W\d_])\.)?(?: (?=[^\W_])|$))+")
"""Words on one line in which no Markdown has a meaning: no number and dot that begin a list, no dot inside a name."""

_ADDRESS: Final = re.compile(r"https?://[\w.\-\[\]:]+[\w\-.~:/?#\[\]@!$&'()*+,;=%]*", re.ASCII)


def as_hitl(pause: Mapping[str, Any]) -> Payload:
    """The pause with the keys by which LangChain's `HITLRequest` and Agent Inbox know their own.

    ``pause``: ``{"type": "deputize.consent", "consents": [...]}``, or the same of approvals, with at least one. Each
    is one action request, in this order. Raises `InvalidInput` for anything else.
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
    """``consent`` or ``approval``, and what this pause of ours asks. Raises `InvalidInput` for no pause of ours."""
    kind = str(pause.get("type")).removeprefix("deputize.")
    asks = pause.get(f"{kind}s")
    if kind not in _REQUESTS or not isinstance(asks, list) or not asks:
        raise InvalidInput(f"A pause of the type {pause.get('type')!r} asks for nothing here.", fix_by="operator")
    return kind, asks


def _connect(consent: Payload) -> Payload:
    """The action request of a consent: a link to be opened, and what it is for."""
    rows = [("open", link(consent["link"])), ("to allow", _listed(consent["scope_descriptions"]))]
    rows += [(name, literal(consent[name])) for name in ("account", "reason_code") if consent.get(name)]
    return _request(f"connect_{consent['provider']}", [*rows, ("then", WHAT_YES_MEANS)])


def _act(approval: Payload) -> Payload:
    """The action request of an approval: the sentence, everything the yes is a yes to, and the page that shows it."""
    changed = _listed(approval.get("changed_fields", ()))
    rows = [("what", literal(approval.get("summary") or approval["tool"]))]
    rows += [(name, literal(approval[name])) for name in ("account", "fault") if approval.get(name)]
    rows += [("changed since your last yes", changed)] if changed else []
    rows += [("all of it", link(approval["link"]))] if approval.get("link") else []
    return _request(approval["tool"], [*rows, *((name, literal(text)) for name, text in approval["preview"].items())])


_REQUESTS: Final[Mapping[str, Callable[[Payload], Payload]]] = {"consent": _connect, "approval": _act}


def _request(name: str, rows: Rows) -> Payload:
    """``arguments`` are the same again: Agent Inbox reads them by this name, all others by LangChain's."""
    args = _by_name(rows)
    description = "\n\n".join(_paragraph(name, text) for name, text in args.items())
    return {"name": name, "args": args, "arguments": dict(args), "description": description}


def _by_name(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """All rows by their names. Of several of one name the first, which is ours where one is, keeps it."""
    found: dict[str, str] = {}
    for name, text in rows:
        names = chain([name], (f"{name} ({number})" for number in count(2)))
        found[next(one for one in names if one not in found)] = text
    return found


def _paragraph(name: str, text: str) -> str:
    between = "\n\n" if "\n" in text else " "
    return f"**{_listed([name])}:**{between}{text}"


def _listed(names: Iterable[str]) -> str:
    """Names on one line: a block of code would begin where it has no place, and what follows would be Markdown."""
    return ", ".join(literal(" ".join(name.split())) for name in names)


def literal(text: str) -> str:
    """Markdown that shows this text as it is, and nothing else of it; CommonMark 0.31, 4.5 and 6.1."""
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
    """A link whose text is its whole address; an address that is none of the web as mere text."""
    return f"<{url}>" if _ADDRESS.fullmatch(url) else literal(url)
