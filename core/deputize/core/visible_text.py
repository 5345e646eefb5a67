"""Invisible and look-alike characters: one table for core, pages, terminal and toolkits.

Invisible characters are controls, characters that Unicode displays as nothing (DerivedCoreProperties,
Default_Ignorable_Code_Point), characters that change the writing direction (UAX 9) and invisible blanks. Those that
reading needs stay: joiners between letters of scripts that join (UAX 31, A1 to B) and in emoji (UTS 51), and a
variation selector after a sign.

Look-alikes are letters of other scripts in a Latin word, and signs between Latin letters that look like a dot, slash,
colon or @ (UTS 39). A host that is not ASCII is shown with its network name too, because a whole word can look Latin.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
"""Content of a character class of a regular expression: all controls except tab and newline."""

UNSEEN: Final = (
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Content of a character class: characters shown as nothing."""

_JOINING = (
    r"\u0600-\u06ff\u0700-\u07ff\u0840-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\u1a20-\u1aaf\u1b00-\u1bff"
    r"\ua840-\ua87f\ua8e0-\ua8ff\ua980-\ua9ff\uaa00-\uaadf\ufb50-\ufdff\ufe70-\ufefc\U00010d00-\U00010d3f"
    r"\U00011000-\U000118ff\U0001e900-\U0001e95f"
)
_SIGN = (
    r"\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    r"\U0001f000-\U0001faff"
)
_FLAG = "|".join("".join(chr(0xE0000 + ord(c)) for c in name) + "\U000e007f" for name in ("gbeng", "gbsct", "gbwls"))
_NEEDED = (
    rf"(?<=[{_JOINING}])[\u200c\u200d](?=[{_JOINING}])"
    rf"|(?<=[{_SIGN}\ufe0f])\u200d(?=[{_SIGN}])"
    rf"|(?<=[{_SIGN}0-9#*\u3400-\u9fff])[\ufe00-\ufe0f](?![\ufe00-\ufe0f])"
    r"|(?<=[\u1800-\u18af])[\u180b-\u180f]|(?<=[\u2801-\u28ff])\u2800(?=[\u2801-\u28ff])"
    rf"|(?<=\U0001f3f4)(?:{_FLAG})"
)


@cache
def _first_hidden_pattern() -> re.Pattern[str]:
    """Return a pattern that finds the first character of any match of `_hidden_pattern`, ten times as fast."""
    return re.compile(f"[{CONTROLS}{UNSEEN}]")


@cache
def _hidden_run_pattern() -> re.Pattern[str]:
    """Return the pattern of many hidden characters in a row, which would push other text out of sight."""
    return re.compile(f"[{CONTROLS}{UNSEEN}]{{{MIN_HIDDEN_RUN},}}")


@cache
def _hidden_pattern() -> re.Pattern[str]:
    """Return the pattern of hidden characters. It is compiled on first use, because compiling is slow."""
    return re.compile(rf"(?P<needed>{_NEEDED})|[{CONTROLS}{UNSEEN}]")


_LETTERS = (
    "\u0405\u0406\u0408\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0430"  # Cyrillic
    "\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04ae\u04af\u04bb\u0501\u050c\u051a\u051b"  # Cyrillic
    "\u051c\u051d"  # Cyrillic
    "\u0251\u0261\u0269\u028f\u1d04\u1d0f\u1d20\u1d21\u1d22"  # IPA
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03b1\u03b3"  # Greek
    "\u03b9\u03ba\u03bd\u03bf\u03c1\u03c5\u03c7\u03f2\u03f3"  # Greek
    "\u0531\u053c\u054d\u0555\u0566\u0570\u0578\u057d\u0581\u0585"  # Armenian
)
_SIGNS = "\u02d0\u2024\u2044\u2215\u2236\u29f8\u3002\ua789\ufe55\ufe6b\uff0e\uff0f\uff1a\uff20\uff61"
_AS_LATIN = "SIJABEKMHOPCTYXaeopcyxsijYyhdGQqWwagiycovwzABEZHIKMNOPTYXayikvopuxcjULUOqhnugo:.//:/.::@./:@."
_AS_READ: Final = dict(zip(map(ord, _LETTERS + _SIGNS), _AS_LATIN, strict=True))
_CONTROL: Final = "[\x00-\x08\x0b-\x1f\x7f]+"
_LATIN = r"[0-9A-Za-z]"
_WORD: Final = re.compile(r"[^\W\d_]+")
_FALSE_LETTER: Final = f"[{_LETTERS}]"
_FALSE_SIGN: Final = rf"(?<={_LATIN})[{_SIGNS}](?={_LATIN})"


_NAME: Final = r"(@|://)?((?:[^\W_]|[-.\u0300-\u036f])+)"
"""Letters, digits and dots: a host if ``@`` or ``://`` precedes it, else perhaps a host or a file."""
_FALSE_LABEL: Final = f"[{_LETTERS}\u04cf]+"
LONGEST_HOST: Final = 253

MIN_HIDDEN_RUN: Final = 8
"""Hidden characters in a row from which on they are counted, not written out."""
MAX_KINDS: Final = 3
_CODE: Final = r"\[U\+[0-9A-F]{4,6}\]"
_EMPTY_LINES: Final = re.compile(rf"\n(?:(?:[^\S\n]|{_CODE})*+\n){{10,}}+")
_BLANKS: Final = re.compile(rf"(?:[^\S\n]|{_CODE}){{60,}}+")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]+")
"""Tag characters, which some programs read as the ASCII text that they repeat."""


def without_hidden(text: str) -> str:
    """Return the text without invisible characters, except those that join letters or emoji."""
    return replaced(text, lambda character: "")[0]


def replaced(text: str, by: Callable[[str], str]) -> tuple[str, int]:
    """Return the text with each invisible character replaced by ``by(character)``, and the number of replacements."""
    if not _first_hidden_pattern().search(text):
        return text, 0
    count = 0

    def one(found: re.Match[str]) -> str:
        nonlocal count
        if found["needed"]:
            return found["needed"]
        count += 1
        return by(found[0])

    return _hidden_pattern().sub(one, text), count


def visible(text: str) -> str:
    """Return the text with invisible and look-alike characters written out, such as ``[U+202E]``.

    Nothing is lost: a person reads all that a program would read. Many invisible characters in a row are counted.
    """
    text = text.replace("\r\n", "\n")
    if _plain(text):
        return text
    text = _hidden_run_pattern().sub(_count_hidden, text)
    text, _ = replaced(text, _written_out)
    text = re.sub(_NAME, _with_network_name, text)
    return re.sub(_FALSE_SIGN, lambda found: _written_out(found[0]), _WORD.sub(_letters, text))


def displayed(text: str) -> str:
    """Return the text with `visible` characters and with long gaps replaced by their length, because a person might
    overlook text behind a gap."""
    text = _EMPTY_LINES.sub(
        lambda gap: f"\n[{_measure(gap[0], gap[0].count(chr(10)) - 1, 'empty lines')}]\n", visible(text)
    )
    return _BLANKS.sub(lambda gap: f"[{_measure(gap[0], len(re.sub(_CODE, '', gap[0])), 'blanks')}]", text)


def _measure(gap: str, number: int, noun: str) -> str:
    """Return the number of blanks or lines in a gap, and of the hidden characters between them."""
    hidden = len(re.findall(_CODE, gap))
    return f"{number} {noun}{f' with {hidden} hidden characters' if hidden else ''}"


def _count_hidden(run: re.Match[str]) -> str:
    text = run[0]
    if _TAGS.fullmatch(text):
        kinds = f'"{"".join(chr(ord(one) - 0xE0000) for one in text)}" in tag characters'
    else:
        codes = [f"U+{ord(one):04X}" for one in dict.fromkeys(text)]
        more = len(codes) - MAX_KINDS
        kinds = ", ".join(codes[:MAX_KINDS]) + (f" and {more} more" if more > 0 else "")
    return f"[{len(text)} hidden characters: {kinds}]"


def as_read(text: str) -> str:
    """Return the text as a hurried person reads it, for comparison only: addresses that look the same become equal.
    Invisible characters are removed, letters are in lower case, and look-alikes become the characters they resemble."""
    if text.isascii():
        return re.sub(_CONTROL, "", text).lower()
    return unicodedata.normalize("NFKC", without_hidden(text).translate(_AS_READ)).casefold()


_READ_AS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"))
"""ASCII letters that a hurried person takes for others. The first of a pair is longer or rarer in names."""


def outline(text: str) -> str:
    """Return the text as `as_read`, with ASCII letters that resemble others replaced too: ``exarnple`` and ``example``
    have one outline."""
    text = as_read(text)
    for letters, instead in _READ_AS:
        text = text.replace(letters, instead)
    return text


def _plain(text: str) -> bool:
    return text.isascii() and (text.isprintable() or not _first_hidden_pattern().search(text))


def _with_network_name(found: re.Match[str]) -> str:
    """Return a host, or another word that looks Latin, followed by its network name (UTS 46) if both differ."""
    whole, place, host = found[0], found[1], found[2]
    if host.isascii() or not (place or _is_false(host)):
        return whole
    import idna  # imported only for such a host

    try:
        known = idna.encode(host[: LONGEST_HOST + 1].rstrip("."), uts46=True).decode()
    except idna.IDNAError:
        known = "no host has this name"
    return f"{whole} [{known}]"


def _is_false(name: str) -> bool:
    """Return True if a host name has a label of only look-alikes, while its last label is Latin."""
    *labels, last = name.split(".")
    return last.isascii() and last.isalpha() and any(re.fullmatch(_FALSE_LABEL, one) for one in labels)


def _letters(word: re.Match[str]) -> str:
    """Return a Latin word with letters of other scripts written out. Words of other scripts are unchanged."""
    text = word[0]
    mixed = not text.isascii() and re.search("[A-Za-z]", text)
    return re.sub(_FALSE_LETTER, lambda found: _written_out(found[0]), text) if mixed else text


def _written_out(character: str) -> str:
    return f"[U+{ord(character):04X}]"
