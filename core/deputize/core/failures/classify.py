"""Classification of one response: the outcome from the tables, then its wait, its scopes and its risk for this call."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from deputize.core.failures.json_rpc import RpcId, json_rpc_outcome, response_to
from deputize.core.failures.outcome import (
    SERVER_ERROR,
    TOKEN_CALLS,
    Call,
    Kind,
    Outcome,
    lost_outcome,
    outcome_of,
    scope_list,
)
from deputize.core.failures.parse import (
    ERROR_BODY,
    MANY,
    as_object,
    as_objects,
    claims_in,
    form,
    is_refused,
    look,
    parse_body,
    token_reply,
    word,
)
from deputize.core.failures.retry import with_wait
from deputize.core.failures.rules import NO_TOKEN, RefusedAnswer, Rules, When
from deputize.core.http.challenges import bearer

_log = logging.getLogger("deputize.core.failures")
_PLAIN_KEY = "[A-Za-z_]{1,30}"
_FIELD = r"\w{1,60}"


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
    rpc_id: RpcId | None = None,
) -> Outcome:
    """Return the outcome of a response. Never raises, whatever a provider sends.

    ``headers``: case-insensitive, or in lower case. ``granted``: scopes of the grant. ``needs``: groups of scopes; the
    call needs one of each. ``now``: Unix seconds, if the response has no Date. ``rpc_id``: id of the request if it was
    JSON-RPC; `Outcome.data` is then the whole message. For a callback, ``body`` is its query string, and the scopes
    granted in it are compared with ``needs``.
    """
    if call == "callback":
        return _callback_outcome(rules, body, granted, needs)
    if rules.json_rpc is not None and rpc_id is not None:
        response = response_to(rpc_id, headers.get("content-type", ""), body)
        if outcome := json_rpc_outcome(rules.json_rpc, call, status, response):
            return _json_rpc_outcome(rules, call, status, headers, response, outcome, now)
    fine = 200 <= status < 300 or status == 304
    data = parse_body(call, body) if fine or len(body) <= ERROR_BODY else body
    if fine and not is_refused(rules, call, data):
        return _fine(rules, call, headers, data, needs)
    seen = look(rules, call, status, headers, data, now)
    outcome = _match_tables(rules, seen)
    outcome = _adapt_to_call(rules, seen, outcome, granted, needs)
    if outcome.kind is Kind.REAUTH and call in TOKEN_CALLS:
        outcome = replace(outcome, claims=claims_in(data))
    return replace(outcome, data=None if isinstance(data, bytes) else data)


def _json_rpc_outcome(
    rules: Rules,
    call: Call,
    status: int,
    headers: Mapping[str, str],
    response: Any,
    outcome: Outcome,
    now: float | None,
) -> Outcome:
    """Return the outcome of a JSON-RPC response for this call."""
    if outcome.kind is Kind.TRANSIENT:
        outcome = _adapt_to_call(rules, look(rules, call, status, headers, response, now), outcome, frozenset(), ())
    return replace(outcome, data=response)


def outcome_without_answer(call: Call, *, sent: bool) -> Outcome:
    """Return the outcome of a request without a response. ``sent``: False only if it certainly was not sent."""
    if not sent:
        return outcome_of(Kind.TRANSIENT, "unsent", backoff=True, safe=True)
    return lost_outcome(call)


def outcome_of_callback_error(rules: Rules, error: str) -> Outcome:
    """Return the outcome of a callback's ``error`` parameter (RFC 6749 4.1.2.1). The operator must fix unknown ones."""
    seen = RefusedAnswer("callback", 0, {}, None, (error,), "", 0.0)
    return _first(rules.callback, seen) or _unclassified_outcome(seen)


def _fine(rules: Rules, call: Call, headers: Mapping[str, str], data: Any, needs: Sequence[Sequence[str]]) -> Outcome:
    if call in ("code", "refresh"):
        return _token(rules, call, data, needs)
    if isinstance(data, bytes) and call != "read" and data[:80].lstrip()[:1] in (b"<", b"{", b"["):
        # a proxy's page, or truncated JSON: neither confirms a write
        return _server_error(call, SERVER_ERROR)
    if rules.partial:
        name, pattern, words = rules.partial
        value = headers.get(name, "")
        if value and (hit := re.search(pattern, value)):
            return Outcome(Kind.OK, warning=f"incomplete: {hit[1].count(',') + 1} {words}", data=data)
    return Outcome(Kind.OK, data=data)


def _token(rules: Rules, call: Call, data: Any, needs: Sequence[Sequence[str]]) -> Outcome:
    if not isinstance(data, dict):
        return _server_error(call, SERVER_ERROR)
    if token_reply(rules, data):
        return Outcome(Kind.OK, data=data)
    outcome = rules.no_token if call == "code" else NO_TOKEN
    needed = _flat(needs) if outcome.kind is Kind.MISSING_SCOPE else ()
    return replace(outcome, needed=needed, data=data)


def _callback_outcome(rules: Rules, query: bytes, granted: frozenset[str], needs: Sequence[Sequence[str]]) -> Outcome:
    found = form(query)
    if isinstance(found, dict) and "error" in found:
        return outcome_of_callback_error(rules, found["error"])
    absent = _flat(_unmet(rules, granted, needs))
    return outcome_of(Kind.MISSING_SCOPE, needed=absent) if absent else Outcome(Kind.OK)


def _match_tables(rules: Rules, seen: RefusedAnswer) -> Outcome:
    outcome = _first(rules.rows(seen.call), seen)
    if seen.status < 200 or seen.status >= 500:  # a failing server is not trusted about grants or arguments
        return outcome if outcome and outcome.kind in (Kind.RATE_LIMITED, Kind.TRANSIENT) else SERVER_ERROR
    if outcome and outcome.kind is Kind.HIDDEN_OR_NOT_FOUND and (short := _missing_alternatives(rules, seen)):
        return outcome_of(Kind.MISSING_SCOPE, needed=short, certain=False)
    return outcome or _unclassified_outcome(seen)


def _first(rows: Iterable[When], seen: RefusedAnswer) -> Outcome | None:
    return next((outcome for row in rows if (outcome := row.means(seen))), None)


def _unclassified_outcome(seen: RefusedAnswer) -> Outcome:
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("unclassified answer to %s: status %d, shape %s", seen.call, seen.status, _shape(seen.data))
    ours = seen.call in TOKEN_CALLS or seen.call == "callback"
    return outcome_of(Kind.INVALID_INPUT, "unclassified", fix_by="operator" if ours else "agent")


def _shape(data: Any, depth: int = 3) -> str:
    """Return the keys and types of a body, without values."""
    if isinstance(data, dict) and depth:
        shapes = ((k if re.fullmatch(_PLAIN_KEY, k) else "?", _shape(v, depth - 1)) for k, v in data.items())
        return "{" + ", ".join(f"{key}: {shape}" for key, shape in islice(shapes, MANY)) + "}"
    if isinstance(data, list) and depth:
        return "[" + ", ".join(_shape(item, depth - 1) for item in data[:3]) + "]"
    return type(data).__name__


def _adapt_to_call(
    rules: Rules,
    seen: RefusedAnswer,
    outcome: Outcome,
    granted: frozenset[str],
    needs: Sequence[Sequence[str]],
) -> Outcome:
    """Return the outcome for this call, with its wait, its scopes and its risk."""
    if rules.graphql and seen.status == 200 and _has_data(seen.data):
        outcome = _partial_outcome(seen, outcome)
    match outcome:
        case Outcome(kind=Kind.TRANSIENT, safe=False):
            return with_wait(rules, seen, _server_error(seen.call, outcome))
        case Outcome(kind=Kind.TRANSIENT | Kind.RATE_LIMITED):
            return with_wait(rules, seen, outcome)
        case Outcome(kind=Kind.MISSING_SCOPE):
            return _with_scopes(rules, seen, outcome, granted, needs)
        case Outcome(kind=Kind.REAUTH, detail="grant_dead") if seen.call == "code":
            return replace(outcome, detail="restart_consent")
    return outcome


def _server_error(call: Call, outcome: Outcome) -> Outcome:
    if call == "write":
        return outcome_of(Kind.AMBIGUOUS_WRITE, outcome.detail)
    return replace(outcome, safe=call != "code")  # a code is valid for one try


def _has_data(data: Any) -> bool:
    return any(value is not None for value in as_object(as_object(data).get("data")).values())


def _partial_outcome(seen: RefusedAnswer, outcome: Outcome) -> Outcome:
    """Return the outcome of partial GraphQL data: success for a read, unless a consent or a refresh would help."""
    if seen.call == "write":
        return outcome_of(Kind.AMBIGUOUS_WRITE, "partial")
    if seen.call != "read" or outcome.kind in (Kind.MISSING_SCOPE, Kind.REFRESH_ONCE, Kind.REAUTH):
        return outcome
    paths = (e["path"] for e in as_objects(seen.data["errors"]) if isinstance(e.get("path"), list))
    fields = (".".join(p for p in path[:5] if isinstance(p, str) and re.fullmatch(_FIELD, p)) for path in paths)
    return Outcome(Kind.OK, warning="incomplete: " + (", ".join(dict.fromkeys(filter(None, fields))) or "some fields"))


def _unmet(rules: Rules, granted: frozenset[str], needs: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return the groups of scopes of which none is granted."""
    have = rules.covered(granted)
    return [need for need in needs if not have & set(need)]


def _flat(needs: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the scopes of all groups, each once."""
    return tuple(dict.fromkeys(scope for need in needs for scope in need))


def _with_scopes(
    rules: Rules, seen: RefusedAnswer, outcome: Outcome, granted: frozenset[str], needs: Sequence[Sequence[str]]
) -> Outcome:
    """Return the outcome with the scopes to request: the scopes that both provider and tool name, or else all of them.

    If the two have no scope in common, consent may not help, and the outcome is uncertain.
    """
    named = _challenge_scopes(seen) or outcome.needed or scope_list(word(as_object(seen.data), "needed"))
    if named and rules.challenge_names_all:
        return replace(outcome, needed=named)
    declared, absent = _flat(needs), _flat(_unmet(rules, granted, needs))
    both = tuple(scope for scope in named if scope in declared)
    agreed = bool(both) if named and declared else bool(named or absent or not declared)
    return replace(outcome, needed=both or named or absent or declared, certain=outcome.certain and agreed)


def _challenge_scopes(seen: RefusedAnswer) -> tuple[str, ...]:
    """Return the scopes that a challenge names (RFC 6750 3)."""
    challenge = bearer(seen.headers.get("www-authenticate", ""))
    return scope_list(challenge.get("scope", "")) if challenge.get("error") == "insufficient_scope" else ()


def _missing_alternatives(rules: Rules, seen: RefusedAnswer) -> tuple[str, ...]:
    """Return alternative scopes, any of which suffices, if the token's headers prove that it has none of them."""
    accepted = scope_list(seen.headers.get(rules.accepted, ""))
    if seen.status not in (403, 404) or not accepted or rules.have not in seen.headers:
        return ()
    have = rules.covered(scope_list(seen.headers[rules.have]))
    return () if have & set(accepted) else accepted
