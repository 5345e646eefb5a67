"""The look of an element of an HTML mail, as far as it decides whether a person sees its text.

There is no layout. A text is hidden if its own styles or those around it say so. It is in doubt if only a layout of the
whole page could decide: unsupported styles, overlap, overflow. See docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from deputize.toolkits._shared.css_cascade import Values, cascade
from deputize.toolkits._shared.css_properties import SIZES
from deputize.toolkits._shared.css_sheet import Rule, Sheet
from deputize.toolkits._shared.css_values import BLACK, WHITE, WIDTH, Colour
from deputize.toolkits._shared.html_shapes import Shape, shape_of, total_height
from deputize.toolkits._shared.html_tree import Element

LONGEST_ALT: Final = 150
"""Characters of a picture's description that are shown."""
_LINK: Final = Colour(0, 0, 0.93)
_DOT: Final = 3.0  # pixels: a picture of at most this size is not seen
_TINY: Final = 4.0  # pixels of an unreadable font
_SMALL: Final = 6.0
_FAINT: Final = 0.15  # opacity
_CONTRAST: Final = 1.2  # of 1 to 21; below, text is unreadable
_BLOCKS: Final = frozenset(
    "p h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table blockquote pre hr div html body section article header footer main"
    " aside nav address center fieldset form figure figcaption caption details summary legend marquee".split()
)
_PICTURE_FONTS: Final = ("wingdings", "webdings", "dingbats", "symbol")
_MEASURES: Final = ("width", "height", "max-width", "max-height")
_CELLS: Final = frozenset("td th tr tbody thead tfoot col colgroup".split())
_WITHOUT_LOOKS: Final = frozenset("href src alt title id class name target rel".split())
"""Attributes without effect on the look; selectors may match them."""
_NEVER_SEEN: Final = frozenset(
    "head title style script template noscript object svg math select textarea iframe video audio canvas datalist"
    " noembed noframes rp param progress meter frameset option optgroup xmp".split()
)


@dataclass(frozen=True)
class Look:
    """The inherited and own look of an element.

    ``hidden``: why a person cannot see the element, or "". ``pictured``: True if a picture covers the background.
    ``doubts``: unreadable styles that could hide its text. ``box``: width and height in pixels of the smallest box that
    cuts off overflow, if known.
    """

    hidden: str = ""
    invisible: bool = False
    size: float = 16.0
    scale: float = 1.0
    colour: Colour = BLACK
    link: Colour = _LINK
    page_colour: Colour = BLACK
    fill: Colour | None = None
    background: Colour = WHITE
    pictured: bool = False
    behind: Colour = WHITE  # of the next block
    outer: Colour = WHITE  # of the page
    leading: tuple[float, float] = (1.2, 0.0)  # the height of a line in font sizes, and in pixels
    symbols: bool = False  # in a font of pictures
    opacity: float = 1.0
    across: float = 0.0
    down: float = 0.0
    indent: float = 0.0
    doubts: frozenset[str] = frozenset()
    box: tuple[float, float] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    inner_blocks: bool = False  # a flex or grid container, whose children are blocks
    measures: tuple[float, ...] = ()  # of a picture, as far as its styles say
    nowrap: bool = False
    fixed: bool = False  # in a table whose cells cut off what does not fit
    tall: float = 0.0  # pixels that the element takes besides its text
    wide: float = 0.0

    @cached_property
    def unseen(self) -> bool:
        """True if a person does not see the text."""
        tiny, faint = self.size * self.scale < _TINY, self.opacity < _FAINT
        return bool(self.hidden) or self.invisible or tiny or faint or self._blends

    @cached_property
    def doubt(self) -> frozenset[str]:
        """The reasons why a text that seems visible may be hidden."""
        more = set()
        if self.size * self.scale < _SMALL:
            more.add("font-size")
        if self.opacity < 0.35:
            more.add("opacity")
        if self.pictured:
            more.add("background")
        return self.doubts | more

    @property
    def cramped(self) -> bool:
        """True if lines overlap."""
        return self.leading[0] * self.size + self.leading[1] < 0.5 * self.size

    @cached_property
    def contrast(self) -> float:
        """The contrast ratio of the text on its background, without pictures."""
        ink = self.fill or self.colour
        return ink._replace(alpha=ink.alpha * self.opacity).over(self.background).contrast(self.background)

    @property
    def _blends(self) -> bool:
        if self.pictured:
            return (self.fill or self.colour).alpha < _FAINT and "background-clip" not in self.doubts
        return self.contrast < _CONTRAST


ROOT: Final = Look()


def look(element: Element, sheet: Sheet, above: Look) -> Look:
    """Return the look of an element inside another. Raises `TooComplex`.

    Elements with the same tag, parent look, rules and attributes have the same look.
    """
    rules, attributes = sheet.matching_rules(element), element.attributes
    said = tuple(one for one in attributes.items() if one[0] not in _WITHOUT_LOOKS)
    state = element.foreign, "href" in attributes, _is_folded(element)
    alike = id(above), element.tag, state, said, tuple(rule.order for rule in rules)
    known = sheet.looks.get(alike)
    if known is None:
        known = sheet.looks[alike] = (
            above,
            _look(element, sheet, above, rules),
        )  # kept, so that its id stays unique
    found: Look = known[1]
    return found


def _look(element: Element, sheet: Sheet, above: Look, rules: Sequence[Rule]) -> Look:
    if sheet.quirks and element.tag == "table":
        above = replace(above, size=16.0, leading=(1.2, 0.0), colour=above.page_colour, nowrap=False)
    variables, values = cascade(element, rules, above.variables, quirks=sheet.quirks)
    gone = _hidden_reason(element, values)
    if above.hidden:
        return above
    if gone:
        laid = shape_of(values, above.size, "block", None).doubts if gone == element.tag else frozenset[str]()
        return replace(above, hidden=gone, doubts=above.doubts | laid)
    if not values.given and not values.doubts() and variables is above.variables:
        own = _default_look(element, above)
        nowrap = _nowrap(element, values, above)
        if (own.inner_blocks, own.nowrap, own.tall, own.wide) == (False, nowrap, 0.0, 0.0):
            return own
        return replace(own, inner_blocks=False, nowrap=nowrap, tall=0.0, wide=0.0)
    size = _size(values, above.size) * (values.ratio("zoom", 1.0) or 1.0)
    kind = _kind(element, values, above)
    ground, pictured = _background(values, above, kind)
    shape = shape_of(values, size, kind, above.box)
    usual = above.link if _is_link(element) else above.colour
    clip_text = values.get("background-clip") == "text"
    made = Look(
        hidden=shape.hidden or _moved_reason(above, shape),
        invisible=_invisible(values, above),
        size=size,
        scale=above.scale * shape.scale,
        colour=values.colour("color", above.colour, usual) or usual,
        link=values.colour("link", above.link, above.link) or above.link,
        page_colour=above.page_colour,
        fill=values.colour("-webkit-text-fill-color", above.colour, above.fill),
        background=ground,
        pictured=pictured or clip_text,
        behind=above.behind if kind == "inline" else ground,
        outer=ground if element.tag in ("html", "body") else above.outer,
        leading=_leading(values, size, above),
        symbols=_symbols(values, above),
        opacity=above.opacity * values.ratio("opacity", 1.0) * shape.opacity,
        across=above.across + shape.across,
        down=above.down + shape.down,
        indent=shape.indent if values.get("text-indent") else above.indent,
        box=shape.box,
        variables=variables,
        nowrap=_nowrap(element, values, above),
        fixed=above.fixed or values.get("table-layout") == "fixed",
        tall=total_height(values, size),
        wide=values.length("width", 0.0, size, 0.0),
        inner_blocks=values.get("display", "").endswith(("flex", "grid")),
        measures=tuple(values.length(name, 100.0, size) for name in _MEASURES) if element.tag == "img" else (),
    )
    doubts = above.doubts | shape.doubts | values.doubts()
    if above.behind != above.outer and values.get("float", "none") != "none":
        doubts |= {"float"}
    doubts |= {"background-clip"} if clip_text else set()
    doubts |= {"unicode-bidi"} if "override" in values.get("unicode-bidi") or element.tag == "bdo" else set()
    if element.tag == "body":
        made = replace(made, page_colour=made.colour)
    return replace(made, doubts=doubts) if doubts else made


def _default_look(element: Element, above: Look) -> Look:
    if _is_link(element):
        return replace(above, colour=above.link)
    if element.tag == "body":
        above = replace(above, page_colour=above.colour)
    if above.background != above.behind and (element.tag in _BLOCKS or element.tag in _CELLS):
        above = replace(above, background=above.behind)
    return replace(above, doubts=above.doubts | {"unicode-bidi"}) if element.tag == "bdo" else above


def _is_link(element: Element) -> bool:
    return element.tag == "a" and "href" in element.attributes


def _hidden_reason(element: Element, values: Values) -> str:
    """Return the reason why an element and its content are not displayed, or ""."""
    if element.tag in _NEVER_SEEN or element.foreign:
        return element.tag
    if values.get("display") in ("none", "table-column", "table-column-group") or "popover" in element.attributes:
        return "display"
    if values.get("content-visibility") == "hidden":
        return "content-visibility"
    if values.get("-webkit-text-security", "none") != "none":
        return "text-security"
    if values.get("content", "normal") not in ("normal", "none"):
        return "content"
    if element.tag == "dialog" and "open" not in element.attributes:
        return "dialog"
    return "details" if _is_folded(element) else ""


def _is_folded(element: Element) -> bool:
    parent = element.parent
    if parent is None or not is_closed(parent):
        return False
    return element is not parent.summary or parent.tag != "details"


def is_closed(element: Element) -> bool:
    """True if an element's content is not displayed: folded until a click, or replaced by a shadow tree."""
    if element.tag == "details":
        return "open" not in element.attributes
    return element.shadowed


def _invisible(values: Values, above: Look) -> bool:
    shown = values.get("visibility")
    return shown != "visible" if shown else above.invisible


def _size(values: Values, above: float) -> float:
    said = values.get("font-size", "")
    if said in SIZES:
        return SIZES[said]
    if said in ("smaller", "larger"):
        return above * (0.83 if said == "smaller" else 1.2)
    size = values.length("font-size", above, above, above)
    if values.get("font-size-adjust", "none") not in ("none", "from-font"):
        size = 0.0 if values.ratio("font-size-adjust", 1.0) < 0.1 else size
    return max(size, 0.0)


def _background(values: Values, above: Look, kind: str) -> tuple[Colour, bool]:
    """Return the colour behind the text, and whether a picture covers it.

    The background of an inline element does not extend to blocks inside it, nor does that of an element without a box.
    """
    below = above.background if kind == "inline" else above.behind
    if values.get("display") == "contents":
        return below, above.pictured
    ink = values.colour("color", above.colour, above.colour) or above.colour
    tint = values.colour("background-color", ink, None)
    ground = tint.over(below) if tint else below
    picture = values.get("background-picture", "none")
    if picture == "none":
        return ground, above.pictured and (tint is None or tint.alpha < 1)
    shades = [shade.over(ground) for shade in values.shades("background-picture")]
    if not shades or "url(" in picture:
        return ground, True
    contrasts = sorted(map(ink.contrast, shades))
    sized = values.get("background-size") not in ("", "auto", "cover", "100%", "100% 100%")
    partly = contrasts[0] < _CONTRAST <= contrasts[-1] or sized
    return max(shades, key=ink.contrast), partly and (contrasts[-1] >= _CONTRAST or ink.contrast(ground) >= _CONTRAST)


def _kind(element: Element, values: Values, above: Look) -> str:
    """Return how width and height apply: block, cell or inline."""
    said = values.get("display", "")
    if values.get("float", "none") != "none" or values.get("position") in ("absolute", "fixed") or above.inner_blocks:
        return "block"
    if said in ("inline", "contents", "ruby"):
        return "inline"
    if element.tag in ("html", "body"):
        return "page" if values.get("overflow-y", "visible") in ("hidden", "clip") else "block"
    cell = "fixed cell" if above.fixed else "cell"
    if said:
        return cell if said.startswith("table-") else "block"
    return cell if element.tag in _CELLS else "block" if element.tag in _BLOCKS else "inline"


def _leading(values: Values, size: float, above: Look) -> tuple[float, float]:
    said = values.get("line-height")
    if not said or said == "normal":
        return (1.2, 0.0) if said else above.leading
    if said.replace(".", "", 1).isdecimal():
        return (float(said), 0.0)
    return (0.0, values.length("line-height", size, size))


def _symbols(values: Values, above: Look) -> bool:
    said = values.get("font-family")
    return any(name in said for name in _PICTURE_FONTS) if said else above.symbols


def _nowrap(element: Element, values: Values, above: Look) -> bool:
    said = values.get("white-space")
    return said in ("nowrap", "pre") if said else above.nowrap or element.tag == "pre" or "nowrap" in element.attributes


def _moved_reason(above: Look, shape: Shape) -> str:
    """Return the style that moves a text out of sight, or ""."""
    across, down = above.across + shape.across, above.down + shape.down
    if across <= -300 or across >= WIDTH or down <= -300:
        return "position"
    return "text-indent" if shape.indent <= -200 or shape.indent >= WIDTH else ""


def describe_picture(element: Element) -> str:
    """Return a picture's description, shortened."""
    alt = element.attributes.get("alt", "").strip()
    return alt if len(alt) <= LONGEST_ALT else f"{alt[:LONGEST_ALT]}\u2026"


def is_dot(element: Element, seen: Look) -> bool:
    """True if attributes or styles make a picture too small to be seen."""
    sizes = [element.attributes.get(name, "").strip().removesuffix("px") for name in ("width", "height")]
    if any(size.isdecimal() and len(size) < 6 and float(size) <= _DOT for size in sizes):
        return True
    return any(side <= _DOT for side in seen.measures)
