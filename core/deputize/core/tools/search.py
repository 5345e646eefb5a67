"""Which of many tools fit a question: BM25 over names, descriptions and parameters. No dependency, no network.

    index = ToolIndex(deputy.tools("gmail", "github:all"))
    index.search("invite ana to the planning on friday")

Searched is exactly what the index was given. Descriptions may be a plugin's or a server's, so none is trusted: a word
counts once in each part of a tool, however often it is repeated there, and only the beginning of each part is read. The
formula is that of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), 3.6.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from math import log
from typing import Any, Final

from deputize.core.errors import InvalidInput
from deputize.core.tools.synonyms import MEANT, SIGNS, STOP
from deputize.core.tools.tool import Tool

LIMIT: Final = 5
MAX_RESULTS: Final = 20
LONGEST_QUERY: Final = 500

_NAME, _DESCRIPTION, _WORDS, _PARAMETERS, _SAID = 3.0, 2.0, 1.5, 0.8, 0.2
"""What a word counts by where it stands: parameters are their names and values, `_SAID` what is said of them."""
_READ: Final = 40  # words of each part that are looked at
_MEANT: Final = 0.5  # of a word that stands for the one in the question
_SATURATION, _LENGTH = 2.0, 0.1  # k1 and b
_WHOLE: Final = 0.15  # of how much of a question fits: "write a mail" is no comment, though that is written


class ToolIndex:
    """These tools, to be searched. Made ready at the first search."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.tools: Sequence[Tool] = [tool for tool in tools if not tool.follows]

    def search(self, query: str, limit: int = LIMIT) -> list[Tool]:
        """The tools that fit best, best first; none where no word fits. The same question has the same answer.

        Raises `InvalidInput` for a question that is no text or has over 500 characters, and for a limit under one.
        """
        if not isinstance(query, str) or len(query) > LONGEST_QUERY:
            raise InvalidInput(f"query: a text of at most {LONGEST_QUERY} characters.", hint="Say it in a few words.")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidInput("limit: a whole number from 1.", hint=f"Without it there are {LIMIT}.")
        asked = _meanings(query)
        scored = [(self._score(place, asked), place) for place in range(len(self.tools))]
        best = sorted((-score, self.tools[place].name, place) for score, place in scored if score > 0)
        return [self.tools[place] for _, _, place in best[: min(limit, MAX_RESULTS)]]

    @cached_property
    def _weights(self) -> list[Mapping[str, float]]:
        return [_weights_of(tool) for tool in self.tools]

    @cached_property
    def _rarity(self) -> Mapping[str, float]:
        """The inverse document frequency of each word."""
        having, whole = Counter(word for weights in self._weights for word in weights), len(self.tools)
        return {word: log(1 + (whole - count + 0.5) / (count + 0.5)) for word, count in having.items()}

    @cached_property
    def _damping(self) -> list[float]:
        """By tool, how much a word has to count: more where there are many of them."""
        sizes = [sum(weights.values()) for weights in self._weights]
        mean = sum(sizes) / len(sizes) if sizes else 1.0
        return [_SATURATION * (1 - _LENGTH + _LENGTH * size / mean) for size in sizes]

    def _score(self, place: int, asked: Sequence[Mapping[str, float]]) -> float:
        """Each word of the question by what fits best of it and what is meant by it; more where more of them fit."""
        weights, damping = self._weights[place], self._damping[place]
        fits = [
            max(
                (
                    share * self._rarity[word] * weights[word] / (damping + weights[word])
                    for word, share in meanings.items()
                    if word in weights
                ),
                default=0.0,
            )
            for meanings in asked
        ]
        return sum(fits) * (sum(map(bool, fits)) / len(fits)) ** _WHOLE if fits else 0.0


def _weights_of(tool: Tool) -> dict[str, float]:
    """The words of a tool, and what each counts."""
    counted: dict[str, float] = {}
    parameters: Mapping[str, Any] = tool.schema.get("properties", {})
    for weight, texts in (
        (_NAME, [tool.name]),
        (_DESCRIPTION, [tool.description]),
        (_WORDS, tool.words),
        (_PARAMETERS, [*parameters, *_values(parameters)]),
        (_SAID, [str(one.get("description", "")) for one in parameters.values() if isinstance(one, Mapping)]),
    ):
        read = [word for text in texts for word in _words(text)][:_READ]
        for word in set(read):
            counted[word] = counted.get(word, 0.0) + weight
    return counted


def _values(schema: Any) -> Iterator[str]:
    """The values that a parameter takes, where they are named."""
    if isinstance(schema, Mapping):
        yield from (one for one in schema.get("enum", ()) if isinstance(one, str))
        for part in schema.values():
            yield from _values(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _values(part)


def _meanings(query: str) -> list[Mapping[str, float]]:
    """For each word of a question itself and what tools may call it; what the question says by itself, only once."""
    signs = (_words(means) for form, means in SIGNS.items() if re.search(form, query))
    said = dict.fromkeys([*_words(query), *(word for words in signs for word in words)])
    return [{word: 1.0} | {one: _MEANT for one in _by_word().get(word, ()) if one not in said} for word in said]


def _words(text: str) -> Iterator[str]:
    """The stems of a text's words, without case and accents. Names of parameters are words too."""
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)).casefold()
    for word in re.findall(r"[^\W_]+", "".join(one for one in plain if not unicodedata.combining(one))):
        if word not in STOP:
            yield _stem(word)


def _stem(word: str) -> str:
    """Without the endings of plurals and verbs: enough for "invites", "inviting", "invited" to be one word."""
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            word = word.removesuffix(ending)
            return word[:-1] if word[-1] == word[-2] and word[-1] not in "ls" else word.removesuffix("e")
    return word.removesuffix("e") if len(word) > 3 else word


@cache
def _by_word() -> Mapping[str, Sequence[str]]:
    """What each word may mean: its stem's, since the words of a question are stems."""
    found: dict[str, list[str]] = {}
    for said, meant in MEANT.items():
        for word in _words(said):
            found.setdefault(word, []).extend(_words(meant))
    return found
