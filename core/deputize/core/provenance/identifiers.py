"""Identifiers in a text: addresses, hosts, @handles, #channels, repositories and files, in a comparable form.

Two identifiers are equal if a hurried person takes them for the same. So these are ignored: letter case, hidden and
look-alike characters, ``(at)`` and ``[dot]``, ``hxxp``, percent signs, punycode, ``www.``, Markdown and quotes, and the
spellings of `deputize.core.provenance.decoding`. The aliases of a mailbox are one identifier: ``bob+1@evil.test``, and
``b.ob@googlemail.com``. The forms cannot be confused: ``bob@evil.test``, ``evil.test`` or ``notes.md``, ``@bob`` or an
id, ``#general``, ``owner/name``, ``//docs.google.com/d/1``, the bank account ``DE89370400440532013000``, the phone
number ``+491701234567``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from deputize.core.provenance.decoding import encoded_texts, registrable_domain, respelled, unescaped
from deputize.core.providers import PROVIDERS
from deputize.core.providers.google import MAILBOX_DOMAINS
from deputize.core.tools.preview import Preview
from deputize.core.tools.preview_values import is_change, is_file
from deputize.core.visible_text import LONGEST_HOST, as_read

MAX_DEPTH: Final = 2
"""Encodings within each other that are decoded."""
MAX_CHARACTERS: Final = 300
"""Characters of one value that are compared."""
MAX_TARGET_CHARACTERS: Final = 200
"""Characters up to which a text may be a target as a whole, such as a name without a sign."""
_FILE_ENDINGS: Final = frozenset(
    """7z bak bash bat bib bin bmp bz2 cfg class conf cpp cs css csv dbf deb diff dll dmg doc docx dot ejs eml
    env eps epub erb exe gif go gz h5 hbs heic hpp htm html ico ics ini ipynb iso jar java jpeg jpg js json
    jsonl jsx key kt less lock log lua m4a markdown md mdx mjs mkv mov mp3 mp4 msg msi numbers odp ods odt ogg
    otf pages patch pdf pem php pl png ppt pptx proto ps1 psd py pyc pyi rar rb rpm rs rst rtf sass scss sh sql
    sqlite srt svg swift tar tex tgz tif tiff toml ts tsv tsx ttf txt vcf vue wav webm webp whl woff woff2 xls
    xlsm xlsx xml xsd xsl yaml yml zip zsh""".split()
)
"""File extensions: ``notes.md`` is a host only with a path, a scheme or ``www.``."""
_HOSTS: Final = frozenset(host for row in PROVIDERS.values() for host in row.apis.shared_hosts)
"""Hosts where anybody can have pages: the whole URL of a link there is compared, not only the host."""
_SHARED: Final = tuple(f".{host}" for host in sorted(_HOSTS))

_AT_OR_DOT: Final = re.compile(r"[(\[{<]\s{0,9}(?:at|@|dot|\.)\s{0,9}[)\]}>]")
_AT: Final = r"\s{0,9}[(\[{<]\s{0,9}(?:at|@)\s{0,9}[)\]}>]\s{0,9}"
_DOT: Final = r"\s{0,9}[(\[{<]\s{0,9}(?:dot|\.)\s{0,9}[)\]}>]\s{0,9}"
# Each pattern begins at a word's start and never backtracks, so that the time is linear in the text.
_HOST: Final = r"[\w-]++(?:\.[\w-]++)++"
_LINK: Final = re.compile(rf"//(?:[^\s/@<>]{{1,64}}@)?({_HOST})(?::\d++)?((?:[^\s<>\"'|)\]:]|:(?!//))*+)")
_UNDOTTED: Final = re.compile(r"://(?:[^\s/@<>]{1,64}@)?(\[[0-9a-f:.]{2,45}\]|[\w-]++)(?!\.?[\w@-])")
"""Hosts of links without a dot: ``http://[2001:db8::1]/x``, ``http://3221225985/``, ``http://wiki/``."""
_ADDRESS: Final = re.compile(rf"(?<![\w.+-])([\w.+-]++)@({_HOST})")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*+://(?:[^\s/@]*@)?([^\s/:?#\\]++)\S*+")
_DOTTED: Final = re.compile(rf"(?<![\w@./-])({_HOST})(?!@)")
_NO_SCHEME: Final = re.compile(rf"{_DOTTED.pattern}(?::\d++)?((?:/[^\s<>\"'|)\]]*+)?)")
_QUOTES: Final = "<>\"'\u2018-\u201f\u00ab\u00bb\u2039\u203a"
_TAG: Final = re.compile(r"<(?:/?[a-z]{1,10}(?:\s[^<>@]{0,40})?/?>|!--[^<>]{0,40}-->)")
_MARKS: Final = re.compile(r"[*`~\\]")
_QUOTE_BEFORE: Final = re.compile(rf"[{_QUOTES}](?<![{_QUOTES}][{_QUOTES}])[{_QUOTES}]*+(?=[@.])")
_QUOTE_AFTER: Final = re.compile(rf"([@.])[{_QUOTES}]++")
_JOINING: Final = re.compile("[\u200c\u200d\u20e3\ufe00-\ufe0f]")
"""Characters that `as_read` keeps after digits and signs that may need them. No address needs them."""
_HANDLE: Final = re.compile(r"(?<![\w.+'@-])@(\w[\w-]*+(?:\.\w++)*+)(?!@)")
_CHANNEL: Final = re.compile(r"#(?<![\w&/#]#)(?<!\]\(#)([a-z][\w-]++)")
_REPO: Final = re.compile(r"(?<![\w/.:@#-])([\w-]++/[\w.-]++)(?!/)")
_ID: Final = re.compile(r"[UWCGDSTB](?=[A-Z]{0,11}[0-9])(?<![A-Za-z0-9].)[A-Z0-9]{7,11}(?![A-Za-z0-9])")
_IBAN: Final = re.compile(r"(?<![a-z0-9])[a-z] ?[a-z] ?[0-9] ?[0-9](?:[\s.\u2010-\u2015-]?[a-z0-9]){11,30}+")
_IBAN_GROUP: Final = re.compile(r"[a-z0-9]+")
_DIGITS: Final = r"[1-9](?:[ \t.()/\u2010-\u2015-]{0,3}[0-9]){6,14}+(?![\w@])"
_PHONES: Final = {one: re.compile(rf"{re.escape(one)}(?<![\w+/=.@-]{re.escape(one)}){_DIGITS}") for one in ("+", "00")}
_BRACKETS: Final = frozenset("<>|")
_NOT_HOST: Final = frozenset("@#/+")
_ENDS: Final = "._+-"
_AROUND: Final = "<>()[]{}\"',;:!?."
_WORD: Final = re.compile(r"\w[\w-]*")


def named(text: str) -> set[str]:
    """Return all identifiers in a text."""
    read, numbers = _readings(text)
    plain = _signs(read)
    dotted = [one for one in set(_DOTTED.findall(plain)) if one.rpartition(".")[2][0].isalpha()]
    names = {form[:MAX_CHARACTERS] for one in dotted for form in (_decode_host(one), _host(one))}
    return {*_links(plain), *_signed_identifiers(plain, text), *names, *_repositories(plain), *numbers}


def linked_identifiers(text: str) -> set[str]:
    """Return the targets of the links in a text."""
    return _links(_readings(text)[0])


def signed_identifiers(text: str) -> set[str]:
    """Return the identifiers in a text of any length that a sign (such as @ or #) or check digits tell from words."""
    read, numbers = _readings(text)
    return {*_links(read), *_signed_identifiers(read, text), *numbers}


def whole(text: str) -> set[str]:
    """Return the identifiers in a short text: those with a sign, and the whole text if it is one identifier. A single
    name counts as a handle."""
    alone = fold(text).strip().lstrip("@")
    found = signed_identifiers(text)
    if _WORD.fullmatch(alone):
        found.add(f"@{alone}")
    elif _DOTTED.fullmatch(alone) or _REPO.fullmatch(alone):
        found.add(_decode_host(alone)[:MAX_CHARACTERS])
    return found


def part_of(value: str) -> Iterator[str]:
    """Yield the parent domains of a host, whose owners also own the host: ``evil.test`` for ``pay.evil.test``. Yields
    nothing for other identifiers."""
    if not _NOT_HOST & set(value) and _is_host(value, ""):
        labels = value.split(".")
        yield from (".".join(labels[one:]) for one in range(1, len(labels) - 1))


def is_link(text: str, hosts: frozenset[str] | None = None) -> bool:
    """Return True if the text is one URL with a scheme. ``hosts``: True only if it is at one of these hosts."""
    found = _URL.fullmatch(text.strip().lower())
    return found is not None and (hosts is None or f".{found[1]}".endswith(tuple(f".{one}" for one in hosts)))


def owned_by(value: str) -> str:
    """Return the registrable domain of a host, whose owner owns the host too; any other identifier unchanged."""
    return registrable_domain(value) if not _NOT_HOST & set(value) and _is_host(value, "") else value


def _readings(text: str, depth: int = MAX_DEPTH) -> tuple[str, set[str]]:
    """Return two things: the text in comparable form, followed by its words without markup and its decodings; and the
    text's bank accounts and phone numbers."""
    plain = fold(text)
    read = _without_markup(plain)
    found, numbers = [plain], _numbers(read)
    if read != plain:
        found += set(read.split()).difference(plain.split())
    if depth:
        found += respelled(text, plain)
        for one in encoded_texts(text):
            further, more = _readings(one, depth - 1)
            found.append(further)
            numbers |= more
    return "\n".join(found), numbers


def _without_markup(plain: str) -> str:
    """Return the text without markup in an address or a host: ``**bob**@evil.test``, ``"bob"@evil.test``."""
    if "<" in plain:
        plain = _TAG.sub(_tag, plain)
    if _MARKS.search(plain):
        plain = _MARKS.sub("", plain)
    return _QUOTE_AFTER.sub(r"\1", _QUOTE_BEFORE.sub("", plain))


def _tag(found: re.Match[str]) -> str:
    """Return "" for an HTML tag. Return the tag itself if it may be part of an address: ``<bob>@evil.test``."""
    start, end, text = found.start(), found.end(), found.string
    word = start and (text[start - 1].isalnum() or text[start - 1] == "_")
    return found[0] if text[end : end + 1] == "@" and not word and not found[0].startswith("<!") else ""


def _signs(plain: str) -> str:
    """Return only the words that contain a sign, because every identifier contains one."""
    words = dict.fromkeys(plain.split())
    return " ".join(one for one in words if "@" in one or "/" in one or "#" in one or "." in one[:-1])


def fold(text: str) -> str:
    """Return the text in the form for comparison."""
    text = as_read(unescaped(text))
    if not text.isascii():
        text = _JOINING.sub("", text)
    return re.sub(_DOT, ".", re.sub(_AT, "@", text)) if _AT_OR_DOT.search(text) else text


def _links(plain: str) -> set[str]:
    """Return the host of each link, and the repository that the link may name.

    At a host where anybody can have a page (`_SHARED`), the host identifies nobody: the whole URL is returned instead.
    """
    links = set(_LINK.findall(plain)) if "//" in plain else set()
    if "://" in plain:
        links |= {(host, "") for host in _UNDOTTED.findall(plain)}
    if "." in plain:
        links |= {(host, path) for host, path in set(_NO_SCHEME.findall(plain)) if _is_host(host, path)}
    found: set[str] = set()
    for host, path in links:
        host = _host(host)
        shared = f".{host}".endswith(_SHARED)
        found.add(f"//{host}{path.rstrip('/.,;:!?')}"[:MAX_CHARACTERS] if shared else host[:MAX_CHARACTERS])
        if path and host in _HOSTS:
            owner, name = [*path.strip("/").split("/"), "", ""][:2]
            found |= {_repository(f"{owner}/{name}")} if owner and name else set()
    return found


def _signed_identifiers(plain: str, text: str) -> set[str]:
    """Return the addresses, handles, channels and ids: a sign distinguishes them from words."""
    ids = {f"@{one.lower()}" for one in _ID.findall(text)}
    if "@" in plain:
        ids |= _addresses(plain) | {f"@{one}"[:MAX_CHARACTERS] for one in _HANDLE.findall(plain)}
    return ids | {f"#{one}"[:MAX_CHARACTERS] for one in _CHANNEL.findall(plain)} if "#" in plain else ids


def _addresses(plain: str) -> set[str]:
    """Return the email addresses without signs at their ends, which may be markup or disguise the address."""
    found = set(_ADDRESS.findall(plain)) if "@" in plain else ()
    return {_mailbox(local.strip(_ENDS) or local, _host(host))[:MAX_CHARACTERS] for local, host in found}


def _mailbox(local: str, host: str) -> str:
    """Return the mailbox of an address: without its tag, and at Gmail without dots."""
    local = local.partition("+")[0] or local
    return f"{local.replace('.', '') or local}@{MAILBOX_DOMAINS[0]}" if host in MAILBOX_DOMAINS else f"{local}@{host}"


def _numbers(plain: str) -> set[str]:
    """Return the bank accounts (IBAN, ISO 13616) in upper case, and the phone numbers in E.164 form."""
    accounts = (_account(one) for one in _IBAN.findall(plain))
    phones = (
        one for sign, phone in _PHONES.items() if sign in plain for one in phone.findall(plain) if not one.isdigit()
    )
    digits = (re.sub("[^0-9]", "", one.replace("(0)", "")).removeprefix("00") for one in phones)
    return {one for one in accounts if one}.union(f"+{one}" for one in digits if 7 < len(one) < 16)


def _has_check_digits(account: str) -> bool:
    return int("".join(str(int(one, 36)) for one in account[4:] + account[:4])) % 97 == 1


def _account(found: str) -> str:
    """Return the longest part from the first group on that has valid check digits, or ""."""
    account = whole = ""
    for group in _IBAN_GROUP.findall(found):
        whole += group
        if 14 < len(whole) < 35 and _has_check_digits(whole):
            account = whole.upper()
    return account


def _repositories(plain: str) -> set[str]:
    return {_repository(one) for one in _REPO.findall(plain)} if "/" in plain else set()


def _repository(found: str) -> str:
    return found.rstrip(".,;:!?").removesuffix(".git")[:MAX_CHARACTERS]


def _is_host(found: str, path: str) -> bool:
    """Return True if dotted words without a scheme are a host, not a file, a version or an abbreviation."""
    last = found.rstrip(_ENDS).rpartition(".")[2]
    if len(last) < 2 or not (last.isalpha() or last.startswith("xn--")):
        return False
    return bool(path) or last not in _FILE_ENDINGS or found.startswith("www.")


def _host(found: str) -> str:
    """Return a host in decoded form, without ``www.`` and without signs around its labels, which would disguise it."""
    if "_" in found or "-" in found:
        found = ".".join(part for one in found.split(".") if (part := one.strip(_ENDS))) or found
    host = _decode_host(found)
    return host.removeprefix("www.") if host.startswith("www.") and host.count(".") > 1 else host


def _decode_host(host: str) -> str:
    """Return a host with punycode decoded. A very long host is unchanged, because decoding takes quadratic time."""
    if "xn--" not in host or len(host) > LONGEST_HOST:
        return host
    try:
        return as_read(host.encode("ascii").decode("idna"))
    except UnicodeError:
        return host


# ----------------------------------------------------------------- of acts


def targets(show: Preview) -> dict[str, str]:
    """Return the targets of an act with a preview: their comparable forms, with the preview's own words.

    Targets are the people, place and pins, and short fields. Long texts count only if others will see them, and only
    their identifiers with a sign. If an identifier is in the old and in the new value of a change, it is not a target.
    """
    leaves = bool(show.audience)
    before = {name: _replaced_identifiers(value) for name, value in show.fields.items() if is_change(value)}
    listed = set().union(*(there for name, there in before.items() if isinstance(show.fields[name]["before"], list)))
    parts: list[tuple[Any, set[str]]] = [([*show.people, *show.pins.values()], listed)]
    parts += [(value, before.get(name, set())) for name, value in show.fields.items()]
    found = _with_words(show.where, named(show.where))
    for value, there in parts:
        for text in texts(value):
            found |= {one: said for one, said in _field_identifiers(text, leaves=leaves).items() if one not in there}
    return found


def _replaced_identifiers(change: Mapping[str, Any]) -> set[str]:
    """Return the identifiers in the old value of a change."""
    return {one for text in texts(change["before"]) for one in _field_identifiers(text, leaves=True)}


def is_bare(value: str, words: str, show: Preview | None) -> bool:
    """Return True if the target is only a single word of a text, which may be a name."""
    return value == f"@{as_read(words)}" and not (show and words in show.people)


def targets_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the targets of an act without a preview, from its arguments."""
    found: dict[str, str] = {}
    for text in texts(arguments, ours=False):
        found |= _field_identifiers(text, leaves=True)
    return found


def _field_identifiers(text: str, *, leaves: bool) -> dict[str, str]:
    if len(text) <= MAX_TARGET_CHARACTERS and "\n" not in text:
        return _with_words(text, whole(text))
    found = signed_identifiers(text) if leaves else ()
    return _with_words("", [one for one in found if not one.startswith("#")])  # there, # mostly marks a section


def _with_words(text: str, found: Iterable[str]) -> dict[str, str]:
    """Return each identifier with the word of the text that contains it."""
    alone = [word.strip(_AROUND) for word in reversed(text.split())] if found else []
    said = {one: word for word in alone if not _BRACKETS & set(word) for one in whole(word)}
    return {one: said.get(one, one) for one in sorted(found)}


def texts(value: Any, *, ours: bool = True) -> Iterator[str]:
    """Yield every string in a value: the new text of a change, the name of a file. ``ours``: True if a mapping may be a
    change or a file, as in the fields of a `Preview` but not inside other mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if ours and is_change(value):
            yield from texts(value["after"])
        elif ours and is_file(value):
            yield str(value["file"])
        else:
            yield from texts(list(value.values()), ours=False)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from texts(one, ours=ours)
