"""The class that an application uses: a deputy created from settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

from deputize.core.base_deputy import BaseDeputy
from deputize.core.http import Transport
from deputize.core.oauth.provider import Provider
from deputize.core.policy.policy import Policies
from deputize.core.roles import RolesOf
from deputize.core.tools.toolkit import Toolkit

if TYPE_CHECKING:
    from deputize.core.settings import Settings


class Deputy(BaseDeputy):
    """A deputy: it acts for users, with the access that they granted.

    One deputy per process is enough: every thread and every event loop may use it.
    `from_settings` and ``with`` start the sweeper, which deletes expired records. Otherwise call ``sweeper.start()``.
    `BaseDeputy` has the methods; `Components` has the parts and the constructor: ``Deputy(vault, apps, pages=...)``.
    """

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        policy: Policies | None = None,
        roles: RolesOf | None = None,
        agent: str = "",
        providers: Mapping[str, Provider] | Iterable[Provider] | None = None,
        toolkits: Iterable[Toolkit] | None = None,
        transport: Transport | None = None,
    ) -> Self:
        """Create a deputy from ``DEPUTIZE_...`` variables and ``deputize.toml``; see `deputize.core.settings.Settings`.

        Without a ``base_url`` it works in local mode: one person, pages on loopback, keys created on the first run.
        ``policy`` and ``roles`` replace those of the settings. ``providers`` adds providers. ``toolkits`` replaces all
        installed toolkits. Raises `SettingsError`, `VaultError` or `StoreUnavailable`, after which nothing has changed.
        Raises `ProviderUnavailable` if the metadata of a provider that is configured by its issuer was never read.
        """
        from deputize.core.from_settings import from_settings  # pydantic-settings loads only here

        return from_settings(
            cls,
            settings,
            policy=policy,
            roles=roles,
            agent=agent,
            providers=providers,
            toolkits=toolkits,
            transport=transport,
        )
