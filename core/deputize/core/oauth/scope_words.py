"""Scopes as people read them, wherever a sentence says what somebody may do: "It asks to be allowed to ..."."""

from __future__ import annotations

from collections.abc import Mapping


def in_words(scope: str, words: Mapping[str, str]) -> str:
    """What this scope allows, by ``words``, as a verb: ``read your email``. Of one that has none there, its name.

    A server that was found tells no words, and a description may give the name again in their place.
    """
    said = words.get(scope, "").strip()
    return said if said and said.casefold() != scope.casefold() else f'use the permission "{scope}"'
