"""Text of blocks as Slack displays it: lines in Slack's notation with every word that a person sees, in order.

docs.slack.dev/reference/block-kit/blocks, August 2026. An unknown block type yields all its words. Words of plain texts
are escaped, so that nobody can type text that looks like a token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from deputize.toolkits._shared import times
from deputize.toolkits.slack.mrkdwn import escape, link, notation, unescape

_DEEPEST: Final = 12
_LONGEST: Final = 12_000  # characters of a markdown block
_BULLET: Final = "\u2022"
_PLACEHOLDER: Final = re.compile(r"\{(date|time|ago)?[a-z_]*\}")
_STYLES: Final = (("strike", "~"), ("italic", "_"), ("bold", "*"), ("code", "`"))
_NAMED: Final = ("title", "subtitle", "label", "name", "caption", "text", "body", "description", "value", "hint")

Block = Mapping[str, Any]
Lines = Iterator[str]


def as_plain(text: object) -> str:
    """Escape words that are not in Slack's notation."""
    return escape(unescape(str(text if text is not None else "")))


def format_date(timestamp: object, form: object) -> str:
    """Format a date as people see it, but in UTC. The form decides, not the fallback text. "" if it is not a date."""
    seconds = str(timestamp)
    at = times.short(int(seconds) * 1000) if seconds.isdecimal() and len(seconds) < 13 else ""
    if not at:
        return ""
    day, clock = at.split(" ")
    shown = {"date": day, "time": f"{clock} UTC", "ago": f"{at} UTC", None: ""}
    return as_plain(_PLACEHOLDER.sub(lambda found: shown[found[1]], str(form or "{ago}")))


def lines(blocks: Any, depth: int = 0) -> Lines:
    """Yield the lines that these blocks display."""
    if not isinstance(blocks, list) or depth > _DEEPEST:
        return
    for block in blocks:
        if isinstance(block, dict):
            yield from (line for line in _lines_of(block, depth) if line.strip())


def pictures(blocks: Any) -> Lines:
    """Yield a line for each image block, because the model cannot see the image."""
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict) and block.get("type") == "image":
            yield _picture(block)


def _lines_of(block: Block, depth: int) -> Lines:
    shape = _SHAPES.get(str(block.get("type")))
    yield from shape(block, depth + 1) if shape else _anything(block, depth + 1)


# ----------------------------------------------------------------- text objects and elements


def _text(said: Any) -> str:
    """Return the text of a text object, or a bare text."""
    if isinstance(said, str):
        return as_plain(said)
    if not isinstance(said, dict):
        return ""
    text = str(said.get("text") or "")
    return text if said.get("type") == "mrkdwn" else as_plain(text)


def _texts(block: Block, *names: str) -> Lines:
    for name in names:
        yield _text(block.get(name))


def _element(element: Any) -> str:
    """Return a row's element as text: words, a picture, a button or a menu."""
    if not isinstance(element, dict):
        return ""
    match str(element.get("type")):
        case "mrkdwn" | "plain_text":
            return _text(element)
        case "image":
            return _picture(element)
        case "url":
            return link(str(element.get("url") or ""), str(element.get("text") or ""))
        case _:
            return _control(element)


def _picture(image: Block) -> str:
    said = " ".join(_text(image.get("title") or image.get("alt_text")).split())
    return f"[image: {said[:150]}]" if said else "[image]"


def _control(element: Block) -> str:
    words = _text(element.get("text") or element.get("placeholder") or element.get("label"))
    url = str(element.get("url") or "")
    said = link(url, unescape(words)) if url else words
    choices = ", ".join(filter(None, map(_choice, _list(element.get("options")))))
    shown = ": ".join(part for part in (said, choices) if part)
    return f"[{shown}]" if shown else ""


def _choice(option: Any) -> str:
    return _text(option.get("text")) if isinstance(option, dict) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# ----------------------------------------------------------------- blocks


def _section(block: Block, depth: int) -> Lines:
    yield _text(block.get("text"))
    yield from map(_text, _list(block.get("fields")))
    yield _element(block.get("accessory"))


def _elements_row(block: Block, depth: int) -> Lines:
    yield " ".join(filter(None, map(_element, _list(block.get("elements")))))


def _markdown(block: Block, depth: int) -> Lines:
    yield notation(str(block.get("text") or "")[:_LONGEST])


def _input(block: Block, depth: int) -> Lines:
    yield from _texts(block, "label", "hint")
    yield _element(block.get("element"))


def _video(block: Block, depth: int) -> Lines:
    yield link(str(block.get("title_url") or ""), unescape(_text(block.get("title"))))
    yield from _texts(block, "description", "author_name", "provider_name")


def _card(block: Block, depth: int) -> Lines:
    yield from _texts(block, "title", "subtitle", "body", "subtext")
    yield " ".join(filter(None, map(_element, _list(block.get("actions")))))


def _container(block: Block, depth: int) -> Lines:
    yield _text(block.get("title"))
    yield from lines([block.get("rich_text_title")], depth)
    yield _text(block.get("subtitle"))
    yield from lines(block.get("child_blocks"), depth)


def _carousel(block: Block, depth: int) -> Lines:
    yield from lines(block.get("elements"), depth)


def _table(block: Block, depth: int) -> Lines:
    yield as_plain(block.get("caption"))
    for row in _list(block.get("rows")):
        cells = (" ".join(" ".join(lines([cell], depth)).split()) for cell in _list(row))
        yield " | ".join(cells)


def _cell(block: Block, depth: int) -> Lines:
    yield as_plain(block.get("text") or block.get("value"))


def _task(block: Block, depth: int) -> Lines:
    yield f"{as_plain(block.get('title'))} ({as_plain(block.get('status'))})"
    yield from lines([block.get("details")], depth)
    yield from lines([block.get("output")], depth)
    yield " ".join(filter(None, map(_element, _list(block.get("sources")))))


def _plan(block: Block, depth: int) -> Lines:
    yield as_plain(block.get("title"))
    yield from lines(block.get("tasks"), depth)


def _anything(value: Any, depth: int) -> Lines:
    """Yield every word of a block of an unknown type."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _anything(one, depth + 1)
    elif isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield _element(value) if value.get("type") in ("mrkdwn", "button") else as_plain(value["text"])
        yield from (as_plain(value[name]) for name in _NAMED if name != "text" and isinstance(value.get(name), str))
        for one in value.values():
            yield from lines([one], depth) if _is_block(one) else _anything(one, depth + 1)


def _is_block(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("type")) in _SHAPES


# ----------------------------------------------------------------- rich text


def _rich(block: Block, depth: int) -> Lines:
    for element in _list(block.get("elements")):
        if isinstance(element, dict) and depth < _DEEPEST:
            yield from _rich_part(element, depth + 1)


def _rich_part(part: Block, depth: int) -> Lines:
    inner = _list(part.get("elements"))
    match str(part.get("type")):
        case "rich_text_list":
            yield from _items(part, inner, depth)
        case "rich_text_quote":
            yield "\n".join(f"> {line}" for line in _spans(inner).split("\n"))
        case "rich_text_preformatted":
            yield "\n".join(("```", "".join(map(_unstyled_span, inner)), "```"))
        case _:
            yield _spans(inner).removesuffix("\n")


def _items(part: Block, items: Iterable[Any], depth: int) -> Lines:
    indent, offset = (part.get(name) if isinstance(part.get(name), int) else 0 for name in ("indent", "offset"))
    ordered, first = part.get("style") == "ordered", (offset or 0) + 1
    for number, item in enumerate(items, first):
        mark = f"{number}." if ordered else _BULLET
        words = "\n".join(_rich_part(item, depth + 1)) if isinstance(item, dict) and depth < _DEEPEST else ""
        yield f"{'  ' * min(indent or 0, 8)}{mark} {words}"


def _spans(elements: Iterable[Any]) -> str:
    return "".join(_style_span(one) for one in elements if isinstance(one, dict))


def _style_span(element: Block) -> str:
    """Wrap a span in the marks of its styles. Blanks at its ends stay outside."""
    said, styles = _unstyled_span(element), element.get("style")
    words = said.strip()
    if not words or not isinstance(styles, dict):
        return said
    for style, mark in _STYLES:
        words = f"{mark}{words}{mark}" if styles.get(style) else words
    return said[: len(said) - len(said.lstrip())] + words + said[len(said.rstrip()) :]


def _unstyled_span(element: Any) -> str:
    """Return the text of a span without its styles."""
    if not isinstance(element, dict):
        return ""
    match str(element.get("type")):
        case "link":
            return link(str(element.get("url") or ""), str(element.get("text") or ""))
        case "user":
            return f"<@{as_plain(element.get('user_id'))}>"
        case "channel":
            return f"<#{as_plain(element.get('channel_id'))}>"
        case "usergroup":
            return f"<!subteam^{as_plain(element.get('usergroup_id'))}>"
        case "broadcast":
            return f"<!{as_plain(element.get('range'))}>"
        case "team":
            return f"@team ({as_plain(element.get('team_id'))})"
        case "emoji":
            return f":{as_plain(element.get('name'))}:"
        case "date":
            words = format_date(element.get("timestamp"), element.get("format")) or as_plain(element.get("fallback"))
            return link(str(element.get("url") or ""), unescape(words))
        case _:
            return as_plain(element.get("text") or element.get("value"))


_SHAPES: Final[Mapping[str, Callable[[Block, int], Lines]]] = {
    "section": _section,
    "header": lambda block, depth: _texts(block, "text"),
    "alert": lambda block, depth: _texts(block, "text"),
    "context": _elements_row,
    "actions": _elements_row,
    "context_actions": _elements_row,
    "markdown": _markdown,
    "rich_text": _rich,
    "input": _input,
    "video": _video,
    "card": _card,
    "container": _container,
    "carousel": _carousel,
    "table": _table,
    "data_table": _table,
    "raw_text": _cell,
    "raw_number": _cell,
    "task_card": _task,
    "plan": _plan,
    "image": lambda block, depth: iter(()),
    "divider": lambda block, depth: iter(()),
}
