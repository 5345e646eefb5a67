"""Lookup of labels by name: people and models use names, Gmail uses ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.text import Outside

Label = Mapping[str, Any]


def parse_labels(answer: Any) -> list[Label]:
    """Return the labels in a response of labels.list."""
    return list((answer or {}).get("labels") or ())


def own_names(labels: Sequence[Label]) -> dict[str, str]:
    """Return the names of the user's own labels by id. Gmail's own labels have their ids as names."""
    return {str(one["id"]): str(one["name"]) for one in labels if one.get("type") != "system"}


def find_label(labels: Sequence[Label], name: str) -> Label | None:
    """Return the label of this name, exactly or else case-insensitively, or None."""
    exact = [one for one in labels if one["name"] == name]
    alike = [one for one in labels if str(one["name"]).casefold() == name.strip().casefold()]
    return next(iter(exact + alike), None)


def require_label(labels: Sequence[Label], name: str, field: str) -> Label:
    """Return the label of this name. Raises `InvalidInput` with similar names; no label is created."""
    label = find_label(labels, name)
    if label is None:
        near = ", ".join(suggestions([str(one["name"]) for one in labels], name))
        hint = (f"Near: {near}. " if near else "") + "All: gmail_list_labels."
        raise InvalidInput(f"{field}: no label {Outside().line(name, 60)!r}.", hint=hint)
    return label


def suggestions(names: Sequence[str], wanted: str) -> list[str]:
    parts = [name for name in names if wanted.casefold() in name.casefold() or name.casefold() in wanted.casefold()]
    return list(dict.fromkeys([*parts, *get_close_matches(wanted[:200], names, 5, 0.5)]))[:5]
