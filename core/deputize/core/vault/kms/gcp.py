"""Google Cloud KMS, by REST, with google-auth's application default credentials.

https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/decrypt: the additional
authenticated data is bound. Both directions carry CRC32C sums, which find bits that flipped on the way
(https://cloud.google.com/kms/docs/data-integrity-guidelines).
"""

from __future__ import annotations

import asyncio
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from deputize.core.errors import SettingsError
from deputize.core.vault.kms.protocol import KmsSettings, KmsType, checked_url, context_bytes, post_json, refusal

_API: Final = "https://cloudkms.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"


class GcpKms:
    """One key of Google Cloud KMS."""

    def __init__(self, settings: KmsSettings) -> None:
        try:
            self._auth, self._errors = import_module("google.auth"), import_module("google.auth.exceptions")
            self._transport = import_module("google.auth.transport.requests")
            self._crc32c = import_module("google_crc32c")
        except ImportError as missing:
            raise SettingsError.without(missing, "gcp-kms") from None
        self._url = f"{checked_url(settings.address or _API, 'address')}/v1/{settings.key.strip('/')}"
        self._one, self._credentials = threading.Lock(), list[Any]()

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt the key. Raises `StoreUnavailable` if it arrived damaged."""
        answer = await self._send("encrypt", "plaintext", key, context)
        if not (answer.get("verifiedPlaintextCrc32c") and answer.get("verifiedAdditionalAuthenticatedDataCrc32c")):
            raise refusal("the request arrived damaged", transient=True)
        return self._taken(answer, "ciphertext")

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypt the key. Raises `StoreUnavailable` if it arrived damaged."""
        return self._taken(await self._send("decrypt", "ciphertext", wrapped, context), "plaintext")

    async def _send(self, verb: str, name: str, value: bytes, context: Mapping[str, str]) -> dict[str, Any]:
        bound = context_bytes(context)
        body = {
            name: b64encode(value).decode(),
            f"{name}Crc32c": self._sum(value),
            "additionalAuthenticatedData": b64encode(bound).decode(),
            "additionalAuthenticatedDataCrc32c": self._sum(bound),
        }
        token = await asyncio.to_thread(self._token)
        return await post_json(f"{self._url}:{verb}", body, {"authorization": f"Bearer {token}"})

    def _taken(self, answer: Mapping[str, Any], name: str) -> bytes:
        try:
            value = b64decode(answer[name], validate=True)
        except (KeyError, TypeError, ValueError):
            raise refusal("the answer is not JSON of the documented form", transient=True) from None
        if str(answer.get(f"{name}Crc32c")) != self._sum(value):
            raise refusal("the answer arrived damaged", transient=True)
        return value

    def _sum(self, value: bytes) -> str:
        """Return the CRC32C sum as Google's JSON has it: an int64 is a string."""
        return str(self._crc32c.value(value))

    def _token(self) -> str:
        with self._one:
            try:
                if not self._credentials:
                    self._credentials.append(self._auth.default(scopes=[_SCOPE])[0])
                [credentials] = self._credentials
                if not credentials.valid:
                    credentials.refresh(self._transport.Request())
                return str(credentials.token)
            except self._errors.GoogleAuthError as error:
                transient = isinstance(error, self._errors.TransportError) or bool(getattr(error, "retryable", False))
                raise refusal(f"no access token ({type(error).__name__})", transient=transient) from None


KMS: Final = KmsType("gcp-kms", open=GcpKms)
