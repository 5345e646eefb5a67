"""Masking what looks like a secret in a text that is to be shown or kept.

What tokens look like is said by each provider's row (`TokenShape`); what else may be a secret, by the name it goes by
or the header it stands in, is here. A text may be what a stranger answered, of any length: so each pattern is tried
where its mark stands and nowhere else, no place is looked at twice, and the time is linear whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from string import ascii_lowercase, ascii_uppercase
from typing import Final, NamedTuple, TypeAlias

from deputize.core.failures.patterns import compiled


class TokenShape(NamedTuple):
    """How tokens of a provider look. ``mark``: what a text must hold, in lower case, for ``pattern`` to be tried.

    A pattern that begins with its mark costs nothing where the mark is not; any other is tried on the whole text.
    """

    mark: str
    pattern: str


_shapes: Final[dict[TokenShape, None]] = {}
"""Those of all rows there are in this process, in the order they came."""

_REDACTED: Final = "[redacted]"
_PARAMETERS: Final = (
    *("access_token", "refresh_token", "id_token", "client_secret"),
    *("code_verifier", "subject_token", "assertion"),
)
_SCHEMES: Final = ("bearer", "dpop")
_HEADERS: Final = ("authorization", "x-api-key", "cookie")
_WORDS: Final = ("code", "state", "token")
"""By these names other things go, too: a "state" that is "closed" stays."""
_VALUE: Final = r"""[^\s&"'<>]"""
_NO_WORD: Final = r"[0-9]|[a-z][A-Z]"
_PART: Final = r"[A-Za-z0-9_\-]"
_JWT: Final = rf"\beyJ{_PART}{{8,}}+\.eyJ{_PART}{{8,}}+\.{_PART}*+"
_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)

_Found: TypeAlias = tuple[int, int, bool]
"""Where a secret begins and ends, and True; or False, and where it is worth looking on."""
_Find: TypeAlias = Callable[[str, int], _Found]
"""What is found in a text where a mark stands."""
_Mask: TypeAlias = Callable[[str, str], str]
"""Makes of a text, which is given in lower case, too, one without secrets."""


def add_shapes(shapes: Iterable[TokenShape]) -> None:
    """Mask what looks like this from now on."""
    _shapes.update(dict.fromkeys(shapes))


def redact(text: str) -> str:
    """The text with everything masked that looks like a token, a code, a secret or a credential header.

    The second line of defence: secrets are kept out of texts in the first place.
    """
    return _all_masked(text, (*_of_providers(tuple(_shapes)), *_others()))


def _all_masked(text: str, secrets: Iterable[tuple[str, _Mask]]) -> str:
    """The text without these kinds of secrets; each is looked for where its mark is anywhere in the text."""
    low = _lower(text)
    for mark, mask in secrets:
        if mark in low and (masked := mask(text, low)) is not text:
            text, low = masked, _lower(masked)
    return text


def _lower(text: str) -> str:
    """In lower case, letter by letter: some letters would become two, and places would no longer fit."""
    low = text.lower()
    return low if len(low) == len(text) else text.translate(_LOWER)


def _where(mark: str, find: _Find) -> tuple[str, _Mask]:
    """Masks what is found where the mark stands."""

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


# ------------------------------------------------------------- what is found at a mark


@cache
def _of_providers(shapes: tuple[TokenShape, ...]) -> tuple[tuple[str, _Mask], ...]:
    """The tokens that these shapes describe."""
    return tuple(
        _where(mark, _whole(pattern)) if _leads(mark, pattern) else (mark, _anywhere(pattern))
        for mark, pattern in shapes
    )


def _anywhere(pattern: str) -> _Mask:
    return lambda text, low: compiled(pattern).sub(_REDACTED, text)


def _whole(pattern: str) -> _Find:
    """All that the pattern stands for."""

    def find(text: str, at: int) -> _Found:
        found = compiled(pattern).match(text, at)
        return (*found.span(), True) if found else (at, at, False)

    return find


def _value(pattern: str, *, no_word: bool = False) -> _Find:
    """The second group of the pattern; with ``no_word`` only a value that is no plain word."""

    def find(text: str, at: int) -> _Found:
        found = compiled(pattern).match(text, at)
        if found is None:
            return at, at, False
        return (*found.span(2), not no_word or bool(compiled(_NO_WORD).search(text, *found.span(2))))

    return find


def _web_token(text: str, at: int) -> _Found:
    """A JSON Web Token. Where none begins, none begins later in the same run of characters either."""
    found = compiled(_JWT).match(text, at)
    if found:
        return *found.span(), True
    run = compiled(rf"\b{_PART}++").match(text, at)
    return at, run.end() if run else at, False


@cache
def _others() -> tuple[tuple[str, _Mask], ...]:
    """What else may be a secret: the mark that it begins with, and how it is found there."""
    named = rf"""((?<![A-Za-z0-9_])(?i:{{}}(?:=|%3D|["']\s*+:\s*+["'])))({_VALUE}{{{{6,}}}}+)"""
    header = r"""(?i)(\b{}"?\s*+[:=]\s*+"?)([^\r\n"]++)"""
    printed = r"""(?i)(\b{}["']\s*+[:,]\s*+b?["'])([^\r\n"']++)"""  # as a dict or a list of pairs prints it
    return (
        _where("eyj", _web_token),
        *(_where(name, _value(named.format(name))) for name in _PARAMETERS),
        *(_where(name, _value(named.format(name), no_word=True)) for name in _WORDS),
        *(_where(f"{name} ", _value(rf"((?i:\b{name}) )([\w.~+/=-]{{16,}}+)", no_word=True)) for name in _SCHEMES),
        *(_where(name, _value(form.format(name))) for form in (header, printed) for name in _HEADERS),
    )


def _leads(mark: str, pattern: str) -> bool:
    """Whether all that this pattern stands for begins with its mark."""
    rest = re.sub(r"\A(?:\\b|\(\?<!\[[^\]]*\]\))*", "", pattern)
    begins = next((one for one in (re.escape(mark), mark) if rest.lower().startswith(one)), "")
    bare = re.sub(r"\\.|\[[^\]]*\]", "_", rest)
    while bare != (bare := re.sub(r"\([^()]*\)", "_", bare)):
        pass
    return bool(begins) and "|" not in bare and rest[len(begins) :][:1] not in ("?", "*", "{", "+")
