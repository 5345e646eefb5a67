"""Predicates of a policy file. Each tells of a value: it matches, it does not match, or that cannot be told.

A value that is missing, of another type, or written so that it only looks like one on the list, cannot be told. Then a
rule that allows does not apply, and a rule that asks or denies does: see `deputize.core.policy.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from deputize.core.visible_text import as_read


class Match(Enum):
    """The result of a condition. ``LATER``: it is known only with the preview of the act."""

    NO = "not matched"
    YES = "matched"
    UNSURE = "cannot be told"
    LATER = "known with the preview"


NO, YES, UNSURE, LATER = Match.NO, Match.YES, Match.UNSURE, Match.LATER

UNKNOWN: Final = (None,)
"""A value that cannot be told: one element, which no predicate can judge."""

Test: TypeAlias = Callable[[Any], Match]
"""Function of one element of a value."""
Whole: TypeAlias = Callable[[Sequence[Any]], Match]
"""Function of all elements of a value."""

MAX_CACHED_CHARACTERS: Final = 320
"""Characters up to which the domain of a text is remembered."""
MAX_COMPARED_CHARACTERS: Final = 20_000
"""Characters up to which a disguised text is looked for. Whether a longer one is disguised cannot be told."""
_ADDRESS: Final = re.compile(r"[^\s@\"<>(),;:\\\[\]]+@([^\s@\"<>(),;:\\\[\]/?#]+)")
_NAMED_ADDRESS: Final = re.compile(r"\"?[^\"<>@,;:\\]*\"?\s*<([^\s<>]+)>")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)+[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?")


def any_of(test: Test) -> Whole:
    """Return a function that matches if one element does: for rules that ask or deny."""

    def run(elements: Sequence[Any]) -> Match:
        found = NO
        for one in elements:
            if (now := test(one)) is YES:
                return YES
            if now is UNSURE:
                found = UNSURE
        return found

    return run


def all_of(test: Test) -> Whole:
    """Return a function that matches if there are elements, and all of them match: for rules that allow."""

    def run(elements: Sequence[Any]) -> Match:
        found = YES if elements else NO
        for one in elements:
            if (now := test(one)) is NO:
                return NO
            if now is UNSURE:
                found = UNSURE
        return found

    return run


def negate(test: Test) -> Test:
    """Return the opposite. What cannot be told stays so."""
    return lambda one: NO if (found := test(one)) is YES else YES if found is NO else found


# ----------------------------------------------------------------- strings and numbers


def loose(text: str) -> str:
    """Return the text as somebody could disguise it: without capitals, percent signs, hidden and look-alike characters.

    Texts that are equal only in this form cannot be told apart for certain.
    """
    for _ in range(3):
        if (plain := unquote(text)) == text:
            break
        text = plain
    return "".join(as_read(text).split())


def one_in(values: Iterable[Any]) -> Test:
    """Match an element that equals one of the values."""
    values = list(values)
    exact = {(isinstance(one, bool), one) for one in values}
    alike = {loose(str(one)) for one in values if not isinstance(one, bool)}

    def run(one: Any) -> Match:
        if not isinstance(one, str | int | float):
            return UNSURE
        if (isinstance(one, bool), one) in exact:
            return YES
        if isinstance(one, str) and len(one) > MAX_COMPARED_CHARACTERS:
            return UNSURE
        plain = loose(str(one))
        return UNSURE if not isinstance(one, bool) and not alike.isdisjoint((plain, plain.rstrip("."))) else NO

    return run


def fits_pattern(patterns: Iterable[str]) -> Test:
    """Match a string that fits one of the patterns, in which ``*`` stands for any characters."""
    exact = [one.split("*") for one in patterns]
    alike = [[loose(part) for part in one] for one in exact]

    def run(one: Any) -> Match:
        if not isinstance(one, str):
            return UNSURE
        if any(_fits(parts, one) for parts in exact):
            return YES
        if len(one) > MAX_COMPARED_CHARACTERS:
            return UNSURE
        plain = loose(one)
        both = plain, plain.rstrip(".")  # evil.example. is the domain evil.example
        return UNSURE if any(_fits(parts, text) for parts in alike for text in both) else NO

    return run


def has_name(patterns: Iterable[str]) -> Test:
    """Match a name that fits one of the patterns exactly. For names that no model writes, such as the user's."""
    known = frozenset(patterns)
    open_ = [one.split("*") for one in known if "*" in one]

    def run(one: Any) -> Match:
        if not isinstance(one, str):
            return UNSURE
        return YES if one in known or any(_fits(parts, one) for parts in open_) else NO

    return run


def _fits(parts: Sequence[str], text: str) -> bool:
    """Return True if the text consists of these parts in order, with any characters between two parts."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return text == first
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def number_of(one: Any) -> float | None:
    """Return the number that an element is, also as plain decimal digits, or None."""
    if isinstance(one, str) and _NUMBER.fullmatch(one):
        return float(one)
    if isinstance(one, bool) or not isinstance(one, int | float):
        return None
    return float(one) if abs(one) < 1e30 else None  # not for NaN either


def above(limit: float) -> Test:
    """Match a number above the limit."""
    return lambda one: UNSURE if (found := number_of(one)) is None else YES if found > limit else NO


def below(limit: float) -> Test:
    """Match a number below the limit."""
    return lambda one: UNSURE if (found := number_of(one)) is None else YES if found < limit else NO


# ----------------------------------------------------------------- domains


def domain_of(one: Any) -> str | None:
    """Return the domain of an address, or the host of a link, in its ASCII form. None if it is not exactly one."""
    if isinstance(one, Mapping):
        one = one.get("email")
    if not isinstance(one, str):
        return None
    return _domain_in_short(one) if len(one) <= MAX_CACHED_CHARACTERS else _domain_in(one)


def _domain_in(text: str) -> str | None:
    text = text.strip()
    if "://" in text:
        return _host_of(text)
    if named := _NAMED_ADDRESS.fullmatch(text):
        text = named[1]
    found = _ADDRESS.fullmatch(text)
    return _ascii_domain(found[1]) if found else None


_domain_in_short: Final = lru_cache(maxsize=2048)(_domain_in)
"""The same account and the same people come with most acts."""


def _host_of(text: str) -> str | None:
    if re.search(r"[\s\\\x00-\x1f]", text):
        return None
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return None
    return _ascii_domain(host) if host and parts.scheme in ("http", "https") and "@" not in parts.netloc else None


def _ascii_domain(domain: str) -> str | None:
    domain = domain[:-1] if domain.endswith(".") else domain
    if not domain.isascii():
        import idna  # imported only for such a domain

        try:
            domain = idna.encode(domain[:300], uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    domain = domain.lower()
    return domain if _DOMAIN.fullmatch(domain) else None


def domain_in(domains: Iterable[str]) -> Test:
    """Match an address at one of the domains, or a link to one. ``*.acme.example``: its subdomains, without itself."""
    plain = frozenset(one.lower() for one in domains)
    exact, below_ = {one for one in plain if one[:2] != "*."}, tuple(one[1:] for one in plain if one[:2] == "*.")

    def run(one: Any) -> Match:
        domain = domain_of(one)
        if domain is None:
            return UNSURE
        return YES if domain in exact or domain.endswith(below_) else NO

    return run


def checked_domain(text: str) -> bool:
    """Return True if a policy file may name this domain."""
    return _ascii_domain(text.removeprefix("*.")) == text.removeprefix("*.").lower()


# ----------------------------------------------------------------- values as a whole


def is_absent(wanted: bool) -> Test:
    """Match an element that was left out or is empty; or, if not wanted, any other."""
    return lambda one: UNSURE if one is MISSING else YES if (one in (None, "")) is wanted else NO


def count_above(limit: float) -> Whole:
    """Match more elements than the limit."""
    return lambda elements: UNSURE if _unknown(elements) else YES if len(elements) > limit else NO


def count_below(limit: float) -> Whole:
    """Match fewer elements than the limit."""
    return lambda elements: UNSURE if _unknown(elements) else YES if len(elements) < limit else NO


def _unknown(elements: Sequence[Any]) -> bool:
    return any(one is None or one is MISSING for one in elements)


class _Missing:
    """A value of which nobody can tell whether it is there."""


MISSING: Final = _Missing()


def elements_at(arguments: Any, path: Sequence[str]) -> Sequence[Any]:
    """Return the values at a dotted path. A path through a list leads into each of its elements. A name that equals a
    part of the path only as somebody could disguise it has a value that cannot be told: providers ignore capitals.
    Neither can a value inside of anything but a table: a tool may take a table as a string, or as a list of pairs."""
    found: list[Any] = [arguments]
    for part in path:
        deeper: list[Any] = []
        for one in found:
            for each in one if isinstance(one, list | tuple | set | frozenset) else (one,):
                plain = _plain(each)
                names = plain if isinstance(plain, Mapping) else {}
                alike = [MISSING for name in names if name != part and loose(str(name)) == loose(part)]
                absent = None if len(path) > 1 and (plain is None or plain is names) else MISSING
                deeper += [names[part], *alike] if part in names else alike or [absent]
        found = deeper
    ends: list[Any] = []
    for one in found:
        ends += map(_plain, one) if isinstance(one, list | tuple | set | frozenset) else [_plain(one)]
    return ends


def _plain(value: Any) -> Any:
    """Return a validated argument as plain data."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if hasattr(value, "isoformat") else value
