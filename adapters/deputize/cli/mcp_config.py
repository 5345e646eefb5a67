"""``deputize mcp config``: the configuration with which MCP clients find this machine's server, or one over HTTP.

The formats and files are those of the clients' documentation, as of December 2026: code.claude.com/docs/en/mcp,
cursor.com/docs/mcp, code.visualstudio.com/docs/agents/reference/mcp-configuration, Codex's config.toml, Gemini CLI's
settings.json, Windsurf's mcp_config.json, and zed.dev/docs/ai/mcp.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from deputize.cli import show

if TYPE_CHECKING:
    from deputize.core import SettingsError

mcp_app = typer.Typer(help="Other MCP servers as toolkits, and what clients need to use ours.", no_args_is_help=True)

_PLACES: Final = ("DEPUTIZE_HOME", "DEPUTIZE_CONFIG", "DEPUTIZE_USER")
"""Variables that a program started by a client needs. No others are written into a file: some are secret."""
NAME: Final = "deputize"
"""The server's name in the client."""


class Client(StrEnum):
    """An MCP client program."""

    CLAUDE = "claude"
    CLAUDE_DESKTOP = "claude-desktop"
    CURSOR = "cursor"
    VSCODE = "vscode"
    CODEX = "codex"
    GEMINI = "gemini"
    WINDSURF = "windsurf"
    ZED = "zed"


class _Form(NamedTuple):
    """The settings format of an MCP client. ``table``: name of the table of servers. ``own_id``: the field for the
    client's own OAuth client id. ``url``: the field for the URL, "" if the file takes no servers over HTTP. ``place``:
    the user's own file, below the home folder or the folder for settings (`user_file`)."""

    files: str
    table: str
    typed: bool
    own_id: tuple[str, str] | None
    place: str
    url: str = "url"


_FORMS: Final[Mapping[Client, _Form]] = {
    Client.CLAUDE: _Form(
        ".mcp.json of a project (Claude Code)", "mcpServers", True, ("oauth", "clientId"), "~/.claude.json"
    ),
    Client.CLAUDE_DESKTOP: _Form(
        "claude_desktop_config.json", "mcpServers", False, None, "Claude/claude_desktop_config.json", ""
    ),
    Client.CURSOR: _Form(
        ".cursor/mcp.json of a project, or ~/.cursor/mcp.json",
        "mcpServers",
        False,
        ("auth", "CLIENT_ID"),
        "~/.cursor/mcp.json",
    ),
    Client.VSCODE: _Form(
        ".vscode/mcp.json of a workspace, or the user's own",
        "servers",
        True,
        ("oauth", "clientId"),
        "Code/User/mcp.json",
    ),
    Client.CODEX: _Form("~/.codex/config.toml", "mcp_servers", False, ("oauth", "client_id"), "~/.codex/config.toml"),
    Client.GEMINI: _Form(
        "~/.gemini/settings.json", "mcpServers", False, ("oauth", "clientId"), "~/.gemini/settings.json", "httpUrl"
    ),
    Client.WINDSURF: _Form(
        "~/.codeium/windsurf/mcp_config.json",
        "mcpServers",
        False,
        None,
        "~/.codeium/windsurf/mcp_config.json",
        "serverUrl",
    ),
    Client.ZED: _Form("Zed's settings.json", "context_servers", False, None, "~/.config/zed/settings.json"),
}
_HOMES: Final[Mapping[Client, tuple[str, str]]] = {
    Client.CODEX: ("CODEX_HOME", "config.toml"),
    Client.CLAUDE: ("CLAUDE_CONFIG_DIR", ".claude.json"),
}
"""Variables that move a client's folder, and its file there."""


def user_file(client: Client) -> Path:
    """Return the settings file of this user in which the client looks for servers."""
    variable, name = _HOMES.get(client, ("", ""))
    if moved := os.environ.get(variable):
        return Path(moved) / name
    place = _FORMS[client].place
    if sys.platform == "win32" and client is Client.ZED:
        place = "Zed/settings.json"
    if place.startswith("~"):
        return Path(place).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / place
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / place
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / place


@mcp_app.command()
def config(
    client: Annotated[Client, typer.Argument(help="Which client is to read it.")],
    tools: Annotated[list[str] | None, typer.Argument(help="Toolkits, toolsets and tools. Default: all.")] = None,
    url: Annotated[str, typer.Option(help="The endpoint of a server over HTTP. Default: this machine, by stdio.")] = "",
    client_id: Annotated[str, typer.Option(help="The client id that is registered for it at the issuer.")] = "",
) -> None:
    """Print what CLIENT needs to use these tools. Examples: deputize mcp config claude gmail calendar

    deputize mcp config vscode --url https://agents.example.com/mcp
    """
    fault = check_options(client, tools or [], url, client_id)
    print(config_for(client, url=url, client_id=client_id, tools=tools or []), end="")
    show.note(f"Into {_FORMS[client].files}. deputize mcp install {client.value} writes it.")
    warn(fault, url)


def check_options(client: Client, tools: list[str], url: str, client_id: str) -> SettingsError | None:
    """Return the error if a provider of these tools has no OAuth app, else None. Raises for options that do not go
    together, or that the client has no field for."""
    form = _FORMS[client]
    if url and tools:
        raise typer.BadParameter("A server over HTTP says itself which tools it has: DEPUTIZE_SERVE__TOOLS.")
    if client_id and not url:
        raise typer.BadParameter("--client-id goes with --url: on this machine nobody signs in.")
    if not f"{url}{client_id}".isprintable():
        raise typer.BadParameter("--url and --client-id are printable text.")
    if url and not form.url:
        raise typer.BadParameter("Claude Desktop adds servers over HTTP in its own settings, under Connectors.")
    if client_id and not form.own_id:
        raise typer.BadParameter(f"The settings of {client.value} have no field for a client id.")
    return None if url else _missing_apps(tools)


def warn(fault: SettingsError | None, url: str) -> None:
    """Print what the client will lack."""
    if fault:
        show.note(f"{fault.message} {fault.hint}", "yellow")
    if others := sorted(n for n in os.environ if n.startswith("DEPUTIZE_") and n not in _PLACES and not url):
        show.note(f"The client will not know {', '.join(others)}: put that into deputize.toml.", "yellow")
    if url and not url.startswith("https://"):
        show.note("Clients that run elsewhere, claude.ai and ChatGPT, reach public https addresses only.", "yellow")


def _missing_apps(tools: list[str]) -> SettingsError | None:
    """Return the error if the provider of these tools has no OAuth app, else None.

    Raises `InvalidInput` for an unknown name, because a client would only report that the server has ended. Names of
    foreign servers are skipped: only the vault, which is not opened here, knows their tools.
    """
    from deputize.core import SettingsError
    from deputize.core.oauth.registry import Registry
    from deputize.core.settings import Settings
    from deputize.core.tools.catalog import Catalog

    try:
        settings = Settings.load()
        rows, foreign = settings.all_providers(), tuple(settings.mcp)
        registry = Registry((app for app in settings.all_apps() if app.provider in rows), rows)
    except SettingsError:
        return None  # `deputize doctor` reports what is wrong with the settings
    ours = [name for name in tools if not name.startswith(foreign)]
    found = Catalog().tools(*ours) if ours or not tools else []
    return registry.missing_apps(tool.provider for tool in found if tool.provider in rows)


def config_for(client: Client, *, url: str = "", client_id: str = "", tools: list[str]) -> str:
    """Return a file with only this server, in the client's format."""
    table, server = entry_for(client, url=url, client_id=client_id, tools=tools)
    if client is Client.CODEX:
        return as_toml(f"{table}.{NAME}", server)
    return json.dumps({table: {NAME: server}}, indent=2, ensure_ascii=False) + "\n"


def entry_for(client: Client, *, url: str = "", client_id: str = "", tools: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of the client's table of servers, and this server's entry in it."""
    form = _FORMS[client]
    return form.table, _remote(form, url, client_id) if url else _local(form, tools)


def _local(form: _Form, tools: list[str]) -> dict[str, Any]:
    """Return the entry for stdio, with the program's full path: clients with a window do not have a shell's PATH."""
    program = shutil.which("deputize")
    start = [program] if program else [sys.executable, "-m", "deputize.cli"]
    kind = {"type": "stdio"} if form.typed else {}
    env = {name: value for name in _PLACES if (value := os.environ.get(name))}
    return {
        **kind,
        "command": start[0],
        "args": [*start[1:], "serve", "--stdio", *tools],
        **({"env": env} if env else {}),
    }


def _remote(form: _Form, url: str, client_id: str) -> dict[str, Any]:
    kind = {"type": "http"} if form.typed else {}
    own = {form.own_id[0]: {form.own_id[1]: client_id}} if client_id and form.own_id else {}
    return {**kind, form.url: url, **own}


def as_toml(table: str, values: Mapping[str, Any]) -> str:
    """Return a TOML table with its subtables. JSON strings are valid basic strings of TOML."""
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    lines = [f"[{table}]", *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in plain.items())]
    inner = [as_toml(f"{table}.{name}", value) for name, value in values.items() if isinstance(value, Mapping)]
    return "\n".join(["\n".join(lines) + "\n", *inner])
