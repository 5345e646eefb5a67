"""An OAuth app described in settings: ``[apps.google]`` in ``deputize.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr, model_validator

from deputize.core.oauth.app import App
from deputize.core.oauth.client_key import ClientKey
from deputize.core.oauth.oauth_endpoints import Audience
from deputize.core.providers.source_settings import SourceSettings
from deputize.core.secret_files import with_secret
from deputize.core.vault.grant import Secret


class AppSettings(BaseModel):
    """One OAuth client, as registered at its provider.

    ``pkce``: the registration has PKCE switched on, where that is its own choice (Slack). ``host``: where somebody else
    runs the provider (GitHub Enterprise, a Salesforce domain), as ``github.example.com``; the app's own name is then
    the provider's, too. ``issuer``: of a server that is not in the table, which is asked for its metadata at start;
    ``label``, ``api``, ``resource``, ``allow_private_network``, ``trusted_origins``, ``par`` and ``dpop`` say what that
    does not: see `deputize.core.discover`.

    ``client_secret_file``: a file that holds the secret. ``private_key_file``: what the client signs with instead
    of showing a secret (``private_key_jwt``): PEM or a JSON Web Key, mode 0600. ``private_key_id``: its ``kid``,
    where the server knows it by one; ``private_key_alg``: the algorithm, where it is not the key's usual one.
    ``assertion_audience``: whether the server wants to be named by its ``issuer``, or by its ``token`` endpoint.

    ``source``: where its grants come from without a consent page, as a table ``[apps.NAME.source]`` with a ``kind``:
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
    def _secret_in_a_file(cls, said: Any) -> Any:
        return with_secret(said, "client_secret")

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> AppSettings:
        """Whoever believes that tokens are bound, or requests pushed, is not left in it."""
        if not self.issuer and (vain := sorted(self.model_fields_set & {"par", "dpop", "assertion_audience"})):
            raise ValueError(f"{', '.join(vain)}: only of an app with an issuer; any other provider's row says it")
        return self

    def client(self, name: str) -> App:
        """The OAuth client. Raises `SettingsError` for one that cannot be, or whose private key cannot be used."""
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
        """The provider's name, for an app of this name."""
        return name if self.host else self.provider or name
