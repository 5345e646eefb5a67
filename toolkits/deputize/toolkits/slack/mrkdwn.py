"""Conversion of Markdown to Slack's notation (docs.slack.dev/messaging/formatting-message-text).

All text is escaped before deputize adds a token, so no text of the model or of other people can become a link or a
mention.
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
"""A mention in the form of results."""
_MARKS: Final = {"strong": "*", "em": "_", "s": "~"}
_RULE: Final = "\u2014" * 3
_BULLET: Final = "\u2022"


def escape(text: str) -> str:
    """Escape the three characters that mean something to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescape(text: str) -> str:
    """Return the text with ``&``, ``<`` and ``>`` as they were typed."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def to_mrkdwn(text: str, mentions: Mapping[str, str] | None = None, field: str = "body") -> str:
    """Convert a text. ``mentions``: tokens by the words they replace, such as ``@bob``. Other names stay text.

    Raises `InvalidInput` for an empty text, and for a text that is too long for a message.
    """
    converted = notation(text, mentions)
    if not converted.strip():
        raise InvalidInput(f"{field}: empty.", hint="Say what the message says.")
    if len(converted) > LONGEST:
        raise InvalidInput(
            f"{field}: {len(converted)} characters; a message may have {LONGEST}.",
            hint="Send several messages in a thread, a file or a canvas.",
        )
    return converted


def notation(text: str, mentions: Mapping[str, str] | None = None) -> str:
    """Convert a text of any length to Slack's notation."""
    tree, lines = _tree(text)
    return "\n".join(_Notation(lines, mentions or {}).blocks(tree.children)).strip("\n")


def names_in(text: str, shown: Container[str] = ()) -> set[str]:
    """Return possible mentions in lower case: ``@handle``, ``@id``, ``#channel``, but not from code or links.

    ``shown``: mentions in the form of results, which are already resolved.
    """
    return {_mention_name(one) for words in _texts(text) for one in _MENTION.finditer(_remove_shown(words, shown))}


def shown_mentions(text: str) -> dict[str, tuple[str, str]]:
    """Return possible mentions in the form of results, ``@Bob Brown (U0BOB000000)``, with their name and id."""
    return {one[0]: (one["name"], one["id"]) for words in _texts(text) for one in _SHOWN.finditer(words)}


def _texts(text: str) -> Iterator[str]:
    """Yield the words of a text outside code, links and tables."""
    tree, _ = _tree(text)
    return (one.content for one in tree.walk() if one.type == "text" and not _is_inside(one, "link", "table"))


def _remove_shown(words: str, shown: Container[str]) -> str:
    return _SHOWN.sub(lambda found: " " if found[0] in shown else found[0], words)


def _mention_name(mention: re.Match[str]) -> str:
    return f"@{mention['id']}".casefold() if mention["id"] else mention[0].casefold()


def _tree(text: str) -> tuple[SyntaxTreeNode, list[str]]:
    """Return the text as a tree, and the lines to which its nodes refer."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return SyntaxTreeNode(parse(text, bare_links=True, tables=True)), text.split("\n")


def _is_inside(node: SyntaxTreeNode, *kinds: str) -> bool:
    above = node.parent
    while above is not None and above.type not in kinds:
        above = above.parent
    return above is not None


@dataclass(frozen=True)
class _Notation:
    """A converter of nodes to lines of Slack's notation. ``lines``: the lines of the source."""

    lines: Sequence[str]
    mentions: Mapping[str, str]

    def blocks(self, nodes: Sequence[SyntaxTreeNode]) -> Iterator[str]:
        """Yield blocks one after another, with an empty line wherever the writer left one."""
        if nodes:
            yield from self._block(nodes[0])
        for _, node in pairwise(nodes):
            if node.map and not self.lines[node.map[0] - 1].strip(" \t>"):
                yield ""
            yield from self._block(node)

    def _block(self, node: SyntaxTreeNode) -> Iterator[str]:
        match node.type:
            case "fence":
                yield from ("```", *map(escape, node.content.removesuffix("\n").split("\n")), "```")
            case "table":
                begin, end = node.map or (0, 0)
                yield from ("```", *(escape(line.strip()) for line in self.lines[begin:end]), "```")
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
        """Yield a list. The further lines of an item are indented."""
        for item in node.children:
            mark = f"{item.info}{item.markup}" if node.type == "ordered_list" else _BULLET
            first, *rest = list(self.blocks(item.children)) or [""]
            yield f"{mark} {first}"
            yield from (f"  {line}" if line else "" for line in rest)

    def _inline(self, nodes: Sequence[SyntaxTreeNode], *, bold: bool = False) -> str:
        """Return inline nodes as mrkdwn text. ``bold``: True if the whole text is already bold, as in a heading."""
        return "".join(self._span(node, bold) for node in nodes)

    def _span(self, node: SyntaxTreeNode, bold: bool) -> str:
        match node.type:
            case "text":
                return self._text(node.content)
            case "code_inline":
                return f"`{escape(node.content)}`"
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
        """Return a text with tokens for the mentions that were found."""
        parts, end = list[str](), 0
        for found in _SHOWN.finditer(text):
            if token := self.mentions.get(found[0]):
                parts += [self._link_mentions(text[end : found.start()]), token]
                end = found.end()
        return "".join([*parts, self._link_mentions(text[end:])])

    def _link_mentions(self, text: str) -> str:
        parts, end = [], 0
        for found in _MENTION.finditer(text):
            mention = self.mentions.get(_mention_name(found)) or escape(found[0])
            parts += [escape(text[end : found.start()]), mention]
            end = found.end()
        return "".join([*parts, escape(text[end:])])


def _words(node: SyntaxTreeNode) -> str:
    return "".join(one.content for one in node.walk() if one.type in ("text", "code_inline"))


def link(url: str, words: str) -> str:
    """Return a link on one line (a bar would end the address), or the words alone if there is no address."""
    url, words = "".join(url.split()).replace("|", "%7C"), " ".join(words.split())
    if not url:
        return escape(words)
    return f"<{escape(url)}>" if words in ("", url) else f"<{escape(url)}|{escape(words.replace('|', '/'))}>"
