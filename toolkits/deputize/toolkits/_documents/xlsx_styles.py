"""Formats of cells (numbers as dates, percentages, money or plain), and detection of invisible cells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from deputize.toolkits._documents.colours import PAPER, colour, is_blended
from deputize.toolkits._documents.package import Node, scan

_DATES: Final = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_PERCENT: Final = {9: 0, 10: 2}
_QUOTED: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_DATE_SIGNS: Final = re.compile(r"[ymdhs]", re.IGNORECASE)
_MONEY: Final = re.compile(r'"([^"\d]{1,6})"|\[\$([^\]\-]{1,6})|([$\u20ac\u00a3\u00a5])')
_BLANK: Final = re.compile(r'"\s*"|\\\s|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]|\s', re.IGNORECASE)
_SECONDS: Final = 86_400
_SMALLEST: Final = 2.0  # points
TINY: Final = "tiny"
"""Stands for the colour of a font that is too small."""
_EIGHT: Final = ("000000", PAPER, "FF0000", "00FF00", "0000FF", "FFFF00", "FF00FF", "00FFFF")
_INDEXED: Final = {**dict(enumerate(_EIGHT)), **dict(enumerate(_EIGHT, 8)), 64: "000000", 65: PAPER}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Style:
    """The style of a cell. ``form``: the number format. ``places``: decimals of a percentage. ``unit``: the currency.

    ``fill``: the background, as in `is_unseen_on`. ``silent``: values that are not displayed.
    """

    form: str = ""
    places: int = 0
    unit: str = ""
    hidden: bool = False
    fill: str | None = ""
    silent: frozenset[str] = frozenset()

    def hides(self, kind: str, value: str) -> bool:
        """True if a cell of this kind and value is invisible."""
        if self.hidden or not self.silent:
            return self.hidden
        number = parse_number(value, 0.0) if kind == "n" else 0.0
        return ("text" if kind != "n" else "above" if number > 0 else "below" if number < 0 else "zero") in self.silent


@dataclass
class CellStyles:
    """The styles of a workbook, by number. ``from_1904``: dates count from 1904."""

    from_1904: bool = False
    styles: list[Style] = field(default_factory=list)

    @classmethod
    def of(cls, xml: bytes, *, from_1904: bool) -> CellStyles:
        """Parse the styles part, which may be missing."""
        parts: dict[str, Node] = {}
        scan(xml, {"numFmts", "fonts", "fills", "cellXfs"}, lambda node: parts.update({node.tag: node}))
        forms = {one.get("numFmtId"): one.get("formatCode") for one in _children(parts, "numFmts")}
        fonts = [font_colour(one) for one in _children(parts, "fonts")]
        fills = [_fill(one) for one in _children(parts, "fills")]
        found = cls(from_1904)
        for one in _children(parts, "cellXfs"):
            font, fill = _item(fonts, one.get("fontId"), ""), _item(fills, one.get("fillId"), "")
            code = forms.get(one.get("numFmtId"), "")
            found.styles.append(_style(_whole(one.get("numFmtId")), code, fill, font))
        return found

    def style(self, number: str) -> Style:
        """Return the style of this number."""
        at = _whole(number)
        return self.styles[at] if at < len(self.styles) else Style()

    def format_number(self, value: str, style: Style) -> str:
        """Return a number approximately as Excel displays it."""
        try:
            number = float(value)
        except ValueError:
            return value
        if style.form == "date":
            return self._date(number) or value
        if style.form == "percent":
            return f"{number * 100:.{style.places}f}%"
        plain = f"{number:.15g}"
        plain = str(int(number)) if "e" in plain and number.is_integer() and abs(number) < 1e21 else plain
        return f"{plain} {style.unit}" if style.unit else plain

    def _date(self, days: float) -> str:
        if not 0 <= days < 2_958_466:
            return ""
        start = datetime(1904, 1, 1) if self.from_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 - without a zone
        seconds = round(days * _SECONDS)
        if seconds < _SECONDS:
            return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}" + (f":{seconds % 60:02d}" if seconds % 60 else "")
        try:
            at = start + timedelta(seconds=seconds)
        except OverflowError:
            return ""
        return at.strftime("%Y-%m-%d") if seconds % _SECONDS == 0 else at.strftime("%Y-%m-%d %H:%M")


def _children(parts: dict[str, Node], name: str) -> list[Node]:
    return parts[name].children if name in parts else []


def _item(values: list[_T], number: str, other: _T) -> _T:
    at = _whole(number)
    return values[at] if at < len(values) else other


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def parse_number(text: str, other: float) -> float:
    """Return a number, or ``other`` if the text is not one."""
    try:
        return float(text)
    except ValueError:
        return other


def font_colour(font: Node) -> str:
    """Return the colour of a font, "" for black or automatic, or `TINY` for an unreadable size."""
    size = font.child("sz")
    if size and parse_number(size.get("val"), _SMALLEST) < _SMALLEST:
        return TINY
    return _colour(font.child("color"))


def _colour(node: Node | None) -> str:
    """Return six digits, or else a name that is equal for equal colours."""
    if node is None or node.get("auto") in ("1", "true"):
        return ""
    if rgb := colour(node.get("rgb")):
        return rgb
    if at := node.get("indexed"):
        return _INDEXED.get(_whole(at), f"indexed {at}")
    theme, tint = node.get("theme"), round(parse_number(node.get("tint"), 0.0), 1)
    return PAPER if theme == "0" and not tint else f"theme {theme} {tint}" if theme else ""


def _fill(fill: Node) -> str | None:
    """Return the colour of a fill, "" for none, or None if it is not one colour."""
    pattern = fill.child("patternFill")
    if pattern is None:
        return "" if fill.child("gradientFill") is None else None
    kind = pattern.get("patternType", "none")
    return "" if kind == "none" else (_colour(pattern.child("fgColor")) or None) if kind == "solid" else None


def is_unseen_on(font: str, fill: str | None) -> bool:
    """True if text in this font is invisible on this fill."""
    if font == TINY or (font and font == fill):
        return True
    return len(font) == 6 and fill is not None and len(fill) in (0, 6) and is_blended(font, fill)


def _silent_values(code: str, fill: str | None) -> frozenset[str]:
    """Return the values that a format does not display. Its sections are for positive, negative, zero and text."""
    parts = code.split(";")
    silent = [not _BLANK.sub("", one) or ("[white]" in one.lower() and is_unseen_on(PAPER, fill)) for one in parts]
    if len(parts) < 2:
        silent = [bool(code) and silent[0]] * 3
    elif len(parts) == 2:
        silent.append(silent[0])
    return frozenset(kind for kind, none in zip(("above", "below", "zero", "text"), silent, strict=False) if none)


def _style(number: int, code: str, fill: str | None, font: str) -> Style:
    plain = _QUOTED.sub("", code.partition(";")[0])
    shared = Style(hidden=is_unseen_on(font, fill), fill=fill, silent=_silent_values(code, fill))
    if number in _DATES or (number > 58 and _DATE_SIGNS.search(plain) and "general" not in plain.lower()):
        return replace(shared, form="date")
    if number in _PERCENT or "%" in plain:
        places = _PERCENT.get(number, len(plain.partition(".")[2].rstrip("% ")))
        return replace(shared, form="percent", places=min(places, 6))
    money = _MONEY.search(code.partition(";")[0])
    unit = next((one.strip() for one in money.groups() if one), "") if money else ""
    return replace(shared, unit=unit)
