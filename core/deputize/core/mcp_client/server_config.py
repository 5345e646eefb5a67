"""A foreign MCP server as the operator describes it: its URL, deputize's client there, and the extent of trust.

The operator's settings are trusted. The server's own metadata is not, unless a field here says so. Protocol:
https://modelcontextprotocol.io/specification/2026-07-28.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Final, Literal, get_args
from urllib.parse import parse_qs, urlsplit

from deputize.core.errors import SettingsError
from deputize.core.oauth.credential import Credential, token_of
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret

ForeignEffect = Literal["reads", "writes", "sends", "destructive"]
"""A tool's effect, as the operator pins it; the gravest of its `Effect`s."""
ForeignRepeat = Literal["read", "idem", "write"]
"""Effect of sending the same call again: it only reads, nothing more, or acts twice."""
InlineKind = Literal["image", "audio", "pdf"]
"""A kind of file in a result that models may receive."""

OAUTH: Final = "oauth"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_FIELD: Final = re.compile(r"\w+(?:\.\w+)*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_VISIBLE: Final = re.compile(r"[!-~]+")
_LOOPBACK: Final = ("127.0.0.1", "::1")


@frozen
class ToolOverride(ValueObject):
    """The operator's settings of one tool: its ``effect`` and ``repeat`` ("": not set), and the scopes it ``needs``."""

    effect: ForeignEffect | Literal[""] = ""
    repeat: ForeignRepeat | Literal[""] = ""
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.effect and self.effect not in get_args(ForeignEffect):
            raise SettingsError(f"effect {self.effect!r}: one of {', '.join(get_args(ForeignEffect))}.")
        if self.repeat and self.repeat not in get_args(ForeignRepeat):
            raise SettingsError(f"repeat {self.repeat!r}: one of {', '.join(get_args(ForeignRepeat))}.")


@frozen
class AccountTool(ValueObject):
    """The tool that returns the account of a grant, because MCP has no userinfo. It is a read without arguments.

    ``subject``, ``name``: paths of the account's stable id and name in its structured result, as ``user.id``.
    """

    tool: str
    subject: str
    name: str = ""

    def __post_init__(self) -> None:
        if not self.tool or not _FIELD.fullmatch(self.subject) or not _FIELD.fullmatch(self.name or "x"):
            raise SettingsError(
                "identity: needs a tool, and the paths of subject and name in its result.",
                hint='tool = "get_me", subject = "user.id", name = "user.email"',
            )


@frozen
class McpServer(ValueObject):
    """One MCP server: ``[mcp.NAME]`` in ``deputize.toml``, or `Deputy.add_mcp`.

    ``name``: the name of its provider, app and toolkit. ``url``: its only URL; http on loopback only. ``client_id``,
    ``client_secret``: the credentials of an app that the operator registered there; ``client_document``: the https URL
    of a client metadata document instead of deputize's. Without either, a client is found or registered. ``issuer``:
    the authorization server that it must name, "" for the one found first. ``trusted_origins``: further origins that
    its endpoints may have. ``scopes``: requested in every consent. ``trust_hints``: trust ``readOnlyHint`` and
    ``idempotentHint``. ``allow_private_network``: allow hosts with private addresses. ``legacy_auth``: a server of
    2025-03-26 without metadata, whose endpoints are ``/authorize``, ``/token`` and ``/register``. ``only``: names of
    the tools that are offered, empty for all that are pinned. ``tools``: settings of single tools. ``identity``: how
    the account is identified if no id_token does so. ``inline``: the kinds of files in results that models receive,
    besides their handles. ``idle_timeout_seconds``: how long a call may be silent; progress renews it.
    ``sign_in``: ``oauth``, or how requests carry the key that each user enters, see `Credential.of`; ``client_secret``
    is then the key of all users.
    """

    name: str
    url: str
    client_id: str = ""
    client_secret: Secret | None = None
    client_document: str = ""
    issuer: str = ""
    trusted_origins: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    trust_hints: bool = False
    allow_private_network: bool = False
    legacy_auth: bool = False
    only: tuple[str, ...] = ()
    tools: Mapping[str, ToolOverride] = field(default_factory=dict, hash=False)
    identity: AccountTool | None = None
    inline: tuple[InlineKind, ...] = ("image",)
    idle_timeout_seconds: float = 60.0
    sign_in: str = OAUTH

    def __post_init__(self) -> None:
        self._check_sign_in()
        if not 0 < self.idle_timeout_seconds <= 3600:
            raise SettingsError(f"[mcp.{self.name}] idle_timeout_seconds: more than 0, at most 3600.")
        if wrong := [one for one in self.inline if one not in get_args(InlineKind)]:
            raise SettingsError(f"[mcp.{self.name}] inline: {wrong[0]!r} is not one of image, audio, pdf.")
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"MCP server {self.name[:40]!r}: not a name.",
                hint="At most 31 characters of a-z, 0-9, _ and -, a letter first: its tools are called NAME_tool.",
            )
        self._check("url", self.url)
        for key in ("client_document", "issuer"):
            if said := getattr(self, key):
                self._check(key, said)
        for origin in self.trusted_origins:
            self._check("trusted_origins", origin)
        if self.client_secret and not self.client_id and not self.credential:
            raise SettingsError(f"[mcp.{self.name}]: a client_secret without a client_id.")
        if self.client_id and self.client_document:
            raise SettingsError(f"[mcp.{self.name}]: client_id and client_document are two ways; give one of them.")

    def _check_sign_in(self) -> None:
        """Raise `SettingsError` for an unknown way to sign in, and for settings of OAuth with another one."""
        if self.credential is None:
            return
        oauth = ("client_id", "client_document", "issuer", "trusted_origins", "scopes", "legacy_auth")
        if named := [one for one in oauth if getattr(self, one)]:
            raise SettingsError(f"[mcp.{self.name}]: {named[0]} is for OAuth, and sign_in is {self.sign_in!r}.")
        if self.client_secret and token_of(self.credential, self.client_secret) is None:
            raise SettingsError(f"[mcp.{self.name}]: client_secret is not a key that sign_in can send.")

    @property
    def credential(self) -> Credential | None:
        """Where requests carry a key, or None for OAuth."""
        return None if self.sign_in == OAUTH else Credential.of(self.sign_in)

    def _check(self, key: str, url: str) -> None:
        try:
            parts = urlsplit(url if _VISIBLE.fullmatch(url) else "")
        except ValueError:
            parts = urlsplit("")
        local = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not _HOST.fullmatch(parts.netloc) or not (parts.scheme == "https" or local) or parts.fragment:
            shown = re.sub(r"(?<=//)[^/?#]*@", "...@", url)[:120]  # a password, perhaps
            raise SettingsError(
                f"[mcp.{self.name}] {key} {shown!r} is not an https address.",
                hint="Write https://host/path in ASCII, without a user or a fragment; http is for 127.0.0.1 only.",
            )

    @property
    def origin(self) -> str:
        """Scheme and host, such as ``https://mcp.linear.app``."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @property
    def host(self) -> str:
        """Host, such as ``mcp.linear.app``, with a port if there is one. Tokens are sent to no other host."""
        return urlsplit(self.url).netloc.lower()

    @property
    def path(self) -> str:
        """The path of the URL, unchanged; "" for the origin itself."""
        path = urlsplit(self.url).path
        return "" if path == "/" else path

    @property
    def query(self) -> Mapping[str, list[str]]:
        """The URL's own parameters, by which some servers choose a project."""
        return parse_qs(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def resource(self) -> str:
        """The resource of its tokens (RFC 8707), unless metadata names another one: the URL without a query."""
        return self.origin + self.path

    @property
    def local(self) -> bool:
        """True for a server on loopback without TLS, such as a sandbox."""
        return self.url.startswith("http://")
