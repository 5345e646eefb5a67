"""GitHub: OAuth apps, and GitHub Apps that act as their user.

Source: docs.github.com.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from deputize.core.failures import SERVER_ERROR, Budget, Kind, Rules, TokenShape, outcome_of, table, when
from deputize.core.failures.standard import (
    CALLBACK,
    DEAD,
    DONE,
    EXISTS,
    HIDDEN,
    HTTP,
    INPUT,
    LACKS_RIGHTS,
    LIMIT,
    OPERATOR,
    ORG,
    RESTART,
    SCOPE,
    STALE,
    TOKEN,
    WRITES,
)
from deputize.core.oauth.provider import ApiRules, Identity, Imports, OAuthEndpoints, Permissions, Provider, Site

GITHUB_RULES = Rules(
    callback=table(when(OPERATOR, "application_suspended"), *CALLBACK),
    token=table(
        when(DEAD, "bad_refresh_token"),
        when(RESTART, "bad_verification_code"),
        when(OPERATOR, "incorrect_client_credentials", "application_suspended"),
        *TOKEN,
    ),
    revoke=table(when(DONE, status=(404, 422)), when(OPERATOR, status=(401,)), *TOKEN),
    api=table(
        when(LIMIT, "RATE_LIMITED"),
        when(LIMIT, header=("retry-after", r"\w"), status=(403,)),
        when(LIMIT, header=("x-ratelimit-remaining", r"^0$"), status=(403,)),
        when(outcome_of(Kind.RATE_LIMITED, wait=60, backoff=True), text="secondary rate limit", status=(403, 429)),
        when(
            outcome_of(Kind.ORG_BLOCKED, fix_by="user"),
            header=("x-github-sso", r"^required; *url=(?P<url>https://[^\s;,]+)"),
        ),
        when(ORG, header=("x-github-sso", "^required")),
        when(ORG, "saml_failure"),
        when(ORG, text=r"(?:the `(?P<about>[\w.-]{1,64})` organization has enabled )?OAuth App access restrictions"),
        when(
            outcome_of(Kind.MISSING_SCOPE, fix_by="admin"),
            header=("x-accepted-github-permissions", "^(?P<needed>.+)"),
            text="not accessible by",
        ),
        when(outcome_of(Kind.MISSING_SCOPE, fix_by="admin", certain=False), text="not accessible by integration"),
        when(SCOPE, "INSUFFICIENT_SCOPES", text=r"following scopes: \[(?P<needed>[^\]]+)"),
        when(SCOPE, "INSUFFICIENT_SCOPES"),
        when(OPERATOR, text="^requires authentication", status=(401,)),
        when(outcome_of(Kind.HIDDEN_OR_NOT_FOUND, "empty_repository"), text="repository is empty", status=(409,)),
        when(STALE, status=(409,)),
        when(STALE, "STALE_DATA"),
        when(outcome_of(Kind.CONFLICT, "not_mergeable"), status=(405,)),
        when(EXISTS, "already_exists", status=(422,)),
        when(EXISTS, text="already exists", status=(422,)),
        when(outcome_of(Kind.INVALID_INPUT, "archived"), text="archived", status=(403,)),
        when(INPUT, status=(410,), calls=WRITES),
        when(INPUT, "missing", "missing_field", "invalid", "unprocessable", "UNPROCESSABLE"),
        when(INPUT, status=(400, 422)),
        when(HIDDEN, "NOT_FOUND"),
        when(LACKS_RIGHTS, "FORBIDDEN"),
        when(OPERATOR, "MAX_NODE_LIMIT_EXCEEDED", "EXCESSIVE_PAGINATION", "undefinedField", "argumentNotAccepted"),
        when(SERVER_ERROR, "INTERNAL", "SERVICE_UNAVAILABLE"),
        when(SERVER_ERROR, text="^something went wrong while executing", status=(200,)),
        # an App's user token has no scopes to show; most of its 404s are installations that do not cover the object
        when(outcome_of(Kind.HIDDEN_OR_NOT_FOUND), header=("x-oauth-scopes", ""), status=(404,)),
        when(outcome_of(Kind.HIDDEN_OR_NOT_FOUND, "app_not_installed", certain=False), status=(404,)),
        *HTTP,
    ),
    graphql=True,
    reason=("message", "errors[].message", "errors[]"),
    reason_fields=("errors[].resource", "errors[].field"),
    partial=("x-github-sso", r"^partial-results; *organizations=([\d,]+)", "organizations need SSO"),
    have="x-oauth-scopes",
    accepted="x-accepted-oauth-scopes",
    implies={
        "repo": frozenset({"public_repo", "repo:status", "repo_deployment", "repo:invite", "security_events"}),
        "user": frozenset({"read:user", "user:email", "user:follow"}),
        "admin:org": frozenset({"write:org"}),
        "write:org": frozenset({"read:org"}),
        "project": frozenset({"read:project"}),
        "write:packages": frozenset({"read:packages"}),
    },
    budgets=(Budget("x-ratelimit-remaining", "x-ratelimit-reset", 1, "user"),),
)

_GITHUB_HOSTS: Final = (
    Site(
        r"[a-z0-9-]+\.ghe\.com",
        {"https://github.com": "https://{host}", "https://api.github.com": "https://api.{host}"},
        csp_form_targets=("https:",),  # single sign-on at the company's own server
    ),
    Site(
        r"(?!(?:.*\.)?(?:github|ghe)\.com$).*",
        {"https://github.com": "https://{host}", "https://api.github.com": "https://{host}/api/v3"},
        {"graphql": "https://{host}/api"},
        csp_form_targets=("https:",),
    ),
)

GITHUB = Provider(  # docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
    name="github",
    label="GitHub",
    oauth=OAuthEndpoints(
        authorize_url="https://github.com/login/oauth/authorize",
        token_url="https://github.com/login/oauth/access_token",
        device_url="https://github.com/login/device/code",
        revoke_url="https://api.github.com/applications/{client_id}/grant",
        revoke_one_url="https://api.github.com/applications/{client_id}/token",  # .../en/rest/apps/oauth-applications
        revoke_by="app",
        revoke_leaked_url="https://api.github.com/credentials/revoke",  # docs.github.com/en/rest/credentials/revoke
        absent_scope="empty",
        refresh_extends=True,  # .../authenticating-with-a-github-app/refreshing-user-access-tokens: six months each
        params={"allow_signup": "false"},
        params_consent={"prompt": "select_account"},
        login_hint="login",
        revokes_all=True,
        service_accounts=False,  # installations of an App are not OAuth: their tokens come from /app/installations
    ),
    apis=ApiRules(
        roots={"github": "https://api.github.com", "graphql": "https://api.github.com"},
        hosts=frozenset({"api.github.com"}),
        shared_hosts=frozenset({"github.com", "githubusercontent.com"}),
        identity=Identity("https://api.github.com/user", "{id}", "{login}"),
        request_headers=frozenset({"x-github-api-version"}),
        imports=Imports("x-oauth-scopes", "ghp_|github_pat_|ghs_", unique_names=True),
    ),
    rules=GITHUB_RULES,
    token_shapes=(
        *(TokenShape(f"gh{kind}_", rf"\bgh{kind}_[A-Za-z0-9_.\-]{{20,}}") for kind in "opurs"),
        TokenShape("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
        TokenShape("authorization_request=", r"authorization_request=[^\s&\"'<>]+"),
    ),
    sites=_GITHUB_HOSTS,
    scope_descriptions={
        "repo": "read and change all repositories you can reach, private ones too",
        "public_repo": "read and change public repositories",
        "repo:status": "see and set the status of commits",
        "repo_deployment": "see and change deployments",
        "repo:invite": "accept and decline invitations to repositories",
        "security_events": "see and change security alerts",
        "workflow": "change the workflows of GitHub Actions",
        "gist": "make and change gists as you",
        "notifications": "see your notifications and mark them as read",
        "read:user": "see your profile",
        "user:email": "see your email addresses",
        "user:follow": "follow and unfollow people as you",
        "user": "see and change your profile",
        "read:org": "see your organizations, teams and their members",
        "write:org": "change memberships of your organizations and their projects",
        "admin:org": "manage your organizations and teams",
        "read:project": "see your projects",
        "project": "see and change your projects",
        "write:discussion": "write in team discussions as you",
        "read:packages": "see packages",
        "write:packages": "publish packages",
        "offline_access": "stay connected while you are away",
    },
)

_PERMISSIONS: Final = {  # docs.github.com/en/rest/authentication/permissions-required-for-github-apps
    "actions": "workflow runs",
    "administration": "repositories and their settings",
    "checks": "checks of commits",
    "contents": "files, commits and releases",
    "dependabot_alerts": "alerts about dependencies",
    "discussions": "discussions",
    "gists": "your gists",
    "issues": "issues",
    "members": "members and teams of organizations",
    "metadata": "names and descriptions of repositories",
    "organization_projects": "projects of organizations",
    "pull_requests": "pull requests",
    "secret_scanning_alerts": "alerts about leaked secrets",
    "security_events": "alerts from code scanning",
    "starring": "your stars",
    "statuses": "statuses of commits",
    "vulnerability_alerts": "alerts about vulnerable dependencies",
    "workflows": "workflows of GitHub Actions",
}

_INSTALLATIONS: Final = "https://api.github.com/user/installations?per_page=100"

GITHUB_APP = replace(  # docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
    GITHUB,
    name="github_app",
    base="github_app",
    label="GitHub (App)",
    stands_in_for="github",
    rules=replace(
        GITHUB_RULES,
        implies={
            **{f"{name}:write": frozenset({f"{name}:read"}) for name in _PERMISSIONS},
            **{f"{name}:admin": frozenset({f"{name}:write"}) for name in _PERMISSIONS},
        },
    ),
    oauth=replace(GITHUB.oauth, scope_param=""),
    apis=replace(GITHUB.apis, permissions=Permissions(_INSTALLATIONS, "installations", "permissions")),
    scope_descriptions={
        **{f"{name}:read": f"see {words}, where the app is installed" for name, words in _PERMISSIONS.items()},
        **{
            f"{name}:write": f"see and change {words}, where the app is installed"
            for name, words in _PERMISSIONS.items()
        },
        **{f"{name}:admin": f"manage {words}, where the app is installed" for name, words in _PERMISSIONS.items()},
    },
)
