"""Identity assertion: two requests for a token, without a page. The company's provider identifies the user to the API's
server.

    session token -> company's provider -> ID-JAG, valid for minutes and once -> the API's server -> access token

Trusted: the company's provider, for the identity of its users and the APIs they may use; the API's server, for their
rights there. The settings name both, with deputize's registration at each: no API reply decides which server to use.
There is no refresh token. Each new token takes both requests and a new ID-JAG, because a server may accept an ID-JAG
only once. Sources: draft-ietf-oauth-identity-assertion-authz-grant, RFC 8693 2, RFC 7523 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from deputize.core.errors import ProviderUnavailable
from deputize.core.grants.sources.token_exchange import JWT_GRANT, TYPE_OF, exchange_request, with_lifetime
from deputize.core.oauth import messages as flow
from deputize.core.oauth.app import IdentityAssertion
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.identity import Identity
from deputize.core.oauth.jose import content_of
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.token_reply import usable
from deputize.core.vault.grant import Account, Secret

ID_JAG: Final = "id-jag"
_SAID: Final = {"company": "iss", "company_subject": "sub", "company_email": "email"}
"""Claims of an ID-JAG that the grant keeps, by their names in the grant."""


async def request_tokens(
    endpoint: Endpoint, company: Endpoint, source: IdentityAssertion, subject: Secret, scopes: frozenset[str]
) -> flow.Tokens:
    """Return the API's tokens for the user of this session token. ``company``: its provider. Raises `Refusal`."""
    oauth = replace(
        company.provider.oauth, always_scopes=(), resource=""
    )  # these are of its own tokens, not of the API's
    at_company = replace(company.provider, oauth=oauth)
    wanted = scopes | set(endpoint.provider.oauth.always_scopes)
    targets = {"audience": source.token_audience, "resource": source.resource}
    asserted = await company.issue(
        lambda: exchange_request(at_company, company.app, source.session, subject, wanted, ID_JAG, **targets),
        parse_assertion,
    )
    found = await endpoint.issue(
        lambda: flow.by_grant(endpoint.provider, endpoint.app, JWT_GRANT, scopes, assertion=asserted.reveal()),
        flow.parse_tokens,
    )
    claims = content_of(asserted.reveal())
    said = {name: str(claims[claim]) for name, claim in _SAID.items() if isinstance(claims.get(claim), str)}
    return replace(with_lifetime(found), extra={**found.extra, **said})


def asserted_account(provider: Provider, tokens: flow.Tokens) -> Account | None:
    """Return the account as the company's provider named it, or None if the API's server names accounts itself.

    The same subject at another company is another account. The ID-JAG came from the company's token endpoint over TLS,
    so its signature is not checked.
    """
    if provider.apis.identity.url or provider.oauth.jwks_url or "company_subject" not in tokens.extra:
        return None
    found = Identity("", "{company}#{company_subject}", "{company_email|company_subject}").read(tokens.extra)
    return found[0] if found else None


def parse_assertion(provider: Provider, reply: Any, _: Secret | None) -> Secret:
    """Return the ID-JAG of a reply (4.3.3 of the draft). Raises `ProviderUnavailable` for any other reply."""
    found = reply if isinstance(reply, Mapping) else {}
    kind, asserted = found.get("issued_token_type"), found.get("access_token")
    if kind == TYPE_OF + ID_JAG and usable(asserted):
        return Secret(asserted)
    del reply, found, asserted  # else a traceback shows them
    raise ProviderUnavailable(f"{provider.label} gave no identity assertion (ID-JAG).")
