"""Properties that decide whether a person sees a text, and the values that browsers accept.

A declaration that browsers ignore must be ignored here too: ``display: none; display: nonsense`` hides. A property that
is neither known here nor known to be harmless raises a doubt if it is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Final

from deputize.toolkits._shared.css_values import Unknown, colour, number, pixels

INHERITED: Final = frozenset(
    "visibility font-size color -webkit-text-fill-color text-indent letter-spacing direction white-space"
    " -webkit-text-security font-size-adjust line-height".split()
)
_RESET: Final = frozenset({"initial", "unset", "revert", "revert-layer"})
WIDE: Final = _RESET | {"inherit"}
"""Keywords that every property accepts."""

_SAME: Final = {  # logical names in text from left to right and top to bottom
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
    " list-item flow-root flow -webkit-box -webkit-inline-box -webkit-flex -webkit-inline-flex ruby"
    " ruby-text math".split()
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
    "white-space": frozenset({"normal", "nowrap", "pre", "pre-wrap", "pre-line", "break-spaces"}),
}
_SIZING: Final = frozenset("min-content max-content fit-content stretch -webkit-fill-available".split())
_WORDS_FOR: Final = {  # keywords instead of a length or a number
    **dict.fromkeys(("top", "right", "bottom", "left"), ("auto",)),
    **dict.fromkeys(("margin-top", "margin-right", "margin-bottom", "margin-left"), ("auto",)),
    **dict.fromkeys(("width", "height", "min-width", "min-height"), _SIZING | {"auto"}),
    **dict.fromkeys(("max-width", "max-height"), _SIZING | {"none"}),
    **dict.fromkeys(("letter-spacing", "word-spacing", "line-height", "zoom"), ("normal",)),
    **{"flex-basis": _SIZING | {"auto", "content"}, "font-size-adjust": ("none", "from-font")},
    "font-size": frozenset(SIZES) | {"smaller", "larger"},
}
_LENGTHS: Final = frozenset(
    "top right bottom left margin-top margin-left margin-right margin-bottom padding-top padding-left padding-right"
    " padding-bottom width height max-width max-height min-width min-height text-indent letter-spacing word-spacing"
    " line-height flex-basis border-top-width border-bottom-width".split()
)
_TAKEN: Final = frozenset(  # kept unchanged and evaluated where they are used
    "background-size font-family clip clip-path transform scale translate filter content background-clip"
    " background-picture animation animation-name z-index -webkit-line-clamp".split()
)
UNCHECKED: Final = frozenset(
    "clip clip-path transform scale translate filter content animation animation-name z-index"
    " -webkit-line-clamp".split()
)
"""Properties whose values are not checked: if one replaces another, a browser may ignore it and keep the first."""
_NUMBERS: Final = frozenset({"opacity", "zoom", "font-size-adjust"})
_COLOURS: Final = frozenset({"color", "background-color", "-webkit-text-fill-color"})

_WIDE_DECORATION: Final = {  # pixels from which a decoration may cover a text or push it away
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
_REREAD: Final = {  # may change the order in which text is read
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

_FONT_STYLE: Final = re.compile(
    r"normal|(italic|oblique)|(small-caps)|(bold(?:er)?|lighter|[1-9]00)"
    r"|((?:(?:ultra|extra|semi)-)?(?:condensed|expanded))"
)
_FAMILY: Final = r"""(?:"[^"]*"|'[^']*'|-?[^\W\d][\w-]*(?: -?[^\W\d][\w-]*)*)"""
_FAMILIES: Final = re.compile(f"{_FAMILY}(?: ?, ?{_FAMILY})*")
_INNER: Final = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"  # three levels of brackets
_SIZE: Final = r"(?:auto|0|-?[\d.]+(?:px|pt|em|rem|%))"
_LAYER: Final = re.compile(  # a piece of a background; a layer has each kind once
    rf"\s*(?:(?P<picture>(?:[a-z-]*(?:url|gradient|image)[a-z-]*{_INNER})|none\b)"
    rf"|(?:(?P<repeat>(?:no-)?repeat(?:-[xy])?)|(?P<attachment>scroll|fixed|local)|(?P<box>[a-z]+-box|text)"
    rf"|(?P<position>(?:(?:left|center|right|{_SIZE})(?: (?:top|center|bottom|{_SIZE}))?"
    rf"|(?:top|bottom|center)(?: (?:left|center|right))?)(?: ?/ ?(?:cover|contain|{_SIZE}(?: {_SIZE})?))?)"
    rf"|(?P<tint>[^\s()]+(?:{_INNER})?))(?!\S))"
)
_GRADIENT: Final = re.compile(rf"(?<![a-z-])([a-z-]*gradient)({_INNER})")
_TOWARDS: Final = re.compile(r"to (?:top|bottom|left|right)(?: (?:left|right))?|-?[\d.]+(?:deg|turn)|circle|ellipse")
_STOP: Final = re.compile(rf"([^\s()]+(?:{_INNER})?)(?: {_SIZE}){{0,2}}")

Expanded = tuple[tuple[str, str], ...]


@lru_cache(4000)
def expand(name: str, value: str) -> Expanded:
    """Return a declaration as the single properties that are evaluated; empty if browsers ignore it or it is harmless.

    A property that could hide text and is not supported becomes ``("doubt", NAME)``.
    """
    name = _SAME.get(name, name)
    if value.count("(") != value.count(")") and (name in _SHORTHANDS or _is_judged(name)):
        return (("doubt", name),)
    if name in _SHORTHANDS and value not in WIDE and "var(" not in value:
        return tuple(_SHORTHANDS[name](value))
    if name == "all" or name in _SHORTHANDS or (value in WIDE and _is_judged(name)) or name.startswith("--"):
        return ((name, value),)
    if _is_judged(name):
        return ((name, value),) if "var(" in value or _is_valid(name, value) else _doubt_if_new(name, value)
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


def _doubt_if_new(name: str, value: str) -> Expanded:
    """Return a doubt for a value that newer browsers may support: a function or a second keyword; else ()."""
    newer = name == "mix-blend-mode" or "(" in value or (name in _KEYWORDS and " " in value)
    return (("doubt", name),) if newer else ()


def _is_valid(name: str, value: str) -> bool:
    try:
        if name in _KEYWORDS:
            return value in _KEYWORDS[name]
        if name in _COLOURS:
            return value == "currentcolor" or colour(value) is not None
        if value in _WORDS_FOR.get(name, ()):
            return True
        if name in _NUMBERS or (name == "line-height" and number(value) is not None):
            return (count := number(value)) is not None and (count >= 0 or name == "opacity")
        if name == "text-indent":
            value, *more = _words(value) or [""]
            return pixels(value, 16) is not None and {"hanging", "each-line"}.issuperset(more)
        return name in _TAKEN or pixels(value, 16) is not None
    except Unknown:
        return True


def is_dark_only(scheme: str) -> bool:
    """True if a page is always dark, so that black text without a background is invisible."""
    words = scheme.lower().replace(",", " ").split()
    return "dark" in words and "light" not in words


def _is_wide(name: str, value: str) -> bool:
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
    """Return the words of a value. A function is one word."""
    return re.findall(rf"(?:[^\s()]|{_INNER})+", value[:2_000])


def _font(value: str) -> Iterator[tuple[str, str]]:
    """Yield size, line height and family of ``font``, or a doubt if it contains anything else."""
    words = _words(re.sub(r"\s*/\s*", "/", value))
    styles = list(takewhile(bool, map(_FONT_STYLE.fullmatch, words)))
    if len(words) < len(styles) + 2:  # size and family are required
        return
    size, slash, height = words[len(styles)].partition("/")
    family = " ".join(words[len(styles) + 1 :])
    valid = _is_valid("font-size", size) and (not slash or _is_valid("line-height", height))
    kinds = [style.lastindex for style in styles if style and style.lastindex]
    if not valid or len(styles) > 4 or len({*kinds}) < len(kinds):
        yield ("doubt", "font")
    elif not _FAMILIES.fullmatch(family):
        yield ("doubt", "font-family")
    yield from [("font-size", size), ("font-family", family)] if valid else []
    yield from [("line-height", height)] if valid and slash else []


def _background(value: str) -> Iterator[tuple[str, str]]:
    """Yield colour and picture of ``background``, or a doubt if it contains anything else."""
    layers = [[*_LAYER.finditer(layer)] for layer in _split_commas(value)]
    pieces = [(piece.lastgroup or "", piece[0].strip()) for layer in layers for piece in layer]
    tints = [text for kind, text in pieces if kind == "tint"]
    pictures = [text for kind, text in pieces if kind == "picture"]
    yield ("background-color", next(filter(_is_tint, tints), "transparent"))
    yield from _picture(" ".join(pictures) or "none")
    repeated = any(len({one.lastgroup for one in layer}) < len(layer) for layer in layers)
    misplaced = any(one.lastgroup == "tint" for layer in layers[:-1] for one in layer)
    read = sum(len("".join(text.split())) for _, text in pieces) + value.count(",") - "".join(pictures).count(",")
    if repeated or misplaced or not all(map(_is_tint, tints)) or read < len("".join(value.split())):
        yield ("doubt", "background")
    if any(kind == "position" and "/" in text for kind, text in pieces):
        yield ("background-size", "given")
    if ("box", "text") in pieces:
        yield ("background-clip", "text")


def _picture(value: str) -> Iterator[tuple[str, str]]:
    """Yield the ``background-image``, and a doubt if browsers may not accept a gradient."""
    yield ("background-picture", value)
    for name, inner in _GRADIENT.findall(value):
        first, *stops = [one.strip() for one in _split_commas(inner[1:-1])] or [""]
        stops = stops if _TOWARDS.fullmatch(first) else [first, *stops]
        colours = [found and _is_tint(found[1]) for found in map(_STOP.fullmatch, stops)]
        if len(stops) < 2 or not all(colours) or name.startswith("-"):
            yield ("doubt", "background")


def _is_tint(word: str) -> bool:
    return _is_valid("background-color", word)


def _split_commas(value: str) -> list[str]:
    """Return the parts between commas that are outside of brackets."""
    return re.findall(rf"(?:[^(),]|{_INNER})+", value[:2_000])


def _two(*names: str) -> Callable[[str], Iterator[tuple[str, str]]]:
    """Return the expansion of a shorthand for two sides."""

    def expand(value: str) -> Iterator[tuple[str, str]]:
        words = _words(value)
        if 1 <= len(words) <= 2 and all(_is_valid(names[0], word) for word in words):
            yield from ((names[0], words[0]), (names[1], words[-1]))

    return expand


def _border_left(value: str) -> Iterator[tuple[str, str]]:
    yield from (("padding-left", width) for _, width in _border(value))


def _border(value: str) -> Iterator[tuple[str, str]]:
    """Yield the first width in a border's value, if there is one."""
    wide = [word for word in _words(value) if re.fullmatch(r"[\d.]+(?:px|pt|em|cm)", word)]
    yield from [("border-top-width", word) for word in wide[:1]]


def _flex(value: str) -> Iterator[tuple[str, str]]:
    words = _words(value)
    if len(words) == 3 or (words and words[-1].endswith(("px", "%", "em"))):
        yield ("flex-basis", words[-1])


_SHORTHANDS: Final[Mapping[str, Callable[[str], Iterator[tuple[str, str]]]]] = {
    **{"margin": _sides("margin-"), "padding": _sides("padding-"), "inset": _sides("")},
    **{
        "overflow": _two("overflow-x", "overflow-y"),
        "font": _font,
        "background": _background,
        "background-picture": _picture,
        "flex": _flex,
    },
    **{"margin-inline": _two("margin-left", "margin-right"), "margin-block": _two("margin-top", "margin-bottom")},
    **{"padding-inline": _two("padding-left", "padding-right"), "padding-block": _two("padding-top", "padding-bottom")},
    **{"border-left": _border_left, "border-left-width": _border_left},
    **{"border": _border, "border-top": _border, "border-bottom": _border, "border-width": _border},
}
