"""An OAuth app described in settings: ``[apps.google]`` in ``deputize.toml``."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class AppSettings(BaseModel):
    """One OAuth client, as registered at its provider.

    ``pkce``: the registration has PKCE switched on, where that is its own choice (Slack). ``host``: where somebody else
    runs the provider (GitHub Enterprise, a Salesforce domain), as ``github.example.com``; the app's own name is then
    the provider's, too. ``issuer``: of a server that is not in the table, which is asked for its metadata at start;
    ``label``, ``api``, ``resource``, ``private`` and ``par`` say what that does not: see `deputize.core.discover`.
    """

    client_id: str
    client_secret: SecretStr | None = None
    provider: str = ""
    pkce: bool = False
    host: str = ""
    issuer: str = ""
    label: str = ""
    api: dict[str, str] = Field(default_factory=dict)
    resource: str = ""
    private: bool = False
    par: bool = False

    def row(self, name: str) -> str:
        """The provider's name, for an app of this name."""
        return name if self.host else self.provider or name
