"""Consent without a page, for tests that start with a grant."""

from __future__ import annotations

import secrets
from typing import Any

from deputize.sandbox import github, google, linear, salesforce, slack
from deputize.sandbox.github.tokens import token_maker as github_tokens
from deputize.sandbox.google.tokens import TOKEN_MAKER as GOOGLE_TOKENS
from deputize.sandbox.issue_tokens import TokenMaker, issue
from deputize.sandbox.linear.tokens import TOKEN_MAKER as LINEAR_TOKENS
from deputize.sandbox.oauth import App
from deputize.sandbox.salesforce.tokens import INSTANCE
from deputize.sandbox.salesforce.tokens import TOKEN_MAKER as SALESFORCE_TOKENS
from deputize.sandbox.slack.tokens import token_maker as slack_tokens
from deputize.sandbox.world import World


def give(
    world: World, provider: str, email: str, scopes: list[str], how: tuple[App, TokenMaker] | None = None
) -> dict[str, Any]:
    """Return the token reply after a person's consent. Raise LookupError for an unknown person or provider.

    ``how``: the app and tokens of a provider that is simulated from its definition.
    """
    person = world.person(email)
    if person is None:
        raise LookupError(f"nobody in the sandbox has the address {email}")
    app, maker = how or _app_and_maker(world, provider)
    scopes = list(app.permissions) or scopes
    refreshable = maker.lives is not None
    issued = issue(world, app, person.sub, secrets.token_hex(32), scopes, maker, refreshable=refreshable)
    world.authority.remember(app.client_id, person.sub, scopes)
    return {
        "app": app.client_id,
        "access_token": issued.access,
        "refresh_token": issued.refresh or None,
        "expires_in": issued.lives,
        "scope": " ".join(scopes),
        **({"instance_url": f"https://{INSTANCE}"} if provider == "salesforce" else {}),
    }


def _app_and_maker(world: World, provider: str) -> tuple[App, TokenMaker]:
    """Return the provider's app as registered now, and its token settings."""
    known = {
        "google": (google.APP, GOOGLE_TOKENS),
        "slack": (slack.APP, slack_tokens(world)),
        "github": (github.APP, github_tokens(world, github.APP, [])),
        "github_app": (github.GITHUB_APP, github_tokens(world, github.GITHUB_APP, [])),
        "linear": (linear.APP, LINEAR_TOKENS),
        "salesforce": (salesforce.APP, SALESFORCE_TOKENS),
    }
    if provider not in known:
        raise LookupError(f"the sandbox plays no {provider}; it plays {', '.join(known)}")
    app, maker = known[provider]
    return world.apps[app.client_id], maker
