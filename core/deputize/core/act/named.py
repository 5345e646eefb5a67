"""Which addresses, hosts, @handles, #channels, repositories and files a text names: in one form, to be compared.

Two that a hurried person takes for the same are the same: capitals, hidden and look-alike characters, ``(at)`` and
``[dot]``, ``hxxp``, percent signs and punycode make no difference. What is spelled in words, split or encoded otherwise
is not found. No form can be taken for another: ``bob@evil.test``, ``evil.test`` or ``notes.md``, ``@bob`` or an id,
``#general``, ``owner/name``, ``//docs.google.com/d/1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from deputize.core.act.show import Show
from deputize.core.providers import PROVIDERS
from deputize.core.text import LONGEST_HOST, as_read

LONGEST: Final = 300
"""Characters of one value that are compared."""
SHORT: Final = 200
"""Characters up to which a text of an act may be a target by itself; in longer ones only links and @handles are."""
_HOSTS: Final = frozenset(host for row in PROVIDERS.values() for host in row.shared_hosts)
"""Hosts where everybody has pages: of links there and below the whole address counts, of all others the host."""
_SHARED: Final = tuple(f".{host}" for host in sorted(_HOSTS))

_AT_OR_DOT: Final = re.compile(r"[(\[{<]\s{0,9}(?:at|@|dot|\.)\s{0,9}[)\]}>]")
_AT: Final = r"\s{0,9}[(\[{<]\s{0,9}(?:at|@)\s{0,9}[)\]}>]\s{0,9}"
_DOT: Final = r"\s{0,9}[(\[{<]\s{0,9}(?:dot|\.)\s{0,9}[)\]}>]\s{0,9}"
# Each begins where a word begins and gives nothing back: no text takes more than one look at each character.
_HOST: Final = r"[\w-]++(?:\.[\w-]++)++"
_LINK: Final = re.compile(rf"//(?:[^\s/@<>]{{1,64}}@)?({_HOST})(?::\d++)?([^\s<>\"'|)\]]*+)")
_ADDRESS: Final = re.compile(rf"(?<![\w.+-])([\w.+-]++)@({_HOST})")
_DOTTED: Final = re.compile(rf"(?<![\w@./-])({_HOST})(?!@)")
_HANDLE: Final = re.compile(r"(?<![\w.+'@-])@(\w[\w-]*+(?:\.\w++)*+)(?!@)")
_CHANNEL: Final = re.compile(r"(?<![\w&/#])#([a-z][\w-]++)")
_REPO: Final = re.compile(r"(?<![\w/.:@#-])([\w-]++/[\w.-]++)(?!/)")
_ID: Final = re.compile(r"[UWCGDSTB](?=[A-Z]{0,11}[0-9])(?<![A-Za-z0-9].)[A-Z0-9]{7,11}(?![A-Za-z0-9])")
_MARKUP: Final = frozenset("<>|")
_AROUND: Final = "<>()[]{}\"',;:!?."
_WORD: Final = re.compile(r"\w[\w-]*")


def named(text: str) -> set[str]:
    """All that a text names."""
    plain = _signs(folded(text))
    dotted = {_decoded(one)[:LONGEST] for one in _DOTTED.findall(plain) if one.rpartition(".")[2][0].isalpha()}
    return {*_links(plain), *_signed(plain, text), *dotted, *_repositories(plain)}


def linked(text: str) -> set[str]:
    """Where the links of a text lead."""
    return _links(folded(text))


def addressed(text: str) -> set[str]:
    """What a long text reaches by itself: where its links lead, and the people and groups that it mentions."""
    plain = folded(text)
    return {*_links(plain), *(f"@{one}"[:LONGEST] for one in _HANDLE.findall(plain))}


def whole(text: str) -> set[str]:
    """What a short text is, or names by a sign that other words do not have: a name alone is a handle, too."""
    plain = folded(text)
    alone = plain.strip().lstrip("@")
    found = {*_links(plain), *_signed(plain, text)}
    if _WORD.fullmatch(alone):
        found.add(f"@{alone}")
    elif _DOTTED.fullmatch(alone) or _REPO.fullmatch(alone):
        found.add(_decoded(alone)[:LONGEST])
    return found


def _signs(plain: str) -> str:
    """The words of a text that have a sign in them, which all have that are looked for."""
    return " ".join(one for one in plain.split() if "@" in one or "/" in one or "#" in one or "." in one[:-1])


def folded(text: str) -> str:
    """The text in the form in which its parts are compared."""
    text = as_read(text)
    if "%" in text:
        text = unquote(text)
    return re.sub(_DOT, ".", re.sub(_AT, "@", text)) if _AT_OR_DOT.search(text) else text


def _links(plain: str) -> set[str]:
    """Hosts, of shared ones whole addresses, and what could be a repository there."""
    found: set[str] = set()
    for host, path in _LINK.findall(plain) if "//" in plain else ():
        host = _decoded(host)
        shared = f".{host}".endswith(_SHARED)
        found.add(f"//{host}{path.rstrip('/.,;:!?')}"[:LONGEST] if shared else host)
        owner, name = [*path.strip("/").split("/"), "", ""][:2]
        if host in _HOSTS and owner and name:
            found.add(_repository(f"{owner}/{name}"))
    return found


def _signed(plain: str, text: str) -> set[str]:
    """Addresses, handles, channels and ids: what a sign tells from other words."""
    ids = {f"@{one.lower()}" for one in _ID.findall(text)}
    if "@" in plain:
        ids |= {f"{local.lstrip('.')}@{_decoded(host)}"[:LONGEST] for local, host in _ADDRESS.findall(plain)}
        ids |= {f"@{one}"[:LONGEST] for one in _HANDLE.findall(plain)}
    return ids | {f"#{one}"[:LONGEST] for one in _CHANNEL.findall(plain)} if "#" in plain else ids


def _repositories(plain: str) -> set[str]:
    return {_repository(one) for one in _REPO.findall(plain)} if "/" in plain else set()


def _repository(found: str) -> str:
    return found.rstrip(".,;:!?").removesuffix(".git")[:LONGEST]


def _decoded(host: str) -> str:
    """A host in its own letters, as it is read. One that is too long stays: decoding takes the square of its length."""
    if "xn--" not in host or len(host) > LONGEST_HOST:
        return host
    try:
        return as_read(host.encode("ascii").decode("idna"))
    except UnicodeError:
        return host


# ----------------------------------------------------------------- of acts


def targets(show: Show) -> dict[str, str]:
    """Whom and what an act that has shown itself is about: in the form that is compared, with the act's own words.

    These are its people, its place, its pins, and what its fields are or name, where they are short; of long texts,
    where others will see them, what they reach by themselves.
    """
    found = _with_words(show.where, named(show.where))
    for text in [*show.people, *texts(show.pins), *texts(show.fields)]:
        found |= _in_field(text, leaves=bool(show.audience))
    return found


def is_bare(value: str, words: str, show: Show | None) -> bool:
    """Whether a target is one only where it was read as a name: any word alone may be one."""
    return value == f"@{as_read(words)}" and not (show and words in show.people)


def targets_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """The same of an act that does not show, from its arguments."""
    found: dict[str, str] = {}
    for text in texts(arguments):
        found |= _in_field(text, leaves=True)
    return found


def _in_field(text: str, *, leaves: bool) -> dict[str, str]:
    if len(text) <= SHORT and "\n" not in text:
        return _with_words(text, whole(text))
    return _with_words("", addressed(text)) if leaves else {}


def _with_words(text: str, found: Iterable[str]) -> dict[str, str]:
    """Each with the word of the text that says it, as it stands there."""
    alone = [word.strip(_AROUND) for word in reversed(text.split())] if found else []
    said = {one: word for word in alone if not _MARKUP & set(word) for one in whole(word)}
    return {one: said.get(one, one) for one in sorted(found)}


def texts(value: Any) -> Iterator[str]:
    """Every text in a value: of a change the new one, of a file its name."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if value.keys() == {"before", "after"}:
            yield from texts(value["after"])
        elif value.keys() >= {"file", "mime", "size"}:
            yield str(value["file"])
        else:
            yield from texts(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from texts(one)
