"""The oldest releases of frameworks that the adapters work with, checked when an adapter is imported.

An older one fails late and in words of its own: LangGraph before 1.2.12 with a `TypeError` at each pause, and 1.2.12 by
asking again for what was consented to where a step has several act nodes,
llama-index-core before 0.14.7 by telling the model about the wait, llama-index-workflows before 2.23 in each call,
before 2.23.3 by copying a tokenizer at each step for a third of a second, and before 2.24.1 by importing, when a saved
run is loaded, whatever module it names. google-adk before 2.12 hands the answer for one of two agents that run at once
to the other, where their calls have the same id, and 2.12 warns that tool confirmation is experimental.
pydantic-ai before 2.16 cannot tell a model that a call has failed for good.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from deputize.core import SettingsError

__all__ = ["GOOGLE_ADK", "LANGGRAPH", "LLAMAINDEX", "OPENAI_AGENTS", "PYDANTIC_AI", "require", "require_names"]

GOOGLE_ADK: Final = {"google-adk": "2.13"}
LANGGRAPH: Final = {"langgraph": "1.2.13"}
LLAMAINDEX: Final = {"llama-index-core": "0.14.7", "llama-index-workflows": "2.24.1"}
OPENAI_AGENTS: Final = {"openai-agents": "0.20"}
PYDANTIC_AI: Final = {"pydantic-ai-slim": "2.16"}


def require(least: dict[str, str]) -> None:
    """Raises `SettingsError` where an older release of one of these packages is installed; names the one that works."""
    for package, wanted in least.items():
        try:
            found = version(package)
        except PackageNotFoundError:  # importing it says what is missing
            continue
        if _numbers(found) < _numbers(wanted):
            raise _unusable(package, found, f"it is older than {wanted}", wanted)


def require_names(package: str, least: dict[str, str], *holders: tuple[type[Any], str]) -> None:
    """Raises `SettingsError` where one of these classes has no such field, method or property: a changed internal."""
    for holder, name in holders:
        if not hasattr(holder, name) and name not in getattr(holder, "__dataclass_fields__", ()):
            raise _unusable(package, version(package), f"{holder.__name__} has no {name!r}", least[package])


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:3])


def _unusable(package: str, found: str, why: str, works: str) -> SettingsError:
    return SettingsError(f"{package} {found} does not work here: {why}.", hint=f"pip install '{package}>={works}'")
