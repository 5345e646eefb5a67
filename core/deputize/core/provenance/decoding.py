"""Decoding of texts before identifiers are looked for, as a program or a patient reader would decode them.

``bob@evil.test`` is found in base64 or hex, as quoted-printable, with letters apart, backwards, in ROT13, and in words
("bob at evil dot test"). A decoding that only guesses counts if its result ends in a top-level domain that exists.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from html import unescape
from typing import Any, Final
from urllib.parse import unquote

from deputize.core.visible_text import as_read

RESERVED: Final = frozenset("example invalid internal local localhost onion test".split())
"""Top-level domains that the public suffix list leaves out."""

_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2}))")
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}+={0,2}")
_WRAPPED: Final = re.compile(r"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{40,}+\r?\n)++[A-Za-z0-9+/_-]++={0,2}")
_URL_SAFE: Final = str.maketrans("-_", "+/", "\r\n")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){6,}")
_QUOTED_SIGN: Final = re.compile(r"=(?:\r?\n|([0-9a-fA-F]{2}))")
_APART: Final = re.compile(r"(?<!\S)\S(?:[ \t]{1,2}\S){4,}(?!\S)")
_SPACED: Final = re.compile(r"(?<=\w)(?:\s{1,3}@\s{0,3}|@\s{1,3}|\s{1,3}\.\s{1,3})(?=\w)")

_ENDING: Final = re.compile(r"@([\w-]{1,64}+)(?:\. | \.)([a-z]{2,10})(?!\w)")
_LEFT: Final = r"[\s(\[{<_*|~/\"'-]{1,4}"
_RIGHT: Final = r"[\s)\]}>_*|~/\"'-]{1,4}"
_AT_WORDS: Final = "arroba|arobase|chiocciola|klammeraffe|at[ -]sign|@"
_DOT_WORDS: Final = "dot|punkt|punto|ponto|point|period|full stop"
_DOT: Final = re.compile(rf"(?<=[a-z0-9]){_LEFT}dot{_RIGHT}(?=[a-z0-9])")
_ANY_DOT: Final = re.compile(rf"(?<=[a-z0-9]){_LEFT}(?:{_DOT_WORDS}){_RIGHT}(?=[a-z0-9])")
# The words stand first in their patterns, because the search for a literal is fast.
_AT: Final = re.compile(rf"at(?<=[\s(\[{{<_*|~/\"'-]at){_RIGHT}(?=[a-z0-9-]{{1,64}}\.[a-z0-9])")
_ANY_AT: Final = re.compile(rf"(?:(?:{_AT_WORDS}){_RIGHT}|[(\[{{]a[)\]}}]\s{{0,2}})(?=[a-z0-9-]{{1,64}}\.[a-z0-9])")
_BESIDE: Final = " \t\r\n([{<_*|~/\"'-"
_LOCAL: Final = re.compile(r"[\w.+-]{1,64}")
_CAPITALS: Final = re.compile(r"(?<=[a-z0-9])(AT|DOT)(?=[a-z0-9])")
_AFTER: Final = re.compile(r"[a-z0-9-]{1,64}(?:\.[a-z0-9-]{1,64})+")
_HOST: Final = re.compile(r"(?<![\w.+@-])(?:[\w.+-]{1,64}@)?[\w-]{1,64}(?:\.[\w-]{1,64})+(?![\w@-])")


def unescaped(text: str) -> str:
    """Return the text with HTML entities, escapes of programs (``\\u0040``) and percent signs decoded."""
    if "&" in text:
        text = unescape(text)
    if "\\" in text:
        text = _ESCAPE.sub(_character, text)
    for _ in range(3):  # encoded twice in a link within a link
        if "%" not in text:
            break
        text = unquote(text)
    return text


def _character(found: re.Match[str]) -> str:
    number = int(found[1] or found[2] or found[3], 16)
    return chr(number) if number < 0x110000 else found[0]


def encoded_texts(text: str) -> Iterator[str]:
    """Yield the printable texts in base64, URL-safe or not, with or without padding, and in hex.

    Together they are shorter than twice the text. They may contain further encodings.
    """
    tokens = set(_TOKEN.findall(text))
    if any(len(one) >= 40 for one in tokens):
        tokens.update(_WRAPPED.findall(text))
    for token in tokens:
        if token.isalpha() and token[1:].islower():
            continue  # a word
        pieces = token.split("/") if "/" in token else ()
        yield from filter(None, (_decode(one) for one in (token, *pieces)))


def _decode(token: str) -> str:
    """Return the printable text that base64 or hex encodes, or ""."""
    if _HEX.fullmatch(token):
        data = bytes.fromhex(token)
    else:
        coded = token.rstrip("=").translate(_URL_SAFE)
        if len(coded) % 4 == 1 or len(coded) < 8:
            return ""
        data = binascii.a2b_base64(coded + "=" * (-len(coded) % 4))
    try:
        text = data.decode()
    except UnicodeError:
        return ""
    return text if text.isprintable() or all(one.isprintable() or one in "\r\n\t" for one in text) else ""


def respelled(text: str, plain: str) -> set[str]:
    """Return the addresses and hosts that a text contains in another spelling, in small letters.

    ``plain``: the text as `deputize.core.visible_text.as_read` returns it.
    """
    apart = ""
    if " @ " in plain or " . " in plain:
        apart = "\n".join(re.sub(r"\s", "", one) for one in _APART.findall(plain))
    found = set(_HOST.findall(apart)) if apart else set[str]()
    if "=" in text:
        found.update(_around(_QUOTED_SIGN, text, lambda part: as_read(_QUOTED_SIGN.sub(_quoted_character, part))))
    if "@" in plain or " . " in plain:
        found.update(_spaced(plain))
    found.update(_in_words(plain))
    if ("AT" in text or "DOT" in text) and _CAPITALS.search(text):
        found.update(_in_words(as_read(_CAPITALS.sub(r" \1 ", text))))
    for word in {*plain.split(), *apart.split()}:
        if "@" in word or "." in word:
            found.update(_guessed(word.strip("<>()[]{}\"',;:!?.")))
    return found


def _hosts_in(plain: str) -> set[str]:
    """Return the addresses and hosts in a text whose top-level domain exists."""
    return {one for one in set(_HOST.findall(plain)) if has_tld(one)}


def _quoted_character(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else ""


def _spaced(plain: str) -> Iterator[str]:
    """Yield the addresses and hosts that have blanks or a line break beside an @ or a dot."""
    if "@ " in plain or " @" in plain or "@\n" in plain or "\n@" in plain or " . " in plain:
        yield from _around(_SPACED, plain, lambda part: _SPACED.sub(lambda found: found[0].strip(), part))
    for found in _ENDING.finditer(plain):
        before = _LOCAL.match(plain[max(0, found.start() - 64) : found.start()][::-1])
        if before and has_tld(f".{found[2]}"):
            yield f"{before[0][::-1]}@{found[1]}.{found[2]}"


def _in_words(plain: str) -> Iterator[str]:
    """Yield the addresses and hosts in which @ and dots are written as words: ``bob at evil dot test``."""
    for at, dot in ((_AT, _DOT), (_ANY_AT, _ANY_DOT)):
        read = dot.sub(".", plain)
        for found in at.finditer(read):
            before = _LOCAL.match(read[max(0, found.start() - 70) : found.start()][::-1].lstrip(_BESIDE))
            after = _AFTER.match(read, found.end())
            if before and after and has_tld(after[0]):
                yield f"{before[0][::-1]}@{after[0]}"
    if "dot" in plain:
        yield from _around(_DOT, plain, lambda part: _DOT.sub(".", part))


def _around(sign: re.Pattern[str], plain: str, decode: Callable[[str], str]) -> Iterator[str]:
    """Yield the addresses and hosts near each sign, decoded. Signs that are close to each other are decoded once."""
    end = 0
    for found in sign.finditer(plain):
        if found.start() >= end:
            end = found.end() + 200
            yield from _hosts_in(decode(plain[max(0, found.start() - 100) : end + 100]))


def _guessed(word: str) -> Iterator[str]:
    """Yield the reversed word, and an address decoded from ROT13, if the result ends in an existing top-level domain
    and the word does not."""
    if len(word) > 128 or has_tld(word):
        return
    turned = (word[::-1], codecs.encode(word, "rot13")) if "@" in word else (word[::-1],)
    yield from (one for one in turned if has_tld(one) and _HOST.fullmatch(one))


# ----------------------------------------------------------------- domains


@cache
def _suffixes() -> Any:
    """Return the public suffix list of the installed package. It is loaded at the first host, because that is slow."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(accept_unknown=False)


@lru_cache(4096)
def registrable_domain(host: str) -> str:
    """Return the part of a host that somebody registered, such as ``evil.co.uk`` of ``pay.evil.co.uk``.

    Returns ``a.github.io`` unchanged, because everybody can have a name there, and a host without a known suffix.
    """
    labels = host.split(".")
    if labels[-1] in RESERVED:
        return ".".join(labels[-2:])
    return _suffixes().privatesuffix(host) or host


@lru_cache(4096)
def has_tld(host: str) -> bool:
    """Return True if the text ends in a dot and an existing top-level domain."""
    last = host.rpartition(".")[2]
    return last != host and (last in RESERVED or (bool(last) and _suffixes().publicsuffix(last) is not None))
