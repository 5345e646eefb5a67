"""The deputy: acts as a user, with what the user consented to, and answers for everything it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

from deputize.core.base_deputy import BaseDeputy
from deputize.core.http import Transport
from deputize.core.oauth.provider import Provider
from deputize.core.policy.policy import Policy
from deputize.core.tools.toolkit import Toolkit

if TYPE_CHECKING:
    from deputize.core.settings import Settings


class Deputy(BaseDeputy):
    """Acts as users. One per process is enough; it may be used from any thread and event loop.

    Made by `from_settings` or entered with ``with``, it removes what has expired as long as it runs; else
    ``sweeper.start()`` begins that. What it does is in `BaseDeputy`, what it is made of and from in `Components`:
    ``Deputy(vault, apps, pages=...)``.
    """

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        policy: Policy | None = None,
        agent: str = "",
        providers: Mapping[str, Provider] | Iterable[Provider] | None = None,
        toolkits: Iterable[Toolkit] | None = None,
        transport: Transport | None = None,
    ) -> Self:
        """A deputy as ``DEPUTIZE_...`` variables and ``deputize.toml`` say; see `deputize.core.settings.Settings`.

        Without a ``base_url`` it works in local mode: one person, pages on loopback, keys made on the first run.
        ``policy``: instead of theirs; ``providers``: beside theirs; ``toolkits``: instead of all that are installed.
        Raises `SettingsError`, `VaultError` or `StoreUnavailable`, and then has changed nothing; `ProviderUnavailable`
        for a server that is named by its issuer and was never reached.
        """
        from deputize.core.start import from_settings  # pydantic-settings loads only here

        return from_settings(
            cls, settings, policy=policy, agent=agent, providers=providers, toolkits=toolkits, transport=transport
        )
