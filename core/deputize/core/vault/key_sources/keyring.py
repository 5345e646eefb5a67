"""Root keys in the desktop's keyring."""

from __future__ import annotations

from deputize.core.errors import SettingsError
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.root_keys import NEW, parse_keys


@frozen
class KeyringEntry(Printed):
    """The keys in one entry of the keyring, which only the operator changes."""

    service: str = "deputize"
    entry: str = "key"

    @property
    def name(self) -> str:
        """The name in messages."""
        return "the keyring"

    def exists(self) -> bool:
        """Return True. Only `read_keys` checks that there are keys."""
        return True

    def read_keys(self) -> list[bytes]:
        """Return the keys. Raises `SettingsError` if the keyring package, a backend or the entry is missing."""
        try:
            import keyring
            import keyring.errors
        except ImportError:
            raise SettingsError("Keys in a keyring need an extra.", hint='pip install "deputize[keyring]"') from None
        try:
            text = keyring.get_password(self.service, self.entry)
        except keyring.errors.KeyringError as error:
            raise SettingsError("The keyring cannot be read.", hint=f"keyring says {type(error).__name__}") from None
        if text is None:
            hint = f"{NEW}; put it there: keyring set {self.service} {self.entry}"
            raise SettingsError("The keyring has no key.", hint=hint)
        return parse_keys(text)
