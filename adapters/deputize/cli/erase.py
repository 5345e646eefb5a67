"""``deputize erase``: end all grants of a user, and delete the user's data."""

from __future__ import annotations

from typing import Annotated

import typer

from deputize.cli import show
from deputize.cli.common import TenantOption, open_deputy


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
        labels = {name: row.label for name, row in deputy.providers.items()}
        ended = deputy.run(deputy.erase(whom))
    if ended:
        show.revoked(ended, "any provider", labels=labels)
    show.out.print(show.plain(f"Nothing is kept of {user} any more."))
