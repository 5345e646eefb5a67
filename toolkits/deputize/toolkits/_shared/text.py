"""Untrusted text: decoded from any charset, cleaned, and cut to size.

Nothing here raises for any input. Characters invisible to a person are removed and counted, so that a mail cannot carry
words that only a model sees.
"""

from __future__ import annotations

import re
import unicodedata
from encodings.aliases import aliases
from typing import Final

from deputize.core.visible_text import replaced

FACTS: Final = frozenset("id repo path sha ref thread next cursor conversation date time_zone url_template".split())
"""Fields that identify a result, in words of the provider or of the call."""
WRITERS: Final = ("from", "author", "creator", "organizer")
"""Fields that name a row's author; the first present one counts."""
LARGEST: Final = 2_000_000  # most characters or bytes of one text that are read

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")
_BLANK = re.compile(r"\s+")
_PIECE = 512  # characters; normalization of long runs of combining marks takes quadratic time

_NO_CHARSETS = {
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"),
    *("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"),
}
_WIDER = {  # charsets that senders mean when they name a narrower one
    **{"ascii": "cp1252", "latin_1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"},
    **{"euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs", "tis_620": "cp874"},
}
_SEVERAL_BYTES = ("gb", "big5", "euc", "shift", "cp932", "cp949", "cp950", "iso2022", "johab", "hz", "utf")
_CODECS = {name: codec for name, codec in aliases.items() if codec not in _NO_CHARSETS} | {
    codec: codec for codec in aliases.values() if codec not in _NO_CHARSETS
}


def codec(charset: str) -> str:
    """Return Python's codec for a charset name, or "" if it is unknown or not a charset."""
    name = re.sub(r"[^a-z0-9]+", "_", charset.strip().lower()[:60]).strip("_")
    known = _CODECS.get(name) or _CODECS.get(name.removeprefix("x_")) or ""
    return _WIDER.get(known, known)


def decode(data: bytes, charset: str = "") -> str:
    """Return decoded bytes, whatever charset they declare. Undecodable bytes become U+FFFD.

    A single-byte charset decodes anything. So UTF-8 is tried first if such a charset is declared, or none.
    """
    declared = codec(charset)
    for name in (declared, "utf_8") if declared.startswith(_SEVERAL_BYTES) else ("utf_8", declared):
        if name and (text := _decode_strictly(data, name)) is not None:
            return text
    try:
        return data.decode(declared or "latin_1", "replace")
    except (UnicodeError, LookupError):
        return data.decode("utf_8", "replace")


def _decode_strictly(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeError, LookupError):
        return None


def clean(text: str) -> tuple[str, int]:
    """Return the text in NFC without characters that a person cannot see, and the number of removed characters.

    `deputize.core.visible_text` defines them: joiners stay between letters that need them. Line ends become newlines.
    """
    text = _SURROGATE.sub("\ufffd", newlined(text[:LARGEST]))
    kept, hidden = replaced(text, lambda character: "")
    return _compose(kept), hidden


def newlined(text: str) -> str:
    """Return the text with newlines as line ends."""
    return _LINE_END.sub("\n", text)


def plain(text: str) -> str:
    """Return the text in NFC with newlines, like `clean` but without removing characters."""
    return _compose(newlined(text))


def _compose(text: str) -> str:
    """Return NFC in linear time, even for text of only combining marks."""
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
    """Return the text on one line in ``limit`` bytes of UTF-8, cut at a word with an ellipsis."""
    line = _BLANK.sub(" ", text).strip()
    if len(line.encode()) <= limit:
        return line
    return line[: _word_end(line, 0, limit - 3)].rstrip() + "\u2026"


def window(text: str, offset: int, limit: int) -> tuple[str, int | None]:
    """Return the part of a text from character ``offset``, and the offset of the next part, or None.

    The part has at most ``limit`` bytes of UTF-8, a measure of tokens, and ends at a word if possible.
    """
    if len(text[offset : offset + limit].encode()) <= limit and offset + limit >= len(text):
        return text[offset:], None
    end = _word_end(text, offset, limit)
    return text[offset:end], end if end < len(text) else None


def _word_end(text: str, start: int, limit: int) -> int:
    """Return where a piece of at most ``limit`` bytes ends, at the end of a word if one is near."""
    piece = text[start : start + limit].encode()[:limit].decode(errors="ignore")
    end = start + max(len(piece), 1)
    if end >= len(text):
        return len(text)
    blank = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
    return blank + 1 if blank > start + (end - start) // 2 else end


class Outside:
    """A cleaner of untrusted text. ``hidden``: count of removed characters. ``doubts``: features that may hide more."""

    def __init__(self) -> None:
        self.hidden = 0
        self.doubts: set[str] = set()

    def text(self, text: str) -> str:
        """Return the text cleaned, with its lines."""
        cleaned, hidden = clean(text)
        self.hidden += hidden
        return cleaned

    def line(self, text: str, limit: int = LARGEST) -> str:
        """Return the text cleaned, on one line, in ``limit`` bytes."""
        return clip(self.text(text), limit)

    def mark(self, row: dict[str, object]) -> None:
        """Mark a row as untrusted, with the count of hidden characters."""
        row["untrusted"] = True
        if self.hidden:
            row["hidden_removed"] = self.hidden
        if self.doubts:
            row["hidden"] = f"maybe more, by {', '.join(sorted(self.doubts)[:4])}"
