"""Styles of an embedded mail, restricted so that they affect its own text only.

A rule of a quoted mail could hide or cover the text above it. So each selector is placed below the quote's own class,
and only properties are kept whose effects stay in their element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from deputize.toolkits._shared.css_sheet import is_deep

_LONGEST: Final = 100_000  # characters of styles; Gmail ignores styles of more than 102,000
_KEPT: Final = re.compile(
    r"background(?:-(?:color|image|position|repeat|size))?|(?:min-|max-)?(?:width|height)|box-sizing|object-fit"
    r"|border(?:-(?:top|right|bottom|left))?(?:-(?:left|right))?(?:-(?:color|style|width|radius))?"
    r"|border-(?:collapse|spacing)|table-layout|caption-side|empty-cells|vertical-align|display|visibility|opacity"
    r"|float|clear|overflow(?:-[xy])?|color|font(?:-(?:family|size|style|weight|variant|stretch))?|line-height"
    r"|list-style(?:-(?:type|position))?|(?:margin|padding)(?:-(?:top|right|bottom|left))?|direction"
    r"|text-(?:align|decoration(?:-(?:color|line|style))?|transform|indent|overflow)|white-space"
    r"|word-(?:break|spacing|wrap)|overflow-wrap|letter-spacing|-(?:webkit|ms)-text-size-adjust"
    r"|mso-(?:line-height-rule|table-[lr]space|padding-alt|style-\w+|margin-(?:top|bottom)-alt|list|bidi-\w+(?:-\w+)?)"
)
_INWARD: Final = re.compile(r"margin|text-indent|letter-spacing|word-spacing")
_OUTWARD: Final = re.compile(r"(?:^|[\s(,])-|calc|var|min|max|clamp")
_STRANGE: Final = re.compile(r"expression|behaviou?r|javascript|url\(\s*['\"]?(?!https?:|data:image/)", re.IGNORECASE)
_PAGE: Final = re.compile(r"^(?:html|body|:root)(?=$|[\s>.:#\[])\s*>?\s*", re.IGNORECASE)
_REACHES: Final = re.compile(r"[<&{}@\\]|^[>+~|]|:(?:has|host|scope|root|not\(\s*\*)", re.IGNORECASE)


def scope_rules(sheet: str, place: str) -> str:
    """Return the rules of a style sheet, restricted to ``place`` (a selector). A very long sheet is dropped."""
    from tinycss2 import parse_stylesheet

    if len(sheet) > _LONGEST or is_deep(sheet):
        return ""
    rules = parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True)
    return "\n".join(_scope(rules, place, deep=0))


def declarations(style: str) -> str:
    """Return the declarations of a ``style`` attribute that stay inside their element."""
    return "; ".join(_declarations(style)) if len(style) <= _LONGEST and not is_deep(style) else ""


def _scope(rules: Sequence[Any], place: str, deep: int) -> Iterator[str]:
    from tinycss2 import parse_rule_list, serialize

    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = list(_selectors(rule.prelude, place))
            body = "; ".join(_declarations(rule.content))
            written = f"{', '.join(selectors)} {{ {body} }}" if selectors and body else ""
        elif rule.type == "at-rule" and rule.lower_at_keyword == "media" and rule.content is not None and deep < 3:
            inner = parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            media = serialize(rule.prelude).strip()
            body = "\n".join(_scope(inner, place, deep + 1))
            written = f"@media {media} {{\n{body}\n}}" if body and not re.search(r"[<{};]", media) else ""
        else:
            written = ""
        if written and "<" not in written:
            yield written


def _selectors(prelude: Sequence[Any], place: str) -> Iterator[str]:
    """Yield each selector below ``place``. Selectors of the page mean the first element below it."""
    from tinycss2 import serialize

    one: list[Any] = []
    for token in [*prelude, None]:
        if token is not None and not (token.type == "literal" and token.value == ","):
            one.append(token)
            continue
        selector = serialize(one).strip()
        one = []
        inner = _PAGE.sub("", _PAGE.sub("", selector, count=1), count=1)
        whole = inner != selector and not inner
        if selector and len(selector) < 1_000 and not _REACHES.search(inner):
            yield f"{place} > div" if whole else f"{place} {inner}"


def _declarations(content: Any) -> Iterator[str]:
    from tinycss2 import parse_blocks_contents, serialize

    for one in parse_blocks_contents(content, skip_comments=True, skip_whitespace=True):
        if one.type != "declaration" or not _KEPT.fullmatch(one.lower_name):
            continue
        value = " ".join(serialize(one.value).split())
        outward = _INWARD.match(one.lower_name) and _OUTWARD.search(value)
        if not outward and not _STRANGE.search(value) and "<" not in value and len(value) < 2_000:
            yield f"{one.lower_name}: {value}{' !important' if one.important else ''}"
