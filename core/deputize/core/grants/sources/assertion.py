"""Two steps to a token without a page: the company's provider says who the user is, the API's server believes it.

    session token -> company's provider -> ID-JAG, good for minutes and once -> the API's server -> access token

Who is believed: the company's provider, for who its users are and which APIs they may use; the API's server, for what
that is worth there. Both are named in the settings, each with our registration there: no answer of an API is asked
which server to use. There is no refresh token; each new token takes both steps, and a fresh ID-JAG, since a server may
take one only once. Sources: draft-ietf-oauth-identity-assertion-authz-grant, RFC 8693 2, RFC 7523 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from deputize.core.errors import ProviderUnavailable
from deputize.core.grants.sources.token_exchange import JWT_GRANT, TYPE_OF, bounded, exchanged
from deputize.core.oauth import flow
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.grant_sources import IdentityAssertion
from deputize.core.oauth.identity import Identity
from deputize.core.oauth.jose import content_of
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.token_reply import usable
from deputize.core.vault.grant import Account, Secret

ID_JAG: Final = "id-jag"
_SAID: Final = {"company": "iss", "company_subject": "sub", "company_email": "email"}
"""Claims of an ID-JAG that the grant keeps, by the names they have there."""


async def tokens(
    endpoint: Endpoint, company: Endpoint, source: IdentityAssertion, subject: Secret, scopes: frozenset[str]
) -> flow.Tokens:
    """Tokens of the API for the user whose session token this is. ``company``: at its provider. Raises `Refusal`."""
    oauth = replace(company.provider.oauth, always_scopes=(), resource="")  # of its own tokens, and not of the API's
    at_company = replace(company.provider, oauth=oauth)
    wanted = scopes | set(endpoint.provider.oauth.always_scopes)
    targets = {"audience": source.token_audience, "resource": source.resource}
    asserted = await company.issue(
        lambda: exchanged(at_company, company.app, source.session, subject, wanted, ID_JAG, **targets),
        parse_assertion,
    )
    found = await endpoint.issue(
        lambda: flow.by_grant(endpoint.provider, endpoint.app, JWT_GRANT, scopes, assertion=asserted.reveal()),
        flow.parse_tokens,
    )
    claims = content_of(asserted.reveal())
    said = {name: str(claims[claim]) for name, claim in _SAID.items() if isinstance(claims.get(claim), str)}
    return replace(bounded(found), extra={**found.extra, **said})


def asserted_account(provider: Provider, tokens: flow.Tokens) -> Account | None:
    """The account as the company's provider has named it, at a server that shows nobody; None at any other, which is
    asked itself. Who is called the same at another company is somebody else. The ID-JAG came from the company's token
    endpoint over TLS, so its signature is not looked at.
    """
    if provider.apis.identity.url or provider.oauth.jwks_url or "company_subject" not in tokens.extra:
        return None
    found = Identity("", "{company}#{company_subject}", "{company_email|company_subject}").read(tokens.extra)
    return found[0] if found else None


def parse_assertion(provider: Provider, reply: Any, _: Secret | None) -> Secret:
    """The ID-JAG in a reply (4.3.3 of the draft). Raises `ProviderUnavailable` for anything else."""
    found = reply if isinstance(reply, Mapping) else {}
    kind, asserted = found.get("issued_token_type"), found.get("access_token")
    if kind == TYPE_OF + ID_JAG and usable(asserted):
        return Secret(asserted)
    del reply, found, asserted  # else the frame of the error shows them
    raise ProviderUnavailable(f"{provider.label} gave no identity assertion (ID-JAG).")
