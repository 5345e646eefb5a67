"""What a page of a PDF has painted: texts, boxes and forms."""

from __future__ import annotations

from dataclasses import dataclass

from pypdf.generic import ContentStream, DictionaryObject

from deputize.toolkits._documents.pdf_state import Box, Colour


@dataclass
class PaintedText:
    """A text that was painted: by which operation, where, how many characters, what may be wrong with it, and its
    colour where that fills it. ``follows``: another one is before it in its line, whose width is not known."""

    stream: ContentStream
    operation: int
    at: tuple[float, float]
    count: int
    wrong: str = ""
    rgb: Colour | None = None
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Paint:
    """A box that was painted after so many texts. ``exact``: it has no other shape; ``white``: as paper is; ``path``:
    the number of the path that it is a part of, whose boxes may be holes in each other."""

    after: int
    box: Box
    picture: bool = False
    white: bool = False
    exact: bool = True
    rgb: Colour | None = None
    path: int = 0


@dataclass
class Form:
    """A form that the page paints: under which name, in which resources."""

    resources: DictionaryObject
    name: str
    stream: ContentStream
    about: DictionaryObject
