"""The OAuth apps of a deputy and their providers: set up at the start, or created on first use.

A provider that must be discovered first (an MCP server) is registered by name. The first act, page or refresh that
needs it creates it; all others wait for the same attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, Protocol

from deputize.core.background_loop import portal
from deputize.core.errors import DeputizeError, InvalidInput, SettingsError, instead
from deputize.core.oauth.app import ServiceAccount
from deputize.core.oauth.client_auth import check_client
from deputize.core.oauth.credential import KEY_APP
from deputize.core.oauth.provider import App, Provider, describe_scope
from deputize.core.vault.grant import Account, Secret

UNKNOWN_CLIENT: Final = "invalid_client"
"""RFC 6749 5.2: the server does not know the app, or rejects its authentication."""

log = logging.getLogger("deputize")


class LazyProvider(Protocol):
    """A provider that is created on first use, with its app of the same name."""

    async def make(self) -> tuple[Provider, App]:
        """Create the provider and its app. Raises `SettingsError` for a server that cannot be used,
        `ProviderUnavailable` if it is down."""
        ...

    async def renew(self, app: App) -> App | None:
        """Return a new registration if the server has lost the old one; None if deputize did not make it."""
        ...

    async def account_of(self, access: Secret) -> Account | None:
        """Return the account of a new token, or None for the usual way to find it, or for none. Raises `Refusal`."""
        ...


def unknown_provider(name: str, known: Iterable[str]) -> tuple[str, str]:
    """Return message and hint for an unknown provider name: the known names, and how to add another."""
    names = list(known)
    near = instead(name, names, every=False)
    add = "Install its package, or register it under `deputize.providers` or as [providers.NAME] in deputize.toml."
    return f"Unknown provider {name[:60]!r}; known: {', '.join(names)}.", f"{near} {add}".lstrip()


class Registry:
    """Apps by name. Raises `SettingsError` for two apps with one name, or an app that has an unknown provider or cannot
    authenticate there."""

    def __init__(self, apps: Iterable[App], providers: Mapping[str, Provider]) -> None:
        self.providers = dict(providers)
        self.apps: dict[str, App] = {}
        self.late: dict[str, LazyProvider] = {}
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
        used = {app.provider for app in self.apps.values()}
        for name, row in providers.items():  # a provider that takes a key has no registration
            if row.apis.credential and name not in used and name not in self.apps:
                self.apps[name] = App(name, KEY_APP, None, name)

    # ------------------------------------------------------------- providers created on first use

    def expect(self, name: str, late: LazyProvider) -> None:
        """Register a provider and its app, both of this name, to be created on first use.

        Raises `SettingsError` for a name that is taken.
        """
        if name in self.late or name in self.providers or name in self.apps:
            raise SettingsError(f"Two providers are called {name!r}.", hint="Grants are kept by name: rename one.")
        self.late[name] = late

    def forget(self, name: str, *, expected: bool) -> None:
        """Remove a provider that was created on first use. ``expected``: True if its next use creates it again."""
        late = self.late.pop(name, None)
        if late is None:
            return
        self.apps.pop(name, None)
        self.providers.pop(name, None)
        if expected:
            self.late[name] = late

    async def arrive(self, name: str) -> None:
        """Wait until the provider of this name exists, if registered. Raises the errors of `LazyProvider.make`."""
        if name in self.late and name not in self.apps:
            await portal().hop(lambda: self._join(name))

    async def wait_until_loaded(self, name: str) -> None:
        """Wait like `arrive`, but log an error instead of raising it. The provider is unknown then."""
        try:
            await self.arrive(name)
        except DeputizeError as e:
            log.warning("%s cannot be used now: %s", name, e)

    async def renew(self, app: App) -> None:
        """Register the app again after the server has lost the registration that deputize made."""
        if app.name in self.late:
            await portal().hop(lambda: self._renew(app))

    async def _join(self, name: str) -> None:
        """Wait for the single attempt to create a provider. Runs on the portal's loop only."""
        task = self._coming.get(name)
        if task is None:
            task = self._coming[name] = asyncio.create_task(self._take(name))
            task.add_done_callback(partial(self._finish, name))
        await asyncio.shield(task)

    def _finish(self, name: str, task: asyncio.Task[None]) -> None:
        del self._coming[name]
        if not task.cancelled():
            task.exception()  # retrieved even if all callers have gone

    async def _take(self, name: str) -> None:
        if name not in self.apps:
            provider, app = await self.late[name].make()
            check_client(provider, app)
            self.providers[name] = provider
            self.apps[name] = app  # last: a caller that finds the app must find the provider

    async def _renew(self, app: App) -> None:
        if self.apps.get(app.name) is app and (new := await self.late[app.name].renew(app)):
            self.apps[app.name] = new

    # ------------------------------------------------------------- all providers

    def app(self, provider: str, name: str = "") -> App:
        """Return the app of this name, or the default app of a provider: the one with the provider's name, else its
        first, else the first of another provider that stands in for it.

        Raises `InvalidInput` for an unknown app or one of another provider, `SettingsError` if there is no app.
        """
        if not name:
            return self.apps_for(provider)[0]
        if name not in self.apps or (provider and not self.serves(name, provider)):
            known = [app for app in self.apps if not provider or self.serves(app, provider)]
            where = f" of {provider!r}" if provider else ""
            raise InvalidInput(f"No app{where} is called {name!r}.", hint=instead(name, known), fix_by="operator")
        return self.apps[name]

    def apps_for(self, provider: str) -> list[App]:
        """Return all apps through which a provider's tools can be used, the default first. Leaves out service accounts,
        which act only if they are named. Raises `SettingsError` if there is no app."""
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
        if accounts := [app.name for app in self.apps.values() if app.provider == provider]:
            raise SettingsError(
                f"No user's app is registered for {provider!r}, but service accounts: {', '.join(accounts)}.",
                hint="A service account acts only if your application names it (app=).",
            )
        raise self._no_app(provider)

    def missing_apps(self, providers: Iterable[str]) -> SettingsError | None:
        """Return the error if one of these providers has no app, or None."""
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
        """Return True if a provider's tools can be used through the app of this name."""
        app = self.apps.get(name)
        return app is not None and provider in (app.provider, self.providers[app.provider].stands_in_for)

    def family(self, provider: str) -> str:
        """Return the provider whose toolkits work with this one, usually itself."""
        row = self.providers.get(provider)
        return row.stands_in_for or provider if row else provider

    def provider(self, name: str) -> Provider:
        """Return the provider of this name. Raises `InvalidInput` for an unknown name."""
        if name not in self.providers:
            message, hint = unknown_provider(name, self.providers)
            raise InvalidInput(message, hint=hint)
        return self.providers[name]

    def scopes(self, provider: str, scopes: Iterable[str]) -> list[str]:
        """Return scopes in full: unchanged, or the first known scope with this ending (``gmail.readonly``)."""
        known = self.provider(provider).scope_descriptions
        return [next((full for full in known if full.endswith(f"/{s}")), s) for s in scopes]

    def words(self, provider: str, scope: str) -> str:
        """Return a scope's description for people, even if its provider is no longer in the settings."""
        row = self.providers.get(provider)
        return describe_scope(scope, row.scope_descriptions if row else {})
