"""``deputize revoke``: disconnect an account, a user, a tenant or all users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deputize.cli import show
from deputize.cli.common import AccountOption, UserOption, command_user, open_deputy

if TYPE_CHECKING:
    from deputize.core import Deputy
    from deputize.core.grants.mass_revocation import EndProgress

NAMED: Final = 50
"""Accounts that are listed one by one; for more, only counts are shown."""

UPSTREAM: Final = {
    "done": "ended",
    "queued": "queued",
    "moved": "queued",
    "not_supported": "left to run out",
    "abandoned": "given up",
}


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
    """Disconnect: here at once, at the provider as soon as it can be reached.

    --tenant and --all end everything here with one write. If the command is interrupted then, any program that uses
    this vault finishes the rest.
    """
    if sum(map(bool, (provider, everything, tenant, everybody, queued))) != 1:
        raise typer.BadParameter("Say what: a provider, --everything, --tenant, --all or --queued.")
    if (tenant or everybody or queued) and (account or registration):
        raise typer.BadParameter("--account and --app go with one user's: not with --tenant, --all and --queued.")
    if (tenant or everybody) and not yes:
        typer.confirm(f"Disconnect {f'all users of {tenant}' if tenant else 'everybody'}?", abort=True, err=True)
    with open_deputy() as deputy:
        row = deputy.providers.get(provider)
        label = row.label if row else provider or "the provider"
        with show.waiting(f"Revoking at {label} ..."):
            if queued:
                show.queued(deputy.run(deputy.revoker.retry()))
                return
            labels = {name: row.label for name, row in deputy.providers.items()}
            if not (tenant or everybody):
                work = deputy.revoke(
                    command_user(user), provider, app=registration, account=account or None, leaked=leaked
                )
                show.revoked(deputy.run(work), label, labels=labels)
                return
        _everybody(deputy, tenant or None, leaked, labels)


def _everybody(deputy: Deputy, tenant: str | None, leaked: bool, labels: Mapping[str, str]) -> None:
    """End all grants here at once, and show the progress at the providers."""
    from deputize.core.grants.mass_revocation import EndedAccounts

    with show.waiting("Ending all grants here ...") as tell:
        progress = EndedAccounts(lambda far: tell(f"Ended here. {_progress_text(far)} ..."), most=NAMED + 1)
        ended = deputy.run(deputy.revoker.disconnect_all(tenant, leaked=leaked, progress=progress))
    if progress.stones <= NAMED:
        show.revoked(ended, "any provider", labels=labels)
    else:
        show.out.print(f"Ended here. {_progress_text(progress)}.")


def _progress_text(far: EndProgress) -> str:
    """Return the progress of ending many grants, as text."""
    number = Counter[str]()
    for upstream, count in far.upstream.items():
        number[UPSTREAM[upstream]] += count
    said = ", ".join(f"{count:,} {state}" for state, count in number.items())
    return f"{show.counted(far.stones, 'account')} removed" + (f"; at the providers {said}" if said else "")
