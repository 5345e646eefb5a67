"""Markdown that readers of the page do not see: link titles, definitions, attributes of tags.

Code stays unchanged, because readers see all of it. The patterns take linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

LONGEST_ALT: Final = 150
"""Characters of a picture's description that are shown."""

_CODE: Final = re.compile(
    r"^ {0,3}(?P<fence>`{3,}(?=[^`\n]*\n)|~{3,})[^\n]*\n(?:.*?^ {0,3}(?P=fence)[`~]*[ \t]*$|.*\Z)"
    r"|(?<!`)(?P<ticks>`{1,9})(?!`)[^`]{1,2000}(?<!`)(?P=ticks)(?!`)",
    re.DOTALL | re.MULTILINE,
)
_TITLE: Final = r"\"[^\"\n]{0,2000}\"|'[^'\n]{0,2000}'|\([^()\n]{0,2000}\)"
TITLED: Final = re.compile(rf"(\]\([^()\s\"'<>]{{0,2000}})\s{{1,9}}(?:{_TITLE})\s{{0,9}}\)")
"""A link with a title, which appears only on hover."""
DEFINED: Final = re.compile(
    rf"^ {{0,3}}\[([^\[\]\n^][^\[\]\n]{{0,998}})\]:[ \t]{{0,9}}\n?[ \t]{{0,9}}([^\s\[]\S{{0,1999}})"
    rf"(?:[ \t]{{0,9}}\n?[ \t]{{0,9}}(?:{_TITLE}))?[ \t]{{0,9}}$",
    re.MULTILINE,
)
"""A link definition, which readers do not see."""
TAGGED: Final = re.compile(r"<([a-z][a-z0-9]{0,20})\s([^<>]{1,4000})>", re.IGNORECASE)
"""A tag with attributes."""
PICTURE: Final = re.compile(r"!\[([^\[\]\n]{0,1000})\](?:\([^()\n]{0,2000}\)|\[[^\[\]\n]{0,200}\])")
IMG: Final = re.compile(r"<img\b[^<>]{0,4000}>", re.IGNORECASE)
RAW: Final = re.compile(
    r"<\?.{0,4000}?\?>|<!\[CDATA\[.{0,4000}?\]\]>|<![a-z][^<>]{0,4000}>|^ {0,3}<(?:\?|!\[CDATA\[).*\Z",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
"""Instructions, sections and declarations (CommonMark 0.31, 4.6 and 6.6), which a page does not show."""
UNCUT: Final = (TITLED, DEFINED, TAGGED, PICTURE, IMG)
"""Patterns that no piece of a text may split."""

_ALT: Final = re.compile(r"\balt\s*=\s*(?:\"([^\"]{0,4000})\"|'([^']{0,4000})')", re.IGNORECASE)
_DOT: Final = re.compile(r"\b(?:width|height)\s*=\s*[\"']?[0-3](?:px)?(?=[\"'\s/>])", re.IGNORECASE)
_SEEN: Final = re.compile(r"\b(?:href|src)\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+)", re.IGNORECASE)


def without_unseen(text: str, *, raw_html: bool = False) -> tuple[str, int]:
    """Return the text as its readers see it, and the number of removed characters. Pictures become words in brackets.
    ``raw_html``: True if the page renders HTML."""
    labels = _labels(text)
    kept: list[str] = []
    at, hidden = 0, 0
    for code in _CODE.finditer(text):
        shown, count = _clean(text[at : code.start()], labels, raw_html)
        kept += [shown, code[0]]
        at, hidden = code.end(), hidden + count
    shown, count = _clean(text[at:], labels, raw_html)
    return "".join((*kept, shown)), hidden + count


def _labels(text: str) -> dict[str, int]:
    """Return the texts in brackets, with their counts."""
    found: dict[str, int] = {}
    for label in re.findall(r"\[([^\[\]\n]{1,999})\]", text):
        found[label.lower()] = found.get(label.lower(), 0) + 1
    return found


def _clean(text: str, labels: dict[str, int], raw_html: bool) -> tuple[str, int]:
    hidden = 0

    def cut(shown: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        def replace(found: re.Match[str]) -> str:
            nonlocal hidden
            words = shown(found)
            hidden += len(found[0]) - len(words)
            return words

        return replace

    def describe(words: str) -> str:
        nonlocal hidden
        hidden += max(len(words) - LONGEST_ALT, 0)
        return f"[image: {words if len(words) <= LONGEST_ALT else words[:LONGEST_ALT] + chr(0x2026)}]"

    def picture(found: re.Match[str]) -> str:
        nonlocal hidden
        alt = _ALT.search(found[0])
        words = (alt[1] or alt[2] or "").strip() if alt else ""
        if _DOT.search(found[0]):
            hidden += len(words)
            return ""
        return describe(words)

    text = RAW.sub(cut(lambda found: ""), text) if raw_html else text
    text = DEFINED.sub(cut(lambda found: f"[{found[1]}]: {found[2]}" if labels[found[1].lower()] > 1 else ""), text)
    text = TITLED.sub(cut(lambda found: f"{found[1]})"), text)
    text = PICTURE.sub(lambda found: describe(found[1].strip()), text)
    text = IMG.sub(picture, text)
    text = TAGGED.sub(cut(lambda found: f"<{' '.join((found[1], *_SEEN.findall(found[2])))}>"), text)
    return text, hidden
