"""The OAuth apps a deputy was given, and the providers they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deputize.core.errors import InvalidInput, SettingsError, instead
from deputize.core.oauth.client_auth import check_client
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.sources import ServiceAccount


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
        self.providers = providers
        self.apps: dict[str, App] = {}
        for app in apps:
            if app.provider not in providers:
                message, hint = unknown_provider(app.provider, providers)
                raise SettingsError(f"App {app.name!r}: {message}", hint=hint)
            if app.name in self.apps:
                raise SettingsError(f"Two apps are called {app.name!r}.")
            check_client(providers[app.provider], app)
            self.apps[app.name] = app

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
        apps = [app for app in self.apps.values() if not isinstance(app.source, ServiceAccount)]
        own = [app for app in apps if app.provider == provider]
        stand_ins = [app for app in apps if self.providers[app.provider].stands_in_for == provider]
        if own or stand_ins:
            return [*sorted(own, key=lambda app: app.name != provider), *stand_ins]
        if provider not in self.providers:
            message, hint = unknown_provider(provider, self.providers)
            raise SettingsError(message, hint=hint)
        hint = f"Set DEPUTIZE_APPS__{provider.upper()}__CLIENT_ID and __CLIENT_SECRET, or add it to deputize.toml."
        raise SettingsError(f"No app is registered for {provider!r}.", hint=hint)

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
        known = self.provider(provider).scope_words
        return [next((full for full in known if full.endswith(f"/{s}")), s) for s in scopes]

    def words(self, provider: str, scope: str) -> str:
        """A scope as a person reads it, even of a provider that is not set up any more."""
        return self.providers[provider].words(scope) if provider in self.providers else scope
