"""``deputize revoke``: disconnect one account, one user, a tenant or everybody."""

from __future__ import annotations

from typing import Annotated

import typer

from deputize.cli import show
from deputize.cli.common import AccountOption, UserOption, opened, who


def revoke(
    provider: Annotated[str, typer.Argument(help="google, ...; or else one of --everything, --tenant, --all")] = "",
    user: UserOption = "",
    account: AccountOption = "",
    registration: Annotated[str, typer.Option("--app", help="Which OAuth app, where settings name several.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="From all providers.")] = False,
    tenant: Annotated[str, typer.Option(help="All users of this tenant, from all providers.")] = "",
    everybody: Annotated[bool, typer.Option("--all", help="All users, from all providers.")] = False,
    leaked: Annotated[
        bool, typer.Option("--leaked", help="Others may have the tokens: end them without the app too, where possible.")
    ] = False,
    queued: Annotated[
        bool, typer.Option("--queued", "--owed", help="Only send the revocations that could not be sent before.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --tenant and --all: do not ask first.")] = False,
) -> None:
    """Disconnect: here at once, at the provider as soon as it can be reached."""
    if sum(map(bool, (provider, everything, tenant, everybody, queued))) != 1:
        raise typer.BadParameter("Say what: a provider, --everything, --tenant, --all or --queued.")
    if (tenant or everybody or queued) and (account or registration):
        raise typer.BadParameter("--account and --app go with one user's: not with --tenant, --all and --queued.")
    if (tenant or everybody) and not yes:
        typer.confirm(f"Disconnect {f'all users of {tenant}' if tenant else 'everybody'}?", abort=True, err=True)
    with opened() as deputy:
        row = deputy.providers.get(provider)
        label = row.label if row else provider or "The provider"
        with show.waiting(f"Revoking at {label} ..."):
            if queued:
                show.queued(deputy.run(deputy.revoker.retry()))
                return
            if tenant or everybody:
                work = deputy.revoke_all(tenant=tenant or None, leaked=leaked)
            else:
                named = account or None
                work = deputy.revoke(who(user), provider, app=registration, account=named, leaked=leaked)
            ended = deputy.run(work)
    labels = {name: row.label for name, row in deputy.providers.items()}
    show.revoked(ended, label, labels=labels)
