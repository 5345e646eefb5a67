"""Labels by name: people and models say names, Gmail wants ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.text import Outside

Label = Mapping[str, Any]


def labels_in(answer: Any) -> list[Label]:
    """The labels in an answer of labels.list."""
    return list((answer or {}).get("labels") or ())


def own_names(labels: Sequence[Label]) -> dict[str, str]:
    """The names of the user's own labels by id; Gmail's own are called by their ids."""
    return {str(one["id"]): str(one["name"]) for one in labels if one.get("type") != "system"}


def find(labels: Sequence[Label], name: str) -> Label | None:
    """The label of this name: exactly, else without regard to case."""
    exact = [one for one in labels if one["name"] == name]
    alike = [one for one in labels if str(one["name"]).casefold() == name.strip().casefold()]
    return next(iter(exact + alike), None)


def label_called(labels: Sequence[Label], name: str, field: str) -> Label:
    """The label of this name. Raises `InvalidInput` with what comes near; nothing is created on the fly."""
    label = find(labels, name)
    if label is None:
        near = ", ".join(suggestions([str(one["name"]) for one in labels], name))
        hint = (f"Near: {near}. " if near else "") + "All: gmail_list_labels."
        raise InvalidInput(f"{field}: no label {Outside().line(name, 60)!r}.", hint=hint)
    return label


def suggestions(names: Sequence[str], wanted: str) -> list[str]:
    """At most five names that come near."""
    parts = [name for name in names if wanted.casefold() in name.casefold() or name.casefold() in wanted.casefold()]
    return list(dict.fromkeys([*parts, *get_close_matches(wanted[:200], names, 5, 0.5)]))[:5]
