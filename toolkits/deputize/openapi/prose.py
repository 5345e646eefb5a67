"""A description's texts in a form for models: on one line, visible, without markup, one sentence."""

from __future__ import annotations

import re
from typing import Any, Final

from deputize.core.visible_text import without_hidden
from deputize.openapi.layout import WIDTH, escape

LONGEST_ABOUT: Final = 90
"""Characters of an argument's description."""
LONGEST_TOOL: Final = 160
_LOOKED_AT: Final = 4_000
_TYPED: Final = str.maketrans('\u2018\u2019\u201c\u201d"\u2010\u2011\u2013\u2014', "'''''----")
_LINK: Final = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,400}\)")
_MARKUP: Final = re.compile(r"<[^<>]{0,200}>|[*#_]{2,}|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)|[*`]")
_PARAGRAPH: Final = re.compile(r"\n[ \t\r]*\n")
_BLANKS: Final = re.compile(r"\s+")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(])")
_WORD: Final = re.compile(r"[^\W_]+")
_SMALL: Final = frozenset(
    "the a an of to for this that is be are or in on by with and which it its from as will can whose identifier unique"
    " value field given specified indicates return returned what result fetch get number name id string list only"
    " use used you your want provided current".split()
)
_NOT_AN_END: Final = ("e.g.", "i.e.", "etc.", "vs.", "incl.", "approx.")


def plain(text: Any, longest: int = LONGEST_ABOUT) -> str:
    """Return the first sentence of a text without its full stop, cut at a word if long, or "" for other values."""
    if not isinstance(text, str):
        return ""
    words = _MARKUP.sub("", _LINK.sub(r"\1", _as_typed(_PARAGRAPH.split(text[:_LOOKED_AT].strip())[0])))
    line = _BLANKS.sub(" ", without_hidden(words)).strip()
    return _whole_words(_sentence(line), longest).removesuffix(".")


def _as_typed(text: str) -> str:
    """Return the text with typographic quotes and dashes replaced by those of a keyboard."""
    return text.translate(_TYPED)


def _sentence(line: str) -> str:
    kept = ""
    for one in _SENTENCE.split(line):
        kept = f"{kept} {one}".strip()
        if not kept.lower().endswith(_NOT_AN_END):
            break
    return kept


def _whole_words(line: str, longest: int) -> str:
    """Cut a line at a word to ``longest`` columns of source."""
    if _columns(line) <= longest:
        return line
    cut = line[:longest]
    while _columns(cut) > longest - 3:
        cut = cut[:-1]
    whole, blank, _ = cut.rpartition(" ")
    return f"{(whole if blank and len(whole) > longest // 2 else cut).rstrip(' ,;:.')} ..."


def says_more(text: str, name: str, known: str) -> bool:
    """Return whether a description adds information to an argument's name. ``known``: the tool's description."""
    words = set(_WORD.findall(text.lower()))
    return not {_stem(one) for one in words - _SMALL} <= {
        _stem(one) for one in _WORD.findall(f"{name} {known}".lower())
    }


def _stem(word: str) -> str:
    return word.removesuffix("s")


def _columns(line: str) -> int:
    return sum(len(escape(one)) for one in line)


def docstring(text: str, indent: int) -> str:
    """Return a docstring, in lines that fit. ``text``: a result of `plain`, without double quotes."""
    source = "".join(map(escape, text.replace('"', "'")))
    lines, room = [""], WIDTH - indent - 6
    for word in source.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    pad = " " * indent
    return f'{pad}"""' + f"\n{pad}".join(lines) + '"""'
