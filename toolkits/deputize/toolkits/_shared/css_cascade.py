"""Computed values of one element: from attributes such as ``bgcolor``, style sheets, its own style and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.css_properties import INHERITED, UNCHECKED, WIDE, expand
from deputize.toolkits._shared.css_sheet import QUIRKY, Rule, declarations_of
from deputize.toolkits._shared.css_values import Colour, Unknown, colour, legacy_colour, number, pixels
from deputize.toolkits._shared.html_tree import Element

_FONT_SIZES: Final = ("10px", "10px", "13px", "16px", "18px", "24px", "32px", "48px")
_SIZED: Final = frozenset({"table", "td", "th", "img", "hr", "iframe", "pre", "col"})
_VARIABLE = re.compile(r"var\(\s*(--[^\s,()]+)\s*(?:,((?:[^()]|\([^()]*\))*))?\)", re.IGNORECASE)
_LONGEST: Final = 2_000
_INITIAL: Final = {"color": "#000", "font-size": "medium", "visibility": "visible", "text-indent": "0"}
_SHADE = re.compile(r"#[0-9a-f]{3,8}\b|(?:rgb|hsl|hwb|color)a?\([^()]*\)|\b[a-z]+\b")


@dataclass(slots=True)
class Values:
    """Raw values by property name. A value that cannot be calculated becomes a doubt."""

    given: dict[str, str] = field(default_factory=dict)
    _doubts: set[str] = field(default_factory=set)

    def get(self, name: str, otherwise: str = "") -> str:
        return self.given.get(name, otherwise)

    def doubts(self) -> frozenset[str]:
        """Return the properties that could not be evaluated."""
        return frozenset(self._doubts)

    def doubt(self, what: str) -> None:
        """Record a property that cannot be evaluated."""
        self._doubts.add(what)

    def length(self, name: str, otherwise: float, size: float, whole: float = 600.0) -> float:
        """Return a length in pixels, or ``otherwise`` if it is missing or cannot be calculated."""
        value = self.given.get(name)
        if not value:
            return otherwise
        try:
            found = pixels(value, size, whole)
        except Unknown:
            self._doubts.add(name)
            return otherwise
        return otherwise if found is None else found

    def ratio(self, name: str, otherwise: float) -> float:
        """Return a number or a percentage as a ratio."""
        value = self.given.get(name)
        try:
            found = number(value) if value else None
        except Unknown:
            self._doubts.add(name)
            return otherwise
        return otherwise if found is None else min(max(found, 0.0), 10.0)

    def colour(self, name: str, current: Colour, otherwise: Colour | None) -> Colour | None:
        """Return a colour. ``current``: the value of ``currentcolor``."""
        value = self.given.get(name)
        if not value:
            return otherwise
        try:
            return current if value == "currentcolor" else colour(value) or otherwise
        except Unknown:
            self._doubts.add(name)
            return otherwise

    def shades(self, name: str) -> list[Colour]:
        """Return all colours in a value, such as those of a gradient."""
        found: list[Colour] = []
        for one in _SHADE.findall(self.given.get(name, "")[:_LONGEST]):
            try:
                shade = colour(one)
            except Unknown:
                continue
            found += [shade] if shade else []
        return found


def cascade(
    element: Element, rules: Sequence[Rule], variables: Mapping[str, str], *, quirks: bool
) -> tuple[Mapping[str, str], Values]:
    """Return the variables and the values of an element with these rules. Raises `TooComplex`."""
    values = Values(dict(_hints(element)))
    for one in list(declarations_of(rules, element.attributes.get("style", ""))):
        if one.name.startswith("--"):
            if one.value not in WIDE:
                variables = {**variables, one.name: one.value[:_LONGEST]}
        else:
            value = one.value
            if quirks and QUIRKY.fullmatch(value):
                value = quirks_value(one.name, value)
            _apply(values, one.name, value, variables)
    return variables, values


def quirks_value(name: str, value: str) -> str:
    """Return a value as browsers read it on a page without a doctype (Quirks Mode, 3.1 and 3.2)."""
    if "color" in name or name == "background":
        return f"#{value}" if len(value) in (3, 6) and value[0] not in "+-" else value
    return value if expand(name, value) else f"{value}px"


def _apply(values: Values, name: str, value: str, variables: Mapping[str, str]) -> None:
    if "var(" in value.lower():
        resolved = _resolve(value, variables)
        if resolved is None:
            values.doubt("var()")
            return
        value = resolved.lower().strip()
    for single, text in expand(name, value):
        if single == "doubt":
            values.doubt(text)
        elif text in WIDE:
            _reset(values, single, text)
        else:
            if single in UNCHECKED and values.given.get(single, text) != text:
                values.doubt(single)
            values.given[single] = text


def _reset(values: Values, name: str, keyword: str) -> None:
    """Apply ``inherit``, ``initial`` and the like to a value."""
    names = list(values.given) if name == "all" else [one for one in values.given if one.startswith(name)] or [name]
    for one in names:
        values.given.pop(one, None)
        if keyword == "initial" and one in _INITIAL:
            values.given[one] = _INITIAL[one]
        elif keyword == "inherit" and one not in INHERITED:
            values.doubt(f"{one}: inherit")


def _resolve(value: str, variables: Mapping[str, str]) -> str | None:
    """Return a value with its variables replaced, or None if the replacement does not end."""
    for _ in range(10):
        if not _VARIABLE.search(value):
            return value if "var(" not in value.lower() else None
        value = _VARIABLE.sub(lambda found: variables.get(found[1], found[2] or ""), value)
        if len(value) > _LONGEST:
            return None
    return None


def _hints(element: Element) -> Iterator[tuple[str, str]]:
    """Yield the values that attributes set (HTML, 15.3)."""
    attributes = element.attributes
    if not attributes:
        return
    if "hidden" in attributes:
        yield ("display", "none")
    if "bgcolor" in attributes and (shade := legacy_colour(attributes["bgcolor"])):
        yield ("background-color", _hex(shade))
    if element.tag in _SIZED:
        for side in ("width", "height"):
            if found := re.match(r"\s*(\d{1,6}(?:\.\d+)?)(%?)", attributes.get(side, "")):
                yield (side, f"{found[1]}{found[2] or 'px'}")
    if attributes.get("background"):
        yield ("background-picture", "url(x)")
    inked = attributes.get("color" if element.tag == "font" else "text" if element.tag == "body" else "", "")
    if inked and (shade := legacy_colour(inked)):
        yield ("color", _hex(shade))
    if element.tag == "body" and (shade := legacy_colour(attributes.get("link", ""))):
        yield ("link", _hex(shade))
    if element.tag == "font" and (step := re.fullmatch(r"\s*([+-]?)(\d+).*", attributes.get("size", ""), re.DOTALL)):
        count = int(step[2][:3]) * (-1 if step[1] == "-" else 1) + (3 if step[1] else 0)
        yield ("font-size", _FONT_SIZES[min(max(count, 1), 7)])


def _hex(shade: Colour) -> str:
    red, green, blue = (round(part * 255) for part in shade[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"
