"""Masking of secrets in text that will be displayed or stored.

Each provider defines the form of its tokens (`TokenShape`). Other secrets are recognized here by their name or header.
Anybody may have written the text, with any length. So each pattern is tried only at its mark, no part is read twice,
and the time is linear for any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from string import ascii_lowercase, ascii_uppercase
from typing import Final, NamedTuple, TypeAlias


class TokenShape(NamedTuple):
    """The form of a provider's tokens. ``mark``: a lower-case substring without which ``pattern`` is not tried.

    A pattern that begins with its mark costs nothing without it; any other pattern is tried on the whole text.
    """

    mark: str
    pattern: str


_shapes: Final[dict[TokenShape, None]] = {}
"""The forms of all providers in this process, in the order of registration."""

_REDACTED: Final = "[redacted]"
_PARAMETERS: Final = (
    *("access_token", "refresh_token", "id_token", "client_secret"),
    *("code_verifier", "subject_token", "assertion"),
)
_SCHEMES: Final = ("bearer", "dpop")
_HEADERS: Final = ("authorization", "x-api-key", "cookie")
_WORDS: Final = ("code", "state", "token")
"""Names with other uses, too: a "state" that is "closed" stays."""
_VALUE: Final = r"""[^\s&"'<>]"""
_NO_WORD: Final = r"[0-9]|[a-z][A-Z]"
_PART: Final = r"[A-Za-z0-9_\-]"
_JWT: Final = rf"\beyJ{_PART}{{8,}}+\.eyJ{_PART}{{8,}}+\.{_PART}*+"
_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)

_Found: TypeAlias = tuple[int, int, bool]
"""Start and end of a secret, and True; or False, and where to continue."""
_Find: TypeAlias = Callable[[str, int], _Found]
"""Finds a secret in a text at a mark."""
_Mask: TypeAlias = Callable[[str, str], str]
"""Masks secrets in a text, which is also passed in lower case."""


def add_shapes(shapes: Iterable[TokenShape]) -> None:
    """Register forms of tokens to mask."""
    _shapes.update(dict.fromkeys(shapes))


def redact(text: str) -> str:
    """Return the text with all substrings masked that look like a token, a code, a secret or a credential header.

    This is the second line of defence: secrets should not get into texts in the first place.
    """
    return _mask_all(text, (*_provider_masks(tuple(_shapes)), *_other_masks()))


def _mask_all(text: str, secrets: Iterable[tuple[str, _Mask]]) -> str:
    """Return the text without these kinds of secrets. Each kind is searched only if its mark is in the text."""
    low = _lower(text)
    for mark, mask in secrets:
        if mark in low and (masked := mask(text, low)) is not text:
            text, low = masked, _lower(masked)
    return text


def _lower(text: str) -> str:
    """Return the text in lower case with the same length. Some letters would become two, which shifts positions."""
    low = text.lower()
    return low if len(low) == len(text) else text.translate(_LOWER)


def _mask_at(mark: str, find: _Find) -> tuple[str, _Mask]:
    """Return the mark, and a function that masks secrets at it."""

    def mask(text: str, low: str) -> str:
        parts, done, at = list[str](), 0, low.find(mark)
        while at >= 0:
            begin, end, secret = find(text, at)
            if secret:
                parts += (text[done:begin], _REDACTED)
                done = end
            at = low.find(mark, max(end, at + 1))
        return "".join((*parts, text[done:])) if parts else text

    return mark, mask


# ------------------------------------------------------------- secrets at a mark


@cache
def _provider_masks(shapes: tuple[TokenShape, ...]) -> tuple[tuple[str, _Mask], ...]:
    """Return the marks and masks for tokens of these forms."""
    return tuple(
        _mask_at(mark, _whole(pattern)) if _leads(mark, pattern) else (mark, _anywhere(pattern))
        for mark, pattern in shapes
    )


def _anywhere(pattern: str) -> _Mask:
    return lambda text, low: re.sub(pattern, _REDACTED, text)


def _whole(pattern: str) -> _Find:
    """Return a finder of the whole match."""

    def find(text: str, at: int) -> _Found:
        found = re.compile(pattern).match(text, at)
        return (*found.span(), True) if found else (at, at, False)

    return find


def _value(pattern: str, *, no_word: bool = False) -> _Find:
    """Return a finder of the pattern's second group. ``no_word``: skips values that are plain words."""

    def find(text: str, at: int) -> _Found:
        found = re.compile(pattern).match(text, at)
        if found is None:
            return at, at, False
        return (*found.span(2), not no_word or bool(re.compile(_NO_WORD).search(text, *found.span(2))))

    return find


def _web_token(text: str, at: int) -> _Found:
    """Find a JSON Web Token at this position. If none begins here, none begins later in the same run of characters."""
    found = re.compile(_JWT).match(text, at)
    if found:
        return *found.span(), True
    run = re.compile(rf"\b{_PART}++").match(text, at)
    return at, run.end() if run else at, False


@cache
def _other_masks() -> tuple[tuple[str, _Mask], ...]:
    """Return masks for other secrets by their marks."""
    named = rf"""((?<![A-Za-z0-9_])(?i:{{}}(?:=|%3D|["']\s*+:\s*+["'])))({_VALUE}{{{{6,}}}}+)"""
    header = r"""(?i)(\b{}"?\s*+[:=]\s*+"?)([^\r\n"]++)"""
    printed = r"""(?i)(\b{}["']\s*+[:,]\s*+b?["'])([^\r\n"']++)"""  # as a dict or a list of pairs prints it
    return (
        _mask_at("eyj", _web_token),
        *(_mask_at(name, _value(named.format(name))) for name in _PARAMETERS),
        *(_mask_at(name, _value(named.format(name), no_word=True)) for name in _WORDS),
        *(_mask_at(f"{name} ", _value(rf"((?i:\b{name}) )([\w.~+/=-]{{16,}}+)", no_word=True)) for name in _SCHEMES),
        *(_mask_at(name, _value(form.format(name))) for form in (header, printed) for name in _HEADERS),
    )


def _leads(mark: str, pattern: str) -> bool:
    """Return True if every match of the pattern begins with the mark."""
    rest = re.sub(r"\A(?:\\b|\(\?<!\[[^\]]*\]\))*", "", pattern)
    begins = next((one for one in (re.escape(mark), mark) if rest.lower().startswith(one)), "")
    bare = re.sub(r"\\.|\[[^\]]*\]", "_", rest)
    while bare != (bare := re.sub(r"\([^()]*\)", "_", bare)):
        pass
    return bool(begins) and "|" not in bare and rest[len(begins) :][:1] not in ("?", "*", "{", "+")
