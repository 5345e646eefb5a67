"""Markdown as models write it in mail, to HTML. Line ends stay line ends; pictures become links; HTML stays text."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Final

_FENCE = re.compile(r"\s{0,3}(```+|~~~+)\s*[\w+-]*\s*")
_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*")
_RULE = re.compile(r"\s{0,3}([-*_])(?:\s*\1){2,}\s*")
_QUOTE = re.compile(r"\s{0,3}> ?(.*)")
_ITEM = re.compile(r"(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)")
_DEEPEST: Final = 8  # quotes and lists inside each other

_INLINE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|!?\[(?P<words>[^\[\]\n]*)\]\((?P<to>(?:https?://|mailto:)[^\s()<>]{1,2000})\)"
    r"|\*\*(?P<strong>\S(?:[^*\n]*[^*\s])?)\*\*"
    r"|(?<!\w)__(?P<strong_>[^\s_](?:[^_\n]*[^_\s])?)__(?!\w)"
    r"|\*(?P<em>[^\s*](?:[^*\n]*[^*\s])?)\*"
    r"|(?<!\w)_(?P<em_>[^\s_](?:[^_\n]*[^_\s])?)_(?!\w)"
    r"|~~(?P<del>\S(?:[^~\n]*[^~\s])?)~~"
    r"|\\(?P<literal>[\\`*_{}\[\]()#+.!>~-])"
)


def to_html(text: str) -> str:
    """The text as HTML: paragraphs, headings, lists, quotes, code, links, emphasis. Everything else is escaped."""
    return "\n".join(_blocks(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 0))


def _blocks(lines: list[str], depth: int) -> Iterator[str]:
    """The blocks these lines are made of."""
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        for read in (_fence, _heading, _quote, _list):
            if found := read(lines, at, depth):
                block, at = found
                yield block
                break
        else:
            end = at + 1
            while end < len(lines) and lines[end].strip() and not _starts_block(lines[end], depth):
                end += 1
            yield "<p>" + "<br>\n".join(inline(line.strip()) for line in lines[at:end]) + "</p>"
            at = end


def _starts_block(line: str, depth: int) -> bool:
    return bool(
        _FENCE.fullmatch(line)
        or _HEADING.fullmatch(line)
        or _RULE.fullmatch(line)
        or (depth < _DEEPEST and (_QUOTE.fullmatch(line) or _ITEM.fullmatch(line)))
    )


Found = tuple[str, int] | None
"""A block's HTML and the line after it."""


def _fence(lines: list[str], at: int, depth: int) -> Found:
    opened = _FENCE.fullmatch(lines[at])
    if not opened:
        return None
    end = at + 1
    while end < len(lines) and not lines[end].strip().startswith(opened[1]):
        end += 1
    code = html.escape("\n".join(lines[at + 1 : end]), quote=False)
    return f"<pre><code>{code}</code></pre>", end + 1


def _heading(lines: list[str], at: int, depth: int) -> Found:
    if heading := _HEADING.fullmatch(lines[at]):
        level = len(heading[1])
        return f"<h{level}>{inline(heading[2])}</h{level}>", at + 1
    return ("<hr>", at + 1) if _RULE.fullmatch(lines[at]) else None


def _quote(lines: list[str], at: int, depth: int) -> Found:
    inner, end = [], at
    while end < len(lines) and depth < _DEEPEST and (quoted := _QUOTE.fullmatch(lines[end])):
        inner.append(quoted[1])
        end += 1
    if not inner:
        return None
    return "<blockquote>\n" + "\n".join(_blocks(inner, depth + 1)) + "\n</blockquote>", end


def _list(lines: list[str], at: int, depth: int) -> Found:
    """A list: items of one kind, each with the deeper lines that follow it."""
    first = _ITEM.fullmatch(lines[at])
    if not first or depth >= _DEEPEST:
        return None
    margin = len(first[1])
    items: list[list[str]] = []
    while at < len(lines):
        item = _ITEM.fullmatch(lines[at])
        if item and len(item[1]) <= margin and bool(item[2]) == bool(first[2]):
            items.append([item[4]])
        elif not lines[at].strip() and at + 1 < len(lines) and _goes_on(lines[at + 1], first):
            pass
        elif items and _is_deeper(lines[at], margin):
            items[-1].append(lines[at][margin + 2 :] if not lines[at][: margin + 2].strip() else lines[at].lstrip())
        else:
            break
        at += 1
    start = f' start="{int(first[3])}"' if first[3] and int(first[3]) != 1 else ""
    opened, closed = ("<ul>", "</ul>") if first[2] else (f"<ol{start}>", "</ol>")
    return f"{opened}\n" + "\n".join(f"<li>{_item(one, depth)}</li>" for one in items) + f"\n{closed}", at


def _is_deeper(line: str, margin: int) -> bool:
    return bool(line.strip()) and len(line) - len(line.lstrip()) > margin


def _goes_on(line: str, first: re.Match[str]) -> bool:
    """Whether a list goes on with this line after an empty one."""
    item = _ITEM.fullmatch(line)
    return _is_deeper(line, len(first[1])) or bool(item and bool(item[2]) == bool(first[2]))


def _item(lines: list[str], depth: int) -> str:
    head, *rest = lines
    return "\n".join([inline(head), *_blocks(rest, depth + 1)])


def inline(text: str) -> str:
    """One line with its emphasis, code and links."""
    return "".join(_spans(text, 0))


def _spans(text: str, depth: int) -> Iterator[str]:
    end = 0
    for found in _INLINE.finditer(text) if depth < _DEEPEST else ():
        yield html.escape(text[end : found.start()], quote=False)
        yield _span(found, lambda words: "".join(_spans(words, depth + 1)))
        end = found.end()
    yield html.escape(text[end:], quote=False)


def _span(found: re.Match[str], inner: Callable[[str], str]) -> str:
    kind = (found.lastgroup or "").rstrip("_")
    if kind == "to":
        return f'<a href="{html.escape(found["to"])}">{inner(found["words"]) or html.escape(found["to"])}</a>'
    words = found[found.lastgroup or 0]
    if kind == "literal":
        return html.escape(words, quote=False)
    return f"<code>{html.escape(words, quote=False)}</code>" if kind == "code" else f"<{kind}>{inner(words)}</{kind}>"
