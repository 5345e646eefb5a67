"""The interface of key management services, and the forms that their modules share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from deputize.core.errors import DeputizeError, ProviderUnavailable, SettingsError, StoreUnavailable
from deputize.core.http import Http
from deputize.core.http.request import JSON_HEADERS
from deputize.core.secret_files import read_secret
from deputize.core.value_object import Frozen, frozen

REQUEST_SECONDS: Final = 6.0
"""Time limit of one request, below that of a whole unwrap."""
_TRANSIENT: Final = frozenset({408, 412, 425, 429, 472, 473})
"""Statuses below 500 after which a repeated request may succeed. 412, 472 and 473 are Vault's, for replicas."""


class KmsSettings(BaseModel):
    """A ``[kms.NAME]`` section: one key of a key management service, which wraps the root keys of the vault."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    provider: str = Field(
        description="`aws-kms`, `vault-transit` (HashiCorp Vault, OpenBao), `gcp-kms`, `azure-key-vault`, or a plugin."
    )
    key: str = Field(
        min_length=1,
        description="The key there: an ARN (AWS), a name (Vault), projects/.../cryptoKeys/NAME (GCP), its URL (Azure).",
    )
    address: str = Field("", description="URL of the service. Required for Vault; else the provider's own.")
    region: str = Field("", description="AWS: the region. Default: that of the ARN.")
    mount: str = Field("transit", description="Vault: where the transit engine is mounted.")
    namespace: str = Field("", description="Vault: the namespace.")
    token: SecretStr | None = Field(None, description="Vault: the token. Better a file that Vault Agent renews.")
    token_file: Path | None = Field(None, description="Vault: file that holds the token. It is read for each request.")

    def read_token(self) -> str:
        """Return the token of a Vault. Raises `SettingsError` if there is none. Blocks."""
        if self.token_file:
            return read_secret(self.token_file, "kms token_file")
        if self.token is None:
            raise SettingsError("The KMS has no token.", hint="Set token_file in its [kms...] section.")
        return self.token.get_secret_value()


class Kms(Protocol):
    """One key of a key management service. It binds ``context``: bytes that were wrapped with another do not unwrap.

    Both methods raise `StoreUnavailable` if a later try may succeed, and `SettingsError` if an operator must act. No
    message contains a key or wrapped bytes.
    """

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        """Return the key, encrypted by the service."""
        ...

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the key in bytes from `wrap`."""
        ...


@frozen
class KmsType(Frozen):
    """A type of key management services. ``open``: receives a section of the settings and connects to nothing. It
    raises `SettingsError` for a section that it cannot use, or for a package that is missing."""

    name: str
    open: Callable[[KmsSettings], Kms]


def context_bytes(context: Mapping[str, str]) -> bytes:
    """Return a context as bytes, for services that bind bytes (additional authenticated data)."""
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def checked_url(url: str, setting: str) -> str:
    """Return the URL without a slash at its end. Raises `SettingsError` unless it is https, or http on loopback."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        return url.rstrip("/")
    raise SettingsError(f"{setting} of the KMS is not an https URL.", hint="http is allowed on loopback only.")


def refusal(code: str, *, transient: bool) -> DeputizeError:
    """Return the error for a refused request. ``code``: the service's own name for the reason."""
    if transient:
        return StoreUnavailable(f"The KMS does not answer for now: {code}.", hint="Check it, and try again.")
    return SettingsError(f"The KMS refuses: {code}.", hint="Check its key, and what this program may do with it.")


async def post_json(url: str, body: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """Send JSON and return the JSON of the response. Raises the errors of `Kms`."""
    request = httpx.Request("POST", url, json=dict(body), headers={**JSON_HEADERS, **headers})
    try:
        answer = await Http(keep_alive=False).send(request, timeout=REQUEST_SECONDS, max_bytes=65536)
    except ProviderUnavailable as error:
        raise refusal(
            f"no answer from {urlsplit(url).hostname} ({error.reason or 'not reached'})", transient=True
        ) from None
    status = answer.status_code
    if status != 200:
        raise refusal(f"status {status}", transient=status >= 500 or status in _TRANSIENT)
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise refusal("the answer is not JSON of the documented form", transient=True)
    return found
