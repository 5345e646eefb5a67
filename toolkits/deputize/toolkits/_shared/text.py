"""Text that other people wrote: from bytes of any charset to clean characters, and cut to size.

Nothing here raises for any input. What is invisible to a person is taken out and counted, so that a mail cannot carry
words that only a model sees.
"""

from __future__ import annotations

import re
import unicodedata
from encodings.aliases import aliases
from typing import Final

from deputize.core.text import replaced

FACTS: Final = frozenset("id repo path sha ref thread next cursor conversation date time_zone url_template".split())
"""Fields of results that say which thing it is, in words of the provider or of the call."""
WRITERS: Final = ("from", "author", "creator", "organizer")
"""Fields that say who wrote a row, the first that is there."""
LARGEST: Final = 2_000_000  # characters or bytes of one text that are looked at

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")
_BLANK = re.compile(r"\s+")
_PIECE = 512  # characters: sorting combining marks takes quadratic time, so hostile runs are normalised in pieces

_NO_CHARSETS = {
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"),
    *("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"),
}
_WIDER = {  # what senders mean where they name the narrower one
    **{"ascii": "cp1252", "latin_1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"},
    **{"euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs", "tis_620": "cp874"},
}
_SEVERAL_BYTES = ("gb", "big5", "euc", "shift", "cp932", "cp949", "cp950", "iso2022", "johab", "hz", "utf")
_CODECS = {name: codec for name, codec in aliases.items() if codec not in _NO_CHARSETS} | {
    codec: codec for codec in aliases.values() if codec not in _NO_CHARSETS
}


def codec(charset: str) -> str:
    """Python's codec for a charset as a sender names it, or "" for one that is unknown or no charset at all."""
    name = re.sub(r"[^a-z0-9]+", "_", charset.strip().lower()[:60]).strip("_")
    known = _CODECS.get(name) or _CODECS.get(name.removeprefix("x_")) or ""
    return _WIDER.get(known, known)


def decode(data: bytes, charset: str = "") -> str:
    """Bytes as text, whatever their sender says they are. What cannot be read becomes U+FFFD.

    A charset of one byte a character reads everything, so where it is named (or none is), UTF-8 is tried first.
    """
    declared = codec(charset)
    for name in (declared, "utf_8") if declared.startswith(_SEVERAL_BYTES) else ("utf_8", declared):
        if name and (text := _strictly(data, name)) is not None:
            return text
    try:
        return data.decode(declared or "latin_1", "replace")
    except (UnicodeError, LookupError):
        return data.decode("utf_8", "replace")


def _strictly(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeError, LookupError):
        return None


def clean(text: str) -> tuple[str, int]:
    """The text without what a person cannot see, in NFC, and how many characters were taken out.

    What that is says `deputize.core.text`: joiners stay between letters that need them. Line ends become newlines.
    """
    text = _SURROGATE.sub("\ufffd", newlined(text[:LARGEST]))
    kept, hidden = replaced(text, lambda character: "")
    return _composed(kept), hidden


def newlined(text: str) -> str:
    """The text with newlines for line ends."""
    return _LINE_END.sub("\n", text)


def plain(text: str) -> str:
    """The text in NFC with newlines for line ends: what cleaning makes of a text with nothing to take out."""
    return _composed(newlined(text))


def _composed(text: str) -> str:
    """NFC in time linear in the length, also for text made of nothing but combining marks."""
    if text.isascii() or len(text) <= _PIECE:
        return unicodedata.normalize("NFC", text)
    pieces, start = [], 0
    while start < len(text):
        end = start + _PIECE
        while start < end < len(text) and unicodedata.combining(text[end]):
            end -= 1
        end = end if end > start else start + _PIECE
        pieces.append(unicodedata.normalize("NFC", text[start:end]))
        start = end
    return "".join(pieces)


def clip(text: str, limit: int) -> str:
    """The text on one line, within ``limit`` bytes of UTF-8; a cut ends at a word, with an ellipsis."""
    line = _BLANK.sub(" ", text).strip()
    if len(line.encode()) <= limit:
        return line
    return line[: _word_end(line, 0, limit - 3)].rstrip() + "\u2026"


def window(text: str, offset: int, limit: int) -> tuple[str, int | None]:
    """The part of a long text that starts at character ``offset``, and the offset of the next part, or None.

    The part holds at most ``limit`` bytes of UTF-8, which is a measure of tokens, and ends at a word if it can.
    """
    if len(text[offset : offset + limit].encode()) <= limit and offset + limit >= len(text):
        return text[offset:], None
    end = _word_end(text, offset, limit)
    return text[offset:end], end if end < len(text) else None


def _word_end(text: str, start: int, limit: int) -> int:
    """Where a piece of at most ``limit`` bytes that starts at ``start`` ends, at a word's end where one is near."""
    piece = text[start : start + limit].encode()[:limit].decode(errors="ignore")
    end = start + max(len(piece), 1)
    if end >= len(text):
        return len(text)
    blank = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
    return blank + 1 if blank > start + (end - start) // 2 else end


class Outside:
    """Cleans what others wrote, and counts in ``hidden`` what it took out. ``doubts``: by what more may be hidden."""

    def __init__(self) -> None:
        self.hidden = 0
        self.doubts: set[str] = set()

    def text(self, text: str) -> str:
        """Cleaned, with its lines."""
        cleaned, hidden = clean(text)
        self.hidden += hidden
        return cleaned

    def line(self, text: str, limit: int = LARGEST) -> str:
        """Cleaned, on one line, within ``limit`` bytes."""
        return clip(self.text(text), limit)

    def mark(self, row: dict[str, object]) -> None:
        """Say in a row or detail that others wrote it, and what was hidden in it."""
        row["untrusted"] = True
        if self.hidden:
            row["hidden_removed"] = self.hidden
        if self.doubts:
            row["hidden"] = f"maybe more, by {', '.join(sorted(self.doubts)[:4])}"
