"""Markdown as models write it (CommonMark 0.31), parsed once for all renderers, and rendered to HTML for mail.

Parsed by markdown-it-py, without features that change or hide words: raw HTML, entities, link definitions, indented
code and underlined headings stay text. Line ends are kept. A picture becomes a link, because nothing is embedded. Only
http, https and mailto are links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, table
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_OFF: Final = ("entity", "reference", "lheading", "code", "html_block", "html_inline", "autolink")
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s<>]{1,2000}", re.IGNORECASE)
_BARE: Final = re.compile(r"://[^\s<>|()]{1,2000}[^\s<>|().,;:!?'\"*_~`]")
_ANGLED: Final = re.compile(r"(://[^\s<>|]{1,2000})>")
_NESTING: Final = 100
_MAX_BRACKETS: Final = 5_000
_MAX_CELLS: Final = 30_000
_TOO_DEEP: Final = re.compile(r"^[\s>*+\-\d.)]{90,}", re.MULTILINE)


def parse(text: str, *, bare_links: bool = False, tables: bool = False) -> list[Token]:
    """Return markdown-it's block tokens. Every link has words; titles and pictures become words and links.

    ``bare_links``: link addresses without brackets. ``tables``: parse GitHub's tables. Very deep quotes and lists stay
    text, because the parser would drop their content. So do tables with a row of more cells than the header, and giant
    tables. So do links in text with very many brackets, because each open bracket is searched to the end.
    """
    flat, open_ended = bool(_TOO_DEEP.search(text)), text.count("[") > _MAX_BRACKETS
    lines = text.split("\n") if tables else []
    tables = tables and len(lines) * (1 + max(line.count("|") for line in lines)) <= _MAX_CELLS
    tokens = _parser(bare_links, tables, flat, open_ended).parse(text.replace("\x00", ""))
    for token in tokens:
        if token.children is not None:
            token.children = list(_with_words(token.children))
    return tokens


@cache
def _parser(bare_links: bool, tables: bool, flat: bool, open_ended: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "xhtmlOut": False, "breaks": True, "maxNesting": _NESTING})
    parser.enable(["strikethrough", *(["table"] if tables else [])]).disable(list(_OFF))
    if flat:
        parser.disable(["list", "blockquote"])
    if open_ended:
        parser.disable(["link", "image"])
    if bare_links:
        parser.inline.ruler.before("escape", "bare_link", _bare_link)
    if tables:
        parser.block.ruler.at("table", _whole_table, {"alt": ["paragraph", "reference"]})
    parser.validateLink = _is_link  # type: ignore[method-assign]
    parser.add_render_rule("fence", _fence)
    for kind in ("table", "th", "td"):
        parser.add_render_rule(f"{kind}_open", _bordered)
    return parser


def _whole_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a table, unless a row has more cells than the header: the parser would drop the words of these cells."""
    begun = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    if silent:
        return True
    columns = sum(token.type == "th_open" for token in state.tokens[begun:])
    if all(_count_cells(state, line) <= columns for line in range(start + 2, state.line)):
        return True
    del state.tokens[begun:]
    state.line = start
    return False


def _count_cells(state: StateBlock, line: int) -> int:
    text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()
    cells = escapedSplit(text)
    return len(cells) - (cells[0] == "") - (len(cells) > 1 and cells[-1] == "")


def _is_link(url: str) -> bool:
    return bool(_LINK.fullmatch(url))


def _bare_link(state: StateInline, silent: bool) -> bool:
    """Parse an address from its ``:``, in the text or in angle brackets. The scheme before it is pending already."""
    scheme = next((s for s in ("https", "http") if state.pending.lower().endswith(s)), "")
    bare, angled = scheme and state.linkLevel == 0, state.pending[: -len(scheme)].endswith("<")
    found = _ANGLED.match(state.src, state.pos) if bare and angled else None
    angled = found is not None
    found = found or (_BARE.match(state.src, state.pos) if bare else None)
    if found is None:
        return False
    if not silent:
        url = state.pending[-len(scheme) :] + found[1 if angled else 0]
        state.pending = state.pending[: -len(scheme) - angled]
        opened = state.push("link_open", "a", 1)
        opened.attrs = {"href": url}
        state.push("text", "", 0).content = url
        state.push("link_close", "a", -1)
    state.pos = found.end()
    return True


def _with_words(children: Sequence[Token]) -> Iterator[Token]:
    """Yield inline tokens with pictures as links, titles as words, and addresses for links without words."""
    open_links: list[Token] = []
    last: Token | None = None
    for token in children:
        if token.type == "image":
            yield from _link(str(token.attrs["src"]), token.content or str(token.attrs["src"]))
        elif token.type == "link_close":
            opened = open_links.pop()
            title = opened.attrs.pop("title", None)
            if last is opened:
                yield _text(str(opened.attrs["href"]))
            yield token
            if title:
                yield _text(f" ({title})")
        else:
            if token.type == "link_open":
                open_links.append(token)
            if token.tag == "s":
                token.tag = "del"
            yield token
        last = token


def _link(url: str, words: str) -> Iterable[Token]:
    return Token("link_open", "a", 1, attrs={"href": url}), _text(words), Token("link_close", "a", -1)


def _text(words: str) -> Token:
    return Token("text", "", 0, content=words)


def _fence(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f"<pre><code>{escapeHtml(tokens[at].content.removesuffix(chr(10)))}</code></pre>\n"


def _bordered(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Render a table or cell with borders, in attributes and inline styles: mail programs drop style sheets."""
    token = tokens[at]
    if token.tag == "table":
        return '<table style="border-collapse:collapse">\n'
    align = str(token.attrs.get("style", "text-align:left"))
    return f'<{token.tag} style="border:1px solid #999;padding:4px 8px;{align}">'


def to_html(text: str) -> str:
    """Return the text as HTML: paragraphs, headings, lists, tables, quotes, code, links, emphasis. The rest is
    escaped."""
    parser = _parser(False, True, False, False)
    return str(parser.renderer.render(parse(text, tables=True), parser.options, {})).removesuffix("\n")
