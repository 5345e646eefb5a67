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
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_OFF: Final = ("entity", "reference", "lheading", "code", "html_block", "html_inline", "autolink")
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s<>]{1,2000}", re.IGNORECASE)
_BARE: Final = re.compile(r"://[^\s<>|()]{1,2000}[^\s<>|().,;:!?'\"*_~`]")
_ANGLED: Final = re.compile(r"(://[^\s<>|]{1,2000})>")
_NESTING: Final = 100
_MAX_BRACKETS: Final = 5_000
_TOO_DEEP: Final = re.compile(r"^[\s>*+\-\d.)]{90,}", re.MULTILINE)


def parse(text: str, *, bare_links: bool = False, tables: bool = False) -> list[Token]:
    """Return markdown-it's block tokens. Every link has words; titles and pictures become words and links.

    ``bare_links``: link addresses without brackets. ``tables``: parse GitHub's tables. Very deep quotes and lists stay
    text, because the parser would drop their content. So do links in text with very many brackets, because each open
    bracket is searched to the end.
    """
    flat, open_ended = bool(_TOO_DEEP.search(text)), text.count("[") > _MAX_BRACKETS
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
    parser.validateLink = _is_link  # type: ignore[method-assign]
    parser.add_render_rule("fence", _fence)
    return parser


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


def to_html(text: str) -> str:
    """Return the text as HTML: paragraphs, headings, lists, quotes, code, links, emphasis. The rest is escaped."""
    parser = _parser(False, False, False, False)
    return str(parser.renderer.render(parse(text), parser.options, {})).removesuffix("\n")
