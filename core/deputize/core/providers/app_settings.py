"""An OAuth app in ``deputize.toml``: ``[apps.google]``, and ``[apps.google.source]``, the source of its grants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, model_validator

from deputize.core.errors import SettingsError
from deputize.core.oauth.app import App, IdentityAssertion, ServiceAccount, SessionToken, Source, TokenExchange
from deputize.core.oauth.client_key import ClientKey, key_in
from deputize.core.oauth.provider import Audience
from deputize.core.secret_files import with_secret
from deputize.core.vault.grant import Secret, SecretBytes
from deputize.core.vault.private_files import read_private

_MAX_KEY_FILE_BYTES: Final = 2**16
_CLAIM: Final = "Claim of the session token that must be the user's id; empty: trust your application."
_KIND: Final = "Kind of the session token (RFC 8693 3)."
_AUDIENCE: Final = "Name of the API at the server, if it requires one (RFC 8693 2.1)."
_NOT_ENTRA: Final = "Not with `on_behalf_of`."
_STRICT: Final = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ExchangeSettings(BaseModel):
    """Exchange of your application's session token of the user for a token of the API."""

    model_config = _STRICT

    kind: Literal["exchange", "on_behalf_of"]
    session: SessionToken = Field("access_token", description=f"{_KIND} {_NOT_ENTRA}")
    token_audience: str = Field("", description=f"{_AUDIENCE} {_NOT_ENTRA}")
    user_claim: str = Field("sub", description=_CLAIM)

    def source(self, app: str, client_id: str) -> Source:
        """Return the source of grants. Raises `SettingsError` if it is invalid."""
        if self.kind == "on_behalf_of" and self.model_fields_set & {"session", "token_audience"}:
            raise SettingsError(
                f"[apps.{app}.source]: session and audience are of an exchange, not of on_behalf_of.",
                hint="On behalf of, the scopes name the API: api://.../access, https://graph.microsoft.com/Mail.Read.",
            )
        return TokenExchange(self.session, self.token_audience, self.kind == "on_behalf_of", self.user_claim)


class IdentityAssertionSettings(BaseModel):
    """Assertion of the user's identity by the company's provider, which the API's server accepts (ID-JAG)."""

    model_config = _STRICT

    kind: Literal["identity_assertion"]
    identity_app: str = Field(min_length=1, description="The app that is our client at the company's provider.")
    token_audience: str = Field(min_length=1, description="Issuer of the API's server, exactly as in its metadata.")
    resource: str = Field("", description="The API, as its server calls it (RFC 8707).")
    session: SessionToken = Field("id_token", description=_KIND)
    user_claim: str = Field("sub", description=_CLAIM)

    def source(self, app: str, client_id: str) -> Source:
        """Return the source."""
        return IdentityAssertion(self.identity_app, self.token_audience, self.resource, self.session, self.user_claim)


class ServiceAccountSettings(BaseModel):
    """An organisation's own account that belongs to no user."""

    model_config = _STRICT

    kind: Literal["service_account"]
    organisation: str = Field(min_length=1, description="Owner of the account, as shown to users.")
    scopes: list[str] = Field(min_length=1, description="The most it may ever have.")
    tenant: str = Field("", description="The tenant whose users may act as it.")
    key_file: Path | None = Field(
        None,
        description="Its signing key, 0600: Google's file, PEM or a JSON Web Key. Unset: the app's secret.",
    )
    valid_until: AwareDatetime | None = Field(
        None, description="When this key or secret ends: deputize says so before. Unset: not known."
    )

    def source(self, app: str, client_id: str) -> Source:
        """Return the source. Raises `SettingsError` if the key cannot be used or belongs to another account."""
        key = _key_of_account(self.key_file, app, client_id) if self.key_file else None
        ends = self.valid_until.timestamp() if self.valid_until else 0.0
        return ServiceAccount(self.organisation, frozenset(self.scopes), self.tenant, key, ends)


SourceSettings = Annotated[
    ExchangeSettings | IdentityAssertionSettings | ServiceAccountSettings, Field(discriminator="kind")
]


def _key_of_account(path: Path, app: str, client_id: str) -> ClientKey:
    try:
        text = SecretBytes(read_private(path, _MAX_KEY_FILE_BYTES))
    except SettingsError as e:
        raise SettingsError(f"The key of the service account {app!r}: {e.message}", hint=e.hint) from None
    found = _key_for(text, client_id)
    if isinstance(found, str):
        raise SettingsError(f"The key of the service account {app!r} {found}.", hint=str(path))
    return found


def _key_for(text: SecretBytes, client_id: str) -> ClientKey | str:
    """Return the key in this text, which may be Google's file for this account, or an error text. An exception would
    keep the plaintext in its frame."""
    try:
        file = json.loads(text.reveal())
    except (ValueError, RecursionError):
        return key_in(text)
    if not isinstance(file, dict) or "kty" in file:
        return key_in(text)
    if file.get("type") != "service_account":
        return "is no key: Google's file of a service account says service_account as its type, this one does not"
    if file.get("client_email") != client_id:
        return "is of another account than client_id says: that is the client_email in the file"
    key, kid = file.get("private_key"), file.get("private_key_id")
    if not isinstance(key, str):
        return "holds no private_key"
    return key_in(SecretBytes(key.encode()), kid=kid if isinstance(kid, str) else "")


class AppSettings(BaseModel):
    """One OAuth client, as registered at its provider.

    ``pkce``: True if the registration has PKCE enabled, at a provider where that is optional (Slack). ``host``: the
    host of a provider that somebody else runs (GitHub Enterprise, a Salesforce domain), as ``github.example.com``; the
    app's name is then also the provider's. ``issuer``: the issuer of a server that is not built in, whose metadata is
    read at start; ``label``, ``api``, ``resource``, ``allow_private_network``, ``trusted_origins``, ``par`` and
    ``dpop`` add what metadata omits: see `deputize.core.discover`.

    ``client_secret_file``: a file with the secret. ``private_key_file``: the client's signing key instead of a secret
    (``private_key_jwt``): PEM or a JSON Web Key, mode 0600. ``private_key_id``: its ``kid``, if the server requires
    one. ``private_key_alg``: the algorithm, if not the key's usual one. ``assertion_audience``: the name in assertions,
    the server's ``issuer`` or its ``token`` endpoint.

    ``source``: the source of grants without a consent page, as a table ``[apps.NAME.source]`` with a ``kind``:
    ``exchange``, ``on_behalf_of``, ``identity_assertion`` or ``service_account``; see docs/grants-without-a-screen.md.
    """

    client_id: str
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    provider: str = ""
    pkce: bool = False
    host: str = ""
    issuer: str = ""
    label: str = ""
    api: dict[str, str] = Field(default_factory=dict)
    resource: str = ""
    allow_private_network: bool = False
    trusted_origins: list[str] = Field(default_factory=list)
    par: bool = False
    dpop: bool = False
    private_key_file: Path | None = None
    private_key_id: str = ""
    private_key_alg: str = ""
    assertion_audience: Audience = "issuer"
    source: SourceSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, values: Any) -> Any:
        return with_secret(values, "client_secret")

    @model_validator(mode="after")
    def _refuse_ignored_fields(self) -> AppSettings:
        """Raise `ValueError` for fields without effect, so that nobody wrongly believes that tokens are bound."""
        if not self.issuer and (ignored := sorted(self.model_fields_set & {"par", "dpop", "assertion_audience"})):
            raise ValueError(f"{', '.join(ignored)}: only of an app with an issuer; other providers set it")
        return self

    def client(self, name: str) -> App:
        """Return the OAuth client. Raises `SettingsError` if it is invalid or its private key cannot be used."""
        path, secret = self.private_key_file, self.client_secret
        return App(
            provider=self.row(name),
            client_id=self.client_id,
            client_secret=Secret(secret.get_secret_value()) if secret else None,
            name=name,
            pkce=self.pkce,
            key=ClientKey.read(path, app=name, alg=self.private_key_alg, kid=self.private_key_id) if path else None,
            source=self.source.source(name, self.client_id) if self.source else None,
        )

    def row(self, name: str) -> str:
        """Return the name of the provider for an app of this name."""
        return name if self.host else self.provider or name
