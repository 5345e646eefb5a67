"""Tables of the meaning of a provider's responses, as `Rules`, matched against a `RefusedAnswer` from the top."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any, NamedTuple

from deputize.core.failures.outcome import TOKEN_CALLS, Call, Kind, Outcome, outcome_of, scope_list
from deputize.core.value_object import Frozen, Printed, frozen


@frozen
class RefusedAnswer(Printed):
    """A parsed refusal: lower-case headers, error names (the most specific first), messages."""

    call: Call
    status: int
    headers: Mapping[str, str]
    data: Any
    names: tuple[str, ...]
    text: str
    now: float


class When:
    """A rule of a table. All of its conditions must hold. Regex groups named needed, about and url fill the outcome.

    ``names`` match exactly; ``like`` is a pattern for names with stars. Patterns are compiled on first use.
    """

    __slots__ = ("calls", "header", "like", "names", "status", "text", "then")

    def __init__(
        self,
        then: Outcome,
        names: frozenset[str],
        like: str,
        text: str | None,
        header: tuple[str, str] | None,
        status: frozenset[int],
        calls: frozenset[Call],
    ) -> None:
        self.then, self.names, self.like, self.text = then, names, like, text
        self.header, self.status, self.calls = header, status, calls

    def means(self, seen: RefusedAnswer) -> Outcome | None:
        """Return the outcome, or None if the rule does not match."""
        if (self.status and seen.status not in self.status) or (self.calls and seen.call not in self.calls):
            return None
        name = self._match_name(seen.names)
        if name is None:
            return None
        found = _groups(self.text, seen.text)
        if self.header and found is not None:
            more = _groups(self.header[1], seen.headers.get(self.header[0]))
            found = None if more is None else found | more
        return None if found is None else self._fill_outcome(name, found)

    def _match_name(self, names: Iterable[str]) -> str | None:
        """Return the first matching name, "" if the rule has no names, or None if none matches."""
        if not self.names and not self.like:
            return ""
        return next((n for n in names if n in self.names or (self.like and re.fullmatch(self.like, n))), None)

    def _fill_outcome(self, name: str, found: Mapping[str, str]) -> Outcome:
        return replace(
            self.then,
            detail=self.then.detail or name,
            about=found.get("about") or self.then.about,
            needed=scope_list(found.get("needed", "")) or self.then.needed,
            url=found.get("url", ""),
        )


def _groups(pattern: str | None, text: str | None) -> dict[str, str] | None:
    """Return the named groups of a match, {} without a pattern, or None if it does not match."""
    if pattern is None:
        return {}
    hit = re.search(pattern, text, re.IGNORECASE) if text is not None else None
    return hit.groupdict(default="") if hit else None


def when(
    then: Outcome,
    *names: str,
    text: str = "",
    header: tuple[str, str] | None = None,
    status: Iterable[int] = (),
    calls: Iterable[Call] = (),
) -> When:
    """Return a rule: any of ``names`` (``*`` stands for letters), ``text`` in a message, a header, a status, a call."""
    plain = frozenset(name for name in names if "*" not in name)
    like = "|".join(re.escape(name).replace(r"\*", "[A-Za-z_]*") for name in names if "*" in name)
    return When(then, plain, like, text or None, header, frozenset(status), frozenset(calls))


_STAGES = (Kind.RATE_LIMITED, Kind.ORG_BLOCKED, Kind.MISSING_SCOPE)


def table(*rows: When) -> tuple[When, ...]:
    """Return rules by priority: limits, organization, scopes, then the others in the given order."""
    return tuple(sorted(rows, key=lambda row: _STAGES.index(row.then.kind) if row.then.kind in _STAGES else 3))


class Budget(NamedTuple):
    """A limit's headers: the remainder, the reset time (Unix time in ``unit`` seconds), and the limit's owner.

    ``always``: the reset applies even if something remains, because the request cost more than that.
    """

    left: str
    reset: str
    unit: float
    about: str
    always: bool = False


NO_TOKEN = outcome_of(Kind.INVALID_INPUT, "no_token", fix_by="operator")


@frozen
class Rules(Frozen):
    """How to read one provider's responses, as data.

    ``ok_field``: the body's field that is false in a refusal. ``graphql``: refusals may be ``errors`` in a 200.
    ``roots``: paths of the user's token in a token reply, "" for the top. ``not_users``: types of tokens that belong to
    no user. ``no_token``: meaning of a reply to a code without the user's token. ``partial``: header, pattern and words
    of a successful but incomplete response. ``have`` and ``accepted``: headers with the token's scopes, and with the
    alternative scopes that would suffice. ``error_names``: paths of error names, the most specific first, as
    ``error.details[].reason``, with ``[]`` for each item; OAuth's ``error`` and GraphQL's ``errors`` are always read.
    ``implies``: scopes that a scope includes. ``until``: pattern of a message's ISO time to wait for.
    ``challenge_names_all``: all scopes in a challenge (RFC 6750 3) are needed, not any. ``reason``, ``reason_fields``:
    paths to a refusal's messages, and to the fields it is about. ``json_rpc``: meaning of the codes of a JSON-RPC API;
    see `deputize.core.failures.json_rpc`. ``still_refused``: meaning of a token that is refused right after its
    refresh, None if unknown. In each of the four tables, the first matching rule wins.
    """

    callback: tuple[When, ...]
    token: tuple[When, ...]
    revoke: tuple[When, ...]
    api: tuple[When, ...]
    ok_field: str = ""
    graphql: bool = False
    roots: tuple[str, ...] = ("",)
    not_users: frozenset[str] = frozenset()
    no_token: Outcome = NO_TOKEN
    partial: tuple[str, str, str] | None = None
    have: str = ""
    accepted: str = ""
    error_names: tuple[str, ...] = ()
    reason: tuple[str, ...] = ("message", "error_description", "error.message", "errors[].message", "title", "detail")
    reason_fields: tuple[str, ...] = ()
    implies: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    budgets: tuple[Budget, ...] = ()
    until: str = ""
    still_refused: Outcome | None = None
    challenge_names_all: bool = False
    json_rpc: Mapping[int, Outcome] | None = field(default=None, hash=False)

    def rows(self, call: Call) -> tuple[When, ...]:
        """Return the table for a call."""
        if call == "callback":
            return self.callback
        if call == "revoke":
            return self.revoke
        return self.token if call in TOKEN_CALLS else self.api

    def covered(self, scopes: Iterable[str]) -> frozenset[str]:
        """Return these scopes and all that they imply, transitively."""
        known: set[str] = set()
        fresh = set(scopes)
        while fresh:
            known |= fresh
            fresh = {implied for scope in fresh for implied in self.implies.get(scope, ())} - known
        return frozenset(known)
