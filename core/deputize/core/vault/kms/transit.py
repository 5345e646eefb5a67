"""The transit engine of HashiCorp Vault and OpenBao.

https://developer.hashicorp.com/vault/api-docs/secret/transit: encrypt and decrypt take ``associated_data``, which the
key types with authenticated encryption bind (aes256-gcm96, the default, and chacha20-poly1305).
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from deputize.core.errors import SettingsError
from deputize.core.vault.kms.protocol import KmsSettings, KmsType, checked_url, context_bytes, post_json, refusal


class Transit:
    """One key of a transit engine."""

    def __init__(self, settings: KmsSettings) -> None:
        if not settings.address:
            raise SettingsError("The address of the Vault is missing.", hint="Set address in its [kms...] section.")
        if settings.token and settings.token_file:
            raise SettingsError("token and token_file are both set.", hint="Remove one of them.")
        self._settings = settings
        self._mount = f"{checked_url(settings.address, 'address')}/v1/{quote(settings.mount.strip('/'))}"

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt the key."""
        return (await self._send("encrypt", "ciphertext", plaintext=b64encode(key).decode(), context=context)).encode()

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypt the key."""
        text = await self._send("decrypt", "plaintext", ciphertext=wrapped.decode(), context=context)
        try:
            return b64decode(text, validate=True)
        except ValueError:
            raise refusal("the answer is not JSON of the documented form", transient=True) from None

    async def _send(self, verb: str, result: str, *, context: Mapping[str, str], **values: str) -> str:
        body = {**values, "associated_data": b64encode(context_bytes(context)).decode()}
        headers = {
            "x-vault-token": await asyncio.to_thread(self._settings.read_token),
            "x-vault-request": "true",
        }
        if self._settings.namespace:
            headers["x-vault-namespace"] = self._settings.namespace
        url = f"{self._mount}/{verb}/{quote(self._settings.key, safe='')}"
        data = (await post_json(url, body, headers)).get("data")
        if not isinstance(data, dict) or not isinstance(found := data.get(result), str):
            raise refusal("the answer is not JSON of the documented form", transient=True)
        return found


KMS: Final = KmsType("vault-transit", open=Transit)
