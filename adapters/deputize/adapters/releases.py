"""The oldest framework releases that the adapters support, checked when an adapter is imported.

Older releases fail late or silently:
- LangGraph before 1.2.12 raises `TypeError` at each pause. 1.2.12 repeats a given consent if a step has several act
  nodes.
- llama-index-core before 0.14.7 tells the model about the wait.
- llama-index-workflows before 2.23 fails in each call. Before 2.23.3 it copies a tokenizer at each step, a third of a
  second. Before 2.24.1 it imports any module that a saved run names.
- google-adk before 2.12 delivers an answer to the wrong one of two parallel agents whose calls share an id. 2.12 warns
  that tool confirmation is experimental.
- pydantic-ai before 2.16 cannot tell a model that a call has failed for good.
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
    """Raise `SettingsError` if an older release of one of these packages is installed."""
    for package, wanted in least.items():
        try:
            found = version(package)
        except PackageNotFoundError:  # the import itself names the missing package
            continue
        if _numbers(found) < _numbers(wanted):
            raise _unusable(package, found, f"it is older than {wanted}", wanted)


def require_names(package: str, least: dict[str, str], *holders: tuple[type[Any], str]) -> None:
    """Raise `SettingsError` if one of these internal classes lacks a field, method or property after an update."""
    for holder, name in holders:
        if not hasattr(holder, name) and name not in getattr(holder, "__dataclass_fields__", ()):
            raise _unusable(package, version(package), f"{holder.__name__} has no {name!r}", least[package])


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:3])


def _unusable(package: str, found: str, why: str, works: str) -> SettingsError:
    return SettingsError(f"{package} {found} does not work here: {why}.", hint=f"pip install '{package}>={works}'")
