"""Masking what looks like a secret in a text that is to be shown or kept.

What tokens look like is said by each provider's row (`TokenShape`); what else may be a secret, by the name it goes by
or the header it stands in, is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from deputize.core.failures.patterns import compiled


class TokenShape(NamedTuple):
    """How tokens of a provider look. ``mark``: what a text must hold, in lower case, for ``pattern`` to be tried."""

    mark: str
    pattern: str


_shapes: Final[dict[TokenShape, None]] = {}
"""Those of all rows there are in this process, in the order they came."""

_PARAMETERS = "access_token|refresh_token|id_token|client_secret|code_verifier|subject_token|assertion"
_HEADERS = "authorization|x-api-key|cookie"
_IS = r"""(?:=|%3D|["']\s*:\s*["'])"""
_VALUE = r"""[^\s&"'<>]"""
_LIKE_NO_WORD = rf"(?={_VALUE}{{0,60}}?(?:[0-9]|[a-z][A-Z]))"
_SECRETS = [  # what a text must hold for the pattern to be worth a try, and the pattern; a group is kept
    (marks.split(), pattern)
    for marks, pattern in (
        (".eyj", r"\beyJ[A-Za-z0-9_\-]{8,2000}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"),  # JSON Web Tokens
        (_PARAMETERS.replace("|", " "), rf"(?i)((?<![A-Za-z0-9_])(?:{_PARAMETERS}){_IS}){_VALUE}{{6,}}"),
        # words by which other things go too: a "state" that is "closed" stays
        ("code state token", rf"((?<![A-Za-z0-9_])(?i:code|state|token){_IS}){_LIKE_NO_WORD}{_VALUE}{{6,}}"),
        ("bearer dpop", rf"((?i:\b(?:bearer|dpop)) ){_LIKE_NO_WORD}[\w.~+/=-]{{16,}}"),
        (_HEADERS.replace("|", " "), rf'(?i)(\b(?:{_HEADERS})"?\s*[:=]\s*"?)[^\r\n"]+'),
        # as a dict or a list of pairs prints them
        (_HEADERS.replace("|", " "), rf"""(?i)(\b(?:{_HEADERS})["']\s*[:,]\s*b?["'])[^\r\n"']+"""),
    )
]


def add_shapes(shapes: Iterable[TokenShape]) -> None:
    """Mask what looks like this from now on."""
    _shapes.update(dict.fromkeys(shapes))


def mask_tokens(text: str) -> str:
    """The text with what looks like a token of any provider masked, and all else as it is."""
    low = text.lower()
    for mark, pattern in tuple(_shapes):
        if mark in low:
            text = compiled(pattern).sub("[redacted]", text)
    return text


def redact(text: str) -> str:
    """The text with everything masked that looks like a token, a code, a secret or a credential header.

    The second line of defence: secrets are kept out of texts in the first place.
    """
    text = mask_tokens(text)
    low = text.lower()
    for marks, pattern in _SECRETS:
        if any(mark in low for mark in marks):
            found = compiled(pattern)
            text = found.sub(r"\1[redacted]" if found.groups else "[redacted]", text)
    return text
