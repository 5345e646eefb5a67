"""Tools bound to one app that your application names, with that app's descriptions and restrictions.

No call can choose another app, because the tools have no argument for it. If the app has a service account, a tool acts
on that account's data. The tool's description says so, so that a model does not take the data for the user's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from deputize.core.errors import InvalidInput, instead
from deputize.core.grants.sources.service_account import organisation_of
from deputize.core.oauth.provider import App
from deputize.core.oauth.registry import Registry
from deputize.core.tools.find_people import find_people
from deputize.core.tools.tool import Tool


def bind_to_app(tools: Iterable[Tool], registry: Registry, name: str) -> list[Tool]:
    """Return these tools bound to the app of this name; unchanged for "".

    Raises `InvalidInput` if the app is unknown or does not serve the provider of a tool.
    """
    found = list(tools)
    if not name or (name in registry.late and name not in registry.apps):  # of a server that is contacted when needed
        return found
    if not any(tool.provider for tool in found):
        registry.app("", name)
    for tool in found:
        _check_way(tool, registry, name)
    organisation = organisation_of(registry.apps[name])
    return [_describe(tool, organisation) for tool in found] if organisation else found


def check_people_search(tool: Tool, apps: Mapping[str, App], name: str) -> None:
    """Raise `InvalidInput` if the people search, which uses the user's accounts, is bound to a service account."""
    if name in apps and organisation_of(apps[name]) and tool is find_people():
        raise InvalidInput(
            f"{tool.name} searches the user's own accounts, and never acts as a service account.", fix_by="operator"
        )


def _check_way(tool: Tool, registry: Registry, name: str) -> None:
    check_people_search(tool, registry.apps, name)
    if tool.provider and not registry.serves(name, tool.provider):
        known = [one for one in registry.apps if registry.serves(one, tool.provider)]
        raise InvalidInput(
            f"The app {name!r} does not serve {tool.provider}, which {tool.name} needs.",
            hint=f"{instead(name, known)} List the tools of other providers separately, without an app.",
            fix_by="operator",
        )


def _describe(tool: Tool, organisation: str) -> Tool:
    if not tool.provider:
        return tool
    return replace(tool, description=f"{tool.description} Acts as a service account of {organisation}, not the user.")
