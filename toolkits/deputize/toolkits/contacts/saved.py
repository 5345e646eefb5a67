"""The addresses of people whom the user saved, for the record of people whom the user knows.

A stranger, and an agent, can cause other entries: Google collects "other contacts", a profile contains what its owner
wrote, and a tool of somebody else may have saved a person a moment ago. So only an address from a saved contact counts,
and only if the contact has not changed for a week.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

SETTLED_SECONDS: Final = 7 * 86_400.0
"""Seconds for which a saved contact must not have changed."""
_LISTS: Final = ("results", "connections", "responses")


def saved_addresses(response: Any, account: str, now: float) -> list[str]:
    """Return the addresses of all saved contacts in a response of the People API."""
    return [one for person in _people(response) for one in _addresses(person, now)]


def _people(response: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(response, Mapping):
        return
    listed = [one for name in _LISTS if isinstance(found := response.get(name), list) for one in found]
    for one in (response, *listed):
        person = one.get("person", one) if isinstance(one, Mapping) else None
        if isinstance(person, Mapping):
            yield person


def _addresses(person: Mapping[str, Any], now: float) -> list[str]:
    if not str(person.get("resourceName")).startswith("people/"):
        return []
    metadata = person.get("metadata")
    sources = metadata.get("sources") if isinstance(metadata, Mapping) else None
    saved = [one for one in sources if _is_saved(one)] if isinstance(sources, list) else []
    if not saved or not all(now - _changed(one.get("updateTime")) > SETTLED_SECONDS for one in saved):
        return []
    listed = person.get("emailAddresses")
    rows = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    own = [one for one in rows if isinstance(one.get("metadata"), Mapping) and _is_saved(one["metadata"].get("source"))]
    return [value for one in own if isinstance(value := one.get("value"), str)]


def _is_saved(source: Any) -> bool:
    return isinstance(source, Mapping) and source.get("type") == "CONTACT"


def _changed(at: Any) -> float:
    """Return the time of the last change in Unix seconds, or infinity if it is unknown."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except (TypeError, ValueError, OverflowError):
        return float("inf")
