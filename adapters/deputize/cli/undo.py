"""``deputize undo``: undo your acts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from deputize.cli import show
from deputize.cli.common import (
    BrowserOption,
    JsonOption,
    TenantOption,
    UserOption,
    WaitOption,
    command_user,
    open_deputy,
)


def undo(
    act: Annotated[str, typer.Argument(help="The act's id. Without one, what can be undone is listed.")] = "",
    user: UserOption = "",
    tenant: TenantOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without being asked.")] = False,
    browser: BrowserOption = True,
    wait: WaitOption = 600,
    as_json: JsonOption = False,
) -> None:
    """Undo an act, if its tool allows it; or list the acts that can be undone. Later changes of others are left alone.

    Example: deputize undo 3f2a90c41b7e
    """
    from deputize.cli.prompts import Asking

    with open_deputy() as deputy:
        if act:
            show.data(Asking(deputy, command_user(user, tenant), browser, wait, yes).undo(act))
            return
        found = deputy.run(deputy.undoable(command_user(user, tenant)))
    if as_json:
        show.data([asdict(one) for one in found])
    else:
        show.undoable(found)
