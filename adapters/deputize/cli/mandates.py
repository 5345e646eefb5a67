"""``deputize mandates``: what agents may do as you without asking, how often and until when, and how to end it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deputize.cli import show
from deputize.cli.common import JsonOption, TenantOption, UserOption, command_user, open_deputy

if TYPE_CHECKING:
    from deputize.core import Audience, Mandate

mandates_app = typer.Typer(help="What agents may do as you without asking.", invoke_without_command=True)


@mandates_app.callback()
def mandates(
    context: typer.Context, user: UserOption = "", tenant: TenantOption = "", as_json: JsonOption = False
) -> None:
    """Show what agents may do as you without asking: the tools, the recipients, how often and until when.

    A mandate is given by deputize mandates give, in an answer to deputize act, or on the page of an approval.
    """
    if context.invoked_subcommand:
        return
    with open_deputy() as deputy:
        found = deputy.run(deputy.mandates(command_user(user, tenant)))
    if as_json:
        show.data([_facts(one) for one in found])
        return
    for one in found:
        show.out.print(show.plain(_describe(one)), soft_wrap=True)
        show.out.print(show.plain(f"  To end it: deputize mandates end {one.id}", "dim"), soft_wrap=True)
    if not found:
        show.out.print("Nothing: agents ask you each time.")


@mandates_app.command()
def give(
    tool: Annotated[list[str], typer.Option(help="A tool that the agent may use. Repeat it.")],
    target: Annotated[list[str], typer.Option(help="An address, a domain as @acme.example, or a place. Repeat it.")],
    most: Annotated[int, typer.Option("--max", help="How often.")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%dT%H:%MZ"], help="Until when, in UTC.")],
    agent: Annotated[str, typer.Option(help="Which agent. Default: that of the settings.")] = "",
    audience: Annotated[str, typer.Option(help="The widest audience: people, organisation, public.")] = "people",
    allow_destructive: Annotated[
        bool, typer.Option("--allow-destructive", help="Text or data may be deleted or overwritten.")
    ] = False,
    user: UserOption = "",
    tenant: TenantOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Let an agent make calls of these tools to these targets without asking you, such as in a cron job."""
    from deputize.core import Audience
    from deputize.core.errors import InvalidInput

    if (name := audience.upper()) not in Audience.__members__:
        raise InvalidInput(f"No audience is called {audience!r}.", hint="people, organisation, public.")
    ends = until.replace(tzinfo=UTC)
    with open_deputy() as deputy:
        who = agent or deputy.agent
        reach = _reach(target, Audience[name], allow_destructive)
        show.note(
            f"{who} may use {', '.join(tool)} as any of your accounts {show.counted(most, 'time')} until "
            f"{ends:%Y-%m-%d %H:%M} UTC. {reach}"
        )
        if not yes:
            typer.confirm("Allow this without a question each time?", abort=True, err=True)
        given = deputy.run(
            deputy.create_mandate(
                command_user(user, tenant),
                tools=tool,
                targets=target,
                max_acts=most,
                expires_at=ends.timestamp(),
                audience=Audience[name],
                agent=who,
                allow_destructive=allow_destructive,
            )
        )
    show.out.print(show.plain(_describe(given)), soft_wrap=True)


@mandates_app.command()
def end(
    mandate: Annotated[str, typer.Argument(help="Its id; deputize mandates lists them.")],
    user: UserOption = "",
    tenant: TenantOption = "",
) -> None:
    """End a mandate: from now on you are asked again. Acts that have begun under it continue."""
    with open_deputy() as deputy:
        deputy.run(deputy.revoke_mandate(command_user(user, tenant), mandate))
    show.out.print(show.plain(f"Ended {mandate}: you are asked again."))


def _facts(mandate: Mandate) -> dict[str, Any]:
    return {**asdict(mandate), "user": mandate.user.id, "audience": mandate.audience.name.lower()}


def _describe(mandate: Mandate) -> str:
    """Return a mandate in sentences."""
    until = datetime.fromtimestamp(mandate.expires_at, UTC).astimezone()
    account = f" as {mandate.account}" if mandate.account else ""
    return (
        f"{mandate.id}  {mandate.agent} may use {', '.join(mandate.tools)}{account}, {mandate.used} of "
        f"{show.counted(mandate.max_acts, 'time')} used, until {until:%Y-%m-%d %H:%M %Z}.\n"
        f"  {_reach(mandate.targets, mandate.audience, mandate.allow_destructive)}"
    )


def _reach(targets: Iterable[str], audience: Audience, destroys: bool) -> str:
    """Return whom calls under a mandate reach, and who may see them."""
    from deputize.core.tools.preview import SEEN_BY

    lost = " It may delete or overwrite something." if destroys else ""
    return f"It reaches only: {', '.join(targets)}. What it does is seen by {SEEN_BY[audience]}.{lost}"
