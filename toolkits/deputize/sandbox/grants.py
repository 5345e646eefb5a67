"""Consent without a page, for tests that start where it has been given."""

from __future__ import annotations

import secrets
from typing import Any

from deputize.sandbox import github, google, linear, salesforce, slack
from deputize.sandbox.github.tokens import mint as github_mint
from deputize.sandbox.google.tokens import GOOGLE_MINT
from deputize.sandbox.issue_tokens import Mint, issue
from deputize.sandbox.linear.tokens import MINT as LINEAR_MINT
from deputize.sandbox.oauth import App
from deputize.sandbox.salesforce.tokens import INSTANCE
from deputize.sandbox.salesforce.tokens import MINT as SALESFORCE_MINT
from deputize.sandbox.slack.tokens import mint as slack_mint
from deputize.sandbox.world import World


def give(
    world: World, provider: str, email: str, scopes: list[str], how: tuple[App, Mint] | None = None
) -> dict[str, Any]:
    """The token reply of a person's yes; LookupError for a person or provider that is not here.

    ``how``: the app and the tokens of a provider that is played from its row.
    """
    person = world.person(email)
    if person is None:
        raise LookupError(f"nobody in the sandbox has the address {email}")
    app, mint = how or _how(world, provider)
    scopes = list(app.permissions) or scopes
    refreshable = mint.lives is not None
    minted = issue(world, app, person.sub, secrets.token_hex(32), scopes, mint, refreshable=refreshable)
    world.authority.remember(app.client_id, person.sub, scopes)
    return {
        "app": app.client_id,
        "access_token": minted.access,
        "refresh_token": minted.refresh or None,
        "expires_in": minted.lives,
        "scope": " ".join(scopes),
        **({"instance_url": f"https://{INSTANCE}"} if provider == "salesforce" else {}),
    }


def _how(world: World, provider: str) -> tuple[App, Mint]:
    """The provider's own app, as it is registered now, and how tokens are made for it."""
    known = {
        "google": (google.APP, GOOGLE_MINT),
        "slack": (slack.APP, slack_mint(world)),
        "github": (github.APP, github_mint(world, github.APP, [])),
        "github_app": (github.GITHUB_APP, github_mint(world, github.GITHUB_APP, [])),
        "linear": (linear.APP, LINEAR_MINT),
        "salesforce": (salesforce.APP, SALESFORCE_MINT),
    }
    if provider not in known:
        raise LookupError(f"the sandbox plays no {provider}; it plays {', '.join(known)}")
    app, mint = known[provider]
    return world.apps[app.client_id], mint
