"""The ``[serve]`` section of ``deputize.toml``: what ``deputize serve`` offers over HTTP, and to which users."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from deputize.core.secret_files import with_secret

PLACE: Final = r"^(?:([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])?:([0-9]{1,5}))?$"
"""HOST:PORT, :PORT, or nothing."""


class ServeSettings(BaseModel):
    """The served tools, and the issuer that identifies users by access tokens (MCP clients) and sign-ins (pages)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tools: list[str] = Field(
        default_factory=list, description="Toolkits, toolsets and tools that are served. Empty: all."
    )
    search: bool = Field(False, description="List two tools that find and call the others, for hundreds of them.")
    forms: bool = Field(
        True,
        description="Accept approvals in a form that the user's client shows. Else users approve only on our pages.",
    )
    issuer: str = Field("", description="The issuer's address, exactly as its metadata spells it.")
    token_audience: str = Field(
        "", description="Required `aud` of an access token. Default: the URL of the endpoint, BASE_URL/mcp."
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
    def _read_secret_file(cls, values: Any) -> Any:
        return with_secret(values, "client_secret")
