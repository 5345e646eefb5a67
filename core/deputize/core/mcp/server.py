"""A foreign MCP server as the operator describes it: where it is, who we are there, and what is believed of it.

What the operator writes is believed; what the server says of itself is not, but where a field here says so. Protocol:
https://modelcontextprotocol.io/specification/2026-07-28.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Final, Literal, get_args
from urllib.parse import parse_qs, urlsplit

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret

ForeignEffect = Literal["reads", "writes", "sends", "destructive"]
"""What a tool does to the world, as the operator pins it; the gravest word of `Effect`."""
ForeignRepeat = Literal["read", "idem", "write"]
"""What a second sending of the same call does: nothing, nothing more, or act twice."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_FIELD: Final = re.compile(r"\w+(?:\.\w+)*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_VISIBLE: Final = re.compile(r"[!-~]+")
_LOOPBACK: Final = ("127.0.0.1", "::1")


@frozen
class ToolOverride(ValueObject):
    """What the operator says of one tool: its ``effect`` and ``repeat`` ("": not said), and the scopes it ``needs``."""

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
    """The tool that tells whose account a grant is, since MCP has no userinfo: a read without arguments.

    ``subject``, ``name``: where in its structured result the account's stable id and its name stand, as ``user.id``.
    """

    tool: str
    subject: str
    name: str = ""

    def __post_init__(self) -> None:
        if not self.tool or not _FIELD.fullmatch(self.subject) or not _FIELD.fullmatch(self.name or "x"):
            raise SettingsError(
                "identity: a tool, and where in its result the subject and the name stand.",
                hint='tool = "get_me", subject = "user.id", name = "user.email"',
            )


@frozen
class McpServer(ValueObject):
    """One MCP server: ``[mcp.NAME]`` in ``deputize.toml``, or `Deputy.add_mcp`.

    ``name``: of the provider row, the app and the toolkit made of it. ``url``: its one address; http on loopback only.
    ``client_id``, ``client_secret``: of an app that the operator registered there; ``client_document``: the https
    address of a client metadata document instead of ours. With neither, one is found or registered.
    ``issuer``: the authorization server that must be named, "" for the one found at first. ``trusted_origins``: further
    origins that its endpoints may have. ``scopes``: asked for in every consent.
    ``trust_hints``: ``readOnlyHint`` and ``idempotentHint`` are believed.
    ``allow_private_network``: hosts with addresses that are not the internet's. ``legacy_auth``: a server of 2025-03-26
    without metadata, whose endpoints are ``/authorize``, ``/token`` and ``/register``.
    ``only``: the names of the tools that are offered, empty for all that are pinned. ``tools``: the operator's word
    about single ones. ``identity``: how the account is learnt, where no id_token tells.
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

    def __post_init__(self) -> None:
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
        if self.client_secret and not self.client_id:
            raise SettingsError(f"[mcp.{self.name}]: a client_secret without a client_id.")
        if self.client_id and self.client_document:
            raise SettingsError(f"[mcp.{self.name}]: client_id and client_document are two ways; give one of them.")

    def _check(self, key: str, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        local = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if (
            not _VISIBLE.fullmatch(url)
            or not _HOST.fullmatch(parts.netloc)
            or not (parts.scheme == "https" or local)
            or parts.fragment
        ):
            shown = re.sub(r"(?<=//)[^/?#]*@", "...@", url)[:120]  # a password, perhaps
            raise SettingsError(
                f"[mcp.{self.name}] {key} {shown!r} is not an https address.",
                hint="Write https://host/path in ASCII, without a user or a fragment; http is for 127.0.0.1 only.",
            )

    @property
    def origin(self) -> str:
        """Scheme and host, ``https://mcp.linear.app``."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @property
    def host(self) -> str:
        """``mcp.linear.app``, with a port where there is one: the only place its tokens go."""
        return urlsplit(self.url).netloc.lower()

    @property
    def path(self) -> str:
        """Where below the origin it is, as it is written; "" for the origin itself."""
        path = urlsplit(self.url).path
        return "" if path == "/" else path

    @property
    def query(self) -> Mapping[str, list[str]]:
        """The address' own parameters, as some servers choose a project by."""
        return parse_qs(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def resource(self) -> str:
        """What its tokens are for, where no metadata says it otherwise (RFC 8707): the address without a query."""
        return self.origin + self.path

    @property
    def local(self) -> bool:
        """On loopback without TLS: a stand-in."""
        return self.url.startswith("http://")
