"""Key management services that wrap root keys, one module each. They see 32 bytes at a start, and never a record.

Other packages add one under the entry point ``deputize.kms``: a `KmsType` of the same name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from deputize.core.errors import SettingsError, instead
from deputize.core.plugins import Plugins
from deputize.core.vault.kms.protocol import KmsType

BUILT_IN: Final = {"aws-kms": "aws", "vault-transit": "transit", "gcp-kms": "gcp", "azure-key-vault": "azure"}
PLUGINS: Final = Plugins("deputize.kms", KmsType, noun="KMS", export="KMS", built_in=lambda: BUILT_IN)
"""Key management services of other packages."""


def kms_type(provider: str) -> KmsType:
    """Return the type of key management service with this name. Raises `SettingsError` for an unknown name."""
    if module := BUILT_IN.get(provider):
        found: KmsType = import_module(f"{__name__}.{module}").KMS
        return found
    if plugin := PLUGINS.find(provider):
        return plugin
    known = (*BUILT_IN, *PLUGINS.names())
    hint = f"{instead(provider, known)} Known: {', '.join(known)}."
    raise SettingsError(f"Unknown KMS provider {provider!r}.", hint=hint)
