"""Markdown as models write it, in Slack's own notation (docs.slack.dev/messaging/formatting-message-text).

Everything is escaped before a token of ours is added: nothing that the model or a stranger wrote can become a link, a
mention or a call to everybody by itself.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from markdown_it.tree import SyntaxTreeNode

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.markdown import parse

LONGEST: Final = 12_000  # characters
_MENTION: Final = re.compile(
    r"<@(?P<id>[UW][A-Z0-9]{7,20})(?:\|[^<>\n]*)?>"
    r"|(?<![\w@.&/-])(?:@[A-Za-z0-9][\w.-]{0,79}(?<![.-])|#[\w-]{1,80})(?![\w@])"
)
_SHOWN: Final = re.compile(r"(?<![\w@.&/-])@(?P<name>[^@()<>\n]{1,80}) \((?P<id>[UW][A-Z0-9]{7,20})\)")
"""A mention as results show it."""
_MARKS: Final = {"strong": "*", "em": "_", "s": "~"}
_RULE: Final = "\u2014" * 3
_BULLET: Final = "\u2022"


def escaped(text: str) -> str:
    """The three characters that mean something to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescaped(text: str) -> str:
    """``&``, ``<`` and ``>`` as they were typed."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def to_mrkdwn(text: str, mentions: Mapping[str, str] | None = None, field: str = "body") -> str:
    """The text for Slack. ``mentions``: tokens by what stands for them, such as ``@bob``; other names stay text.

    Raises `InvalidInput` for an empty text, and for one that is too long for a message.
    """
    converted = notation(text, mentions)
    if not converted.strip():
        raise InvalidInput(f"{field}: empty.")
    if len(converted) > LONGEST:
        raise InvalidInput(
            f"{field}: {len(converted)} characters; a message may have {LONGEST}.",
            hint="Send several messages in a thread, a file or a canvas.",
        )
    return converted


def notation(text: str, mentions: Mapping[str, str] | None = None) -> str:
    """The text in Slack's notation, of whatever length."""
    tree, lines = _tree(text)
    return "\n".join(_Notation(lines, mentions or {}).blocks(tree.children)).strip("\n")


def names_in(text: str, shown: Container[str] = ()) -> set[str]:
    """What in a text may be a mention, in lower case: ``@handle``, ``@id``, ``#channel``, but not in code or links.

    ``shown``: mentions as results show them, which are known already.
    """
    return {_named(one) for words in _texts(text) for one in _MENTION.finditer(_without(words, shown))}


def shown_in(text: str) -> dict[str, tuple[str, str]]:
    """What in a text may be a mention as results show it, ``@Bob Brown (U0BOB000000)``: the name and id in it."""
    return {one[0]: (one["name"], one["id"]) for words in _texts(text) for one in _SHOWN.finditer(words)}


def _texts(text: str) -> Iterator[str]:
    """The words of a text that are neither code nor in a link or table."""
    tree, _ = _tree(text)
    return (one.content for one in tree.walk() if one.type == "text" and not _inside(one, "link", "table"))


def _without(words: str, shown: Container[str]) -> str:
    return _SHOWN.sub(lambda found: " " if found[0] in shown else found[0], words)


def _named(mention: re.Match[str]) -> str:
    return f"@{mention['id']}".casefold() if mention["id"] else mention[0].casefold()


def _tree(text: str) -> tuple[SyntaxTreeNode, list[str]]:
    """The text as a tree, and the lines that its nodes name."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return SyntaxTreeNode(parse(text, bare_links=True, tables=True)), text.split("\n")


def _inside(node: SyntaxTreeNode, *kinds: str) -> bool:
    above = node.parent
    while above is not None and above.type not in kinds:
        above = above.parent
    return above is not None


@dataclass(frozen=True)
class _Notation:
    """Nodes as lines of Slack's notation. ``lines``: of the source."""

    lines: Sequence[str]
    mentions: Mapping[str, str]

    def blocks(self, nodes: Sequence[SyntaxTreeNode]) -> Iterator[str]:
        """Blocks one after another, with an empty line where the writer left one."""
        if nodes:
            yield from self._block(nodes[0])
        for _, node in pairwise(nodes):
            if node.map and not self.lines[node.map[0] - 1].strip(" \t>"):
                yield ""
            yield from self._block(node)

    def _block(self, node: SyntaxTreeNode) -> Iterator[str]:
        match node.type:
            case "fence":
                yield from ("```", *map(escaped, node.content.removesuffix("\n").split("\n")), "```")
            case "table":
                begin, end = node.map or (0, 0)
                yield from ("```", *(escaped(line.strip()) for line in self.lines[begin:end]), "```")
            case "hr":
                yield _RULE
            case "heading":
                words = self._inline(node.children, bold=True)
                yield f"*{words}*" if words.strip() else ""
            case "blockquote":
                yield from (f"> {line}".rstrip() for line in list(self.blocks(node.children)) or [""])
            case "bullet_list" | "ordered_list":
                yield from self._items(node)
            case _:
                yield from self._inline(node.children).split("\n")

    def _items(self, node: SyntaxTreeNode) -> Iterator[str]:
        """A list; what lies deeper in an item is indented."""
        for item in node.children:
            mark = f"{item.info}{item.markup}" if node.type == "ordered_list" else _BULLET
            first, *rest = list(self.blocks(item.children)) or [""]
            yield f"{mark} {first}"
            yield from (f"  {line}" if line else "" for line in rest)

    def _inline(self, nodes: Sequence[SyntaxTreeNode], *, bold: bool = False) -> str:
        """Spans. ``bold``: all of it is bold already, as a heading is."""
        return "".join(self._span(node, bold) for node in nodes)

    def _span(self, node: SyntaxTreeNode, bold: bool) -> str:
        match node.type:
            case "text":
                return self._text(node.content)
            case "code_inline":
                return f"`{escaped(node.content)}`"
            case "softbreak" | "hardbreak":
                return "\n"
            case "link":
                return link(str(node.attrs["href"]), _words(node))
            case "strong" | "em" | "s":
                mark = "" if bold and node.type == "strong" else _MARKS[node.type]
                return f"{mark}{self._inline(node.children, bold=bold)}{mark}"
            case _:
                return self._inline(node.children, bold=bold)

    def _text(self, text: str) -> str:
        """A text in which the names that were looked up are mentions."""
        parts, end = list[str](), 0
        for found in _SHOWN.finditer(text):
            if token := self.mentions.get(found[0]):
                parts += [self._linked(text[end : found.start()]), token]
                end = found.end()
        return "".join([*parts, self._linked(text[end:])])

    def _linked(self, text: str) -> str:
        parts, end = [], 0
        for found in _MENTION.finditer(text):
            mention = self.mentions.get(_named(found)) or escaped(found[0])
            parts += [escaped(text[end : found.start()]), mention]
            end = found.end()
        return "".join([*parts, escaped(text[end:])])


def _words(node: SyntaxTreeNode) -> str:
    return "".join(one.content for one in node.walk() if one.type in ("text", "code_inline"))


def link(url: str, words: str) -> str:
    """A link with what it shows: one line, in which a bar would end the address. Without an address, the words."""
    url, words = "".join(url.split()).replace("|", "%7C"), " ".join(words.split())
    if not url:
        return escaped(words)
    return f"<{escaped(url)}>" if words in ("", url) else f"<{escaped(url)}|{escaped(words.replace('|', '/'))}>"
