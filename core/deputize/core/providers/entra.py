"""Microsoft Entra: refusals of its token endpoint beyond the RFCs.

Entra reports most of them as ``invalid_grant``, whoever can fix them. The real reason is a number, AADSTS, at the
beginning of the description. Sources: learn.microsoft.com/entra/identity-platform/reference-error-codes,
v2-oauth2-on-behalf-of-flow and v2-conditional-access-dev-guide. Its APIs have their own rules.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from deputize.core.failures import Kind, Outcome, outcome_of, table, when
from deputize.core.failures.standard import GENERIC, TOKEN

HOSTS: Final = re.compile(
    r"login\.microsoftonline\.(com|us)|login\.partner\.microsoftonline\.cn|[a-z0-9-]+\.ciamlogin\.com"
)


def is_entra(token_endpoint: str) -> bool:
    """Return True if this is a token endpoint of Entra, in any of its clouds."""
    return HOSTS.fullmatch(urlsplit(token_endpoint).netloc.lower()) is not None


def _number_pattern(numbers: str) -> str:
    """Return the pattern of a description that begins with one of these numbers."""
    return rf"^AADSTS({numbers})\b"


def _operator(reason: str) -> Outcome:
    return outcome_of(Kind.INVALID_INPUT, reason, fix_by="operator")


ENTRA_RULES: Final = replace(
    GENERIC,
    token=table(
        when(
            _operator("session_of_another_app"), text=_number_pattern("50013|500131|500212")
        ),  # the assertion is not for this app
        when(_operator("session_of_an_app"), text=_number_pattern("50027|7000114|82001|82004")),  # it has no user
        when(outcome_of(Kind.REAUTH, "session_expired"), text=_number_pattern("500133")),
        when(outcome_of(Kind.REAUTH, "consent_required"), text=_number_pattern("65001|65004")),
        when(outcome_of(Kind.REAUTH, "interaction_required"), "interaction_required"),
        when(
            outcome_of(Kind.REAUTH, "interaction_required"),
            text=_number_pattern("50074|50076|50078|50079|50158|530003"),
        ),
        when(
            outcome_of(Kind.ORG_BLOCKED, "blocked_by_policy"),
            text=_number_pattern("53000|53001|53002|53003|53004|530032"),
        ),
        when(outcome_of(Kind.ORG_BLOCKED, "not_assigned"), text=_number_pattern("50105")),
        when(outcome_of(Kind.ORG_BLOCKED, "account_disabled"), text=_number_pattern("50057|50034|50020|90072")),
        *TOKEN,
    ),
)
