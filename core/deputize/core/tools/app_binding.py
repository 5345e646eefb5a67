"""Tools that act through one app, which the host names in code: as their model is told of them, and what is refused.

Nobody else chooses it: a call of such a tool has no argument for it. Through a service account's app a tool acts on
that account's data and nobody's of the users, which its description says, so that a model does not take what it reads
for the user's own.
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


def through(tools: Iterable[Tool], registry: Registry, name: str) -> list[Tool]:
    """These tools, as they act through the app of this name; "" for whichever the user has.

    Raises `InvalidInput` for an app that there is not, or that is no way to the provider of one of them.
    """
    found = list(tools)
    if not name or (name in registry.late and name not in registry.apps):  # of a server that is asked when it is needed
        return found
    if not any(tool.provider for tool in found):
        registry.app("", name)
    for tool in found:
        _check_way(tool, registry, name)
    organisation = organisation_of(registry.apps[name])
    return [_described(tool, organisation) for tool in found] if organisation else found


def check_people_search(tool: Tool, apps: Mapping[str, App], name: str) -> None:
    """Raise `InvalidInput` for the search of people in a user's accounts, where the host names a service account."""
    if name in apps and organisation_of(apps[name]) and tool is find_people():
        raise InvalidInput(
            f"{tool.name} looks in the user's own accounts, and never as a service account.", fix_by="operator"
        )


def _check_way(tool: Tool, registry: Registry, name: str) -> None:
    check_people_search(tool, registry.apps, name)
    if tool.provider and not registry.serves(name, tool.provider):
        known = [one for one in registry.apps if registry.serves(one, tool.provider)]
        raise InvalidInput(
            f"The app {name!r} is none of {tool.provider}, where {tool.name} acts.",
            hint=f"{instead(name, known)} Tools of other providers belong in a list of their own, with no app named.",
            fix_by="operator",
        )


def _described(tool: Tool, organisation: str) -> Tool:
    if not tool.provider:
        return tool
    return replace(tool, description=f"{tool.description} Acts as a service account of {organisation}, not the user.")
