"""The texts, boxes and forms that a PDF page paints."""

from __future__ import annotations

from dataclasses import dataclass

from pypdf.generic import ContentStream, DictionaryObject

from deputize.toolkits._documents.pdf_state import Box, Colour


@dataclass
class PaintedText:
    """A painted text: its operation, position, number of characters, the reason why it may be invisible, and its fill
    colour. ``follows``: True if another text of unknown width precedes it in its line."""

    stream: ContentStream
    operation: int
    at: tuple[float, float]
    count: int
    wrong: str = ""
    rgb: Colour | None = None
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Paint:
    """A painted box. ``after``: number of texts painted before. ``exact``: True if the shape is the box. ``white``:
    True for the colour of paper. ``path``: the number of its path, whose boxes may be holes in each other."""

    after: int
    box: Box
    picture: bool = False
    white: bool = False
    exact: bool = True
    rgb: Colour | None = None
    path: int = 0


@dataclass
class Form:
    """A form that the page paints, by its name in its resources."""

    resources: DictionaryObject
    name: str
    stream: ContentStream
    about: DictionaryObject
