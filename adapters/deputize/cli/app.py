"""The commands. Everything heavy is imported by the command that needs it, so that ``--help`` is quick."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deputize.cli import show
from deputize.cli.audit import audit_app
from deputize.cli.commands import Commands
from deputize.cli.common import AccountOption, BrowserOption, JsonOption, UserOption, WaitOption, opened, who
from deputize.cli.keys import key_app
from deputize.cli.vault import vault_app

if TYPE_CHECKING:
    from deputize.core import Deputy

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
    """What holds for all commands."""
    if config is not None:
        ctx.call_on_close(_named(config))


def _named(config: Path) -> Callable[[], None]:
    """Let every look at the settings read this file; how to undo it."""
    from deputize.core.configfile import VARIABLE

    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(config)

    def undo() -> None:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before

    return undo


app.add_typer(audit_app, name="audit")
app.add_typer(key_app, name="key")
app.add_typer(vault_app, name="vault")

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
    """A chat with an assistant that reads and answers mail as you, never holding your token.

    Everything is played on this machine by a stand-in for Google: no account, no key, no network.
    Ask "anything from Bob this week?", then "answer him yes". Stop it at any point, start it again: it goes on there.
    """
    if auto and (live or model):
        raise typer.BadParameter("--auto plays the built-in story: it goes without --live and --model.")
    if as_json and not auto:
        raise typer.BadParameter("--json goes with --auto.")
    from deputize.cli import demo as play

    if auto:
        raise typer.Exit(play.auto(folder, fresh=fresh, as_json=as_json))
    play.chat(folder, model=model, fresh=fresh, browser=browser, live=who(user) if live else "")


# ------------------------------------------------------------- connecting


@app.command()
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
    account: AccountOption = "",
    registration: Annotated[str, typer.Option("--app", help="Which OAuth app, where settings name several.")] = "",
    another: Annotated[bool, typer.Option("--another", help="One more account, beside those connected.")] = False,
    switch: Annotated[bool, typer.Option("--switch", help="Act with the account that you choose from now on.")] = False,
    device: Annotated[
        bool, typer.Option("--device", help="No browser here: enter a code on another device (GitHub).")
    ] = False,
    browser: BrowserOption = True,
    wait: WaitOption = 600,
) -> None:
    """Connect an account: shows a link to our own page, and waits until you have been to the provider.

    Examples: deputize connect google --scopes gmail.readonly, deputize connect --tool gmail_send_email
    """
    if not provider and not tool:
        raise typer.BadParameter("Say which provider to connect, or which --tool is to be used.")
    from deputize.cli.prompts import Asking, ended_well

    wanted = [part for given in scopes or () for part in given.replace(",", " ").split()]
    with opened() as deputy:
        named = {_known_provider(deputy, provider)} if provider else set()
        families = {*map(deputy.registry.family, named), *(deputy.catalog.tool(name).provider for name in tool or ())}
        asking = Asking(deputy, who(user), browser, wait, device=device)
        asked = deputy.run(
            deputy.connect(
                asking.user,
                provider,
                scopes=_known(deputy, provider, wanted),
                tools=tool or (),
                app=registration,
                account=account or None,
                another=another,
                allow_switch=switch,
            )
        )
        for consent in asking.consents(asked) if asked else ():
            ended_well(consent, asking.label(consent.provider))
        held = deputy.run(deputy.connections(asking.user))
        show.connections([one for one in held if deputy.registry.family(one.provider) in families])


@app.command()
def connections(user: UserOption = "", browser: BrowserOption = True) -> None:
    """Show the link to your own page: accounts, open questions, approvals. Serves it until Ctrl-C."""
    from deputize.cli.prompts import open_browser
    from deputize.core.web.local_links import connections_link

    with opened() as deputy:
        link = deputy.run(connections_link(deputy, who(user)))
        show.link(link, show.out)
        if browser:
            open_browser(link)
        show.note("Ctrl-C ends it.")
        while True:
            time.sleep(3600)


@app.command()
def grants(user: UserOption = "", as_json: JsonOption = False) -> None:
    """List connected accounts and what each may be used for. Never a token."""
    from dataclasses import asdict

    with opened() as deputy:
        held = deputy.run(deputy.connections(who(user)))
    if as_json:
        show.data([asdict(one) for one in held])
    else:
        show.connections(held)


@app.command()
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
    owed: Annotated[bool, typer.Option("--owed", help="Only tell providers what could not be told before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --tenant and --all: do not ask first.")] = False,
) -> None:
    """Disconnect: here at once, at the provider as soon as it can be reached."""
    if sum(map(bool, (provider, everything, tenant, everybody, owed))) != 1:
        raise typer.BadParameter("Say what: a provider, --everything, --tenant, --all or --owed.")
    if (tenant or everybody or owed) and (account or registration):
        raise typer.BadParameter("--account and --app go with one user's: not with --tenant, --all and --owed.")
    if (tenant or everybody) and not yes:
        typer.confirm(f"Disconnect {f'all users of {tenant}' if tenant else 'everybody'}?", abort=True, err=True)
    with opened() as deputy:
        label = _label(deputy, provider) if provider else "The provider"
        with show.waiting(f"Telling {label} ..."):
            if owed:
                show.owed(deputy.run(deputy.revoker.retry()))
                return
            if tenant or everybody:
                work = deputy.revoke_all(tenant=tenant or None, leaked=leaked)
            else:
                named = account or None
                work = deputy.revoke(who(user), provider, app=registration, account=named, leaked=leaked)
            ended = deputy.run(work)
    labels = {name: row.label for name, row in deputy.providers.items()}
    show.revoked(ended, label, labels=labels)


# ------------------------------------------------------------- acting


@app.command()
def act(
    tool: Annotated[str, typer.Argument(help="A tool's name; deputize tools lists them.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments, as a JSON object.")] = "{}",
    user: UserOption = "",
    account: AccountOption = "",
    registration: Annotated[str, typer.Option("--app", help="Which OAuth app, where several lead there.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without being asked.")] = False,
    browser: BrowserOption = True,
    wait: WaitOption = 600,
) -> None:
    """Act as yourself: one tool call. Asks for consent and approval where it needs them; the result is JSON.

    Example: deputize act gmail_search_emails '{"query": "from:bob"}'
    """
    from deputize.cli.prompts import Asking

    given = _arguments(arguments)
    with opened() as deputy:
        result = Asking(deputy, who(user), browser, wait, yes).act(tool, given, account or None, registration)
    show.data(result)


@app.command()
def tools(
    toolkits: Annotated[
        list[str] | None, typer.Argument(help="Only of these toolkits, toolsets and names: gmail, github:actions ...")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the tools: what each does, changes and asks for. Needs no settings.

    A toolkit of several toolsets is listed as agents get it: github is its core, github:all everything.
    """
    from deputize.core.act.catalog import Catalog

    found = Catalog().tools(*toolkits or ())
    kits = list(dict.fromkeys(tool.toolkit for tool in found))
    found.sort(key=lambda tool: (kits.index(tool.toolkit), tool.toolset != "core"))  # what agents get first, first
    if not as_json:
        show.tools(found)
        return
    show.data([show.tool_facts(tool) for tool in found])


# ------------------------------------------------------------- doctor


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to reach the providers.")] = False,
    as_json: JsonOption = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove grants that do not open, after a question.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --drop: do not ask first.")] = False,
) -> None:
    """Look at settings, key, vault, pages and providers; each line says what to do. Without --drop: changes nothing."""
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


# ------------------------------------------------------------- small things


def _drop(yes: bool) -> None:
    with opened() as deputy:
        found, shut = deputy.run(deputy.vault.scan_open("grant"))
        if not shut:
            show.note(f"All {len(found)} grants open.")
            return
        show.note(
            f"{shut} grants do not open. Where a key is missing, put it back instead: deputize key list shows it."
        )
        if not yes:
            typer.confirm(f"Remove {shut} grants for good?", abort=True, err=True)
        gone = deputy.run(deputy.vault.drop_shut())
        deputy.audit.write("grant.dropped", records=gone)
    show.out.print(f"Removed {gone}. Their tokens live on at the providers: remove the access there.")


def _label(deputy: Deputy, provider: str) -> str:
    return deputy.providers[_known_provider(deputy, provider)].label


def _known_provider(deputy: Deputy, provider: str) -> str:
    return deputy.registry.provider(provider).name


def _known(deputy: Deputy, provider: str, scopes: list[str]) -> list[str]:
    """The scopes, if each is written in full or known by its last part: providers only say "invalid scope"."""
    from deputize.core.errors import InvalidInput, instead

    known = deputy.providers[provider].scope_words if provider else {}
    for scope in scopes:
        if known and "://" not in scope and not any(scope == full or full.endswith(f"/{scope}") for full in known):
            names = [full.rpartition("/")[2] or full for full in known]
            raise InvalidInput(f"No scope of {provider} is called {scope!r}.", hint=instead(scope, names))
    return scopes


def _arguments(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as e:
        raise typer.BadParameter(f"The arguments are not JSON: {e}") from None
    if not isinstance(given, dict):
        raise typer.BadParameter('The arguments must be a JSON object, such as \'{"query": "from:bob"}\'.')
    return given
