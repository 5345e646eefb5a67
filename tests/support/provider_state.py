"""The stored data of the simulated providers, and the differences between two of their worlds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final

from deputize.sandbox import Sandbox

COUNTED: Final = frozenset("history history_id etag posted made updated last_id commits".split())
"""Values that providers count or record by themselves."""
UNORDERED: Final = frozenset({"labels", "members"})


def everything(sandbox: Sandbox) -> Any:
    """Return all data of the providers as it is now; of a branch its files, since commits stay."""
    kept = sandbox._world._to_json()
    services = copy.deepcopy(kept["services"])
    for name, repo in services["github"]["repos"].items():
        commits = services["github"]["commits"][name]
        repo["branches"] = {branch: commits[head]["tree"] for branch, head in repo["branches"].items()}
    for listed in services["calendar"]["lists"].values():
        listed |= {name: {"listed": True, **look} for name, look in listed.items()}
    return [_lean(services), _lean(copy.deepcopy(kept["mailboxes"]))]


def _lean(value: Any, name: str = "") -> Any:
    """Drop counted and empty values, such as a list that existed once."""
    if isinstance(value, dict):
        found = {key: _lean(one, key) for key, one in value.items() if key not in COUNTED}
        return {key: one for key, one in found.items() if one not in (None, "", 0, [], {})}
    if isinstance(value, list):
        return sorted(value, key=str) if name in UNORDERED else [_lean(one) for one in value]
    return value


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield each place where two worlds differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from differences(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            before, after = (one[place] if place < len(one) else None for one in (old, new))
            yield from differences(before, after, f"{path}[{place}]")
    elif old != new:
        yield f"{path}: + {new}" if old is None else f"{path}: gone" if new is None else path
