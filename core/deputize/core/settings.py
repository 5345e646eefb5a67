"""Settings: from ``DEPUTIZE_...`` variables and from ``deputize.toml``, the variables first.

DEPUTIZE_APPS__GOOGLE__CLIENT_ID=...          [apps.google]
DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET=...      client_id = "..."
                                              client_secret = "..."
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from deputize.core.errors import SettingsError

try:
    from platformdirs import user_config_path, user_data_path
    from pydantic import BaseModel, Field, SecretStr, ValidationError
    from pydantic_settings import (
        BaseSettings,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
        TomlConfigSettingsSource,
    )
except ImportError as missing:
    raise SettingsError(f"{missing.name} is not installed.", hint='pip install "deputize[cli]"') from None
from deputize.core.audit import Mode
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.providers import PROVIDERS
from deputize.core.vault.grant import Secret
from deputize.core.vault.keys import keyring_keys, make_key_file, parse_keys, read_key_file
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault

log = logging.getLogger("deputize")


class AppSettings(BaseModel):
    """One OAuth client, as registered at its provider.

    ``pkce``: the registration has PKCE switched on, where that is its own choice (Slack). ``host``: where somebody else
    runs the provider (GitHub Enterprise, a Salesforce domain), as ``github.example.com``.
    """

    client_id: str
    client_secret: SecretStr | None = None
    provider: str = ""
    pkce: bool = False
    host: str = ""


class Settings(BaseSettings):
    """Everything that can be set. Each field is ``DEPUTIZE_<NAME>``, or a line of ``deputize.toml``."""

    model_config = SettingsConfigDict(
        env_prefix="DEPUTIZE_", env_nested_delimiter="__", extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(
        default_factory=lambda: user_data_path("deputize"), description="Folder of vault, key and audit."
    )
    vault: str = Field("", description="Where grants are kept: a path or URL. Default: vault.sqlite in home.")
    key: SecretStr | None = Field(None, description="Root keys, base64url, newest first, separated by commas.")
    key_file: Path | None = Field(None, description="File with root keys, 0600. Default: key in home.")
    keyring: bool = Field(False, description="Keep the root key in the system's keyring.")
    apps: dict[str, AppSettings] = Field(default_factory=dict, description="OAuth clients by name.")
    agent: str = Field("agent", description="The name of the agent, as users see it on pages and in the audit.")
    base_url: str = Field("", description="Where a web application serves our pages. Empty: local mode, on loopback.")
    port: int = Field(8736, ge=0, le=65535, description="Port of the pages in local mode.")
    audit: Mode = Field("standard", description="standard: on disk within a second. strict: before a write acts.")
    sandbox: str = Field("", description="Base URL of a sandbox on loopback that plays the providers.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed, then the environment, then the nearest ``deputize.toml``."""
        files = [Path("deputize.toml"), user_config_path("deputize") / "deputize.toml"]
        toml = TomlConfigSettingsSource(settings_cls, next((f for f in files if f.is_file()), None))
        return init_settings, env_settings, toml

    @classmethod
    def load(cls, **given: object) -> Settings:
        """The settings in force. Raises `SettingsError`, naming each field at fault and never its value."""
        try:
            return cls.model_validate({}) if not given else cls(**given)  # type: ignore[arg-type]
        except ValidationError as e:
            faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in e.errors(include_input=False))
            raise SettingsError(
                f"Settings: {faults}", hint="Check the DEPUTIZE_... variables and deputize.toml."
            ) from None
        except ValueError as e:
            raise SettingsError(f"deputize.toml cannot be read: {type(e).__name__}.") from None

    @property
    def local(self) -> bool:
        """One person on this machine: no web application serves our pages."""
        return not self.base_url

    @property
    def vault_url(self) -> str:
        """Where the grants are."""
        return self.vault or str(self.home / "vault.sqlite")

    @property
    def audit_folder(self) -> Path:
        """Where the audit's files are."""
        return self.home / "audit"

    def new_vault(self) -> bool:
        """Whether no vault exists yet."""
        if self.vault_url.startswith("memory:"):
            return True
        return not Path(self.vault_url.removeprefix("sqlite://")).exists()

    def keys(self) -> list[bytes]:
        """The root keys, newest first. Made only in local mode, only where no vault exists yet, and announced.

        Raises `SettingsError` where there are none.
        """
        if self.key is not None:
            return parse_keys(self.key.get_secret_value())
        if self.keyring:
            return keyring_keys()
        path = self.key_file or self.home / "key"
        if path.exists():
            return read_key_file(path)
        if self.local and self.new_vault():
            made = make_key_file(path)
            log.warning(
                "Made a new key in %s. Keep a copy apart from the vault: without it the vault stays shut.", path
            )
            return made
        what = "No key" if self.new_vault() else "There is a vault but no key"
        raise SettingsError(
            f"{what}: {path} does not exist and DEPUTIZE_KEY is not set.",
            hint="Set DEPUTIZE_KEY or DEPUTIZE_KEY_FILE to the vault's key; for a new vault: deputize key new.",
        )

    async def open_vault(self) -> Vault:
        """The vault, opened with the keys and rid of what has expired. A new one is made only where none is."""
        keys = self.keys()
        store = open_store(self.vault_url, create=self.new_vault())
        try:
            vault = await Vault.open(store, keys)
            await vault.sweep(time.time())
            return vault
        except BaseException:
            await store.close()
            raise

    def all_apps(self) -> list[App]:
        """The OAuth clients."""
        return [
            App(
                provider=app.provider or name,
                client_id=app.client_id,
                client_secret=Secret(app.client_secret.get_secret_value()) if app.client_secret else None,
                name=name,
                pkce=app.pkce,
            )
            for name, app in self.apps.items()
        ]

    def all_providers(self) -> Mapping[str, Provider]:
        """The providers, where the apps say they are; or a sandbox that plays them.

        Raises `SettingsError` where two apps of one provider name different hosts, or a name is no host's.
        """
        rows = dict(PROVIDERS)
        for provider, host in self._hosts().items():
            if provider in rows and host:
                rows[provider] = rows[provider].at_host(host)
        if not self.sandbox:
            return rows
        return {name: row.moved_to(self.sandbox.rstrip("/")) for name, row in rows.items()}

    def _hosts(self) -> Mapping[str, str]:
        hosts: dict[str, str] = {}
        for name, app in self.apps.items():
            provider = app.provider or name
            if hosts.setdefault(provider, app.host) != app.host:
                hint = "One host for each provider: give all of its apps the same."
                raise SettingsError(f"The apps of {provider} name different hosts.", hint=hint)
        return hosts
