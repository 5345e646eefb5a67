"""The OAuth apps a deputy was given, and the providers they belong to: from the start, or from when they are needed.

A provider that has to be asked who it is (an MCP server) is expected by its name. Whoever comes upon that name first,
an act, a page or a refresh, makes it arrive; everybody else waits for the same one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, Protocol

from deputize.core.background_loop import portal
from deputize.core.errors import DeputizeError, InvalidInput, SettingsError, instead
from deputize.core.oauth.client_auth import check_client
from deputize.core.oauth.grant_sources import ServiceAccount
from deputize.core.oauth.provider import App, Provider, describe_scope
from deputize.core.vault.grant import Account, Secret

UNKNOWN_CLIENT: Final = "invalid_client"
"""RFC 6749 5.2: the server does not know the app, or does not believe that it is it."""

log = logging.getLogger("deputize")


class Late(Protocol):
    """A provider that comes when it is needed, and the app there, which has the same name."""

    async def make(self) -> tuple[Provider, App]:
        """Both. Raises `SettingsError` for a server that cannot be used, `ProviderUnavailable` for one that is down."""
        ...

    async def renew(self, app: App) -> App | None:
        """A new registration in place of one that the server knows no more; None where that is not ours to make."""
        ...

    async def whose(self, access: Secret) -> Account | None:
        """Whose account a fresh token is; None where it is told as anywhere else, or not at all. Raises `Refusal`."""
        ...


def unknown_provider(name: str, known: Iterable[str]) -> tuple[str, str]:
    """Message and hint for a provider's name that nothing has: what there is, and how to add another."""
    names = list(known)
    near = instead(name, names, every=False)
    add = "Install its package, or register it under `deputize.providers` or as [providers.NAME] in deputize.toml."
    return f"Unknown provider {name[:60]!r}; known: {', '.join(names)}.", f"{near} {add}".lstrip()


class Registry:
    """Apps by name. Raises `SettingsError` for two of one name, one of an unknown provider, or one that
    cannot authenticate at its provider."""

    def __init__(self, apps: Iterable[App], providers: Mapping[str, Provider]) -> None:
        self.providers = dict(providers)
        self.apps: dict[str, App] = {}
        self.late: dict[str, Late] = {}
        """Those that come when they are needed, or have come, by name."""
        self._coming: dict[str, asyncio.Task[None]] = {}
        for app in apps:
            if app.provider not in providers:
                message, hint = unknown_provider(app.provider, providers)
                raise SettingsError(f"App {app.name!r}: {message}", hint=hint)
            if app.name in self.apps:
                raise SettingsError(f"Two apps are called {app.name!r}.")
            check_client(providers[app.provider], app)
            self.apps[app.name] = app

    # ------------------------------------------------------------- those that come later

    def expect(self, name: str, late: Late) -> None:
        """Let a provider and its app, both of this name, come when they are needed.

        Raises `SettingsError` for a name that is taken.
        """
        if name in self.late or name in self.providers or name in self.apps:
            raise SettingsError(f"Two providers are called {name!r}.", hint="Grants are kept under it: name one anew.")
        self.late[name] = late

    def forget(self, name: str, *, expected: bool) -> None:
        """Take one that has come away again. ``expected``: it may come anew, as it is then."""
        late = self.late.pop(name, None)
        if late is None:
            return
        self.apps.pop(name, None)
        self.providers.pop(name, None)
        if expected:
            self.late[name] = late

    async def arrive(self, name: str) -> None:
        """Wait until the provider of this name is here, if it is expected. Raises as `Late.make` does."""
        if name in self.late and name not in self.apps:
            await portal().hop(lambda: self._join(name))

    async def arrived(self, name: str) -> None:
        """The same for work that goes on without it, where it cannot come now: it is then as unknown as any other."""
        try:
            await self.arrive(name)
        except DeputizeError as e:
            log.warning("%s cannot be used now: %s", name, e)

    async def renewed(self, app: App) -> None:
        """The server knows this app no more: register anew, where that is ours to do."""
        if app.name in self.late:
            await portal().hop(lambda: self._renew(app))

    async def _join(self, name: str) -> None:
        """Wait for the one attempt there is. Runs on the portal's loop only."""
        task = self._coming.get(name)
        if task is None:
            task = self._coming[name] = asyncio.create_task(self._take(name))
            task.add_done_callback(partial(self._came, name))
        await asyncio.shield(task)

    def _came(self, name: str, task: asyncio.Task[None]) -> None:
        del self._coming[name]
        if not task.cancelled():
            task.exception()  # asked for, though all who waited have given up

    async def _take(self, name: str) -> None:
        if name not in self.apps:
            provider, app = await self.late[name].make()
            check_client(provider, app)
            self.providers[name] = provider
            self.apps[name] = app  # last: who finds the app finds the provider

    async def _renew(self, app: App) -> None:
        if self.apps.get(app.name) is app and (new := await self.late[app.name].renew(app)):
            self.apps[app.name] = new

    # ------------------------------------------------------------- all of them

    def app(self, provider: str, name: str = "") -> App:
        """The app of this name; else the one to use at a provider: that of its name, the first, or the first of
        another provider that plays for it.

        Raises `InvalidInput` for an unknown name or one of another provider, `SettingsError` where there is no app.
        """
        if not name:
            return self.apps_for(provider)[0]
        if name not in self.apps or (provider and not self.serves(name, provider)):
            known = [one for one in self.apps if not provider or self.serves(one, provider)]
            where = f" of {provider}" if provider else ""
            raise InvalidInput(f"No app{where} is called {name!r}.", hint=instead(name, known), fix_by="operator")
        return self.apps[name]

    def apps_for(self, provider: str) -> list[App]:
        """All apps through which a provider's tools can be used, the first choice first; but those of service accounts,
        which act where they are named. Raises `SettingsError` for none."""
        first, own, stand_ins = list[App](), list[App](), list[App]()
        for app in list(self.apps.values()):
            if isinstance(app.source, ServiceAccount):
                continue
            if app.provider == provider:
                (first if app.name == provider else own).append(app)
            elif self.providers[app.provider].stands_in_for == provider:
                stand_ins.append(app)
        if found := [*first, *own, *stand_ins]:
            return found
        if provider not in self.providers:
            message, hint = unknown_provider(provider, self.providers)
            raise SettingsError(message, hint=hint)
        if named := [app.name for app in self.apps.values() if app.provider == provider]:  # all of service accounts
            raise SettingsError(
                f"No user's app is registered for {provider!r}, but service accounts: {', '.join(named)}.",
                hint="One of these acts where the application names it (app=), and never by itself.",
            )
        raise self._no_app(provider)

    def missing_apps(self, providers: Iterable[str]) -> SettingsError | None:
        """Return the fault of those of these providers that no app is registered for; None if each has one."""
        have = {family for app in self.apps.values() for family in (app.provider, self.family(app.provider))}
        missing = sorted(set(providers) - have - self.late.keys() - {""})
        return self._no_app(*missing) if missing else None

    def _no_app(self, *providers: str) -> SettingsError:
        label, name = self.providers[providers[0]].label, providers[0]
        return SettingsError(
            f"No app is registered for {', '.join(map(repr, providers))}.",
            hint=f"Register an OAuth app at {label}. Then set DEPUTIZE_APPS__{name.upper()}__CLIENT_ID and "
            f"__CLIENT_SECRET, or add it to deputize.toml as [apps.{name}]. "
            "To try it without an app: deputize sandbox.",
        )

    def serves(self, name: str, provider: str) -> bool:
        """Whether a provider's tools can be used through the app of this name."""
        app = self.apps.get(name)
        return app is not None and provider in (app.provider, self.providers[app.provider].stands_in_for)

    def family(self, provider: str) -> str:
        """The provider whose toolkits work with this one, mostly itself."""
        row = self.providers.get(provider)
        return row.stands_in_for or provider if row else provider

    def provider(self, name: str) -> Provider:
        """The provider of this name. Raises `InvalidInput` for an unknown one."""
        if name not in self.providers:
            message, hint = unknown_provider(name, self.providers)
            raise InvalidInput(message, hint=hint)
        return self.providers[name]

    def scopes(self, provider: str, scopes: Iterable[str]) -> list[str]:
        """Scopes in full: as given, or the one known scope that ends so (``gmail.readonly``)."""
        known = self.provider(provider).scope_descriptions
        return [next((full for full in known if full.endswith(f"/{s}")), s) for s in scopes]

    def words(self, provider: str, scope: str) -> str:
        """A scope as a person reads it, even of a provider that is not set up any more."""
        row = self.providers.get(provider)
        return describe_scope(scope, row.scope_descriptions if row else {})
