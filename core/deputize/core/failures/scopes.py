"""Missing scopes, and the scopes to request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from deputize.core.failures.outcome import Outcome, scope_list
from deputize.core.failures.parse import as_object, word
from deputize.core.failures.rules import RefusedAnswer, Rules
from deputize.core.http.challenges import bearer


def unmet(rules: Rules, granted: frozenset[str], needs: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return the any-of sets of which no scope is granted."""
    have = rules.covered(granted)
    return [need for need in needs if not have & set(need)]


def flat(needs: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the scopes of all sets, each once."""
    return tuple(dict.fromkeys(scope for need in needs for scope in need))


def with_scopes(
    rules: Rules, seen: RefusedAnswer, outcome: Outcome, granted: frozenset[str], needs: Sequence[Sequence[str]]
) -> Outcome:
    """Return the outcome with the scopes to request: those of both provider and tool, else those of either.

    If the two do not agree, consent may not help: the outcome is uncertain.
    """
    named = _challenge_scopes(seen) or outcome.needed or scope_list(word(as_object(seen.data), "needed"))
    if named and rules.challenge_names_all:
        return replace(outcome, needed=named)
    declared, absent = flat(needs), flat(unmet(rules, granted, needs))
    both = tuple(scope for scope in named if scope in declared)
    agreed = bool(both) if named and declared else bool(named or absent or not declared)
    return replace(outcome, needed=both or named or absent or declared, certain=outcome.certain and agreed)


def _challenge_scopes(seen: RefusedAnswer) -> tuple[str, ...]:
    """Return the scopes that a challenge names (RFC 6750 3)."""
    challenge = bearer(seen.headers.get("www-authenticate", ""))
    return scope_list(challenge.get("scope", "")) if challenge.get("error") == "insufficient_scope" else ()


def missing_alternatives(rules: Rules, seen: RefusedAnswer) -> tuple[str, ...]:
    """Return the scopes of which any would do, if the token's headers show that it has none of them."""
    accepted = scope_list(seen.headers.get(rules.accepted, ""))
    if seen.status not in (403, 404) or not accepted or rules.have not in seen.headers:
        return ()
    have = rules.covered(scope_list(seen.headers[rules.have]))
    return () if have & set(accepted) else accepted
