"""``deputize mcp add``, ``list``, ``tools``, ``pin``, ``remove``: foreign MCP servers, and which of their tools are
used.

The operator signs in to a server once and pins the tools that it lists. Only pinned tools are ever offered.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deputize.cli import show
from deputize.cli.common import BrowserOption, JsonOption, UserOption, WaitOption, command_user, open_deputy

if TYPE_CHECKING:
    from pathlib import Path

    from deputize.core import Deputy, User
    from deputize.core.mcp_client.remote_servers import ListedTool
    from deputize.core.mcp_client.server_config import McpServer

NameArgument = Annotated[str, typer.Argument(help="The server's name here; deputize mcp list shows them.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]


def add(
    name: Annotated[str, typer.Argument(help="What to call it here: its tools are NAME_tool.")],
    url: Annotated[str, typer.Argument(help="Its address: https://mcp.linear.app/mcp")],
    client_id: Annotated[str, typer.Option(help="Of an app that you registered there, where it wants that.")] = "",
    sign_in: Annotated[
        str,
        typer.Option(help="How it knows its users: oauth, bearer, basic, header:X-Api-Key, query:api_key, or none."),
    ] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Only tools that it says only read.")] = False,
    yes: YesOption = False,
    user: UserOption = "",
    browser: BrowserOption = True,
    wait: WaitOption = 600,
) -> None:
    """Add an MCP server: sign in there, look at its tools, pin them. Until then, none of its tools is offered.

    Example: deputize mcp add tracker https://mcp.linear.app/mcp --read-only
    """
    from deputize.core.errors import SettingsError
    from deputize.core.mcp_client.server_config import McpServer

    with open_deputy() as deputy:
        known = deputy.mcp.known.get(name)
        given = McpServer(name, url, client_id=client_id, sign_in=sign_in or "oauth")
        if known and (known.url, known.client_id, known.sign_in) != (
            url,
            client_id or known.client_id,
            sign_in or known.sign_in,
        ):
            raise SettingsError(f"[mcp.{name}] is another server in the settings.", hint="Give this one another name.")
        if not known:
            deputy.run(deputy.add_mcp(given))
        deputy.run(deputy.registry.arrive(name))
        row = deputy.providers[name]
        hosts = ", ".join(sorted(row.apis.hosts))
        signs = f"People sign in at {row.oauth.authorize_origin}; tokens go"
        if credential := row.apis.credential:
            signs = "Nobody signs in there; calls go" if credential.place == "none" else "Each user's key goes"
        show.note(f"{signs} to {hosts} only.")
        looked = _look(deputy, name, command_user(user), browser, wait)
        good = [one for one in looked if one.state in ("new", "changed")]
        chosen = [one for one in good if not read_only or _says_it_reads(one)]
        for one in looked:
            if one.state == "left out":
                _tell(one, "")
        if len(chosen) < len(good):
            show.note(f"Left out by --read-only: {show.counted(len(good) - len(chosen), 'tool')} that may write.")
        _pin(deputy, name, chosen, command_user(user), yes=yes, effect="reads" if read_only else "")
        where = _written(given)
    show.out.print(show.plain(f"[mcp.{name}] is in {where}." if where else f"[mcp.{name}] is in the settings."))


def servers(as_json: JsonOption = False) -> None:
    """List the MCP servers of the settings: pinned tools, tools that changed since, and connected users. Contacts no
    server."""
    from deputize.core.mcp_client.remote_servers import server_status

    with open_deputy() as deputy:
        rows: list[dict[str, Any]] = [
            {
                "name": one.server.name,
                "url": one.server.url.partition("?")[0],
                "pinned": one.pinned,
                "waiting": list(one.changed),
                "users": one.users,
            }
            for one in deputy.run(server_status(deputy.vault, deputy.mcp.known.values()))
        ]
    if as_json:
        show.data(rows)
        return
    for row in rows:
        stands = f"{show.counted(row['pinned'], 'tool')} pinned, {show.counted(row['users'], 'user')}"
        stands += f"; {len(row['waiting'])} changed: deputize mcp pin {row['name']}" if row["waiting"] else ""
        show.out.print(show.plain(f"{row['name']}  {row['url']}  {stands}"), soft_wrap=True)
    if not rows:
        show.out.print("None: deputize mcp add NAME URL takes one up.")


def tools(
    name: NameArgument,
    diff: Annotated[
        bool, typer.Option("--diff", help="Ask the server, and show what is not as it was pinned.")
    ] = False,
    as_json: JsonOption = False,
    user: UserOption = "",
    browser: BrowserOption = True,
    wait: WaitOption = 600,
) -> None:
    """Show the pinned tools of a server and their effects. With --diff: compared with what it lists now."""
    with open_deputy() as deputy:
        looked = (
            _look(deputy, name, command_user(user), browser, wait) if diff else deputy.run(_as_pinned(deputy, name))
        )
        effects = deputy.run(deputy.mcp.effects(name))
    if as_json:
        show.data([_facts(one, effects.get(one.name, "")) for one in looked])
        return
    for one in looked:
        _tell(one, effects.get(one.name, ""))
    if not looked:
        show.out.print("Nothing is pinned: deputize mcp pin looks at it.")


def pin(
    name: NameArgument,
    tool: Annotated[list[str] | None, typer.Argument(help="Its tools' own names; all that are new or changed.")] = None,
    effect: Annotated[str, typer.Option(help="What they do: reads, writes, sends or destructive.")] = "",
    yes: YesOption = False,
    user: UserOption = "",
    browser: BrowserOption = True,
    wait: WaitOption = 600,
) -> None:
    """Pin what a server lists now, after a look at the changes; or set a tool's effect."""
    from deputize.core.errors import InvalidInput, SettingsError, instead

    with open_deputy() as deputy:
        try:
            looked = _look(deputy, name, command_user(user), browser, wait)
        except SettingsError as moved:
            show.error(moved)
            if not yes:
                typer.confirm("Accept its new address, and sign in there again?", abort=True, err=True)
            deputy.run(deputy.mcp.reset_trust(name))
            deputy.run(deputy.revoke(command_user(user), name))
            looked = _look(deputy, name, command_user(user), browser, wait)
        listed = {one.name: one for one in looked if one.now is not None}
        if unknown := next((one for one in tool or () if one not in listed), ""):
            raise InvalidInput(f"{name} lists no tool {unknown!r}.", hint=instead(unknown, listed))
        chosen = [listed[one] for one in tool] if tool else [one for one in looked if one.state in ("new", "changed")]
        _pin(deputy, name, chosen, command_user(user), yes=yes, effect=effect)


def remove(name: NameArgument, yes: YesOption = False) -> None:
    """Disconnect all users from a server, and forget its pins."""
    with open_deputy() as deputy:
        deputy.mcp.server(name)
        found, _ = deputy.run(deputy.vault.scan_openable("grant"))
        users = _users_of(name, found)
        if not yes:
            typer.confirm(f"Disconnect {show.counted(len(users), 'user')} from {name}?", abort=True, err=True)
        for one in users:
            show.revoked(deputy.run(deputy.revoke(one, name)), name)
        deputy.run(deputy.mcp.remove(name))
    show.out.print(show.plain(f"Forgotten. Take [mcp.{name}] out of the settings, too."))


SERVER_COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "add": add,
    "list": servers,
    "tools": tools,
    "pin": pin,
    "remove": remove,
}
"""The commands by their names below ``deputize mcp``."""


# ----------------------------------------------------------------- parts of these


def _look(deputy: Deputy, name: str, user: User, browser: bool, wait: float) -> list[ListedTool]:
    from deputize.cli.prompts import Asking
    from deputize.core import Call

    token = secrets.token_hex(16)  # so that a repeated command asks again after a rejection
    call = Call(thread="cli", message=token, id=token)
    return list(Asking(deputy, user, browser, wait).run_until_done(lambda: deputy.mcp.look(name, user, call=call)))


async def _as_pinned(deputy: Deputy, name: str) -> list[ListedTool]:
    from deputize.core.mcp_client.remote_servers import ListedTool

    deputy.mcp.server(name)
    return [ListedTool(tool, "pinned", one.definition, one) for tool, one in (await deputy.mcp.pins.of(name)).items()]


def _pin(deputy: Deputy, name: str, chosen: Sequence[ListedTool], by: User, *, yes: bool, effect: str) -> None:
    """Show the tools, ask, and pin them. Raises `InvalidInput` for an unknown effect."""
    from deputize.core.errors import InvalidInput, instead
    from deputize.core.mcp_client.pins import EFFECTS, Pin, effect_of

    if effect and effect not in EFFECTS:
        raise InvalidInput(f"--effect {effect!r} does not exist.", hint=instead(effect, EFFECTS))
    server = deputy.mcp.server(name)
    for one in chosen:
        _tell(one, effect_of(server, Pin(one.now or {}, effect or (one.pin.effect if one.pin else ""))))
    good = [one for one in chosen if one.state != "left out"]
    if not good:
        show.out.print("Nothing to pin.")
        return
    if not yes:
        typer.confirm(f"Pin {show.counted(len(good), 'tool')} as shown?", abort=True, err=True)
    effects: Any = {one.name: effect for one in good} if effect else None
    deputy.run(deputy.mcp.pin(name, good, by=by.id, effects=effects))
    show.out.print(f"Pinned {show.counted(len(good), 'tool')}.")


def _says_it_reads(one: ListedTool) -> bool:
    from deputize.core.mcp_client.pins import hints_of

    return one.now is not None and hints_of(one.now).get("readOnlyHint") is True


def _tell(one: ListedTool, effect: str) -> None:
    """Print one tool. The server's text follows deputize's, on its own lines."""
    from deputize.cli.tool_definition_view import words_of

    name = " ".join(one.name.split())  # the name of a tool that is left out is unchecked
    show.out.print(show.plain(f"{name}  {one.state}{f', {effect}' if effect else ''}", "bold"), soft_wrap=True)
    if one.why:
        show.out.print(show.plain(f"  {one.why}"), soft_wrap=True)
        return
    known = one.now or (one.pin.definition if one.pin else {})
    for line in _changes(one) if one.state == "changed" else words_of(known):
        show.out.print(show.plain(f"  {line}"), soft_wrap=True)


def _changes(one: ListedTool) -> Iterable[str]:
    """Return a line diff from the pinned to the listed definition."""
    from difflib import unified_diff

    before, after = (
        json.dumps(each, indent=1, sort_keys=True, ensure_ascii=False, default=str).splitlines()
        for each in (one.pin.definition if one.pin else {}, one.now or {})
    )
    return list(unified_diff(before, after, "pinned", "now", lineterm=""))


def _facts(one: ListedTool, effect: str) -> dict[str, Any]:
    pinned = {"digest": one.pin.digest, "at": one.pin.at, "by": one.pin.by} if one.pin else None
    return {"name": one.name, "state": one.state, "effect": effect, "why": one.why, "pin": pinned, "now": one.now}


def _users_of(name: str, records: Iterable[Any]) -> list[Any]:
    from deputize.core.vault.grant import Grant

    grants = [Grant.unpack(one.plain, one.generation) for one in records]
    return list(dict.fromkeys(one.user for one in grants if one.provider == name and one.status != "revoked"))


def _written(server: McpServer) -> Path | None:
    """Append the server's section to the settings file, unless it is known. Return the file, or None."""
    from deputize.core.settings import Settings

    settings = Settings.load()
    if server.name in settings.mcp:
        return None
    path = settings.own_file()
    values = {"url": server.url, "client_id": server.client_id, "sign_in": server.sign_in if server.credential else ""}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in values.items() if value]
    said = f"\n[mcp.{server.name}]\n{''.join(lines)}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)  # a file that others may write would not be read
    with path.open("a", encoding="utf-8") as file:
        file.write(said)
    return path
