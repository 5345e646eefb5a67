"""From a provider's answer to what has to be done about it.

`classify` reads status, headers and body and names one of ten failure classes, or OK. Providers differ only in data:
a `Rules` says where failures hide, and holds tables whose rows say "when this is seen, it means that". A row is
believed in this order: limits before permissions, the organization before the user, scopes before everything else.

`lost` judges a request that got no answer, `denied` the ``error`` a browser brought back, and `still_refused` a
token that was refused again after its refresh. `redact` masks what looks like a secret in any text.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum, auto
from itertools import islice
from typing import Any, Literal
from urllib.parse import parse_qsl

_log = logging.getLogger(__name__)

Call = Literal["callback", "code", "refresh", "revoke", "read", "idem", "write"]
"""What was asked: the browser's return, the token endpoint, or the API (``idem``: a write that may be repeated)."""

FixBy = Literal["user", "admin", "operator", "agent", "nobody"]

_TOKEN_CALLS = frozenset({"code", "refresh", "revoke"})
_ERROR_BODY = 1 << 18  # bytes: a longer refusal is not parsed
_MANY = 20  # errors read out of one answer
_TEXT = 2000  # characters read of one message


class Kind(StrEnum):
    """The ten classes of failure, and OK."""

    OK = auto()
    REAUTH = auto()  # the grant is dead, or the consent must start again
    REFRESH_ONCE = auto()  # the access token is dead: one refresh, then the same request once more
    MISSING_SCOPE = auto()  # the token lives, the right is absent: `Outcome.needed`
    ORG_BLOCKED = auto()  # an administrator, a plan, single sign-on: `Outcome.url`
    RATE_LIMITED = auto()  # refused before acting: `Outcome.wait`
    HIDDEN_OR_NOT_FOUND = auto()  # absent, hidden, or this user lacks the right; consent does not help
    CONFLICT = auto()  # the state differs: already_done, stale, exists, not_mergeable
    INVALID_INPUT = auto()  # the arguments, or our client's set-up where `Outcome.fix_by` is operator
    TRANSIENT = auto()  # the provider or the network; `Outcome.safe` to repeat or not
    AMBIGUOUS_WRITE = auto()  # a write may have happened: look it up, never repeat it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer means, in our words; only ``data``, ``url``, scopes and an organization's name are the provider's.

    ``wait``: seconds the provider wants, None where it does not say. ``backoff``: wait longer every time, with jitter
    (from ``wait``, or from a second). ``needed``: scopes of which any may do. ``certain``: False where the class is
    the best guess. ``url``: https, for the user's eyes only, its host unchecked. ``safe``: the same request may be
    sent again. ``about``: whose limit, or which organization. ``data``: the parsed body (the bytes where a good
    answer is no JSON); tokens of a token reply are in it, so it has no repr.
    """

    kind: Kind
    wait: float | None = None
    backoff: bool = False
    detail: str = ""
    fix_by: FixBy = "nobody"
    needed: tuple[str, ...] = ()
    certain: bool = True
    url: str = field(default="", repr=False)
    safe: bool = False
    warning: str = ""
    about: str = ""
    data: Any = field(default=None, repr=False, compare=False)


_FIXES: Mapping[Kind, FixBy] = {
    Kind.REAUTH: "user",
    Kind.MISSING_SCOPE: "user",
    Kind.ORG_BLOCKED: "admin",
    Kind.INVALID_INPUT: "agent",
    Kind.CONFLICT: "agent",
}
_UNACTED = frozenset({Kind.RATE_LIMITED, Kind.REFRESH_ONCE})


def say(
    kind: Kind,
    detail: str = "",
    *,
    fix_by: FixBy | None = None,
    wait: float | None = None,
    backoff: bool = False,
    needed: tuple[str, ...] = (),
    certain: bool = True,
    safe: bool = False,
    about: str = "",
) -> Outcome:
    """An outcome as tables write it: who can mend it, and whether it may be repeated, follow from its kind."""
    fix_by = fix_by or _FIXES.get(kind, "nobody")
    safe = safe or kind in _UNACTED
    return Outcome(kind, wait, backoff, detail, fix_by, needed, certain, safe=safe, about=about)


HICCUP = say(Kind.TRANSIENT, backoff=True)
"""The provider failed inside: harmless for what may be repeated, ambiguous for a write."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A refused answer, taken apart: lower-case headers, error names (the most specific first), messages."""

    call: Call
    status: int
    headers: Mapping[str, str]
    data: Any
    names: tuple[str, ...]
    text: str
    now: float


@dataclass(frozen=True, slots=True)
class When:
    """A row of a table. All conditions it has must hold; groups named needed, about and url fill the outcome."""

    then: Outcome
    names: re.Pattern[str] | None
    text: re.Pattern[str] | None
    header: tuple[str, re.Pattern[str]] | None
    status: frozenset[int]
    calls: frozenset[Call]

    def means(self, seen: Seen) -> Outcome | None:
        """The outcome, or None where the row is not about this answer."""
        if (self.status and seen.status not in self.status) or (self.calls and seen.call not in self.calls):
            return None
        name = next((n for n in seen.names if self.names and self.names.fullmatch(n)), "")
        if self.names and not name:
            return None
        found = _groups(self.text, seen.text)
        if self.header and found is not None:
            more = _groups(self.header[1], seen.headers.get(self.header[0]))
            found = None if more is None else found | more
        return None if found is None else self._told(name, found)

    def _told(self, name: str, found: Mapping[str, str]) -> Outcome:
        return replace(
            self.then,
            detail=self.then.detail or name,
            about=found.get("about") or self.then.about,
            needed=scope_list(found.get("needed", "")) or self.then.needed,
            url=found.get("url", ""),
        )


def _groups(pattern: re.Pattern[str] | None, text: str | None) -> dict[str, str] | None:
    """The named groups of a pattern that is found, nothing for no pattern, None where it is not found."""
    if pattern is None:
        return {}
    hit = pattern.search(text) if text is not None else None
    return hit.groupdict(default="") if hit else None


def when(
    then: Outcome,
    *names: str,
    text: str = "",
    header: tuple[str, str] | None = None,
    status: Iterable[int] = (),
    calls: Iterable[Call] = (),
) -> When:
    """A row: any of ``names`` (``*`` stands for letters), ``text`` in a message, a header, a status, a call."""
    either = "|".join(re.escape(name).replace(r"\*", "[A-Za-z_]*") for name in names)
    return When(
        then,
        re.compile(either) if names else None,
        re.compile(text, re.IGNORECASE) if text else None,
        (header[0], re.compile(header[1], re.IGNORECASE)) if header else None,
        frozenset(status),
        frozenset(calls),
    )


_STAGES = (Kind.RATE_LIMITED, Kind.ORG_BLOCKED, Kind.MISSING_SCOPE)


def table(*rows: When) -> tuple[When, ...]:
    """Rows in the order of belief: limits, organization, scopes, then the rest as written."""
    return tuple(sorted(rows, key=lambda row: _STAGES.index(row.then.kind) if row.then.kind in _STAGES else 3))


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit's headers: what is left, when it starts anew (Unix time in ``unit`` seconds), whose it is.

    ``always``: its reset counts though something is left, since the request was dearer than that.
    """

    left: str
    reset: str
    unit: float
    about: str
    always: bool = False


_NO_TOKEN = say(Kind.INVALID_INPUT, "no_token", fix_by="operator")
_REJECTED = say(Kind.REAUTH, "rejected")


@dataclass(frozen=True, slots=True)
class Rules:
    """How one provider's answers are read: facts only.

    ``ok_field``: the body's field that is false in a refusal. ``graphql``: refusals may be ``errors`` in a 200.
    ``roots``: where in a token reply the user's token lies, "" being the top; ``not_users``: token types that are
    nobody's; ``no_token``: what a reply to a code without the user's token means. ``partial``: header, pattern and
    words for a good answer that lacks something. ``have`` and ``accepted``: headers naming the token's scopes, and
    those of which any would do. ``implies``: scopes a broader or another one covers. ``until``: the pattern of a
    message's ISO time to wait for. Four tables, the first row that holds wins.
    """

    callback: tuple[When, ...]
    token: tuple[When, ...]
    revoke: tuple[When, ...]
    api: tuple[When, ...]
    ok_field: str = ""
    graphql: bool = False
    roots: tuple[str, ...] = ("",)
    not_users: frozenset[str] = frozenset()
    no_token: Outcome = _NO_TOKEN
    partial: tuple[str, re.Pattern[str], str] | None = None
    have: str = ""
    accepted: str = ""
    implies: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    budgets: tuple[Budget, ...] = ()
    until: re.Pattern[str] | None = None
    still_refused: Outcome = _REJECTED

    def rows(self, call: Call) -> tuple[When, ...]:
        """The table for a call."""
        if call == "callback":
            return self.callback
        if call == "revoke":
            return self.revoke
        return self.token if call in _TOKEN_CALLS else self.api

    def covered(self, scopes: Iterable[str]) -> frozenset[str]:
        """All that these scopes stand for: themselves, and what they imply, however far."""
        known: set[str] = set()
        fresh = set(scopes)
        while fresh:
            known |= fresh
            fresh = {implied for scope in fresh for implied in self.implies.get(scope, ())} - known
        return frozenset(known)


def classify(
    rules: Rules,
    call: Call,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    granted: frozenset[str] = frozenset(),
    needs: Sequence[Sequence[str]] = (),
    now: float | None = None,
    ours: str = "",
) -> Outcome:
    """What an answer means. Never raises for anything a provider may send.

    ``headers``: case-insensitive, or in lower case. ``granted``, ``needs``: scopes the grant has, and any-of sets all
    of which the call needs. ``now``: Unix seconds, where the answer carries no Date. ``ours``: what only our own key
    would bring into a conflict's message (an id we made, the name of our external-id field).

    A callback's ``body`` is its query string; what was granted there is compared with ``needs``.
    """
    if call == "callback":
        return _returned(rules, body, granted, needs)
    fine = 200 <= status < 300 or status == 304
    data = _parsed(call, body) if fine or len(body) <= _ERROR_BODY else body
    if fine and not _refused(rules, call, data):
        return _fine(rules, call, headers, data, needs)
    seen = _look(call, status, headers, data, now)
    outcome = _judged(rules, seen)
    outcome = _settled(rules, seen, outcome, granted, needs, ours)
    return replace(outcome, data=None if isinstance(data, bytes) else data)


def lost(call: Call, *, sent: bool) -> Outcome:
    """What it means to get no answer. ``sent`` is False only where the request cannot have left."""
    if not sent:
        return say(Kind.TRANSIENT, "unsent", backoff=True, safe=True)
    if call == "write":
        return say(Kind.AMBIGUOUS_WRITE, "lost")
    if call == "code":
        return say(Kind.REAUTH, "restart_consent")
    detail = "once" if call == "refresh" else "lost"  # the token may be used up: a second refusal is lost_rotation
    return say(Kind.TRANSIENT, detail, backoff=True, safe=True)


def denied(rules: Rules, error: str) -> Outcome:
    """What the callback's ``error`` parameter means (RFC 6749 4.1.2.1). Unknown ones are the operator's."""
    seen = Seen("callback", 0, {}, None, (error,), "", 0.0)
    return _first(rules.callback, seen) or _unclassified(seen)


def still_refused(rules: Rules, *, refreshed: bool) -> Outcome:
    """What REFRESH_ONCE becomes where the refresh did not help, or there is nothing to refresh with."""
    return rules.still_refused if refreshed else say(Kind.REAUTH, "grant_dead")


def token_reply(rules: Rules, data: Any) -> dict[str, Any] | None:
    """The part of a token endpoint's answer that holds the user's own token, or None where there is none."""
    for root in rules.roots:
        part = data.get(root) if root and isinstance(data, dict) else data
        if isinstance(part, dict) and _word(part, "access_token") and _word(part, "token_type") not in rules.not_users:
            return part
    return None


# ---- good answers


def _parsed(call: Call, body: bytes) -> Any:
    """JSON; at token endpoints also a form (GitHub); else the bytes as they are."""
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _form(body) if call in _TOKEN_CALLS else body


def _form(body: bytes) -> dict[str, str] | bytes:
    try:
        pairs = dict(parse_qsl(body[:_ERROR_BODY].decode("utf-8", "replace"), max_num_fields=100))
    except ValueError:
        return body
    return pairs if "error" in pairs or "access_token" in pairs else body


def _refused(rules: Rules, call: Call, data: Any) -> bool:
    """Whether a body takes back what its status says."""
    if not isinstance(data, dict):
        return False
    if rules.ok_field and data.get(rules.ok_field, True) in (False, "false"):
        return True
    if call in _TOKEN_CALLS:
        return bool(data.get("error"))
    return rules.graphql and bool(data.get("errors")) and _is_graphql(data)


def _is_graphql(data: dict[str, Any]) -> bool:
    """Some REST answers list ``errors`` as their content; GraphQL's come with data, or say more than a message."""
    return "data" in data or any(e.keys() & {"type", "extensions", "locations"} for e in _dicts(data["errors"]))


def _fine(rules: Rules, call: Call, headers: Mapping[str, str], data: Any, needs: Sequence[Sequence[str]]) -> Outcome:
    if call in ("code", "refresh"):
        return _token(rules, call, data, needs)
    if isinstance(data, bytes) and call != "read" and data[:80].lstrip()[:1] in (b"<", b"{", b"["):
        return _hiccup(call, HICCUP)  # a page out of some proxy, or JSON cut short: neither confirms a write
    if rules.partial:
        name, pattern, words = rules.partial
        if hit := pattern.search(headers.get(name, "")):
            return Outcome(Kind.OK, warning=f"incomplete: {hit[1].count(',') + 1} {words}", data=data)
    return Outcome(Kind.OK, data=data)


def _token(rules: Rules, call: Call, data: Any, needs: Sequence[Sequence[str]]) -> Outcome:
    if not isinstance(data, dict):
        return _hiccup(call, HICCUP)
    if token_reply(rules, data):
        return Outcome(Kind.OK, data=data)
    outcome = rules.no_token if call == "code" else _NO_TOKEN
    needed = _flat(needs) if outcome.kind is Kind.MISSING_SCOPE else ()
    return replace(outcome, needed=needed, data=data)


def _returned(rules: Rules, query: bytes, granted: frozenset[str], needs: Sequence[Sequence[str]]) -> Outcome:
    found = _form(query)
    if isinstance(found, dict) and "error" in found:
        return denied(rules, found["error"])
    unmet = _flat(_unmet(rules, granted, needs))
    return say(Kind.MISSING_SCOPE, needed=unmet) if unmet else Outcome(Kind.OK)


# ---- taking a refusal apart


def _look(call: Call, status: int, headers: Mapping[str, str], data: Any, now: float | None) -> Seen:
    lower = {name.lower(): value for name, value in headers.items()}
    if isinstance(data, bytes):
        text = data[:_TEXT].decode("utf-8", "replace")
        names: Iterable[Any] = (text.strip(),)  # Salesforce: the body is the name
    else:
        text = "\n".join(m[:_TEXT] for m in islice(_messages(data), _MANY) if isinstance(m, str))
        names = islice(_names(data), 4 * _MANY)
    known = tuple(n for n in names if isinstance(n, str) and _NAME.fullmatch(n))
    clock = _http_date(lower.get("date", "")) or (time.time() if now is None else now)
    return Seen(call, status, lower, data, known, text, clock)


_NAME = re.compile(r"[A-Za-z][\w .:-]{0,79}")


def _names(data: Any) -> Iterator[Any]:
    """Every error name of a body: Salesforce's list, OAuth's and Slack's word, Google's object, GraphQL's errors."""
    for item in _dicts(data):
        yield item.get("errorCode")
    if not isinstance(data, dict):
        return
    error = data.get("error")
    if isinstance(error, dict):
        for item in _dicts(error.get("details")) + _dicts(error.get("errors")):
            yield item.get("reason")
        yield error.get("status")
    else:
        yield from (data.get("error_subtype"), error)
    for item in _dicts(data.get("errors")):
        more = _dict(item.get("extensions"))
        yield from (name for name, value in islice(more.items(), _MANY) if value is True)
        yield from (more.get("code"), more.get("type"), item.get("type"), item.get("code"))


def _messages(data: Any) -> Iterator[Any]:
    for item in _dicts(data) or [_dict(data)]:
        yield from (item.get("message"), item.get("error_description"), _dict(item.get("error")).get("message"))
        for error in _dicts(item.get("errors")):
            yield from (error.get("message"), _dict(error.get("extensions")).get("userPresentableMessage"))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, the first few."""
    return [item for item in islice(value, _MANY) if isinstance(item, dict)] if isinstance(value, list) else []


def _word(value: dict[str, Any], key: str) -> str:
    word = value.get(key)
    return word if isinstance(word, str) else ""


# ---- judging it


def _judged(rules: Rules, seen: Seen) -> Outcome:
    outcome = _first(rules.rows(seen.call), seen)
    if seen.status < 200 or seen.status >= 500:  # a broken server is not believed about grants or arguments
        return outcome if outcome and outcome.kind in (Kind.RATE_LIMITED, Kind.TRANSIENT) else HICCUP
    if outcome and outcome.kind is Kind.HIDDEN_OR_NOT_FOUND and (short := _short_of(rules, seen)):
        return say(Kind.MISSING_SCOPE, needed=short, certain=False)
    return outcome or _unclassified(seen)


def _first(rows: Iterable[When], seen: Seen) -> Outcome | None:
    return next((outcome for row in rows if (outcome := row.means(seen))), None)


def _short_of(rules: Rules, seen: Seen) -> tuple[str, ...]:
    """The scopes of which any would have done, where the token's headers show that it has none of them."""
    accepted = scope_list(seen.headers.get(rules.accepted, ""))
    if seen.status not in (403, 404) or not accepted or rules.have not in seen.headers:
        return ()
    have = rules.covered(scope_list(seen.headers[rules.have]))
    return () if have & set(accepted) else accepted


def _unclassified(seen: Seen) -> Outcome:
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("unclassified answer to %s: status %d, shape %s", seen.call, seen.status, _shape(seen.data))
    ours = seen.call in _TOKEN_CALLS or seen.call == "callback"
    return say(Kind.INVALID_INPUT, "unclassified", fix_by="operator" if ours else "agent")


def _shape(data: Any, depth: int = 3) -> str:
    """A body's keys and types, none of its values."""
    if isinstance(data, dict) and depth:
        shapes = ((k if _PLAIN_KEY.fullmatch(k) else "?", _shape(v, depth - 1)) for k, v in data.items())
        return "{" + ", ".join(f"{key}: {shape}" for key, shape in islice(shapes, _MANY)) + "}"
    if isinstance(data, list) and depth:
        return "[" + ", ".join(_shape(item, depth - 1) for item in data[:3]) + "]"
    return type(data).__name__


_PLAIN_KEY = re.compile("[A-Za-z_]{1,30}")


def _settled(
    rules: Rules, seen: Seen, outcome: Outcome, granted: frozenset[str], needs: Sequence[Sequence[str]], ours: str
) -> Outcome:
    """The outcome as it is for this call: its waits, its scopes, its danger."""
    if rules.graphql and seen.status == 200 and _has_data(seen.data):
        outcome = _partly(seen, outcome)
    match outcome:
        case Outcome(kind=Kind.TRANSIENT, safe=False):
            return _timed(rules, seen, _hiccup(seen.call, outcome))
        case Outcome(kind=Kind.TRANSIENT | Kind.RATE_LIMITED):
            return _timed(rules, seen, outcome)
        case Outcome(kind=Kind.MISSING_SCOPE):
            return _scoped(rules, seen, outcome, granted, needs)
        case Outcome(kind=Kind.REAUTH, detail="grant_dead") if seen.call == "code":
            return replace(outcome, detail="restart_consent")
        case Outcome(kind=Kind.CONFLICT, detail="exists") if ours and ours in seen.text:
            return replace(outcome, detail="already_done")
    return outcome


def _hiccup(call: Call, outcome: Outcome) -> Outcome:
    if call == "write":
        return say(Kind.AMBIGUOUS_WRITE, outcome.detail)
    return replace(outcome, safe=call != "code")  # a code is good for one try


def _has_data(data: Any) -> bool:
    return any(value is not None for value in _dict(_dict(data).get("data")).values())


def _partly(seen: Seen, outcome: Outcome) -> Outcome:
    """GraphQL answered in part: good enough to read, unless consent or a refresh would bring the rest."""
    if seen.call == "write":
        return say(Kind.AMBIGUOUS_WRITE, "partial")
    if seen.call != "read" or outcome.kind in (Kind.MISSING_SCOPE, Kind.REFRESH_ONCE, Kind.REAUTH):
        return outcome
    paths = (e["path"] for e in _dicts(seen.data["errors"]) if isinstance(e.get("path"), list))
    fields = (".".join(p for p in path[:5] if isinstance(p, str) and re.fullmatch(r"\w{1,60}", p)) for path in paths)
    return Outcome(Kind.OK, warning="incomplete: " + (", ".join(dict.fromkeys(filter(None, fields))) or "some fields"))


# ---- waits


def _timed(rules: Rules, seen: Seen, outcome: Outcome) -> Outcome:
    """With the wait the answer asks for, at least a second; Retry-After (RFC 9110 10.2.3) before anything else."""
    if outcome.kind is Kind.AMBIGUOUS_WRITE:
        return outcome
    limited = outcome.kind is Kind.RATE_LIMITED
    budget = _spent(rules, seen) if limited else None
    if budget:
        outcome = replace(outcome, about=outcome.about or budget.about)
    at = _retry_after(seen)
    if at is None and limited:
        at = float(seen.headers[budget.reset]) * budget.unit if budget else _until(rules, seen)
    return outcome if at is None else replace(outcome, wait=max(1.0, at - seen.now), backoff=False)


def _retry_after(seen: Seen) -> float | None:
    """When to come back, in Unix seconds."""
    value = seen.headers.get("retry-after", "").strip()
    return seen.now + float(value) if _SECONDS.fullmatch(value) else _http_date(value)


_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_EPOCH = re.compile(r"[0-9]{9,14}(\.[0-9]{1,6})?")


def _spent(rules: Rules, seen: Seen) -> Budget | None:
    """The budget that is used up; a reset that is no point in time names none."""
    there = [b for b in rules.budgets if _EPOCH.fullmatch(seen.headers.get(b.reset, ""))]
    used = (b for b in there if seen.headers.get(b.left, "").strip() == "0")
    return next(used, None) or next((b for b in there if b.always), None)


def _until(rules: Rules, seen: Seen) -> float | None:
    hit = rules.until.search(seen.text) if rules.until else None
    try:
        return _epoch(datetime.fromisoformat(hit[1])) if hit else None
    except (ValueError, OverflowError):
        return None


def _http_date(value: str) -> float | None:
    try:
        return _epoch(parsedate_to_datetime(value)) if value else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _epoch(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# ---- scopes


def scope_list(text: str) -> tuple[str, ...]:
    """The scopes a text lists, whatever separates them, each once."""
    words = re.split(r"""[\s,;|'"`\[\]]+""", text[: 4 * _TEXT])
    return tuple(dict.fromkeys(word for word in words if _SCOPE.fullmatch(word)))


_SCOPE = re.compile(r"[A-Za-z][\w.:/=*-]{0,199}")


def _unmet(rules: Rules, granted: frozenset[str], needs: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    have = rules.covered(granted)
    return [need for need in needs if not have & set(need)]


def _flat(needs: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(scope for need in needs for scope in need))


def _scoped(
    rules: Rules, seen: Seen, outcome: Outcome, granted: frozenset[str], needs: Sequence[Sequence[str]]
) -> Outcome:
    """With the scopes to ask for: what the provider names and the tool declares, else what either of them names.

    Where the two do not agree, consent may not help: the outcome is uncertain.
    """
    named = outcome.needed or scope_list(_word(_dict(seen.data), "needed"))
    declared, unmet = _flat(needs), _flat(_unmet(rules, granted, needs))
    both = tuple(scope for scope in named if scope in declared)
    agreed = bool(both) if named and declared else bool(named or unmet or not declared)
    return replace(outcome, needed=both or named or unmet or declared, certain=outcome.certain and agreed)


# ---- secrets in texts

_PARAMETERS = "access_token|refresh_token|id_token|client_secret|code_verifier|subject_token|assertion"
_HEADERS = "authorization|x-api-key|cookie"
_IS = r"""(?:=|%3D|["']\s*:\s*["'])"""
_VALUE = r"""[^\s&"'<>]"""
_LIKE_NO_WORD = rf"(?={_VALUE}{{0,60}}?(?:[0-9]|[a-z][A-Z]))"
_SECRETS = [  # what a text must hold for the pattern to be worth a try, and the pattern; a group is kept
    (marks.split(), re.compile(pattern))
    for marks, pattern in (
        ("ya29.", r"\bya29\.[A-Za-z0-9_\-.]{20,}"),  # Google
        ("1// 4/0", r"(?<![A-Za-z0-9/])(?:1//|4/0)[A-Za-z0-9_\-]{20,}"),
        ("gocspx-", r"\bGOCSPX-[A-Za-z0-9_\-]{20,}"),
        ("xox", r"\bxox(?:[abcdeprs]|e\.xox[bp])-[A-Za-z0-9\-]{10,}"),  # Slack
        ("xapp-", r"\bxapp-[A-Za-z0-9\-]{10,}"),
        ("gho_ ghp_ ghu_ ghr_ ghs_", r"\bgh[opurs]_[A-Za-z0-9_.\-]{20,}"),  # GitHub
        ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
        ("authorization_request=", rf"https?://{_VALUE}{{1,400}}?[?&]authorization_request={_VALUE}*"),  # X-GitHub-SSO
        ("lin_", r"\blin_(?:api|oauth|refresh|wh)_[A-Za-z0-9]{16,}"),  # Linear
        ("00d", r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{20,}"),  # Salesforce
        ("5aep861", r"\b5Aep861[A-Za-z0-9._]{20,}"),
        (".eyj", r"\beyJ[A-Za-z0-9_\-]{8,2000}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"),  # JSON Web Tokens
        (_PARAMETERS.replace("|", " "), rf"(?i)((?<![A-Za-z0-9_])(?:{_PARAMETERS}){_IS}){_VALUE}{{6,}}"),
        # words by which other things go too: a "state" that is "closed" stays
        ("code state token", rf"((?<![A-Za-z0-9_])(?i:code|state|token){_IS}){_LIKE_NO_WORD}{_VALUE}{{6,}}"),
        ("bearer", rf"((?i:\bbearer) ){_LIKE_NO_WORD}[\w.~+/=-]{{16,}}"),
        (_HEADERS.replace("|", " "), rf'(?i)(\b(?:{_HEADERS})"?\s*[:=]\s*"?)[^\r\n"]+'),
        # as a dict or a list of pairs prints them
        (_HEADERS.replace("|", " "), rf"""(?i)(\b(?:{_HEADERS})["']\s*[:,]\s*b?["'])[^\r\n"']+"""),
    )
]


def redact(text: str) -> str:
    """The text with everything masked that looks like a token, a code, a secret or a credential header.

    The second line of defence: secrets are kept out of texts in the first place.
    """
    low = text.lower()
    for marks, pattern in _SECRETS:
        if any(mark in low for mark in marks):
            text = pattern.sub(r"\1[redacted]" if pattern.groups else "[redacted]", text)
    return text
