"""Refusals by an authorization server that the operator must fix, not the user, with their remedies.

The keys are the names of OAuth errors (RFC 6749 4.1.2.1, OpenID Connect Core 3.1.2.6). The server's own description is
neither displayed nor logged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from deputize.core.failures import Outcome
from deputize.core.oauth.provider import App, Provider

log = logging.getLogger("deputize")

UNCLASSIFIED: Final = "unclassified"
REMEDIES: Final[Mapping[str, str]] = {
    "invalid_request": "{label} wants something of such a request that is lacking: pushed requests (par = true), a "
    "parameter (oauth.params), or a proof of possession (dpop = true).",
    "invalid_scope": "ask {label} only for scopes that it knows and that the registration there allows.",
    "invalid_target": "the audience or the resource that is set here has to be one that {label} knows, and that the "
    "registration there may ask for.",
    "invalid_client": "the client id and the secret, or the key, have to be those of the registration at {label}.",
    "unauthorized_client": "the registration at {label} has to allow the authorization code flow for the client id "
    "that is set here.",
    "redirect_uri_mismatch": "the address that browsers come back to has to be registered at {label}, exactly as "
    "deputize doctor shows it.",
    "unsupported_response_type": "the registration at {label} has to allow an authorization code (response_type=code).",
    "invalid_dpop_proof": "{label} wants its tokens bound to a key (DPoP): set dpop = true; where it is set, look at "
    "the clock of this machine.",
    UNCLASSIFIED: "{label} gave an error of its own. Its documentation and its log say what it wants.",
}
"""What to change, by the reason of a failed consent; the rest of a sentence."""


def log_refusal(provider: Provider, app: App, outcome: Outcome) -> None:
    """Log a refusal that only the operator can fix."""
    if outcome.fix_by != "operator":
        return
    reason = outcome.detail or str(outcome.kind)
    remedy = REMEDIES.get(reason, "").format(label=provider.label)
    log.warning("%s refused the application %r: %s. To mend it: %s", provider.label, app.name, reason, remedy)
