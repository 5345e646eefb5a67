"""The commands. Each command imports its heavy modules itself, so that ``--help`` is fast."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from deputize.cli import show
from deputize.cli.act import act, tools
from deputize.cli.audit import audit_app
from deputize.cli.commands import Commands
from deputize.cli.common import BrowserOption, JsonOption, command_user, open_deputy
from deputize.cli.connect import accounts, connect, open_page
from deputize.cli.erase import erase, erase_tenant
from deputize.cli.import_tokens import import_tokens
from deputize.cli.keys import key_app
from deputize.cli.mandates import mandates_app
from deputize.cli.mcp_config import mcp_app
from deputize.cli.mcp_install import install
from deputize.cli.mcp_servers import SERVER_COMMANDS
from deputize.cli.offboard import offboard
from deputize.cli.pending import pending
from deputize.cli.policy import policy_app
from deputize.cli.preflight import preflight
from deputize.cli.retention import retention
from deputize.cli.revoke import revoke
from deputize.cli.sandbox import sandbox
from deputize.cli.serve import serve
from deputize.cli.store import store_app
from deputize.cli.toolkit import toolkit_app
from deputize.cli.undo import undo
from deputize.cli.vault import vault_app

app = typer.Typer(
    cls=Commands,
    help="Let agents act as the user, never with the user's token.\n\n"
    "Begin with [bold]deputize demo[/bold]: a chat that needs no account, no key and no network.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"deputize {version('deputize')}")
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="The settings file. Default: deputize.toml in home; none of this folder.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options of all commands."""
    if config is not None:
        ctx.call_on_close(_named(config))


def _named(config: Path) -> Callable[[], None]:
    """Make all later reads of the settings use this file. Return a function that undoes this."""
    from deputize.core.configfile import VARIABLE

    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(config)

    def undo() -> None:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before

    return undo


app.add_typer(audit_app, name="audit")
app.add_typer(policy_app, name="policy")
app.add_typer(key_app, name="key")
app.add_typer(vault_app, name="vault")
app.add_typer(store_app, name="store")
app.add_typer(mandates_app, name="mandates")
app.add_typer(mcp_app, name="mcp")
app.add_typer(toolkit_app, name="toolkit")

# ------------------------------------------------------------- demo


@app.command()
def demo(
    live: Annotated[
        bool, typer.Option("--live", help="The real providers, with your own OAuth app from settings.")
    ] = False,
    model: Annotated[str, typer.Option(help="A LangChain chat model, as PROVIDER:NAME. Default: a scripted one.")] = "",
    auto: Annotated[
        bool, typer.Option("--auto", help="Play the whole story by itself; exit 0 if all is well.")
    ] = False,
    as_json: JsonOption = False,
    browser: BrowserOption = True,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the last demo and begin anew.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where it keeps its state. Default: demo in home.")] = None,
    user: Annotated[str, typer.Option(envvar="DEPUTIZE_USER", help="With --live: whom to act for.")] = "",
) -> None:
    """Chat with an assistant that reads and answers mail as you, and never holds your token.

    A sandbox on this machine simulates Google, Slack, GitHub and Linear: no account, no key, no network. Ask "anything
    from Bob this week?", then "answer him yes". You can stop at any point and continue later.
    """
    if auto and (live or model):
        raise typer.BadParameter("--auto plays the built-in story: it goes without --live and --model.")
    if as_json and not auto:
        raise typer.BadParameter("--json goes with --auto.")
    from deputize.cli import demo as play

    if auto:
        raise typer.Exit(play.play_story(folder, fresh=fresh, as_json=as_json))
    play.chat(folder, model=model, fresh=fresh, browser=browser, live=command_user(user).id if live else "")


mcp_app.command()(install)
for name, server_command in SERVER_COMMANDS.items():
    mcp_app.command(name)(server_command)
for command in (
    connect,
    accounts,
    pending,
    revoke,
    offboard,
    erase,
    erase_tenant,
    retention,
    act,
    undo,
    preflight,
    tools,
    serve,
    sandbox,
):
    app.command()(command)
app.command("open")(open_page)
app.command("import")(import_tokens)


# ------------------------------------------------------------- doctor


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to reach the providers.")] = False,
    as_json: JsonOption = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove grants that do not open, after a question.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --drop: do not ask first.")] = False,
) -> None:
    """Check settings, key, vault, pages and providers; each line says what to do. Changes nothing without --drop."""
    from dataclasses import asdict

    if drop:
        _drop(yes)
        return

    from deputize.cli.doctor import examine

    found = []
    for line in examine(reach=not offline):
        found.append(line)
        if as_json:
            show.data(asdict(line))
        else:
            show.finding(line.state, line.what, line.found, line.todo)
    raise typer.Exit(1 if any(line.state == "bad" for line in found) else 0)


def _drop(yes: bool) -> None:
    from deputize.core.audit.events import GrantDropped

    with open_deputy() as deputy:
        found, shut = deputy.run(deputy.vault.count_openable("grant"))
        if not shut:
            show.note(f"All {found} grants open.")
            return
        show.note(
            f"{shut} grants do not open. Where a key is missing, put it back instead: deputize key list shows it."
        )
        if not yes:
            typer.confirm(f"Remove {shut} grants for good?", abort=True, err=True)
        gone = deputy.run(deputy.vault.delete_damaged())
        deputy.audit.write(GrantDropped(gone))
    show.out.print(f"Removed {gone}. Their tokens live on at the providers: remove the access there.")
