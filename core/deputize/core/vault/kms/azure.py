"""Azure Key Vault, by REST, with azure-identity's default credentials.

https://learn.microsoft.com/rest/api/keyvault/keys/wrap-key: RSA-OAEP-256 binds no context, so the SHA-256 of the
context is wrapped together with the key, 64 bytes in all, and compared. The answer names the version of the key that
wrapped, which has to unwrap again.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.core.errors import SettingsError
from deputize.core.vault.kms.protocol import KmsSettings, KmsType, checked_url, context_bytes, post_json, refusal

_VERSION: Final = "7.4"
_ALGORITHM: Final = "RSA-OAEP-256"


class AzureKeyVault:
    """One key of an Azure key vault, in all its versions or in one."""

    def __init__(self, settings: KmsSettings) -> None:
        try:
            self._identity, self._errors = import_module("azure.identity"), import_module("azure.core.exceptions")
        except ImportError as missing:
            raise SettingsError.without(missing, "azure-key-vault") from None
        self._url = checked_url(settings.key, "key")
        host = urlsplit(self._url).hostname or ""
        self._scope = f"https://{host.partition('.')[2]}/.default"
        self._one, self._credentials = threading.Lock(), list[Any]()

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt the key, with the hash of its context."""
        answer = await self._send(self._url, "wrapkey", sha256(context_bytes(context)).digest() + key)
        return json.dumps({"kid": self._checked(answer.get("kid")), "value": answer.get("value")}).encode()

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypt the key. Raises `SettingsError` if it was wrapped with another context."""
        try:
            stored = json.loads(wrapped)
            kid, value = self._checked(stored["kid"]), _decoded(stored["value"])
        except (KeyError, TypeError, ValueError):
            raise refusal("the wrapped key has another form", transient=False) from None
        plain = _decoded((await self._send(kid, "unwrapkey", value)).get("value"))
        bound = sha256(context_bytes(context)).digest()
        if not hmac.compare_digest(plain[: len(bound)], bound):
            raise refusal("the key was wrapped for another vault or key id", transient=False)
        return plain[len(bound) :]

    def _checked(self, kid: object) -> str:
        """Return the URL of a version of this key. Raises `SettingsError` for that of another key."""
        if not isinstance(kid, str) or not (kid == self._url or _is_version(kid, self._url)):
            raise refusal("the key was wrapped by another key than that of the settings", transient=False)
        return kid

    async def _send(self, url: str, verb: str, value: bytes) -> dict[str, Any]:
        token = await asyncio.to_thread(self._token)
        body = {"alg": _ALGORITHM, "value": urlsafe_b64encode(value).decode().rstrip("=")}
        url = f"{url}/{verb}?api-version={_VERSION}"
        return await post_json(url, body, {"authorization": f"Bearer {token}"})

    def _token(self) -> str:
        with self._one:
            try:
                if not self._credentials:
                    self._credentials.append(self._identity.DefaultAzureCredential())
                return str(self._credentials[0].get_token(self._scope).token)
            except self._errors.AzureError as error:
                transient = isinstance(error, self._errors.ServiceRequestError | self._errors.ServiceResponseError)
                raise refusal(f"no access token ({type(error).__name__})", transient=transient) from None


def _is_version(kid: str, url: str) -> bool:
    """Return whether this is the URL of a version of the key, and nothing else below or beside it."""
    return kid.startswith(url) and re.fullmatch("/[0-9A-Za-z-]+", kid[len(url) :]) is not None


def _decoded(value: object) -> bytes:
    """Return the bytes of base64url text without padding."""
    try:
        text = str(value)
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise refusal("the answer is not JSON of the documented form", transient=True) from None


KMS: Final = KmsType("azure-key-vault", open=AzureKeyVault)
