"""The properties that decide whether a person sees a text, and what browsers accept as their values.

A declaration that a browser ignores must be ignored here, too: ``display: none; display: nonsense`` hides. A property
that is neither known here nor known to be harmless raises a doubt where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from deputize.toolkits._shared.css_values import Unknown, colour, number, pixels

INHERITED: Final = frozenset(
    "visibility font-size color -webkit-text-fill-color text-indent letter-spacing direction white-space"
    " -webkit-text-security font-size-adjust line-height".split()
)
_RESET: Final = frozenset({"initial", "unset", "revert", "revert-layer"})
WIDE: Final = _RESET | {"inherit"}
"""Keywords that every property takes."""

_SAME: Final = {  # logical names, as they are in a text from left to right and from top to bottom
    **{"margin-inline-start": "margin-left", "margin-block-start": "margin-top", "inset-inline-start": "left"},
    **{"inset-block-start": "top", "inset-inline-end": "right", "inset-block-end": "bottom", "inline-size": "width"},
    **{"margin-inline-end": "margin-right", "margin-block-end": "margin-bottom", "padding-block-end": "padding-bottom"},
    **{"padding-inline-end": "padding-right", "border-block-start": "border-top", "border-inline-start": "border-left"},
    **{"block-size": "height", "max-inline-size": "max-width", "max-block-size": "max-height"},
    **{"min-inline-size": "min-width", "min-block-size": "min-height", "padding-block-start": "padding-top"},
    **{"padding-inline-start": "padding-left", "-webkit-transform": "transform", "-webkit-filter": "filter"},
    **{"-webkit-clip-path": "clip-path", "-webkit-opacity": "opacity", "-webkit-background-clip": "background-clip"},
    **{"-webkit-animation": "animation", "-webkit-animation-name": "animation-name", "word-wrap": "overflow-wrap"},
    **{"overflow-inline": "overflow-x", "overflow-block": "overflow-y", "background-image": "background-picture"},
}
_SIDES: Final = ("top", "right", "bottom", "left")
_DISPLAYS: Final = frozenset(
    "none block inline inline-block flex inline-flex grid inline-grid table inline-table table-row table-cell"
    " table-row-group table-header-group table-footer-group table-column table-column-group table-caption contents"
    " list-item flow-root flow run-in -webkit-box -webkit-inline-box -webkit-flex -webkit-inline-flex ruby"
    " ruby-text ruby-base math".split()
)
SIZES: Final = {
    **{"xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0},
    **{"xx-large": 32.0, "xxx-large": 48.0},
}
_KEYWORDS: Final = {
    "display": _DISPLAYS,
    "visibility": frozenset({"visible", "hidden", "collapse"}),
    "position": frozenset({"static", "relative", "absolute", "fixed", "sticky", "-webkit-sticky"}),
    "overflow-x": frozenset({"visible", "hidden", "auto", "scroll", "clip", "overlay"}),
    "overflow-y": frozenset({"visible", "hidden", "auto", "scroll", "clip", "overlay"}),
    "float": frozenset({"left", "right", "none", "inline-start", "inline-end"}),
    "content-visibility": frozenset({"visible", "auto", "hidden"}),
    "direction": frozenset({"ltr", "rtl"}),
    "unicode-bidi": frozenset({"normal", "embed", "isolate", "bidi-override", "isolate-override", "plaintext"}),
    "table-layout": frozenset({"auto", "fixed"}),
    "mix-blend-mode": frozenset({"normal"}),
    "-webkit-text-security": frozenset({"none", "disc", "circle", "square"}),
}
_AUTO: Final = frozenset(
    "auto none normal min-content max-content fit-content stretch -webkit-fill-available content".split()
)
_LENGTHS: Final = frozenset(
    "top right bottom left margin-top margin-left margin-right margin-bottom padding-top padding-left padding-right"
    " padding-bottom width height max-width max-height min-width min-height text-indent letter-spacing word-spacing"
    " line-height flex-basis border-top-width border-bottom-width".split()
)
_TAKEN: Final = frozenset(  # as they stand, to be judged where they are used
    "background-size font-family clip clip-path transform scale translate filter content background-clip"
    " background-picture animation animation-name z-index white-space -webkit-line-clamp".split()
)
_NUMBERS: Final = frozenset({"opacity", "zoom", "font-size-adjust"})
_COLOURS: Final = frozenset({"color", "background-color", "-webkit-text-fill-color"})

_WIDE_DECORATION: Final = {  # what may lie over a text, or push it away, from so many pixels on
    **{"vertical-align": 12.0, "outline": 5.0, "outline-width": 5.0, "outline-offset": 12.0, "box-shadow": 30.0},
    **{
        "-webkit-text-stroke": 1.0,
        "-webkit-text-stroke-width": 1.0,
        "text-decoration": 4.0,
        "text-underline-offset": 12.0,
    },
    **{
        "text-decoration-thickness": 4.0,
        "border-image-outset": 4.0,
        "gap": 300.0,
        "column-gap": 300.0,
        "tab-size": 50.0,
        "border-spacing": 60.0,
    },
}
_REREAD: Final = {  # what is read in another order than it stands in
    "order": re.compile(r"[1-9(]"),
    **dict.fromkeys(("flex-direction", "flex-flow"), re.compile("reverse")),
}
_PLACED: Final = re.compile(r"grid-(?:area|row|column)(?:-start|-end)?")
_FOREIGN: Final = ("mso-", "-ms-", "-moz-", "-o-", "-khtml-", "panose", "_", "*", "mso")
_HARMLESS: Final = re.compile(
    r"font-(?:weight|style|variant.*|stretch|smooth.*|feature-settings|kerning|synthesis)|text-(?:align.*"
    r"|decoration-(?:line|color|style|skip.*)|transform|rendering|overflow|shadow|justify|underline-position|emphasis.*|size-adjust|wrap.*)|border.*"
    r"|outline-(?:style|color)|list-style.*|cursor|clear|overflow-(?:wrap|anchor)|word-break|hyphens"
    r"|box-sizing|padding-.*|margin-.*|background-(?:repeat|position.*|attachment|origin)|page-break.*"
    r"|break-.*|orphans|widows|table-layout|caption-side|empty-cells|quotes|user-select|pointer-events|resize|size"
    r"|justify-.*|align-.*|place-.*|gap|row-gap|column-(?:gap|rule.*|fill|span)|order|flex-(?:direction|wrap|grow|shrink|flow)"
    r"|object-(?:fit|position)|image-rendering|color-adjust|print-color-adjust|supported-color-schemes"
    r"|accent-color|caret-color|appearance|scroll-.*|will-change|transition.*|line-break|counter-.*|speak.*"
    r"|tap-highlight-color|touch-callout|overflow-scrolling|text-stroke-color|margin|padding|isolation|isolate"
    r"|transform-(?:origin|style|box)|perspective-origin|clip-rule|unicode-range|src"
    r"|animation-(?:duration|delay|timing-function|iteration-count|direction|fill-mode|play-state)|fill|stroke.*|widows"
    r"|layout-grid.*|punctuation.*|tab-stops|border|inset-area|backdrop-filter|text-autospace"
    r"|aspect-ratio|page|nbsp-mode|nav-.*|marker.*|ruby-.*|behavior|filter-.*|alt|orientation|zoom-.*|box-(?:orient|align|pack|flex.*)"
)

Expanded = tuple[tuple[str, str], ...]


@lru_cache(4000)
def accepted(name: str, value: str) -> Expanded:
    """A declaration as the single properties that are judged; empty for one that browsers ignore, or that is harmless.

    A property that could hide and is not understood becomes ``("doubt", NAME)``.
    """
    name = _SAME.get(name, name)
    if name in _SHORTHANDS and value not in WIDE and "var(" not in value:
        return tuple(_SHORTHANDS[name](value))
    if name == "all" or name in _SHORTHANDS or (value in WIDE and _is_judged(name)) or name.startswith("--"):
        return ((name, value),)
    if _is_judged(name):
        return ((name, value),) if "var(" in value or _is_valid(name, value) else _unknown(name, value)
    if name.startswith("text-decoration") and "line-through" in value:
        return (("doubt", name),)
    if name == "color-scheme":
        return (("doubt", name),) if is_dark_only(value) else ()
    if name in _WIDE_DECORATION:
        return (("doubt", name),) if _is_wide(name, value) else ()
    if name.startswith("grid-template") and not re.search(r"(?<![\d.])0", value):
        return ()
    if name in _REREAD:
        return (("doubt", name),) if _REREAD[name].search(value) else ()
    if _PLACED.fullmatch(name) and value in ("auto", "initial"):
        return ()
    plain = name.removeprefix("-webkit-")
    if name.startswith(_FOREIGN) or _HARMLESS.fullmatch(plain) or not re.fullmatch(r"-?[a-z][a-z-]*", name):
        return ()
    return (("doubt", name[:40]),)


def _is_judged(name: str) -> bool:
    return name in _KEYWORDS or name in _LENGTHS or name in _TAKEN or name in _NUMBERS | _COLOURS | {"font-size"}


def _unknown(name: str, value: str) -> Expanded:
    """For a value that browsers ignore: nothing. A function may be one that is not known here: a doubt."""
    return (("doubt", name),) if name == "mix-blend-mode" or "(" in value else ()


def _is_valid(name: str, value: str) -> bool:
    try:
        if name in _KEYWORDS:
            return all(word in _KEYWORDS[name] for word in value.split()) and bool(value)
        if name in _NUMBERS:
            return number(value) is not None or value in ("normal", "none", "from-font")
        if name in _COLOURS:
            return value == "currentcolor" or colour(value) is not None
        if name == "font-size":
            return value in SIZES or value in ("smaller", "larger") or pixels(value, 16) is not None
        if name == "line-height" and number(value) is not None:
            return True
        if name in _LENGTHS:
            first = value.split()[0] if name == "text-indent" and value else value
            return value in _AUTO or pixels(first, 16) is not None
    except Unknown:
        return True
    return True


def is_dark_only(scheme: str) -> bool:
    """Whether a page is dark for everybody, so that black text on nothing does not show."""
    words = scheme.lower().replace(",", " ").split()
    return "dark" in words and "light" not in words


def _is_wide(name: str, value: str) -> bool:
    """Whether a decoration is wide enough to hide words."""
    try:
        lengths = [abs(pixels(word.strip(","), 16) or number(word) or 0.0) for word in _words(value)]
    except Unknown:
        lengths = []
    most = 3.0 if name == "box-shadow" and "inset" in value else _WIDE_DECORATION[name]
    return max(lengths, default=0.0) > most


def _sides(prefix: str) -> Callable[[str], Iterator[tuple[str, str]]]:
    def expand(value: str) -> Iterator[tuple[str, str]]:
        words = _words(value)
        if 1 <= len(words) <= 4:
            four = [words[0], words[1 % len(words)], words[2 if len(words) > 2 else 0], words[len(words) - 1]]
            four[3] = words[3] if len(words) == 4 else four[1]
            names = [f"{prefix}{side}" for side in _SIDES]
            if all(_is_valid(name, word) for name, word in zip(names, four, strict=True)):
                yield from zip(names, four, strict=True)

    return expand


def _words(value: str) -> list[str]:
    """The words of a value; a function is one."""
    return re.findall(r"(?:[^\s()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))+", value[:2_000])


def _overflow(value: str) -> Iterator[tuple[str, str]]:
    words = value.split()
    if 1 <= len(words) <= 2 and all(_is_valid("overflow-x", word) for word in words):
        yield from (("overflow-x", words[0]), ("overflow-y", words[-1]))


def _font(value: str) -> Iterator[tuple[str, str]]:
    """Of ``font`` the size, which stands before an optional line height."""
    words = _words(re.sub(r"\s*/\s*", "/", value))
    for at, word in enumerate(words):
        size, _, height = word.partition("/")
        if not re.fullmatch(r"\d+", size) or size == "0":
            if _is_valid("font-size", size):
                if at + 1 < len(words):  # a family has to follow
                    yield from (("font-size", size), ("font-family", " ".join(words[at + 1 :])))
                    yield from [("line-height", height)] if height and _is_valid("line-height", height) else []
                return


def _background(value: str) -> Iterator[tuple[str, str]]:
    """Of ``background`` the colour, and whether a picture lies over it."""
    words = _words(value.replace(",", ", ") if "(" not in value else value)
    picture = " ".join(word for word in words if "url(" in word or "gradient(" in word or "image" in word)
    tint = next((word for word in words if "url(" not in word and "gradient(" not in word and _is_tint(word)), "")
    yield ("background-color", tint or "transparent")
    yield ("background-picture", picture or "none")
    if "/" in re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", value):
        yield ("background-size", "given")
    if any(word.strip(",") == "text" for word in words):
        yield ("background-clip", "text")


def _is_tint(word: str) -> bool:
    return _is_valid("background-color", word.strip(","))


def _two(*names: str) -> Callable[[str], Iterator[tuple[str, str]]]:
    """A shorthand of two sides."""

    def expand(value: str) -> Iterator[tuple[str, str]]:
        words = _words(value)
        if 1 <= len(words) <= 2 and all(_is_valid(names[0], word) for word in words):
            yield from ((names[0], words[0]), (names[1], words[-1]))

    return expand


def _border_left(value: str) -> Iterator[tuple[str, str]]:
    yield from (("padding-left", width) for _, width in _border(value))


def _border(value: str) -> Iterator[tuple[str, str]]:
    """Of a border how wide it is, where that is more than a line."""
    wide = [word for word in _words(value) if re.fullmatch(r"[\d.]+(?:px|pt|em|cm)", word)]
    yield from [("border-top-width", word) for word in wide[:1]]


def _flex(value: str) -> Iterator[tuple[str, str]]:
    words = _words(value)
    if len(words) == 3 or (words and words[-1].endswith(("px", "%", "em"))):
        yield ("flex-basis", words[-1])


_SHORTHANDS: Final[Mapping[str, Callable[[str], Iterator[tuple[str, str]]]]] = {
    **{"margin": _sides("margin-"), "padding": _sides("padding-"), "inset": _sides("")},
    **{"overflow": _overflow, "font": _font, "background": _background, "flex": _flex},
    **{"margin-inline": _two("margin-left", "margin-right"), "margin-block": _two("margin-top", "margin-bottom")},
    **{"padding-inline": _two("padding-left", "padding-right"), "padding-block": _two("padding-top", "padding-bottom")},
    **{"border-left": _border_left, "border-left-width": _border_left},
    **{"border": _border, "border-top": _border, "border-bottom": _border, "border-width": _border},
}
