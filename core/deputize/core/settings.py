"""Settings: from ``DEPUTIZE_...`` variables and from ``deputize.toml``, the variables first (which: `configfile`).

DEPUTIZE_APPS__GOOGLE__CLIENT_ID=...          [apps.google]
DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET=...      client_id = "..."
                                              client_secret = "..."
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deputize.core.errors import SettingsError

try:
    from platformdirs import user_config_path, user_data_path
    from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
    from pydantic_settings import (
        BaseSettings,
        InitSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )
except ImportError as missing:
    raise SettingsError.without(missing, "settings", "web") from None
from deputize.core.audit import Mode
from deputize.core.audit.trail import Trail
from deputize.core.configfile import NAME, config_file, read_config, tell_unread, unread
from deputize.core.mcp.mcp_settings import McpSettings
from deputize.core.mcp.server import McpServer
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.registry import unknown_provider
from deputize.core.providers.app_settings import AppSettings as AppSettings
from deputize.core.providers.from_settings import ProviderSettings, with_settings
from deputize.core.secret_files import with_secret
from deputize.core.serve_settings import ServeSettings
from deputize.core.vault.key_source import ChangeableKeySource, KeySource, read_keys
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.key_sources.given import GivenKeys
from deputize.core.vault.key_sources.keyring import KeyringEntry
from deputize.core.vault.missing_vault import has_begun, set_aside
from deputize.core.vault.opaque import Secret
from deputize.core.vault.stores import store_type

log = logging.getLogger("deputize")
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?")


class Settings(BaseSettings):
    """Everything that can be set. Each field is ``DEPUTIZE_<NAME>``, or a line of ``deputize.toml``."""

    model_config = SettingsConfigDict(
        env_prefix="DEPUTIZE_", env_nested_delimiter="__", extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(
        default_factory=lambda: user_data_path("deputize"), description="Folder of vault, key and audit."
    )
    vault: str = Field(
        "",
        repr=False,
        description="Where grants are kept: a path, or postgresql://role@host/database. Default: vault.sqlite in home.",
    )
    vault_file: Path | None = Field(None, description="File that holds `vault`, where a password stands in that.")
    key: SecretStr | None = Field(None, description="Root keys, base64url, newest first, separated by commas.")
    key_file: Path | None = Field(None, description="File with root keys, 0600. Default: key in home.")
    keyring: bool = Field(False, description="Keep the root key in the system's keyring.")
    apps: dict[str, AppSettings] = Field(default_factory=dict, description="OAuth clients by name.")
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict, description="Providers described without code, by name."
    )
    mcp: dict[str, McpSettings] = Field(
        default_factory=dict, description="Foreign MCP servers, by name. See docs/any-mcp-server.md."
    )
    serve: ServeSettings = Field(
        default_factory=lambda: ServeSettings.model_validate({}), description="`deputize serve`."
    )
    agent: str = Field("agent", description="The name of the agent, as users see it on pages and in the audit.")
    policy: str = Field(
        "ask_before_sending", description="What is asked on every act: a built-in name, or package.module:function."
    )
    time_zone: str = Field(
        "",
        description="Europe/Berlin, where no provider tells a user's own. Empty: the machine's locally, else UTC.",
    )
    trusted_authors: dict[str, str] = Field(
        default_factory=dict,
        description="Whose texts a model may read, by toolkit: DEPUTIZE_TRUSTED_AUTHORS__<TOOLKIT>. See toolkits.md.",
    )
    base_url: str = Field("", description="Where a web application serves our pages. Empty: local mode, on loopback.")
    port: int = Field(8736, ge=0, le=65535, description="Port of the pages in local mode.")
    audit: Mode = Field("standard", description="standard: on disk within a second. strict: before a write acts.")
    audit_anchor_file: Path | None = Field(
        None, description="File that the audit's anchors are added to. Keep it on another disk or machine."
    )
    audit_files: bool = Field(
        False, description="Keep the audit in files of each machine where the vault's database would hold it."
    )
    audit_retention_days: int | None = Field(
        None, ge=7, description="Days after which rows of the audit are dropped, by whole files. Unset: never."
    )
    requests_per_minute: float = Field(300, ge=1, description="Requests one user's agents may send to one provider.")
    outcome_retention_seconds: float = Field(
        86400, ge=3600, description="Seconds that an act's outcome is kept: so long the same call is not done again."
    )
    file_retention_seconds: float = Field(86400, ge=3600, description="Seconds that a file is kept between two acts.")
    brand_name: str = Field("", description="Local mode: your application's name, on every page.")
    brand_logo: Path | None = Field(None, description="Its logo: a PNG, JPEG or WebP.")
    brand_colour: str = Field("", description="Its colour, as #0a5; refused where it cannot be seen well.")
    brand_support: str = Field("", description="Where people find help: an https or mailto address.")
    brand_privacy: str = Field("", description="Its privacy policy: an https address.")
    sandbox_url: str = Field("", description="Base URL of a sandbox on loopback that plays the providers.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed, then the environment, then the settings file."""
        given = {**env_settings(), **init_settings()}
        path = config_file(_home(given), user_config_path("deputize"))
        tell_unread(path)
        said = read_config(path) if path else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=said)

    @model_validator(mode="before")
    @classmethod
    def _secret_in_a_file(cls, said: Any) -> Any:
        return with_secret(said, "vault")

    @field_validator("sandbox_url")
    @classmethod
    def _on_loopback(cls, url: str) -> str:
        """A stand-in gets codes, tokens and client secrets: it is on this machine."""
        if url and not _LOOPBACK.fullmatch(url):
            raise ValueError("a sandbox is on loopback: http://127.0.0.1:PORT")
        return url

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        """One that this machine has the rules of."""
        try:
            return ZoneInfo(name).key if name else ""
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no zone of this name is known here: Europe/Berlin, UTC ...") from None

    @classmethod
    def load(cls, **given: object) -> Settings:
        """The settings in force. Raises `SettingsError`, naming each field at fault and never its value."""
        try:
            return cls.model_validate({}) if not given else cls(**given)  # type: ignore[arg-type]
        except ValidationError as e:
            raise _in_words(e) from None

    def unread_file(self) -> Path | None:
        """A ``deputize.toml`` in the working directory that nobody named, so that it was not read."""
        return unread(config_file(self.home, user_config_path("deputize")))

    def own_file(self) -> Path:
        """The settings file in force, or the one that would be: in the home."""
        return config_file(self.home, user_config_path("deputize")) or self.home / NAME

    @property
    def local(self) -> bool:
        """One person on this machine: no web application serves our pages."""
        return not self.base_url

    @property
    def zone(self) -> tzinfo | None:
        """In which people read times; None for the machine's own."""
        return ZoneInfo(self.time_zone) if self.time_zone else None if self.local else UTC

    @property
    def vault_url(self) -> str:
        """Where the grants are."""
        return self.vault or str(self.home / "vault.sqlite")

    @property
    def audit_folder(self) -> Path:
        """Where the audit's files are, if it is kept in files."""
        return self.home / "audit"

    @cached_property
    def audit_trail(self) -> Trail:
        """Where the audit is: a table beside the vault's records where its store has one, else the folder."""
        table = store_type(self.vault_url).audit
        return table(self.vault_url) if table and not self.audit_files else self.audit_folder

    def new_vault(self) -> bool:
        """Whether no vault exists yet."""
        return not store_type(self.vault_url).exists(self.vault_url)

    def begun(self) -> bool:
        """Whether there has been a vault: it has left an audit."""
        return has_begun(self.vault_url, self.audit_trail)

    def set_aside(self, stamp: str) -> list[Path]:
        """Move away what is left of a lost vault, so that a new one can begin. As `deputize.core.vault.missing_vault`
        says."""
        return set_aside(self.vault_url, self.audit_trail, self.audit_folder, stamp)

    @property
    def key_source(self) -> KeySource:
        """Where root keys come from."""
        if self.key is not None:
            return GivenKeys(Secret(self.key.get_secret_value()))
        return KeyringEntry() if self.keyring else KeyFile(self.key_file or self.home / "key")

    def keys(self) -> list[bytes]:
        """The root keys, newest first. Made only in local mode, only where no vault exists yet, and announced.

        Raises `SettingsError` where there are none.
        """
        source = self.key_source
        if source.exists():
            return read_keys(source)
        if isinstance(source, ChangeableKeySource) and self.local and self.new_vault():
            made = source.make_key()
            log.warning(
                "Made a new key in %s. Keep a copy apart from the vault: without it the vault stays shut.", source.name
            )
            return made
        what = "No key" if self.new_vault() else "There is a vault but no key"
        raise SettingsError(
            f"{what}: {source.name} does not exist and DEPUTIZE_KEY is not set.",
            hint="Set DEPUTIZE_KEY or DEPUTIZE_KEY_FILE to the vault's key; for a new vault: deputize key new.",
        )

    def all_apps(self) -> list[App]:
        """The OAuth clients. Raises `SettingsError` for one whose private key cannot be used."""
        return [app.client(name) for name, app in self.apps.items()]

    def all_providers(self) -> Mapping[str, Provider]:
        """All providers there are, where the apps say they are; or a sandbox that plays them.

        An app with a ``host`` has a provider of its own, called like the app. Raises `SettingsError` for a name that is
        no host's, or that another provider has.
        """
        rows = with_settings(self.providers)
        elsewhere = {}
        for name, app in self.apps.items():
            if app.host:
                elsewhere[name] = _elsewhere(name, app, rows)
        rows |= elsewhere
        if not self.sandbox_url:
            return rows
        return {name: row.moved_to(self.sandbox_url.rstrip("/")) for name, row in rows.items()}

    def mcp_servers(self) -> list[McpServer]:
        """The foreign MCP servers. Raises `SettingsError` for one that cannot be."""
        return [one.server(name) for name, one in self.mcp.items()]

    def issuers(self) -> Mapping[str, AppSettings]:
        """The providers that are known by their issuer only, by name, each with an app of it.

        Raises `SettingsError` where apps of one provider say different things of it, or the table has that name.
        """
        found: dict[str, AppSettings] = {}
        rows = with_settings(self.providers)
        for name, app in self.apps.items():
            if not app.issuer:
                continue
            row = app.row(name)
            if app.host or row in rows or any(row == n and a.host for n, a in self.apps.items()):
                raise SettingsError(f"The app {name!r} has an issuer, but {row!r} is known without one.")
            if _said(found.setdefault(row, app)) != _said(app):
                hint = "Give all of them the same issuer."
                raise SettingsError(f"The apps of {row!r} say different things of it.", hint=hint)
        return found


def _home(given: Mapping[str, object]) -> Path:
    """Where the home is, before the settings file was read, which may lie there.

    Raises `SettingsError` for a path that no file can have.
    """
    named = str(given.get("home") or user_data_path("deputize"))
    try:
        home = Path(named).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            home.stat()
    except (RuntimeError, OSError, ValueError) as e:  # nobody's home, too long, a zero byte
        why = e.strerror if isinstance(e, OSError) else e
        hint = "Set DEPUTIZE_HOME to the path of a folder."
        raise SettingsError(f"The home {named[:80]!r} cannot be used: {why}.", hint=hint) from None
    return home


def _elsewhere(name: str, app: AppSettings, rows: Mapping[str, Provider]) -> Provider:
    base = app.provider or name
    if base not in rows:
        message, hint = unknown_provider(base, rows)
        raise SettingsError(f"The app {name!r} has a host: {message}", hint=hint)
    if name in rows and name != base:
        hint = f"Taken by providers: {', '.join(rows)}."
        raise SettingsError(f"The app {name!r} has a host of {base}, so it needs a name of its own.", hint=hint)
    return rows[base].at_host(app.host, name)


def _said(app: AppSettings) -> tuple[object, ...]:
    said = app.issuer, app.label, app.api, app.resource, app.allow_private_network, app.trusted_origins
    return *said, app.par, app.dpop, app.assertion_audience


def _in_words(error: ValidationError) -> SettingsError:
    """What to raise in its place: each place as it stands in the settings, and never a value."""
    faults = "; ".join(map(_fault, error.errors(include_input=False)))
    return SettingsError(f"Settings: {faults}", hint="Check the DEPUTIZE_... variables and deputize.toml.")


def _fault(found: Mapping[str, Any]) -> str:
    place, says = list(found["loc"]), found["msg"]
    if place[:1] == ["apps"] and place[2:3] == ["source"] and len(place) > 3:
        del place[3]  # which kind of source it was read as: pydantic's, not written there
    if found["type"] == "union_tag_not_found":
        place, says = [*place, "kind"], "Field required"
    elif found["type"] == "union_tag_invalid":
        place, says = [*place, "kind"], f"Input should be one of {found['ctx']['expected_tags']}"
    return f"{'.'.join(map(str, place))}: {says}"
