"""The grant that an act uses: stored in the vault, or obtained by its app's source."""

from __future__ import annotations

from typing import Final, TypeAlias

from deputize.core.acts.missing_scopes import MissingScopes
from deputize.core.grants.refresh import Refresher
from deputize.core.grants.sources.service_account import owner_of
from deputize.core.grants.sources.session import NotObtained
from deputize.core.providers.origin import MOVED, moved, origin_change
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.required_scopes import asks_of
from deputize.core.tools.tool import Effect
from deputize.core.vault.grant import Account, Grant, Secret, User

RESTRICTED: Final = "restricted scope in grant"

Known: TypeAlias = dict[tuple[User, str, str, str | None], Grant | None]
"""Grants loaded a moment ago, for several reads that are checked together."""


class GrantFinder:
    """Lookup of grants for acts."""

    def __init__(self, services: Services, refresher: Refresher) -> None:
        self.vault, self.providers, self.apps, self.refresher = (
            services.vault,
            services.providers,
            services.apps,
            refresher,
        )

    async def find(self, act: Act, known: Known | None = None, *, stored_only: bool = False) -> Grant:
        """Return the user's grant if it has every scope that these arguments need. Raises `MissingScopes` otherwise.
        ``stored_only``: obtain and end no grant."""
        if not act.provider:
            return Grant(act.user, "", "", Account("", ""), frozenset(), Secret(""))
        grant = await self._load_grant(act, known, stored_only)
        if grant is None or grant.status != "active":
            raise MissingScopes(act, asks_of(act.needs), grant, grant.reason if grant else "")
        row = self.providers[grant.provider]
        if where := origin_change(grant.origin, row, self.apps[act.app]):
            raise moved(grant, row) if where == "place" else MissingScopes(act, asks_of(act.needs), grant, MOVED)
        incompatible = row.apis.incompatible_scopes
        if any(incompatible[scope] == act.tool.api for scope in grant.scopes & incompatible.keys()):
            if stored_only:
                raise MissingScopes(act, asks_of(act.needs), grant, RESTRICTED)
            lost = await self.refresher.end(grant, RESTRICTED)
            if known:
                known.clear()
            raise MissingScopes(act, asks_of(act.needs), lost.grant, lost.reason)
        if asks := asks_of(act.needs, row.implied_scopes(grant.scopes)):
            raise MissingScopes(act, asks, grant)
        return grant

    async def _load_grant(self, act: Act, known: Known | None, stored_only: bool) -> Grant | None:
        """Return the stored grant, or the grant that the app's source obtains."""
        app = self.apps[act.app]
        owner = owner_of(app, act.user)
        whose = owner, act.provider, act.app, act.account
        if app.source is not None or known is None or act.effect is not Effect.READS:  # a preview reads with the token
            held = await self.vault.find_grant(*whose)
        elif whose in known:
            held = known[whose]
        else:
            held = known[whose] = await self.vault.find_grant(*whose)
        if app.source is None or stored_only:
            return held
        covered = (
            self.providers[app.provider].implied_scopes(held.scopes)
            if held and held.status == "active"
            else frozenset()
        )
        try:
            found = await self.refresher.sources.obtain(owner, app, held, asks_of(act.needs, covered))
        except NotObtained as none:
            raise MissingScopes(act, asks_of(act.needs), held, none.reason, none.claims) from None
        return found if found is held else await self.vault.find_grant(*whose)
