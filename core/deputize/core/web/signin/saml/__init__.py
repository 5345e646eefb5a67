"""Sign-in at a SAML 2.0 identity provider: ``saml_sign_in`` has the pages, ``assertions`` the checks.

Importing this package raises `SettingsError` without the extra ``saml``.
"""

from __future__ import annotations

from deputize.core.errors import SettingsError

try:
    import signxml  # noqa: F401
except ImportError as missing:
    raise SettingsError.without(missing, "saml") from None
