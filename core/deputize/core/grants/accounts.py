"""Choice of the account that acts: the named one, else the user's default, else the first connected.

If the default account is disconnected, another account of the same app becomes the default until the user chooses one.

A mark in a grant identifies the default account of an app, so that an act need not read a second record. If tools can
be used through several apps (github.com and a company's own server), a record contains the app that the user chose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from deputize.core.audit.events import AccountChosen, AccountDeselected
from deputize.core.errors import AccountMismatch
from deputize.core.oauth.provider import App
from deputize.core.shared_services import Services
from deputize.core.vault.grant import Grant, User, grant_fields
from deputize.core.vault.vault import grants_of_account


class Accounts:
    """The accounts of all users in one vault."""

    def __init__(self, services: Services) -> None:
        self.vault, self.registry, self.audit = services.vault, services.registry, services.audit

    async def choose_app(self, user: User, provider: str, name: str = "", account: str | None = None) -> App:
        """Return the app through which a user's tools of this provider are used.

        ``name``: the app, if the caller names one. ``account``: a connected account, or the id of an earlier
        connection. Raises `InvalidInput` if the app does not serve this provider, and `SettingsError` if there is no
        app.
        """
        await self.registry.arrive(name or provider)
        apps = [self.registry.app(provider, name)] if name else self.registry.apps_for(provider)
        if len(apps) == 1:
            return apps[0]
        chosen = await self._default_app(user, provider)
        apps = sorted(apps, key=lambda app: app.name != chosen)
        for app in apps if account else ():  # a connection id comes before a name at any app
            found = await self.vault.list_grants(user, app.provider, app.name)
            if any(grant.connection_id == account for grant in found):
                return app
        for app in apps if account is not None or chosen else ():
            held = await self._list_held(user, [app])
            if held if account is None else grants_of_account(held, account or ""):
                return app
        return self.registry.app(provider)

    async def choose(self, user: User, provider: str, account: str, app: str = "") -> Grant:
        """Make this account the default, and return its grant.

        Raises `AccountMismatch` if the account is not connected, or several accounts have this name.
        """
        await self.registry.arrive(app or provider)
        apps = [self.registry.app(provider, app)] if app else self.registry.apps_for(provider)
        grants = [grant for app in apps for grant in await self.vault.list_grants(user, app.provider, app.name)]
        held = [grant for grant in grants if grant.status != "revoked"]
        found = [grant for grant in grants_of_account(grants, account) if grant.status != "revoked"]
        if len(found) != 1:
            names = ", ".join(sorted(f"{g.account.name} ({g.app})" for g in found or held)) or "none"
            which = f"No account {account!r} is" if not found else f"Several accounts {account!r} are"
            raise AccountMismatch(f"{which} connected.", hint=f"Connected: {names}.")
        await self.prefer(found[0])
        return found[0]

    async def prefer(self, grant: Grant) -> None:
        """Make the account of this grant the default."""
        marked = await self._mark(grant, chosen=True)
        for other in await self._list_held(grant.user, [self.registry.apps[grant.app]]):
            if other.default and other.account.subject != grant.account.subject:
                await self._mark(other, chosen=False)
        family = self.registry.family(grant.provider)
        if len(self.registry.apps_for(family)) > 1:
            await self._store_default_app(grant.user, family, grant.app)
        await self.audit.record(AccountChosen(grant_fields(marked or grant)))

    async def choose_next(self, user: User, providers: Iterable[str]) -> None:
        """Mark the new default account after a disconnect, so that a later connection does not become the default."""
        ended = set(providers)
        for app in list(self.registry.apps.values()):
            held = await self._list_held(user, [app]) if app.provider in ended else []
            if held and not any(grant.default for grant in held):
                if marked := await self._mark(held[0], chosen=True):
                    await self.audit.record(AccountChosen(grant_fields(marked)))

    async def is_default(self, user: User, grant: Grant) -> bool:
        """Return True if calls that name no account use the account of this grant."""
        if grant.app not in self.registry.apps:
            return grant.default
        if (await self.choose_app(user, self.registry.family(grant.provider))).name != grant.app:
            return False
        acts = await self.vault.find_undamaged(user, grant.provider, grant.app)
        return acts is not None and acts.account.subject == grant.account.subject

    async def _list_held(self, user: User, apps: Sequence[App]) -> list[Grant]:
        found = [grant for app in apps for grant in await self.vault.list_grants(user, app.provider, app.name)]
        return [grant for grant in found if grant.status != "revoked"]

    async def _mark(self, grant: Grant, *, chosen: bool) -> Grant | None:
        """Set or clear the mark of the grant. Return the stored grant, or None if it was revoked in between."""
        while (now := await self.vault.get_grant(self.vault.record_key(grant))) and now.status != "revoked":
            if now.default is chosen:
                return now
            if marked := await self.vault.replace(now, replace(now, default=chosen)):
                if not chosen:
                    await self.audit.record(AccountDeselected(grant_fields(marked)))
                return marked
        return None

    async def _default_app(self, user: User, provider: str) -> str:
        note = await self.vault.get("chosen", self.vault.key_prefix(user, self.registry.family(provider)))
        return str(note.json["app"]) if note else ""

    async def _store_default_app(self, user: User, family: str, app: str) -> None:
        key, note = self.vault.key_prefix(user, family), {"app": app}
        while not await self.vault.insert("chosen", key, note, await self.vault.data_keys.get(user.tenant)):
            old = await self.vault.get("chosen", key)
            if old and await self.vault.swap(old, note):
                return
