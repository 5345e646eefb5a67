"""How a cell's number is shown: as a date, a share, money or as it is; and whether anybody sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from deputize.toolkits._documents.package import Node, each

_DATES: Final = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_PERCENT: Final = {9: 0, 10: 2}
_QUOTED: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_DATE_SIGNS: Final = re.compile(r"[ymdhs]", re.IGNORECASE)
_MONEY: Final = re.compile(r'"([^"\d]{1,6})"|\[\$([^\]\-]{1,6})|([$\u20ac\u00a3\u00a5])')
_WHITE: Final = frozenset({"FFFFFFFF", "00FFFFFF", "FFFFFF"})
_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Style:
    """Of a cell. ``form``: of its number; ``places``: behind the point of a share; ``unit``: of money."""

    form: str = ""
    places: int = 0
    unit: str = ""
    hidden: bool = False


@dataclass
class CellStyles:
    """The styles of a workbook, by number. ``from_1904``: its days count from 1904."""

    from_1904: bool = False
    styles: list[Style] = field(default_factory=list)

    @classmethod
    def of(cls, xml: bytes, *, from_1904: bool) -> CellStyles:
        """Read from its part, which may be missing."""
        parts: dict[str, Node] = {}
        each(xml, {"numFmts", "fonts", "fills", "cellXfs"}, lambda node: parts.update({node.tag: node}))
        forms = {one.get("numFmtId"): one.get("formatCode") for one in _of(parts, "numFmts")}
        unseen = [_is_unseen(one) for one in _of(parts, "fonts")]
        empty = [_is_empty(one) for one in _of(parts, "fills")]
        found = cls(from_1904)
        for one in _of(parts, "cellXfs"):
            font, fill = _at(unseen, one.get("fontId")), _at(empty, one.get("fillId"))
            hidden = font == "tiny" or (font == "white" and fill is not False)
            found.styles.append(_style(_whole(one.get("numFmtId")), forms.get(one.get("numFmtId"), ""), hidden=hidden))
        return found

    def style(self, number: str) -> Style:
        """The style of a cell that names it so."""
        at = _whole(number)
        return self.styles[at] if at < len(self.styles) else Style()

    def displayed(self, value: str, style: Style) -> str:
        """A number as people see it, or nearly so."""
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
        start = datetime(1904, 1, 1) if self.from_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 - of nowhere
        seconds = round(days * _SECONDS)
        if seconds < _SECONDS:
            return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}" + (f":{seconds % 60:02d}" if seconds % 60 else "")
        try:
            at = start + timedelta(seconds=seconds)
        except OverflowError:
            return ""
        return at.strftime("%Y-%m-%d") if seconds % _SECONDS == 0 else at.strftime("%Y-%m-%d %H:%M")


def _of(parts: dict[str, Node], name: str) -> list[Node]:
    return parts[name].children if name in parts else []


def _at(values: list[str] | list[bool], number: str) -> str | bool | None:
    at = _whole(number)
    return values[at] if at < len(values) else None


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def _is_unseen(font: Node) -> str:
    size, colour = font.child("sz"), font.child("color")
    try:
        if size and float(size.get("val")) < 2:
            return "tiny"
    except ValueError:
        pass
    white = colour and (colour.get("rgb").upper() in _WHITE or colour.get("theme") == "0") and not colour.get("tint")
    return "white" if white else ""


def _is_empty(fill: Node) -> bool:
    """Whether a fill leaves the sheet's white."""
    pattern = fill.child("patternFill")
    if pattern is None or pattern.get("patternType", "none") == "none":
        return fill.child("gradientFill") is None
    colour = pattern.child("fgColor")
    return colour is not None and (colour.get("rgb").upper() in _WHITE or colour.get("theme") == "0")


def _style(number: int, code: str, *, hidden: bool) -> Style:
    if code.strip() and not code.replace(";", "").strip():
        return Style(hidden=True)  # ";;;" shows nothing
    plain = _QUOTED.sub("", code.partition(";")[0])
    if number in _DATES or (number > 58 and _DATE_SIGNS.search(plain) and "general" not in plain.lower()):
        return Style("date", hidden=hidden)
    if number in _PERCENT or "%" in plain:
        places = _PERCENT.get(number, len(plain.partition(".")[2].rstrip("% ")))
        return Style("percent", min(places, 6), hidden=hidden)
    money = _MONEY.search(code.partition(";")[0])
    unit = next((one.strip() for one in money.groups() if one), "") if money else ""
    return Style(unit=unit, hidden=hidden)
