"""Shared parts of commands: options, the deputy of the settings, and the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show

if TYPE_CHECKING:
    from deputize.core import Deputy, Tool, User

UserOption = Annotated[
    str, typer.Option("--user", envvar="DEPUTIZE_USER", help="Whom to act for. Local mode: your login name.")
]
TenantOption = Annotated[str, typer.Option("--tenant", help="The user's tenant, where there are some.")]
AccountOption = Annotated[str, typer.Option(help="Which of several connected accounts, by its name.")]
BrowserOption = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the link in a browser too.")]
WaitOption = Annotated[float, typer.Option(min=0, help="Seconds to wait for a consent, or another person's approval.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@contextmanager
def open_deputy() -> Iterator[Deputy]:
    """Open the deputy that the settings describe."""
    from deputize.core import Deputy

    with Deputy.from_settings() as deputy:
        yield deputy


def tell_unusable_apps(deputy: Deputy, tools: Iterable[Tool]) -> None:
    """Tell the user which providers of these tools have no OAuth app, or an app whose calls fail here."""
    from deputize.core.oauth.app import IdentityAssertion, TokenExchange

    providers = {tool.provider for tool in tools}
    if fault := deputy.registry.missing_apps(providers):
        show.note(f"{fault.message} {fault.hint}", "yellow")
    for app in deputy.apps.values():
        if (
            isinstance(app.source, TokenExchange | IdentityAssertion)
            and deputy.registry.family(app.provider) in providers
        ):
            show.note(
                f"The app {app.name!r} gets its grants from session tokens of an application, and deputize serve has "
                "none: its calls fail. Serve these tools from your application, which sets deputy.sources.token_for.",
                "yellow",
            )


def command_user(named: str, tenant: str = "") -> User:
    """Return the user for whom a command acts. Raises `UserRequired` if only the operator can name one."""
    import getpass

    from deputize.core import User, UserRequired
    from deputize.core.settings import Settings

    if named:
        return User.of(User(named, tenant))
    if tenant or not Settings.load().local:
        raise UserRequired("No user is named, and this is not local mode.", hint="Pass --user or set DEPUTIZE_USER.")
    return User(getpass.getuser())


def known_provider(deputy: Deputy, provider: str) -> str:
    """Return the name if it is a provider's, also of a provider loaded on demand. Raises `InvalidInput` with near
    names."""
    deputy.run(deputy.registry.arrive(provider))
    return deputy.registry.provider(provider).name
