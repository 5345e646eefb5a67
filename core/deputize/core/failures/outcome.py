"""Outcomes of a request: ten classes of failure and OK, with their details."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum, auto
from typing import Any, Final, Literal

from deputize.core.value_object import ValueObject, frozen

Call = Literal["callback", "code", "refresh", "revoke", "read", "idem", "write"]
"""What was requested: the browser's return, the token endpoint, or the API (``idem``: a write that may be repeated)."""

FixBy = Literal["user", "admin", "operator", "agent", "nobody"]

TOKEN_CALLS = frozenset({"code", "refresh", "revoke"})
TEXT = 2000  # characters read of one message
_SCOPE = r"[A-Za-z][\w.:/=*-]{0,199}"
_BETWEEN = r"""[\s,;|'"`\[\]]+"""


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


@frozen
class Outcome(ValueObject):
    """The classified response. Only ``data``, ``url``, scopes and an organization's name are the provider's own.

    ``wait``: seconds that the provider requires, None if it requires none. ``backoff``: wait longer each time, with
    jitter (starting at ``wait``, or at a second). ``needed``: scopes of which any one suffices. ``certain``: False if
    the class is only the best guess. ``url``: https, for the user only, its host unchecked. ``safe``: the same request
    may be sent again. ``about``: the owner of the limit, or the organization. ``claims``: what the token endpoint
    requires in the next authorization request (OpenID Connect Core 5.5). ``data``: the parsed body (bytes if a
    successful response is not JSON). It may contain tokens, so it is not in the repr.
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
    claims: str = field(default="", repr=False)
    data: Any = field(default=None, repr=False, compare=False)


_FIXES: Mapping[Kind, FixBy] = {
    Kind.REAUTH: "user",
    Kind.MISSING_SCOPE: "user",
    Kind.ORG_BLOCKED: "admin",
    Kind.INVALID_INPUT: "agent",
    Kind.CONFLICT: "agent",
}
_UNACTED = frozenset({Kind.RATE_LIMITED, Kind.REFRESH_ONCE})


def outcome_of(
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
    """Return an outcome for a table. ``fix_by`` and ``safe`` follow from ``kind`` by default."""
    fix_by = fix_by or _FIXES.get(kind, "nobody")
    safe = safe or kind in _UNACTED
    return Outcome(kind, wait, backoff, detail, fix_by, needed, certain, safe=safe, about=about)


STEP_UP: Final = "step_up"
"""Detail of an outcome: the API requires a newer sign-in of the user (RFC 9470)."""
SERVER_ERROR = outcome_of(Kind.TRANSIENT, backoff=True)
"""The provider failed internally: harmless for a repeatable call, ambiguous for a write."""


def scope_list(text: str) -> tuple[str, ...]:
    """Return the scopes in a string, each once, whatever separates them."""
    words = re.split(_BETWEEN, text[: 4 * TEXT])
    return tuple(dict.fromkeys(word for word in words if re.fullmatch(_SCOPE, word)))


def lost_outcome(call: Call) -> Outcome:
    """Return the outcome of a request that was sent without getting a response."""
    if call == "write":
        return outcome_of(Kind.AMBIGUOUS_WRITE, "lost")
    if call == "code":
        return outcome_of(Kind.REAUTH, "restart_consent")
    detail = "once" if call == "refresh" else "lost"  # the token may be consumed: a second refusal is lost_rotation
    return outcome_of(Kind.TRANSIENT, detail, backoff=True, safe=True)
