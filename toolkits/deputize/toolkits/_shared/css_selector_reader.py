"""Parser of selector lists (Selectors 4, as far as browsers support it)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from deputize.toolkits._shared.css_select import Compound, Selector, Step, Test
from deputize.toolkits._shared.html_tree import Element

_CASELESS: Final = frozenset("align bgcolor color dir face lang media method rel shape type valign".split())
_NEVER: Final = frozenset(
    "visited hover active focus focus-within focus-visible target target-within current past future fullscreen modal"
    " popover-open autofill user-valid user-invalid".split()
)
_UNCLEAR: Final = frozenset(
    "has lang dir host host-context has-slotted scope defined read-only read-write placeholder-shown optional required"
    " valid invalid in-range out-of-range indeterminate default blank left right first local-link state heading"
    " picture-in-picture playing paused seeking buffering stalled muted volume-locked active-view-transition"
    " active-view-transition-type target-current target-before target-after interest-source xr-overlay".split()
)
_OLD_PSEUDO_ELEMENTS: Final = frozenset({"before", "after", "first-line", "first-letter"})
_DEEPEST: Final = 5  # levels of nested selectors
_MAX_PARTS: Final = 60

Tokens = Sequence[Any]


class Invalid(Exception):
    """A selector that browsers ignore, with its rule."""


class Unclear(Exception):
    """A selector that browsers support and deputize does not."""


def read_selectors(tokens: Tokens, quirks: bool, deep: int = 0, *, forgiving: bool = False) -> list[Selector]:
    """Return the selectors of a list. ``quirks``: ignore the case of names. ``forgiving``: skip invalid selectors.

    Raises `Invalid` and `Unclear`.
    """
    if deep > _DEEPEST or len(tokens) > 40 * _MAX_PARTS:
        raise Unclear
    found: list[Selector] = []
    for part in _parts(tokens):
        try:
            found.append(_Reader(part, quirks, deep).selector())
        except Invalid:
            if not forgiving:
                raise
    return found


def _parts(tokens: Tokens) -> list[list[Any]]:
    parts: list[list[Any]] = [[]]
    for token in tokens:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        elif token.type != "comment" and (parts[-1] or token.type != "whitespace"):
            parts[-1].append(token)
    for part in parts:
        while part and part[-1].type == "whitespace":
            part.pop()
    return parts


class _Reader:
    """A parser of one complex selector."""

    def __init__(self, tokens: Tokens, quirks: bool, deep: int) -> None:
        self._tokens, self._quirks, self._deep, self._at = tokens, quirks, deep, 0

    def selector(self) -> Selector:
        compounds, combinators = [self._compound()], [""]
        while self._at < len(self._tokens):
            combinators.append(self._combinator())
            compounds.append(self._compound())
            if len(compounds) > _MAX_PARTS:
                raise Unclear
        return Selector(list(zip(reversed(combinators), reversed(compounds), strict=True)))

    def _next(self) -> Any:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, *types: str) -> Any:
        token = self._next()
        if token is None or (types and token.type not in types):
            raise Invalid
        self._at += 1
        return token

    def _combinator(self) -> str:
        found = ""
        while (token := self._next()) is not None:
            if token.type == "literal" and token.value in (">", "+", "~"):
                if found:
                    raise Invalid
                found = str(token.value)
            elif token.type != "whitespace":
                break
            self._at += 1
        return found or " "

    def _compound(self) -> Compound:
        compound, begun = Compound(), self._at
        while (token := self._next()) is not None and token.type != "whitespace":
            if token.type == "literal" and token.value in (">", "+", "~"):
                break
            self._at += 1
            self._simple(compound, token, first=self._at == begun + 1)
        if self._at == begun:
            raise Invalid
        return compound

    def _simple(self, compound: Compound, token: Any, first: bool) -> None:
        if token.type == "ident" and first:
            compound.key = compound.key or token.lower_value
            compound.add(_tag_test(token.lower_value), c=1)
        elif token.type == "hash" and token.is_identifier:
            compound.key = f"#{self._fold_case(token.value)}"
            compound.add(self._name_test("id", token.value), a=1)
        elif token.type == "[] block":
            compound.add(self._attribute([t for t in token.content if t.type != "whitespace"]), b=1)
        elif token.type == "literal" and token.value == "*" and first:
            pass
        elif token.type == "literal" and token.value == ".":
            name = self._take("ident").value
            compound.key = compound.key if compound.key.startswith("#") else f".{self._fold_case(name)}"
            compound.add(self._name_test("class", name), b=1)
        elif token.type == "literal" and token.value == ":":
            self._pseudo(compound)
        elif token.type == "literal" and token.value in ("|", "&"):
            raise Unclear
        else:
            raise Invalid

    def _fold_case(self, name: str) -> str:
        return name.lower() if self._quirks else name

    def _name_test(self, attribute: str, name: str) -> Test:
        wanted = self._fold_case(name)

        def test(step: Step) -> bool:
            value = self._fold_case(step.element.attributes.get(attribute, ""))
            return value == wanted if attribute == "id" else wanted in value.split()

        return test

    # ------------------------------------------------------------- attributes

    def _attribute(self, tokens: list[Any]) -> Test:
        if not tokens or tokens[0].type != "ident":
            raise Unclear if tokens else Invalid
        name = tokens[0].lower_value
        if len(tokens) == 1:
            return lambda step: name in step.element.attributes
        operator, rest = _operator(tokens[1:])
        if not rest or rest[0].type not in ("ident", "string") or len(rest) > 2:
            raise Invalid
        flag = rest[1].lower_value if len(rest) == 2 and rest[1].type == "ident" else ""
        if len(rest) == 2 and flag not in ("i", "s"):
            raise Invalid
        caseless = flag == "i" or (name in _CASELESS and flag != "s")
        return _comparison(name, operator, str(rest[0].value), caseless)

    # ------------------------------------------------------------- pseudo-classes and pseudo-elements

    def _pseudo(self, compound: Compound) -> None:
        token = self._take("literal", "ident", "function")
        if token.type == "literal":
            if token.value != ":":
                raise Invalid
            named = self._take("ident", "function")
            compound.pseudo = named.lower_value if named.type == "ident" else named.lower_name
            compound.weigh((0, 0, 1))
        elif token.type == "function":
            self._function(compound, token.lower_name, token.arguments)
        elif token.lower_value in _OLD_PSEUDO_ELEMENTS:
            compound.pseudo = token.lower_value
            compound.weigh((0, 0, 1))
        else:
            compound.add(_simple_pseudo(token.lower_value), b=1)

    def _function(self, compound: Compound, name: str, arguments: Tokens) -> None:
        if name in ("not", "is", "where", "-webkit-any"):
            inner = read_selectors(arguments, self._quirks, self._deep + 1, forgiving=name in ("is", "where"))
            wanted = name != "not"
            compound.add(lambda step: any(one.matches(step) for one in inner) is wanted)
            if name != "where":
                compound.weigh(max((one.specificity for one in inner), default=(0, 0, 0)))
        elif name.startswith("nth-"):
            compound.add(_nth(name, arguments), b=1)
        elif name in _UNCLEAR:
            raise Unclear
        else:
            raise Invalid


def _tag_test(name: str) -> Test:
    return lambda step: step.element.tag == name


def _operator(tokens: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return the operator of an attribute selector, and the tokens after it."""
    signs = ""
    for at, token in enumerate(tokens):
        if token.type != "literal":
            return signs, tokens[at:]
        signs += token.value
    raise Invalid


def _comparison(name: str, operator: str, wanted: str, caseless: bool) -> Test:
    wanted = wanted.lower() if caseless else wanted
    ways: dict[str, Callable[[str], bool]] = {
        "=": lambda value: value == wanted,
        "~=": lambda value: bool(wanted.strip()) and wanted in value.split(),
        "|=": lambda value: value == wanted or value.startswith(f"{wanted}-"),
        "^=": lambda value: bool(wanted) and value.startswith(wanted),
        "$=": lambda value: bool(wanted) and value.endswith(wanted),
        "*=": lambda value: bool(wanted) and wanted in value,
    }
    if operator not in ways:
        raise Invalid

    def test(step: Step) -> bool:
        value = step.element.attributes.get(name)
        if value is None:
            return False
        step.budget.spend(len(value) // 100)
        return ways[operator](value.lower() if caseless else value)

    return test


def _simple_pseudo(name: str) -> Test:
    known: dict[str, Test] = {
        "first-child": lambda step: step.element.nth == 0,
        "last-child": lambda step: step.element.nth + 1 == len(_siblings(step.element)),
        "only-child": lambda step: len(_siblings(step.element)) == 1,
        "first-of-type": lambda step: step.budget.sibling_positions(step.element)[0] == 1,
        "last-of-type": lambda step: step.budget.sibling_positions(step.element)[1] == 1,
        "only-of-type": lambda step: step.budget.sibling_positions(step.element) == (1, 1),
        "root": lambda step: step.element.tag == "html",
        "empty": lambda step: not step.element.children,
        "link": lambda step: step.element.tag in ("a", "area") and "href" in step.element.attributes,
        "any-link": lambda step: step.element.tag in ("a", "area") and "href" in step.element.attributes,
        "checked": lambda step: "checked" in step.element.attributes or "selected" in step.element.attributes,
        "disabled": lambda step: "disabled" in step.element.attributes,
        "enabled": lambda step: "disabled" not in step.element.attributes,
        "open": lambda step: "open" in step.element.attributes,
    }
    name = name.removeprefix("-webkit-")
    if name in known:
        return known[name]
    if name in _NEVER or name == "full-screen":
        return lambda step: False
    if name in _UNCLEAR:
        raise Unclear
    raise Invalid


def _siblings(element: Element) -> list[Element]:
    return element.parent.inner if element.parent else [element]


def _position(step: Step, same: bool, backwards: bool) -> int:
    """Return the position among siblings, from 1. ``same``: among those with the same tag."""
    if same:
        return step.budget.sibling_positions(step.element)[backwards]
    return len(_siblings(step.element)) - step.element.nth if backwards else step.element.nth + 1


def _nth(name: str, arguments: Tokens) -> Test:
    from tinycss2.nth import parse_nth

    if any(token.type == "ident" and token.lower_value == "of" for token in arguments):
        raise Unclear
    try:
        parsed = parse_nth(arguments)
    except AttributeError:  # tinycss2 1.5.1 reads beyond the end of an unfinished sum
        raise Invalid from None
    if parsed is None or name not in ("nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type"):
        raise Invalid
    a, b = parsed

    def test(step: Step) -> bool:
        place = _position(step, name.endswith("of-type"), "last" in name)
        return place == b if a == 0 else (place - b) % a == 0 and (place - b) // a >= 0

    return test
