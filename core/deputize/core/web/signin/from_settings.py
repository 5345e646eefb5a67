"""The sign-in and the checks of access tokens that settings describe: one issuer, or one for each tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import SettingsError
from deputize.core.oauth.app import App
from deputize.core.roles import RoleMap
from deputize.core.settings import IssuerSettings, Settings, SignInSettings
from deputize.core.vault.secret_values import Secret
from deputize.core.web.signin.access_tokens import AccessTokens
from deputize.core.web.signin.base_sign_in import BaseSignIn, StepUp
from deputize.core.web.signin.issuer import Issuer
from deputize.core.web.signin.resource_server import ResourceServer
from deputize.core.web.signin.sign_in import SignIn
from deputize.core.web.signin.tenants import SignIns

ENDPOINT: Final = "/mcp"
"""The path of the MCP endpoint below ``base_url``. With several issuers, each has one below it, with its name."""


def sign_in_from(deputy: BaseDeputy, settings: Settings) -> BaseSignIn | SignIns:
    """Return the sign-in of the settings, which is the ``verifier`` of the pages, and adds its pages to them.

    Raises `SettingsError` if there is none, or if two of them could not be told apart.
    """
    found = settings.sign_ins()
    if not found:
        raise SettingsError(
            "No issuer signs users in.", hint="Set DEPUTIZE_SERVE__ISSUER and DEPUTIZE_SERVE__CLIENT_ID."
        )
    made = {name: _sign_in(deputy, settings, name, one) for name, one in found.items()}
    if "" in made:
        return made[""]
    _refuse_shared_issuers({name: (one.sessions.issuer, found[name].required_claims) for name, one in made.items()})
    domains = {domain: name for name, one in settings.signin.items() for domain in one.domains}
    if len(domains) < sum(len(one.domains) for one in settings.signin.values()):
        raise SettingsError("A domain leads to two sign-ins.", hint="Name it in one table of [signin].")
    return SignIns(deputy, made.values(), domains)


def guards_from(settings: Settings, sign_in: BaseSignIn | SignIns) -> Mapping[str, ResourceServer]:
    """Return the checks of access tokens, by the path of the endpoint below ``base_url`` that each of them guards.

    Each issuer has its own endpoint, so its opaque tokens are sent to no other issuer, and clients find the right one.
    """
    found, base = dict[str, ResourceServer](), settings.base_url.rstrip("/")
    for one in sign_in.sign_ins if isinstance(sign_in, SignIns) else [sign_in]:
        if not isinstance(one, SignIn):
            continue
        path, given = f"{ENDPOINT}/{one.name}" if one.name else ENDPOINT, settings.sign_ins()[one.name]
        tokens = AccessTokens(
            one.issuer,
            given.token_audience or base + path,
            subject=given.subject,
            plain_jwt=given.plain_jwt,
            app=one.app if given.introspect else None,
            never=given.client_id,
            tenant=one.tenant,
            roles=one.roles,
            required=given.required_claims,
        )
        found[path] = ResourceServer(tokens, resource=base + path, scopes=given.scopes, name=settings.agent)
    return found


def client_of(given: IssuerSettings) -> App:
    """Return deputize's own client at an issuer."""
    secret = given.client_secret
    return App("sign-in", given.client_id, Secret(secret.get_secret_value()) if secret else None)


def tenant_of(name: str, given: IssuerSettings) -> str:
    """Return the tenant of an issuer's users."""
    return (given.tenant or name) if isinstance(given, SignInSettings) else ""


def _sign_in(deputy: BaseDeputy, settings: Settings, name: str, given: IssuerSettings) -> BaseSignIn:
    more: dict[str, Any] = {
        "subject": given.sign_in_subject,
        "required": given.required_claims,
        "name": name,
        "tenant": tenant_of(name, given),
        "roles": RoleMap.of(settings.roles),
        "step_up": StepUp(given.step_up_seconds, tuple(given.step_up_acr)) if given.step_up_seconds else None,
    }
    if isinstance(given, SignInSettings) and given.saml_metadata_file and given.saml_key_file:
        from deputize.core.web.signin.saml.parties import IdentityProvider, read_keys  # they need an extra
        from deputize.core.web.signin.saml.saml_sign_in import SamlSignIn

        return SamlSignIn(
            deputy,
            provider=IdentityProvider.read(given.saml_metadata_file),
            keys=read_keys(given.saml_key_file),
            name_id=given.saml_name_id,
            **more,
        )
    client = client_of(given)
    return SignIn(
        deputy,
        issuer=Issuer(given.issuer, deputy.http, deputy.clock),
        client_id=client.client_id,
        client_secret=client.client_secret,
        scopes=given.sign_in_scopes,
        **more,
    )


def _refuse_shared_issuers(found: Mapping[str, tuple[str, Mapping[str, str]]]) -> None:
    """Raise `SettingsError` if one issuer signs users in for two tenants and nothing tells its users apart.

    ``found``: issuer and required claims by the name of a sign-in.
    """
    by_issuer = dict[str, list[tuple[str, Mapping[str, str]]]]()
    for name, (issuer, claims) in found.items():
        by_issuer.setdefault(issuer, []).append((name, claims))
    for issuer, tables in by_issuer.items():
        for place, (name, claims) in enumerate(tables):
            for other, others in tables[place + 1 :]:
                if not any(claims[claim] != others[claim] for claim in claims.keys() & others.keys()):
                    raise SettingsError(
                        f"signin.{name} and signin.{other} have the same issuer, {issuer}: its users would be in both "
                        "tenants.",
                        hint='Give both required_claims that differ, as { hd = "acme.example" }.',
                    )
