"""Meaning of responses by the RFCs, for any OAuth server and HTTP API, and rules that providers share.

Names are error names in the responses. Rules are tried from the top, after limits, organization and scopes
(`deputize.core.failures.rules`). Sources: the providers' API references, RFC 6749, 6750, 8628 and OpenID Connect Core.
Undocumented refusals are matched by status and name, never by wording alone, except if a provider has no names
(GitHub's REST messages).
"""

from __future__ import annotations

from deputize.core.failures.outcome import SERVER_ERROR, STEP_UP, Call, Kind, Outcome, outcome_of
from deputize.core.failures.rules import Rules, table, when

DEAD = outcome_of(Kind.REAUTH, "grant_dead")
RESTART = outcome_of(Kind.REAUTH, "restart_consent")
DENIED = outcome_of(Kind.REAUTH, "consent_denied")
INACTIVE = outcome_of(Kind.REAUTH, "account_inactive", fix_by="admin")
EXPIRED = outcome_of(Kind.REFRESH_ONCE)
SCOPE = outcome_of(Kind.MISSING_SCOPE)
ORG = outcome_of(Kind.ORG_BLOCKED)
PLAN = outcome_of(Kind.ORG_BLOCKED, "plan_limit")
HIDDEN = outcome_of(Kind.HIDDEN_OR_NOT_FOUND)
MOVED = outcome_of(Kind.HIDDEN_OR_NOT_FOUND, "moved")
DELETED = outcome_of(Kind.HIDDEN_OR_NOT_FOUND, "deleted")
LACKS_RIGHTS = outcome_of(Kind.HIDDEN_OR_NOT_FOUND, "user_lacks_rights")
DONE = outcome_of(Kind.CONFLICT, "already_done")
EXISTS = outcome_of(Kind.CONFLICT, "exists")
STALE = outcome_of(Kind.CONFLICT, "stale")
INPUT = outcome_of(Kind.INVALID_INPUT)
OPERATOR = outcome_of(Kind.INVALID_INPUT, fix_by="operator")
LIMIT = outcome_of(Kind.RATE_LIMITED, backoff=True)
LIMIT_60 = outcome_of(Kind.RATE_LIMITED, wait=60)
SAFE = outcome_of(Kind.TRANSIENT, backoff=True, safe=True)  # refused or rolled back: nothing was done

WRITES: tuple[Call, ...] = ("idem", "write")

BUSY = (
    when(LIMIT, status=(429,)),
    when(SERVER_ERROR, status=(302, 303, 408, 425)),
)

NAMED = when(SCOPE, header=("www-authenticate", r'^(?=.*\binsufficient_scope\b)(?:.*?\bscope="(?P<needed>[^"]*))?'))

# RFC 9110 15, RFC 6750 3.1, RFC 9470 3: meaning of a status without further details
HTTP = (
    when(MOVED, status=(302, 303), calls=("read",)),
    *BUSY,
    NAMED,
    when(SCOPE, "insufficient_scope"),
    when(outcome_of(Kind.REAUTH, STEP_UP), header=("www-authenticate", "insufficient_user_authentication")),
    when(SAFE, header=("www-authenticate", r"\buse_dpop_nonce\b")),  # RFC 9449 9: once more was not enough
    when(OPERATOR, header=("www-authenticate", r"\binvalid_dpop_proof\b")),  # RFC 9449 7.1: a clock, mostly
    when(EXPIRED, "invalid_token"),
    when(EXPIRED, status=(401,)),
    when(outcome_of(Kind.CONFLICT), status=(409,)),
    when(STALE, status=(412,)),
    when(MOVED, status=(301, 307, 308)),
    when(DELETED, status=(410,)),
    when(outcome_of(Kind.HIDDEN_OR_NOT_FOUND, "legal"), status=(451,)),
    when(LACKS_RIGHTS, status=(403,)),
    when(HIDDEN, status=(404,)),
)


def _operator(reason: str) -> Outcome:
    """Return an outcome that only the operator can fix. `deputize.core.oauth.refusals` has the remedy."""
    return outcome_of(Kind.INVALID_INPUT, reason, fix_by="operator")


_OPERATORS = (
    when(_operator("invalid_request"), "invalid_request"),
    when(_operator("invalid_scope"), "invalid_scope"),
    when(_operator("invalid_target"), "invalid_target"),  # RFC 8693 2.2.2, RFC 8707 2
    when(_operator("invalid_client"), "invalid_client", "invalid_client_id"),
    when(_operator("unauthorized_client"), "unauthorized_client"),
    when(_operator("redirect_uri_mismatch"), "redirect_uri_mismatch", "invalid_redirect_uri", "bad_redirect_uri"),
    when(_operator("unsupported_response_type"), "unsupported_response_type"),
    when(_operator("invalid_dpop_proof"), "invalid_dpop_proof"),  # RFC 9449 5
)

# RFC 6749 5.2, RFC 8628 3.5, OpenID Connect Core 3.1.2.6
TOKEN = (
    *BUSY,
    when(outcome_of(Kind.RATE_LIMITED, wait=5, backoff=True), "slow_down"),
    when(DEAD, "invalid_grant", "interaction_required"),
    *_OPERATORS,
    when(OPERATOR, "unsupported_grant_type", "unsupported_token_type"),
    when(SERVER_ERROR, "server_error", "temporarily_unavailable"),
    when(SERVER_ERROR, status=(301, 307, 308)),
)

# RFC 6749 4.1.2.1, OpenID Connect Core 3.1.2.6
CALLBACK = (
    when(DENIED, "access_denied"),
    when(RESTART, "login_required", "consent_required", "interaction_required", "account_selection_required"),
    *_OPERATORS,
    when(SAFE, "server_error", "temporarily_unavailable"),
)

GENERIC = Rules(callback=table(*CALLBACK), token=table(*TOKEN), revoke=table(*TOKEN), api=table(*HTTP))
"""Any OAuth server and API that follow the RFCs."""
