"""Root keys in a setting: DEPUTIZE_KEY."""

from __future__ import annotations

from dataclasses import field

from deputize.core.value_object import Printed, frozen
from deputize.core.vault.root_keys import parse_keys
from deputize.core.vault.secret_values import Secret


@frozen
class GivenKeys(Printed):
    """Root keys as text in the setting, newest first. They do not change while the process runs."""

    text: Secret = field(repr=False)

    @property
    def name(self) -> str:
        """The variable, for messages."""
        return "DEPUTIZE_KEY"

    def exists(self) -> bool:
        """Return True: the setting has keys."""
        return True

    def read_keys(self) -> list[bytes]:
        """Return the keys. Raises the errors of `parse_keys`."""
        return parse_keys(self.text.reveal())
