"""``deputize connect``, ``accounts`` and ``open``: connect accounts, list them, and open your pages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show
from deputize.cli.common import (
    AccountOption,
    BrowserOption,
    JsonOption,
    TenantOption,
    UserOption,
    WaitOption,
    command_user,
    known_provider,
    open_deputy,
)

if TYPE_CHECKING:
    from deputize.core import Deputy


def connect(
    provider: Annotated[str, typer.Argument(help="google, ...; not needed with --tool")] = "",
    scopes: Annotated[
        list[str] | None,
        typer.Option(help="What to ask for, in full or by its last part: gmail.readonly. Repeat it, or use commas."),
    ] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="Ask for what this tool needs, of whichever provider. Repeat it.")
    ] = None,
    user: UserOption = "",
    tenant: TenantOption = "",
    account: AccountOption = "",
    registration: Annotated[str, typer.Option("--app", help="Which OAuth app, where settings name several.")] = "",
    another: Annotated[bool, typer.Option("--another", help="One more account, beside those connected.")] = False,
    switch: Annotated[bool, typer.Option("--switch", help="Act with the account that you choose from now on.")] = False,
    renew: Annotated[bool, typer.Option("--renew", help="The same again, before the connection ends.")] = False,
    device: Annotated[
        bool, typer.Option("--device", help="No browser here: enter a code on another device (GitHub).")
    ] = False,
    browser: BrowserOption = True,
    wait: WaitOption = 600,
) -> None:
    """Connect an account: shows a link to a page of deputize, and waits until you have been to the provider.

    Examples: deputize connect google --scopes gmail.readonly, deputize connect --tool gmail_send_email
    """
    if not provider and not tool:
        raise typer.BadParameter("Say which provider to connect, or which --tool is to be used.")
    from deputize.cli.prompts import Asking, raise_unless_granted

    wanted = [part for given in scopes or () for part in given.replace(",", " ").split()]
    with open_deputy() as deputy:
        named = {known_provider(deputy, provider)} if provider else set()
        families = {*map(deputy.registry.family, named), *(deputy.catalog.tool(name).provider for name in tool or ())}
        asking = Asking(deputy, command_user(user, tenant), browser, wait, device=device)
        asked = deputy.run(
            deputy.connect(
                asking.user,
                provider,
                scopes=_known(deputy, provider, wanted),
                tools=tool or (),
                app=registration,
                account=account or None,
                add_account=another,
                switch_account=switch,
                renew=renew,
            )
        )
        for consent in asking.consents(asked) if asked else ():
            raise_unless_granted(consent, asking.label(consent.provider))
        held = deputy.run(deputy.connections(asking.user))
        show.connections([one for one in held if deputy.registry.family(one.provider) in families])


def open_page(user: UserOption = "", tenant: TenantOption = "", browser: BrowserOption = True) -> None:
    """Show the link to your own page: accounts, open questions, approvals. Serves it until Ctrl-C."""
    from deputize.cli.browser import open_browser
    from deputize.core.web.pages.local_links import connections_link

    with open_deputy() as deputy:
        link = deputy.run(connections_link(deputy, command_user(user, tenant)))
        show.link(link, show.out)
        if browser:
            open_browser(link)
        show.note("Ctrl-C ends it.")
        while True:
            time.sleep(3600)


def accounts(user: UserOption = "", tenant: TenantOption = "", as_json: JsonOption = False) -> None:
    """List connected accounts and what each may be used for. Never a token."""
    from dataclasses import asdict

    with open_deputy() as deputy:
        held = deputy.run(deputy.connections(command_user(user, tenant)))
    if as_json:
        show.data([asdict(one) for one in held])
    else:
        show.connections(held)


def _known(deputy: Deputy, provider: str, scopes: list[str]) -> list[str]:
    """Return the scopes, checked to be complete or known by their last part: a provider only says "invalid scope".

    Raises `InvalidInput` for an unknown scope if the provider's list is complete; otherwise prints a note.
    """
    from deputize.core.errors import InvalidInput, instead

    row = deputy.providers[provider] if provider else None
    known = row.scope_descriptions if row else {}
    for scope in scopes:
        if not known or "://" in scope or any(scope == full or full.endswith(f"/{scope}") for full in known):
            continue
        names = [full.rpartition("/")[2] or full for full in known]
        if row is None or not row.more_scopes:
            raise InvalidInput(f"No scope of {provider} is called {scope!r}.", hint=instead(scope, names))
        near = instead(scope, names, every=False)
        show.note(f"{row.label} does not list the scope {scope!r}. {near} It is asked for all the same.")
    return scopes
