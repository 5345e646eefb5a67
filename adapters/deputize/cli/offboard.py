"""``deputize offboard``: end a user's access at once, and say what ended where."""

from __future__ import annotations

from typing import Annotated

import typer

from deputize.cli import show
from deputize.cli.common import TenantOption, open_deputy


def offboard(
    user: Annotated[str, typer.Argument(help="Whom, by the id that the application calls them.")],
    tenant: TenantOption = "",
    reason: Annotated[str, typer.Option(help="For the audit.")] = "left",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """End a user's access: page sessions, mandates, open approvals and grants, here at once and at the providers.

    Their data stays: deputize erase deletes it.
    """
    from deputize.core import User

    whom = User.of(User(user, tenant))
    if not yes:
        typer.confirm(f"End all access of {user}?", abort=True, err=True)
    with open_deputy() as deputy:
        labels = {name: row.label for name, row in deputy.providers.items()}
        ended = deputy.run(deputy.offboard(whom, reason))
    show.revoked(ended.revoked, "any provider", labels=labels)
    for number, noun in ((ended.approvals, "approval"), (ended.mandates, "mandate"), (ended.sessions, "session")):
        show.out.print(f"Ended {show.counted(number, noun)}.")
