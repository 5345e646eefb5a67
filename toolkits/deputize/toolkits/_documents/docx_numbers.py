"""Numbers that Word generates before paragraphs: "4.2", "(a)", a bullet. They are not in the stored text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._documents.package import Node, parse_tree

_PLACE: Final = re.compile(r"%([1-9])")
_ROMAN: Final = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"))
_ROMAN_SMALL: Final = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


@dataclass
class _Level:
    form: str = "bullet"
    words: str = ""
    start: int = 1


@dataclass
class Numbering:
    """The lists of a document and their counters."""

    lists: dict[str, dict[int, _Level]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, xml: bytes) -> Numbering:
        """Parse the numbering part, which may be missing."""
        root = parse_tree(xml)
        abstract = {one.get("abstractNumId"): _levels(one) for one in root.children if one.tag == "abstractNum"}
        found = cls()
        for one in root.children:
            if one.tag == "num" and (of := one.child("abstractNumId")):
                found.lists[one.get("numId")] = abstract.get(of.get("val"), {})
        return found

    def next(self, own: Node | None, styled: Node | None) -> str:
        """Return the number of the next paragraph with these properties, followed by a blank, or ""."""
        number = _value(own, "numId") or _value(styled, "numId")
        if number in ("", "0"):
            return ""
        level = _whole(_value(own, "ilvl") or _value(styled, "ilvl"), 0)
        levels = self.lists.get(number, {})
        counts = self.counts.setdefault(number, [0] * 9)
        level = min(level, 8)
        counts[level] = (counts[level] or levels.get(level, _Level()).start - 1) + 1
        counts[level + 1 :] = [0] * (8 - level)
        form = levels.get(level, _Level())
        if form.form in ("bullet", "none") or not form.words:
            return "  " * level + "- "
        return _PLACE.sub(lambda place: self._numeral_at(levels, counts, int(place[1]) - 1), form.words) + " "

    def _numeral_at(self, levels: dict[int, _Level], counts: list[int], level: int) -> str:
        form = levels.get(level, _Level("decimal"))
        return _numeral(counts[level] or form.start, form.form)


def _levels(node: Node) -> dict[int, _Level]:
    found = {}
    for one in node.children:
        if one.tag == "lvl":
            form, words, start = (_value(one, name) for name in ("numFmt", "lvlText", "start"))
            found[_whole(one.get("ilvl"), 0)] = _Level(form or "decimal", words[:40], _whole(start, 1))
    return found


def _value(node: Node | None, name: str) -> str:
    found = node.child(name) if node else None
    return found.get("val") if found else ""


def _whole(text: str, otherwise: int) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else otherwise


def _numeral(number: int, form: str) -> str:
    if form in ("lowerLetter", "upperLetter"):
        letter = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 9)
        return letter.upper() if form[0] == "u" else letter
    if form in ("lowerRoman", "upperRoman"):
        said, left = "", min(number, 3999)
        for value, sign in (*_ROMAN, *_ROMAN_SMALL):
            said, left = said + sign * (left // value), left % value
        return said.upper() if form[0] == "u" else said
    return str(number)
