"""Settings from ``DEPUTIZE_...`` variables and ``deputize.toml`` (found by `configfile`). Variables win.

DEPUTIZE_APPS__GOOGLE__CLIENT_ID=...          [apps.google]
DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET=...      client_id = "..."
                                              client_secret = "..."
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deputize.core.errors import SettingsError

try:
    from platformdirs import user_config_path, user_data_path
    from pydantic import (
        AfterValidator,
        BaseModel,
        ConfigDict,
        Field,
        SecretStr,
        ValidationError,
        field_validator,
        model_validator,
    )
    from pydantic_settings import (
        BaseSettings,
        InitSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )
except ImportError as missing:
    raise SettingsError.without(missing, "settings", "web") from None
from deputize.core.acts.rate_limit import DEFAULT_REQUESTS_PER_MINUTE
from deputize.core.approvals.record import UNATTENDED_APPROVAL_TTL
from deputize.core.audit import Mode
from deputize.core.audit.export_settings import AuditExportSettings
from deputize.core.audit.trail import Trail
from deputize.core.configfile import NAME, config_file, find_unread_file, read_config, tell_unread
from deputize.core.idempotency.ledger import OUTCOME_TTL
from deputize.core.mcp_client.mcp_settings import McpSettings
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.registry import unknown_provider
from deputize.core.paths import usable_path
from deputize.core.providers.app_settings import AppSettings as AppSettings
from deputize.core.providers.from_settings import ProviderSettings, with_settings
from deputize.core.roles import ROLE_MAX_AGE_SECONDS, RoleMap
from deputize.core.secret_files import with_secret
from deputize.core.tools.stored_files import FILE_TTL
from deputize.core.vault.key_source import ChangeableKeySource, KeyList, KeySource, read_keys
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.key_sources.given import GivenKeys
from deputize.core.vault.key_sources.keyring import KeyringEntry
from deputize.core.vault.kms.protocol import KmsSettings
from deputize.core.vault.missing_vault import has_begun, set_aside
from deputize.core.vault.secret_values import Secret
from deputize.core.vault.stores import store_type

log = logging.getLogger("deputize")
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?")
PLACE: Final = r"^(?:([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])?:([0-9]{1,5}))?$"
"""HOST:PORT, :PORT, or nothing."""


_UsablePath = Annotated[Path, AfterValidator(usable_path)]
_OF_OPENID: Final = frozenset(
    {
        *("issuer", "token_audience", "scopes", "subject", "plain_jwt", "introspect", "client_id", "client_secret"),
        "sign_in_scopes",
    }
)
"""Fields of an issuer that have no effect at a SAML identity provider."""


class IssuerSettings(BaseModel):
    """An issuer that signs users in: the part that ``[serve]`` and each ``[signin.NAME]`` share."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    issuer: str = Field("", description="The issuer's address, exactly as its metadata spells it.")
    token_audience: str = Field(
        "",
        description="Required `aud` of an access token. Default: the URL of the endpoint, BASE_URL/mcp or "
        "BASE_URL/mcp/NAME.",
    )
    scopes: list[str] = Field(default_factory=list, description="Scopes that an access token must have, all of them.")
    subject: str = Field(
        "sub", description="The claim of an access token that is the user: `uid` at Okta, `oid` at Entra."
    )
    plain_jwt: bool = Field(
        False,
        description="Accept signed access tokens whose type is JWT or missing (default of Okta, Entra, Keycloak), not "
        "only those of RFC 9068 (at+jwt).",
    )
    introspect: bool = Field(False, description="Look up opaque tokens at the issuer (RFC 7662), as this client.")
    client_id: str = Field(
        "", description="Our own client at the issuer, for sign-ins: redirect URI BASE_URL/sign-in/callback."
    )
    client_secret: SecretStr | None = Field(None, description="Its secret. None: a public client, with PKCE.")
    client_secret_file: Path | None = Field(None, description="File that holds the secret.")
    sign_in_subject: str = Field(
        "sub",
        description="The claim of an id_token that is the user; it must match `subject`: `oid` at Entra.",
    )
    sign_in_scopes: list[str] = Field(
        default_factory=list,
        description="Scopes to request at a sign-in besides openid, if the issuer needs one for groups.",
    )
    required_claims: dict[str, str] = Field(
        default_factory=dict,
        description='Claims that an id_token and an access token must have: `{ hd = "acme.example" }`.',
    )
    step_up_seconds: int = Field(
        0,
        ge=0,
        le=86400,
        description="Before an approval that destroys something or that everybody can see, users sign in again; one "
        "such sign-in counts for these seconds. 0: no such step.",
    )
    step_up_acr: list[str] = Field(
        default_factory=list, description="Accepted `acr` of that sign-in: ways to authenticate. Empty: any."
    )
    offboarding_secret: SecretStr | None = Field(
        None,
        description="Secret of the webhook that offboards users: whsec_... None: not received. See offboarding.md.",
    )
    offboarding_secret_file: Path | None = Field(None, description="File that holds that secret.")
    scim_token: SecretStr | None = Field(
        None,
        description="Bearer token of the identity provider's SCIM client, 32 characters at least. None: no SCIM.",
    )
    scim_token_file: Path | None = Field(None, description="File that holds that token.")
    scim_subject: Literal["externalId", "userName"] = Field(
        "externalId", description="The SCIM attribute that has the same value as `sign_in_subject`."
    )
    ssf_issuer: str = Field(
        "",
        description="Transmitter of Shared Signals, as its metadata spells its `issuer`. Empty: none is received.",
    )
    ssf_audience: str = Field(
        "", description="The `aud` of its security event tokens, as its stream configuration says."
    )

    @property
    def uses_saml(self) -> bool:
        """True if users sign in at a SAML identity provider, which issues no tokens."""
        return False

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, values: Any) -> Any:
        for name in ("client_secret", "offboarding_secret", "scim_token"):
            values = with_secret(values, name)
        return values


class ServeSettings(IssuerSettings):
    """The ``[serve]`` section: the tools that ``deputize serve`` offers over HTTP, and the issuer that signs users in.
    MCP clients identify users by the issuer's access tokens, pages by its sign-in."""

    tools: list[str] = Field(
        default_factory=list, description="Toolkits, toolsets and tools that are served. Empty: all."
    )
    search: bool = Field(False, description="List two tools that find and call the others, for hundreds of them.")
    forms: bool = Field(
        True,
        description="Accept approvals in a form that the user's client shows. Else users approve only on our pages.",
    )
    cards_bot_token: SecretStr | None = Field(
        None,
        description="Bot token of the chat app whose cards ask users. None: no cards. See approvals-in-chat.md.",
    )
    cards_bot_token_file: Path | None = Field(None, description="File that holds that token.")
    cards_signing_secret: SecretStr | None = Field(None, description="Signing secret of that app.")
    cards_signing_secret_file: Path | None = Field(None, description="File that holds that secret.")
    metrics: str = Field(
        "",
        pattern=PLACE,
        description="HOST:PORT, or :PORT on loopback, where /metrics needs no sign-in. Empty: not served.",
    )
    drain: float = Field(
        5.0,
        ge=0,
        le=300,
        description="Seconds after SIGTERM in which /readyz returns 503 but requests are served, for load balancers.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: Any) -> Any:
        for name in ("cards_bot_token", "cards_signing_secret"):
            values = with_secret(values, name)
        return values


class SignInSettings(IssuerSettings):
    """A ``[signin.NAME]`` section: the issuer of one of several tenants, in place of the one in ``[serve]``."""

    tenant: str = Field("", description="The tenant of all users of this issuer. Default: NAME.")
    domains: list[str] = Field(
        default_factory=list,
        description="Domains of e-mail addresses whose users sign in here. Without one: at BASE_URL/sign-in/NAME.",
    )
    saml_metadata_file: _UsablePath | None = Field(
        None, description="Metadata (XML) of a SAML 2.0 identity provider, in place of `issuer`. See sign-in.md."
    )
    saml_key_file: _UsablePath | None = Field(
        None, description="Our RSA private keys there (PEM, 0600). The first signs, all decrypt."
    )
    saml_name_id: Literal["persistent", "emailAddress", "unspecified", "transient"] = Field(
        "persistent",
        description="Format of its NameIDs. A NameID is the user, unless `sign_in_subject` names an attribute.",
    )

    @property
    def uses_saml(self) -> bool:
        return self.saml_metadata_file is not None

    @model_validator(mode="after")
    def _check_saml(self) -> SignInSettings:
        """Raise `ValueError` for SAML without a key, and for fields without effect beside it."""
        if self.uses_saml != (self.saml_key_file is not None):
            raise ValueError("saml_metadata_file and saml_key_file: set both, or none")
        if self.uses_saml and (ignored := sorted(self.model_fields_set & _OF_OPENID)):
            raise ValueError(f"{', '.join(ignored)}: only of an OpenID Connect issuer, not with saml_metadata_file")
        return self


class Settings(BaseSettings):
    """All settings. Each field is a variable ``DEPUTIZE_<NAME>`` or a line of ``deputize.toml``."""

    model_config = SettingsConfigDict(
        env_prefix="DEPUTIZE_", env_nested_delimiter="__", extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(
        default_factory=lambda: user_data_path("deputize"), description="Folder of vault, key and audit."
    )
    vault: str = Field(
        "",
        repr=False,
        description="Where grants are stored: a path or postgresql://role@host/database. Default: home/vault.sqlite.",
    )
    vault_file: Path | None = Field(None, description="File that holds `vault`, if that has a password.")
    key: SecretStr | None = Field(None, description="Root keys, base64url, newest first, separated by commas.")
    key_file: _UsablePath | None = Field(None, description="File with root keys, 0600. Default: key in home.")
    keyring: bool = Field(False, description="Keep the root key in the system's keyring.")
    kms: dict[str, KmsSettings] = Field(
        default_factory=dict, description="Services that wrap the root keys, by name. See docs/backup-and-keys.md."
    )
    key_ttl_seconds: float = Field(
        0.0,
        ge=0,
        description="Seconds that a program may use root keys after their KMS last unwrapped them, 60 at least; "
        "0: until it ends.",
    )
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
    signin: dict[str, SignInSettings] = Field(
        default_factory=dict, description="The issuers of several tenants, by name. See docs/sign-in.md."
    )
    agent: str = Field("agent", description="Name of the agent, as users see it on pages and in the audit.")
    policy: str = Field(
        "ask_before_sending",
        description="Policy that judges every act: a built-in name, a file *.toml or *.cedar (relative to the settings "
        "file), or package.module:function.",
    )
    roles: dict[str, list[str]] = Field(
        default_factory=dict,
        description='Claims that give a role, as `claim:value`, by role: `finance = ["groups:finance"]`.',
    )
    roles_function: str = Field(
        "",
        description="package.module:function that returns the roles of a user. It then decides alone.",
    )
    on_question: str = Field(
        "",
        description="package.module:function that receives each consent and approval. See docs/approvals-in-chat.md.",
    )
    role_max_age_seconds: float = Field(
        ROLE_MAX_AGE_SECONDS,
        ge=60,
        description="Seconds for which the roles of a user's last sign-in count for acts of the user's agents.",
    )
    time_zone: str = Field(
        "",
        description="Zone of users whose provider reports none: Europe/Berlin. Empty: UTC; locally the machine's.",
    )
    trusted_authors: dict[str, str] = Field(
        default_factory=dict,
        description="Whose content a model may read, by toolkit: DEPUTIZE_TRUSTED_AUTHORS__<TOOLKIT>. See toolkits.md.",
    )
    base_url: str = Field(
        "", description="URL where a web application serves our pages. Empty: local mode, on loopback."
    )
    port: int = Field(8736, ge=0, le=65535, description="Port of the pages in local mode.")
    audit: Mode = Field("standard", description="standard: on disk within a second. strict: on disk before each write.")
    audit_anchor_file: _UsablePath | None = Field(
        None, description="File to which the audit's anchors are appended. Keep it on another disk or machine."
    )
    audit_export: dict[str, AuditExportSettings] = Field(
        default_factory=dict, description="Collectors that receive the audit's rows, by name. See audit-export.md."
    )
    audit_files: bool = Field(
        False, description="Keep the audit in files on each machine instead of the vault's database."
    )
    audit_retention_days: int = Field(
        400,
        ge=0,
        description="Days after which audit rows are deleted, in whole files, 7 at least; 0: never. "
        "In a database, the default of deputize store prune-audit, which deletes them.",
    )
    requests_per_minute: float = Field(
        DEFAULT_REQUESTS_PER_MINUTE,
        ge=1,
        description="Requests per minute that one user's agents may send to one provider.",
    )
    outcome_retention_seconds: float = Field(
        OUTCOME_TTL,
        ge=3600,
        description="Seconds that an act's outcome is stored. In this time a repeated call does not run again, "
        "and the act can be undone.",
    )
    unattended_approval_seconds: float = Field(
        UNATTENDED_APPROVAL_TTL,
        ge=3600,
        le=2592000,
        description="Seconds that approvals of unattended runs wait. Others wait an hour. See docs/unattended.md.",
    )
    file_retention_seconds: float = Field(
        FILE_TTL, ge=3600, description="Seconds that a file is stored for later acts."
    )
    brand_name: str = Field("", description="Local mode: your application's name, on every page.")
    brand_logo: _UsablePath | None = Field(None, description="Its logo: a PNG, JPEG or WebP.")
    brand_colour: str = Field("", description="Its colour, as #0a5; refused if its contrast is too low.")
    brand_support: str = Field("", description="Where users get help: an https or mailto address.")
    brand_privacy: str = Field("", description="Its privacy policy: an https address.")
    sandbox_url: str = Field("", description="Base URL of a sandbox on loopback that simulates the providers.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by priority: arguments, then the environment, then the settings file."""
        values = {**env_settings(), **init_settings()}
        path = config_file(_home(values), user_config_path("deputize"))
        tell_unread(path)
        content = read_config(path) if path else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=content)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, values: Any) -> Any:
        return with_secret(values, "vault")

    @field_validator("sandbox_url")
    @classmethod
    def _check_loopback(cls, url: str) -> str:
        """Raise `ValueError` unless the sandbox is on this machine, because it receives codes and secrets."""
        if url and not _LOOPBACK.fullmatch(url):
            raise ValueError("a sandbox must be on loopback: http://127.0.0.1:PORT")
        return url

    @field_validator("roles")
    @classmethod
    def _check_roles(cls, roles: dict[str, list[str]]) -> dict[str, list[str]]:
        try:
            RoleMap.of(roles)
        except SettingsError as error:
            raise ValueError(f"{error.message} {error.hint}") from None
        return roles

    @field_validator("audit_retention_days")
    @classmethod
    def _check_retention(cls, days: int) -> int:
        if 0 < days < 7:
            raise ValueError("give at least 7 days, or 0 to keep all rows")
        return days

    @field_validator("key_ttl_seconds")
    @classmethod
    def _check_key_ttl(cls, seconds: float) -> float:
        if 0 < seconds < 60:
            raise ValueError("give at least 60 seconds, or 0 for no limit")
        return seconds

    @field_validator("time_zone")
    @classmethod
    def _check_zone(cls, name: str) -> str:
        """Raise `ValueError` unless this machine has the rules of the time zone."""
        try:
            return ZoneInfo(name).key if name else ""
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no zone of this name is known on this machine: use Europe/Berlin, UTC, ...") from None

    @classmethod
    def load(cls, **values: object) -> Settings:
        """Return the settings in force. Raises `SettingsError` that names each invalid field and never its value."""
        try:
            return cls.model_validate({}) if not values else cls(**values)  # type: ignore[arg-type]
        except ValidationError as e:
            raise _settings_error(e) from None

    def unread_file(self) -> Path | None:
        """Return a ``deputize.toml`` in the working directory that is ignored because no option names it, or None."""
        return find_unread_file(config_file(self.home, user_config_path("deputize")))

    def own_file(self) -> Path:
        """Return the settings file in use, or the path in the home where it would be created."""
        return config_file(self.home, user_config_path("deputize")) or self.home / NAME

    @property
    def local(self) -> bool:
        """True in local mode: one person on this machine, and no web application serves the pages."""
        return not self.base_url

    @property
    def zone(self) -> tzinfo | None:
        """The default time zone of users; None for the machine's."""
        return ZoneInfo(self.time_zone) if self.time_zone else None if self.local else UTC

    @property
    def vault_url(self) -> str:
        """Path or URL of the vault."""
        return self.vault or str(self.home / "vault.sqlite")

    @property
    def audit_folder(self) -> Path:
        """Folder of the audit, if it is kept in files."""
        return self.home / "audit"

    @cached_property
    def audit_trail(self) -> Trail:
        """The location of the audit: a table in the vault's database if the store supports one, else a folder."""
        table = store_type(self.vault_url).audit
        return table(self.vault_url) if table and not self.audit_files else self.audit_folder

    def new_vault(self) -> bool:
        """Return True if no vault exists yet."""
        return not store_type(self.vault_url).exists(self.vault_url)

    def has_begun(self) -> bool:
        """Return True if a vault was created earlier, as a remaining audit proves, even if the vault itself is gone."""
        return has_begun(self.vault_url, self.audit_trail)

    def set_aside(self, stamp: str) -> list[Path]:
        """Move away the remains of a lost vault, so that a new vault can be created. See
        `deputize.core.vault.missing_vault`."""
        return set_aside(self.vault_url, self.audit_trail, self.audit_folder, stamp)

    @cached_property
    def key_source(self) -> KeySource:
        """The source of the root keys."""
        if not self.kms:
            return self.plain_key_source
        from deputize.core.vault.key_sources.wrapped import WrappedKeys

        return WrappedKeys(self.key_list(self.vault_url), self.kms, self.plain_key_source, self.home)

    @property
    def plain_key_source(self) -> KeySource:
        """The source of root keys that no KMS has wrapped."""
        if self.key is not None:
            return GivenKeys(Secret(self.key.get_secret_value()))
        return KeyringEntry() if self.keyring else KeyFile(self.key_file or self.home / "key")

    def key_list(self, url: str) -> KeyList:
        """Return the list of wrapped root keys for a vault at this address: in its database, or a file in the home."""
        from deputize.core.vault.key_sources.wrapped import LIST_NAME, KeyListFile

        shared = store_type(url).key_list
        return shared(url) if shared else KeyListFile(self.home / LIST_NAME)

    def keys(self) -> list[bytes]:
        """Return the root keys, newest first. Raises `SettingsError` if there are none.

        In local mode, the first start creates and logs a key, if no vault exists yet.
        """
        source = self.key_source
        if source.exists():
            return read_keys(source)
        if isinstance(source, ChangeableKeySource) and self.local and self.new_vault():
            made = source.make_key()
            log.warning(
                "Made a new key in %s. Keep a copy apart from the vault, which cannot be opened without it.",
                source.name,
            )
            return made
        if self.kms:
            raise SettingsError(
                f"There is no root key: {source.name} has none, nor has {self.plain_key_source.name}.",
                hint="For a new vault: deputize key new --kms NAME. For a vault with a key: set DEPUTIZE_KEY_FILE "
                "to it, then deputize key wrap NAME.",
            )
        problem = "No key" if self.new_vault() else "There is a vault but no key"
        raise SettingsError(
            f"{problem}: {source.name} does not exist and DEPUTIZE_KEY is not set.",
            hint="Set DEPUTIZE_KEY or DEPUTIZE_KEY_FILE to the vault's key; for a new vault: deputize key new.",
        )

    def all_apps(self) -> list[App]:
        """Return the OAuth clients. Raises `SettingsError` if a private key cannot be used."""
        return [app.client(name) for name, app in self.apps.items()]

    def all_providers(self) -> Mapping[str, Provider]:
        """Return all providers, with the hosts that the apps set, or with the sandbox as their host.

        An app with a ``host`` gets a provider of its own, with the app's name. Raises `SettingsError` for an invalid
        host or a name that is taken.
        """
        rows = with_settings(self.providers)
        hosted = {}
        for name, app in self.apps.items():
            if app.host:
                hosted[name] = _hosted_provider(name, app, rows)
        rows |= hosted
        if not self.sandbox_url:
            return rows
        return {name: row.moved_to(self.sandbox_url.rstrip("/")) for name, row in rows.items()}

    def mcp_servers(self) -> list[McpServer]:
        """Return the foreign MCP servers. Raises `SettingsError` for an invalid one."""
        return [server.server(name) for name, server in self.mcp.items()]

    def sign_ins(self) -> Mapping[str, IssuerSettings]:
        """Return the issuers that sign users in, by name: the one of ``[serve]`` under "", or those of ``[signin]``.

        Raises `SettingsError` if both are set, also for a single field such as ``step_up_seconds``, which would have no
        effect.
        """
        if not self.signin:
            return {"": self.serve} if self.serve.issuer or self.serve.client_id else {}
        for name, field in IssuerSettings.model_fields.items():
            if getattr(self.serve, name) != field.get_default(call_default_factory=True):
                raise SettingsError(
                    f"serve.{name} and signin are both set.",
                    hint=f"Move {name} of [serve] to the tables [signin.NAME]: each issuer has its own.",
                )
        return self.signin

    def issuers(self) -> Mapping[str, AppSettings]:
        """Return an app for each provider that is configured by its issuer alone, by provider name.

        Raises `SettingsError` if apps of one provider contradict each other, or its name is already defined.
        """
        found: dict[str, AppSettings] = {}
        rows = with_settings(self.providers)
        for name, app in self.apps.items():
            if not app.issuer:
                continue
            row = app.row(name)
            if app.host or row in rows or any(row == n and a.host for n, a in self.apps.items()):
                raise SettingsError(f"The app {name!r} has an issuer, but {row!r} is known without one.")
            if _issuer_settings(found.setdefault(row, app)) != _issuer_settings(app):
                hint = "Give all of them the same issuer."
                raise SettingsError(f"The apps of {row!r} configure it differently.", hint=hint)
        return found


def _home(values: Mapping[str, object]) -> Path:
    """Return the home folder, which may contain the settings file. Raises the errors of `usable_path`."""
    home = str(values.get("home") or user_data_path("deputize"))
    return usable_path(home, hint="Set DEPUTIZE_HOME to the path of a folder.")


def _hosted_provider(name: str, app: AppSettings, rows: Mapping[str, Provider]) -> Provider:
    base = app.provider or name
    if base not in rows:
        message, hint = unknown_provider(base, rows)
        raise SettingsError(f"The app {name!r} has a host: {message}", hint=hint)
    if name in rows and name != base:
        hint = f"Taken by providers: {', '.join(rows)}."
        raise SettingsError(f"The app {name!r} has a host of {base}, so it needs a name of its own.", hint=hint)
    return rows[base].at_host(app.host, name)


def _issuer_settings(app: AppSettings) -> tuple[object, ...]:
    common = app.issuer, app.label, app.api, app.resource, app.allow_private_network, app.trusted_origins
    return *common, app.par, app.dpop, app.assertion_audience


def _settings_error(error: ValidationError) -> SettingsError:
    """Return a `SettingsError` that names each invalid setting and never its value."""
    faults = "; ".join(map(_fault, error.errors(include_input=False)))
    return SettingsError(f"Settings: {faults}", hint="Check the DEPUTIZE_... variables and deputize.toml.")


def _fault(error: Mapping[str, Any]) -> str:
    place, message = list(error["loc"]), error["msg"]
    if place[:1] == ["apps"] and place[2:3] == ["source"] and len(place) > 3:
        del place[3]  # pydantic adds the kind of source it tried, which is not a setting
    if error["type"] == "union_tag_not_found":
        place, message = [*place, "kind"], "Field required"
    elif error["type"] == "union_tag_invalid":
        place, message = [*place, "kind"], f"Input should be one of {error['ctx']['expected_tags']}"
    return f"{'.'.join(map(str, place))}: {message}"
