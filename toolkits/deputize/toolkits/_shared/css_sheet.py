"""The style sheets in a mail, and the declarations that apply to an element (CSS Cascade 5).

Rules are read as in a browser with a wide, light screen: those for print, dark mode or small screens do not apply.
External sheets are not loaded, as in mail programs. A sheet in a data URL is a doubt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from deputize.toolkits._shared.css_media import matches_screen
from deputize.toolkits._shared.css_properties import expand, is_dark_only
from deputize.toolkits._shared.css_select import Budget, Selector, Step
from deputize.toolkits._shared.css_selector_reader import Invalid, Unclear, read_selectors
from deputize.toolkits._shared.html_tree import Document, Element, TooComplex

_LONGEST: Final = 150_000  # characters of styles; Gmail ignores styles of more than 102,000
_LONGEST_INLINE: Final = 20_000
_MAX_SELECTORS: Final = 4_000
_BRACKET = re.compile(r"[(\[{}\])]")
_DEEPEST: Final = 50
QUIRKY: Final = re.compile(r"[+-]?\d*\.?\d+|[0-9a-f]{3}|[0-9a-f]{6}")
"""A length without a unit, or a colour without #, which pages without a doctype may have."""
_BOXES: Final = frozenset({"before", "after", "selection", "placeholder", "backdrop"})
_COVERING: Final = ("position", "margin", "float", "box-shadow", "outline", "transform", "translate", "inset")
_PLAIN: Final = re.compile(  # can be split at semicolons and colons
    r"""(?:[^\\/"'()\[\]{}@<&]|/(?!\*)|"[^"\\\n\r\f;!]*"|'[^'\\\n\r\f;!]*'|\([^()\\"'\n\r\f;!{}\[\]/]*\))*+"""
)
_CONDITIONAL: Final = frozenset({"supports", "layer", "container", "scope", "starting-style"})
_STRANGE_FONT = re.compile(r"data:|size-adjust|override")
_PLAIN_RULES: Final = frozenset({"page", "charset", "namespace", "counter-style", "viewport", "color-profile"})
_MOVING = re.compile(r"opacity|visibility|display|color|font|transform|clip|left|top|margin|height|width|filter")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A declaration: name and value in lower case, except variables."""

    name: str
    value: str
    important: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A style rule. ``order``: its position among all rules of the mail."""

    selector: Selector
    order: int
    declared: tuple[Declaration, ...]


@dataclass(slots=True)
class Sheet:
    """All rules of a mail, indexed by a requirement on their element. ``doubts``: rules that were not understood."""

    quirks: bool
    doubts: set[str] = field(default_factory=set)
    _by_key: dict[str, list[Rule]] = field(default_factory=lambda: defaultdict(list))
    _count: int = 0
    _budget: Budget = field(default_factory=Budget)
    looks: dict[Any, Any] = field(default_factory=dict)
    """A cache of `html_style.look`: most elements of a mail look like an earlier one."""

    @classmethod
    def of(cls, document: Document) -> Sheet:
        """Return the sheets of a document. Raises `TooComplex`."""
        sheet, read = cls(document.quirks), 0
        for element in document.root.walk():
            if element.tag == "style":
                if element.attributes.get("type", "").strip().lower() not in ("", "text/css"):
                    continue
                text = element.text()
                read += len(text)
                if read > _LONGEST or is_deep(text):
                    raise TooComplex
                if _in_noscript(element):
                    sheet.doubts.add("noscript")
                elif (holding := matches_screen(element.attributes.get("media", ""))) is not False:
                    sheet.doubts |= {"media"} if holding is None else set()
                    sheet._read(text if holding else "")
            elif element.tag == "link" and element.attributes.get("href", "").strip().lower().startswith("data:"):
                sheet.doubts.add("link")
            elif element.tag == "meta" and element.attributes.get("name", "").strip().lower() == "color-scheme":
                sheet.doubts |= {"color-scheme"} if is_dark_only(element.attributes.get("content", "")) else set()
        return sheet

    # ------------------------------------------------------------- reading

    def _read(self, text: str) -> None:
        from tinycss2 import parse_stylesheet

        self._take(parse_stylesheet(text, skip_comments=True, skip_whitespace=True), deep=0)

    def _take(self, rules: Sequence[Any], deep: int) -> None:
        for rule in rules:
            if rule.type == "qualified-rule":
                self._style(rule.prelude, rule.content, deep)
            elif rule.type == "at-rule":
                self._at_rule(rule, deep)

    def _at_rule(self, rule: Any, deep: int) -> None:
        from tinycss2 import parse_rule_list, serialize

        name, prelude = rule.lower_at_keyword, serialize(rule.prelude).strip()
        if rule.content is None:
            if name == "import" and "data:" in prelude.lower():
                self.doubts.add("@import")
            return
        if name == "keyframes" or name.endswith("-keyframes"):
            if _MOVING.search(serialize(rule.content).lower()):
                self.doubts.add("@keyframes")
        elif name == "font-face":
            if _STRANGE_FONT.search(serialize(rule.content).lower()):
                self.doubts.add("@font-face")
        elif name in _CONDITIONAL or name == "media":
            holding = matches_screen(prelude) if name == "media" else None
            if deep > 5:
                raise TooComplex
            if holding is None:
                self.doubts.add(f"@{name}")
            if holding is False or (name == "media" and not holding):
                return
            self._take(parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True), deep + 1)
        elif name not in _PLAIN_RULES and not name.startswith("-"):
            self.doubts.add(f"@{name[:20]}")

    def _style(self, prelude: list[Any], content: list[Any], deep: int) -> None:
        declared, nested = _declarations(content)
        if any(rule.type != "error" for rule in nested):
            self.doubts.add("nested rules")
        if not declared:
            return
        try:
            found = read_selectors(prelude, self.quirks)
        except Invalid:
            return
        except Unclear:
            self.doubts.add("selector")
            return
        for selector in found:
            self._keep(selector, declared)

    def _keep(self, selector: Selector, declared: tuple[Declaration, ...]) -> None:
        self._count += 1
        if self._count > _MAX_SELECTORS:
            raise TooComplex
        if selector.pseudo:
            if (selector.pseudo not in _BOXES and not selector.pseudo.startswith("-")) or _covers(declared):
                self.doubts.add(f"::{selector.pseudo[:20]}")
            return
        self._by_key[selector.key].append(Rule(selector, self._count, declared))

    # ------------------------------------------------------------- matching

    def matching_rules(self, element: Element) -> list[Rule]:
        """Return the rules that apply to an element, the weakest first. Raises `TooComplex`."""
        if not self._by_key:
            return []
        step = Step(element, self._budget)
        near = (rule for key in self._keys(element) for rule in self._by_key.get(key, ()))
        rules = [rule for rule in near if rule.selector.matches(step)]
        self._budget.spend(3 * sum(len(rule.declared) for rule in rules))
        return sorted(rules, key=lambda rule: (rule.selector.specificity, rule.order))

    def _keys(self, element: Element) -> Iterator[str]:
        attributes = element.attributes
        id_, classes = attributes.get("id", ""), attributes.get("class", "")
        if self.quirks:
            id_, classes = id_.lower(), classes.lower()
        yield from ("", element.tag, f"#{id_}")
        yield from {f".{name}" for name in classes.split()}


def declarations_of(rules: Sequence[Rule], style: str) -> Iterator[Declaration]:
    """Yield the declarations of rules and of a ``style`` attribute, the weakest first. Raises `TooComplex`."""
    styled = inline_declarations(style)
    for important in (False, True):
        for rule in rules:
            yield from (one for one in rule.declared if one.important is important)
        yield from (one for one in styled if one.important is important)


def is_deep(text: str) -> bool:
    """True if brackets are nested deeper than in any real sheet, which would exhaust tinycss2's stack."""
    depth = 0
    for bracket in _BRACKET.findall(text):
        depth += 1 if bracket in "([{" else -1 if depth else 0
        if depth > _DEEPEST:
            return True
    return False


def _in_noscript(element: Element) -> bool:
    at: Element | None = element
    while at is not None and at.tag != "noscript":
        at = at.parent
    return at is not None


def _covers(declared: Sequence[Declaration]) -> bool:
    """True if a generated box could cover a text."""
    return any(one.name.startswith(_COVERING) and one.value not in ("0", "none", "static") for one in declared)


def _declarations(content: Any) -> tuple[tuple[Declaration, ...], list[Any]]:
    """Return the declarations in a block that may hide text, and its nested rules."""
    from tinycss2 import parse_blocks_contents, serialize

    found: list[Declaration] = []
    others: list[Any] = []
    for one in parse_blocks_contents(content, skip_comments=True, skip_whitespace=True):
        if one.type == "declaration":
            variable = one.name.startswith("--")
            found += _supported(one.name if variable else one.lower_name, serialize(one.value), one.important)
        else:
            others.append(one)
    return tuple(found), others


def _supported(name: str, value: str, important: bool) -> Iterator[Declaration]:
    value = " ".join(re.sub(r"/\*.*?\*/", " ", value, flags=re.DOTALL).split())[:4000]
    value = value if name.startswith("--") or "var(" in value else value.lower()
    if expand(name, value) or QUIRKY.fullmatch(value):
        yield Declaration(name, value, important)


@lru_cache(4000)
def inline_declarations(style: str) -> tuple[Declaration, ...]:
    """Return the declarations in a ``style`` attribute. Raises `TooComplex` for a very long one."""
    if not style.strip():
        return ()
    if len(style) > _LONGEST_INLINE or is_deep(style):
        raise TooComplex
    if _PLAIN.fullmatch(style):
        found: list[Declaration] = []
        for one in style.split(";"):
            name, colon, value = one.partition(":")
            value, mark, important = value.partition("!")
            if colon and (not mark or important.strip().lower() == "important"):
                found += _supported(name.strip().lower() if "--" not in name else name.strip(), value, bool(mark))
        return tuple(found)
    return _declarations(style)[0]
