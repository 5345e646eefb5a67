"""``deputize erase`` and ``deputize erase-tenant``: end grants, and delete the data of a user or of a whole tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from deputize.cli import show
from deputize.cli.common import TenantOption, open_deputy

if TYPE_CHECKING:
    from deputize.core import Deputy, Revoked


def erase(
    user: Annotated[str, typer.Argument(help="Whom, by the id that the application calls them.")],
    tenant: TenantOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Erase a user: end their grants here and at the providers, then delete all data about them.

    Audit rows stay, under a pseudonym that no longer leads to anyone. Older backups still contain the user.
    """
    from deputize.core import User

    whom = User.of(User(user, tenant))
    if not yes:
        typer.confirm(f"Disconnect {user} from everything, and erase them?", abort=True, err=True)
    with open_deputy() as deputy:
        _show(deputy, deputy.run(deputy.erase(whom)), user)


def erase_tenant(
    tenant: Annotated[str, typer.Argument(help="The tenant, as the application calls it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Erase a tenant: end the grants of all its users, delete all data about them, then erase the tenant's data key.

    Programs may continue to run. It takes a quarter of a minute at least, until they have stopped writing for the
    tenant. Repeat it if it was interrupted, or after an older backup was copied back.
    """
    if not yes:
        typer.confirm(f"Disconnect all users of {tenant} from everything, and erase them?", abort=True, err=True)
    with open_deputy() as deputy:
        _show(deputy, deputy.run(deputy.erase_tenant(tenant)), f"the tenant {tenant}")


def _show(deputy: Deputy, ended: Sequence[Revoked], whom: str) -> None:
    if ended:
        show.revoked(ended, "any provider", labels={name: row.label for name, row in deputy.providers.items()})
    show.out.print(show.plain(f"Nothing is kept of {whom} any more."))
