"""Pictures in HTML: what is said of them, and whether they can be seen at all."""

from __future__ import annotations

from typing import Final

from deputize.toolkits._shared.html_style import Look
from deputize.toolkits._shared.html_tree import Element

LONGEST_ALT: Final = 150
"""Characters of a picture's description that are shown."""
_DOT: Final = 3.0  # pixels of a picture that nobody sees


def described(element: Element) -> str:
    """What is said of a picture, as far as it is shown."""
    alt = element.attributes.get("alt", "").strip()
    return alt if len(alt) <= LONGEST_ALT else f"{alt[:LONGEST_ALT]}\u2026"


def is_dot(element: Element, seen: Look) -> bool:
    """Whether a picture is too small to be seen, by its attributes or its styles."""
    sizes = [element.attributes.get(name, "").strip().removesuffix("px") for name in ("width", "height")]
    if any(size.isdecimal() and len(size) < 6 and float(size) <= _DOT for size in sizes):
        return True
    return any(side <= _DOT for side in seen.measures)
