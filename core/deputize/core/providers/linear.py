"""Linear.

Source: linear.app/developers.
"""

from __future__ import annotations

from typing import Final

from deputize.core.failures import SERVER_ERROR, Budget, Rules, TokenShape, table, when
from deputize.core.failures.standard import (
    CALLBACK,
    DONE,
    EXISTS,
    EXPIRED,
    HIDDEN,
    HTTP,
    INPUT,
    LACKS_RIGHTS,
    LIMIT_60,
    OPERATOR,
    PLAN,
    SAFE,
    SCOPE,
    TOKEN,
)
from deputize.core.oauth.provider import ApiRules, Identity, OAuthEndpoints, Provider

LINEAR_RULES = Rules(
    callback=table(*CALLBACK),
    token=table(*TOKEN),
    revoke=table(when(DONE, "invalid_request", status=(400,)), *TOKEN, when(DONE, status=(400,))),  # a dead token
    api=table(
        when(LIMIT_60, "RATELIMITED", "ratelimited"),
        when(PLAN, "usage limit exceeded", "feature not accessible"),
        when(SCOPE, text=r"\b(?:invalid|required) (?:\w+ )?scope: *`?(?P<needed>[a-z][\w:.]*)"),
        when(EXPIRED, "AUTHENTICATION_ERROR", "authentication error"),
        when(EXISTS, "INPUT_ERROR", "invalid input", text="already exists|conflict on insert"),
        when(HIDDEN, "INPUT_ERROR", "invalid input", text="entity not found|could not find referenced"),
        when(OPERATOR, "INPUT_ERROR", "invalid input", text="too complex"),
        when(OPERATOR, "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "graphql error"),
        when(LACKS_RIGHTS, "FORBIDDEN", "forbidden"),
        when(INPUT, "INPUT_ERROR", "INVALID_INPUT", "invalid input", "user error"),
        when(SAFE, "lock timeout"),
        when(SERVER_ERROR, "INTERNAL_SERVER_ERROR", "internal error", "network error", "bootstrap error"),
        when(SERVER_ERROR, "unknown", "other"),
        *HTTP,
    ),
    graphql=True,
    reason=("errors[].extensions.userPresentableMessage", "errors[].message"),
    reason_fields=("errors[].extensions.argument", "errors[].extensions.validationErrors[].property"),
    implies={
        "write": frozenset({"read", "issues:create", "comments:create", "timeSchedule:write"}),
        "admin": frozenset({"write"}),
    },
    budgets=(
        Budget("x-ratelimit-requests-remaining", "x-ratelimit-requests-reset", 0.001, "requests"),
        Budget("x-ratelimit-complexity-remaining", "x-ratelimit-complexity-reset", 0.001, "complexity", always=True),
    ),
)

_WHO_IN_LINEAR: Final = "query Whoami { viewer { id name email } organization { id name urlKey } }"

LINEAR = Provider(  # linear.app/developers/oauth-2-0-authentication
    name="linear",
    label="Linear",
    oauth=OAuthEndpoints(
        authorize_url="https://linear.app/oauth/authorize",
        token_url="https://api.linear.app/oauth/token",
        revoke_url="https://api.linear.app/oauth/revoke",
        ends_replaced="at_once",
        scope_separator=",",
        always_scopes=("read",),
        params={"actor": "user"},
        params_consent={"prompt": "consent"},
    ),
    apis=ApiRules(
        roots={"linear": "https://api.linear.app", "uploads": "https://uploads.linear.app"},
        hosts=frozenset({"api.linear.app", "uploads.linear.app"}),
        shared_hosts=frozenset({"linear.app"}),
        identity=Identity(
            "https://api.linear.app/graphql",
            "{data.organization.id}:{data.viewer.id}",
            "{data.viewer.name} in {data.organization.urlKey}",
            {"email": "{data.viewer.email}", "organization": "{data.organization.urlKey}"},
            method="POST",
            json={"query": _WHO_IN_LINEAR},
        ),
    ),
    rules=LINEAR_RULES,
    token_shapes=(TokenShape("lin_", r"\blin_(?:api|oauth|refresh|wh)_[A-Za-z0-9]{16,}"),),
    scope_descriptions={
        "read": "see everything you can see in the workspace",
        "write": "change issues, projects and everything else you can change",
        "issues:create": "create issues as you",
        "comments:create": "comment as you",
        "timeSchedule:write": "make and change schedules",
        "admin": "everything an administrator may do",
    },
)
