"""An OAuth app described in settings: ``[apps.google]`` in ``deputize.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr, model_validator

from deputize.core.oauth.app import App
from deputize.core.oauth.client_key import ClientKey
from deputize.core.oauth.provider import Audience
from deputize.core.providers.source_settings import SourceSettings
from deputize.core.secret_files import with_secret
from deputize.core.vault.grant import Secret


class AppSettings(BaseModel):
    """One OAuth client, as registered at its provider.

    ``pkce``: the registration has PKCE enabled, if the provider leaves that to it (Slack). ``host``: where somebody
    else hosts the provider (GitHub Enterprise, a Salesforce domain), as ``github.example.com``; the app's name is then
    also the provider's. ``issuer``: of a server that is not built in, whose metadata is read at start; ``label``,
    ``api``, ``resource``, ``allow_private_network``, ``trusted_origins``, ``par`` and ``dpop`` add what metadata does
    not say: see `deputize.core.discover`.

    ``client_secret_file``: a file with the secret. ``private_key_file``: the client's signing key instead of a secret
    (``private_key_jwt``): PEM or a JSON Web Key, mode 0600. ``private_key_id``: its ``kid``, if the server requires
    one. ``private_key_alg``: the algorithm, if not the key's usual one. ``assertion_audience``: whether assertions name
    the server's ``issuer`` or its ``token`` endpoint.

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
        """Return the provider's name for an app of this name."""
        return name if self.host else self.provider or name
