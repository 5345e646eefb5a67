"""AWS KMS, by boto3 with its own search for credentials.

https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html: the encryption context is bound, and shown in
CloudTrail. Decrypt names the key of the settings, so a ciphertext of another key is refused (IncorrectKeyException).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from deputize.core.errors import SettingsError
from deputize.core.http.request import USER_AGENT
from deputize.core.vault.kms.protocol import KmsSettings, KmsType, checked_url, refusal

_TRANSIENT: Final = frozenset(
    {
        *("ThrottlingException", "Throttling", "RequestLimitExceeded", "LimitExceededException"),
        *("DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException"),
        *("InternalFailure", "ServiceUnavailable", "RequestTimeout"),
    }
)
_SETUP: Final = frozenset(
    {
        *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoRegionError", "InvalidRegionError"),
        *("ParamValidationError", "ConfigParseError", "UnknownServiceError"),
    }
)
"""Errors of botocore that a repetition does not mend."""


class AwsKms:
    """One key of AWS KMS."""

    def __init__(self, settings: KmsSettings) -> None:
        try:
            self._boto3, self._errors = import_module("boto3"), import_module("botocore.exceptions")
            self._config = import_module("botocore.config").Config
        except ImportError as missing:
            raise SettingsError.without(missing, "aws-kms") from None
        self._key = settings.key
        parts = settings.key.split(":")
        self._region = settings.region or (parts[3] if len(parts) > 5 else None)
        self._address = checked_url(settings.address, "address") if settings.address else None
        self._one, self._made = threading.Lock(), list[Any]()

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt the key."""
        return await asyncio.to_thread(self._call, "encrypt", "CiphertextBlob", {"Plaintext": key}, context)

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypt the key."""
        return await asyncio.to_thread(self._call, "decrypt", "Plaintext", {"CiphertextBlob": wrapped}, context)

    def _call(self, verb: str, result: str, values: Mapping[str, bytes], context: Mapping[str, str]) -> bytes:
        try:
            answer = getattr(self._client(), verb)(KeyId=self._key, EncryptionContext=dict(context), **values)
        except self._errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "no code"))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise refusal(code, transient=code in _TRANSIENT or status >= 500) from None
        except self._errors.BotoCoreError as error:
            code = type(error).__name__
            raise refusal(code, transient=code not in _SETUP) from None
        found: bytes = answer[result]
        return found

    def _client(self) -> Any:
        with self._one:  # a session of boto3 makes one client at a time; a client may be used by many threads
            if not self._made:
                config = self._config(
                    connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1}, user_agent_extra=USER_AGENT
                )
                session = self._boto3.session.Session(region_name=self._region)
                self._made.append(session.client("kms", endpoint_url=self._address, config=config))
            return self._made[0]


KMS: Final = KmsType("aws-kms", open=AwsKms)
