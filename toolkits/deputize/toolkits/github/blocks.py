"""Lists inside a detail (comments, reviews, files), each continued by a cursor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deputize.core.errors import InvalidInput
from deputize.toolkits.github.api import Json, List, Page
from deputize.toolkits.github.base import Asks

ALL: Final = 2_800
"""Tokens of all blocks together."""

Block = Callable[[int, str | None], Asks[Json]]
"""Shows what fits a budget of tokens, from where a cursor points: the block under its name, ``next``, and what is said
beside it."""


def blocks(wanted: Mapping[str, Block], cursor: str | None) -> Asks[Json]:
    """Return the blocks by name. ``next``: the cursor of a single block, or cursors by block name.

    Raises `InvalidInput` for a cursor that may belong to several blocks.
    """
    if cursor and len(wanted) != 1:
        raise InvalidInput("cursor: only together with the one block it belongs to.", hint="Name it alone in include.")
    told: Json = {}
    following: dict[str, str] = {}
    for name, block in wanted.items():
        shown = yield from block(ALL // len(wanted), cursor)
        place = shown.pop("next")
        following |= {name: place} if place else {}
        told |= shown
    if not wanted:
        return {}
    return told | {"next": following if len(wanted) > 1 else next(iter(following.values()), None)}


def rows(
    name: str,
    bound_to: tuple[Any, ...],
    read: Callable[[str, int], Asks[Page]],
    shape: Callable[[Any], Json | None],
) -> Block:
    """Return a block that is a list. ``bound_to``, ``read``, ``shape``: see `List`."""

    def show(budget: int, cursor: str | None) -> Asks[Json]:
        shown = yield from List((*bound_to, name), read, shape, budget).show(100, cursor)
        cut = {"cut": [f"{name}: there are more, which GitHub does not list."]} if shown.get("incomplete") else {}
        return {name: shown["items"], "next": shown["next"], **cut}

    return show
