"""Search for tools by a question: BM25 over names, descriptions and parameters, offline and without dependencies.

    index = ToolIndex(deputy.tools("gmail", "github:all"))
    index.search("invite ana to the planning on friday")

Only the given tools are searched. A description may come from a plugin or a server that tries to rank first. So a word
counts once in each part of a tool, and only the beginning of each part is read. The formula is that of Robertson and
Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), 3.6.
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

DEFAULT_RESULTS: Final = 5
MAX_RESULTS: Final = 20
MAX_QUERY_CHARACTERS: Final = 500

_NAME, _DESCRIPTION, _WORDS, _PARAMETERS, _SAID = 3.0, 2.0, 1.5, 0.8, 0.2
"""Weights by part of a tool. Parameters are their names and values; `_SAID` is for their descriptions."""
_READ: Final = 40  # words of each part that are read
_MEANT: Final = 0.5  # weight of a synonym
_SATURATION, _LENGTH = 2.0, 0.1  # k1 and b
_WHOLE: Final = 0.15  # exponent of the share of words that match


class ToolIndex:
    """A search index of some tools, built at the first search."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.tools: Sequence[Tool] = [tool for tool in tools if not tool.follows]

    def search(self, query: str, limit: int = DEFAULT_RESULTS) -> list[Tool]:
        """Return the best matching tools, best first; [] if none match. Equal queries give equal results.

        Raises `InvalidInput` for a query that is not a string or has over 500 characters, and for a limit below one.
        """
        if not isinstance(query, str) or len(query) > MAX_QUERY_CHARACTERS:
            raise InvalidInput(f"query: a text of at most {MAX_QUERY_CHARACTERS} characters.", hint="Use a few words.")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidInput("limit: must be an integer of at least 1.", hint=f"The default is {DEFAULT_RESULTS}.")
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
        """The saturation of word weights, by tool. In a tool with more words, each word counts less."""
        sizes = [sum(weights.values()) for weights in self._weights]
        mean = sum(sizes) / len(sizes) if sizes else 1.0
        return [_SATURATION * (1 - _LENGTH + _LENGTH * size / mean) for size in sizes]

    def _score(self, place: int, asked: Sequence[Mapping[str, float]]) -> float:
        """Return the score of a tool: the sum of each query word's best match, times the share of words that match."""
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
    """Return the words of a tool with their weights."""
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
    """Yield the named values that a parameter accepts."""
    if isinstance(schema, Mapping):
        yield from (one for one in schema.get("enum", ()) if isinstance(one, str))
        for part in schema.values():
            yield from _values(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _values(part)


def _meanings(query: str) -> list[Mapping[str, float]]:
    """Return the meanings of each query word with weights: the word, and its synonyms that are not in the query."""
    signs = (_words(means) for form, means in SIGNS.items() if re.search(form, query))
    said = dict.fromkeys([*_words(query), *(word for words in signs for word in words)])
    return [{word: 1.0} | {one: _MEANT for one in _synonyms().get(word, ()) if one not in said} for word in said]


def _words(text: str) -> Iterator[str]:
    """Yield the stems of a text's words, without case and accents. Parameter names are split into words."""
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)).casefold()
    for word in re.findall(r"[^\W_]+", "".join(one for one in plain if not unicodedata.combining(one))):
        if word not in STOP:
            yield _stem(word)


def _stem(word: str) -> str:
    """Return the word without plural and verb endings, so that "invites", "inviting" and "invited" become equal."""
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
def _synonyms() -> Mapping[str, Sequence[str]]:
    """Return the synonyms of each stem."""
    found: dict[str, list[str]] = {}
    for said, meant in MEANT.items():
        for word in _words(said):
            found.setdefault(word, []).extend(_words(meant))
    return found
