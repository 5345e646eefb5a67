"""``deputize act`` and ``deputize tools``: call one tool as yourself, and list the tools."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from deputize.cli import show
from deputize.cli.common import (
    AccountOption,
    BrowserOption,
    JsonOption,
    TenantOption,
    UserOption,
    WaitOption,
    command_user,
    open_deputy,
)


def act(
    tool: Annotated[str, typer.Argument(help="A tool's name; deputize tools lists them.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments, as a JSON object.")] = "{}",
    user: UserOption = "",
    tenant: TenantOption = "",
    account: AccountOption = "",
    registration: Annotated[str, typer.Option("--app", help="Which OAuth app, where several lead there.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without being asked.")] = False,
    browser: BrowserOption = True,
    wait: WaitOption = 600,
) -> None:
    """Call one tool as yourself. Asks for consent and approval if needed; the result is JSON.

    Example: deputize act gmail_search_emails '{"query": "from:bob"}'
    """
    from deputize.cli.prompts import Asking

    given = _arguments(arguments)
    with open_deputy() as deputy:
        result = Asking(deputy, command_user(user, tenant), browser, wait, yes).act(
            tool, given, account or None, registration
        )
    show.data(result)


def tools(
    toolkits: Annotated[
        list[str] | None, typer.Argument(help="Only of these toolkits, toolsets and names: gmail, github:actions ...")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the tools: what each does, changes and asks for. Needs no settings. For MCP servers: deputize mcp tools.

    A toolkit with several toolsets is listed as agents get it: github is its core, github:all everything.
    """
    from deputize.core.errors import InvalidInput
    from deputize.core.tools.catalog import Catalog

    try:
        found = Catalog().tools(*toolkits or ())
    except InvalidInput as e:
        raise InvalidInput(e.message, hint=f"{e.hint} Tools of MCP servers: deputize mcp tools NAME.".strip()) from None
    kits = list(dict.fromkeys(tool.toolkit for tool in found))
    found.sort(key=lambda tool: (kits.index(tool.toolkit), tool.toolset != "core"))  # what agents get first, first
    if not as_json:
        show.tools(found)
        return
    show.data([show.tool_facts(tool) for tool in found])


def _arguments(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as e:
        raise typer.BadParameter(f"The arguments are not JSON: {e}") from None
    if not isinstance(given, dict):
        raise typer.BadParameter('The arguments must be a JSON object, such as \'{"query": "from:bob"}\'.')
    return given
