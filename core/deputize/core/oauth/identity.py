"""Whose account a token is, and what it may do where no scope says it: where a provider shows that, how it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal, NamedTuple

from deputize.core.text import CONTROLS, without_hidden
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Account

MAX_OF_SUBJECT: Final = 255
"""Characters that tell an account from another: OpenID Connect Core 2 has no longer ones."""
MAX_OF_NAME: Final = 254
"""Characters of an account's name that are shown: those of the longest e-mail address (RFC 5321 4.5.3.1)."""
_SUBJECT: Final = rf"[^{CONTROLS}\t\n]{{1,{MAX_OF_SUBJECT}}}"
_FIELD: Final = r"\{([\w.|]+)\}"


@frozen
class Identity(ValueObject):
    """How to learn whose account a token is.

    ``method`` and ``json``: of the request, where it is not a plain GET. Templates name fields of the reply:
    ``{sub}``, ``{data.viewer.id}``; ``{email|name}`` is the first of these that is there. ``subject`` must be stable,
    ``name`` is for people, ``extra`` is kept with the grant. `NAMELESS` is that of a server that never says it.
    """

    url: str
    subject: str
    name: str
    extra: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"
    json: Mapping[str, Any] | None = None

    @property
    def nameless(self) -> bool:
        """Whether the provider tells nobody whose account a token is: then another one cannot be told from it."""
        return not self.subject

    def bad_subject(self) -> str:
        """Why the subject tells no account from another, or an empty text."""
        return "" if re.search(_FIELD, self.subject) else "its subject names no field of the reply, such as {sub}."

    def may_be_subject(self, said: str) -> bool:
        """Whether this looks like a subject: ``T1:U1`` for ``{team_id}:{user_id}``."""
        return re.fullmatch(r"\S+".join(map(re.escape, re.split(_FIELD, self.subject)[::2])), said) is not None

    def read(self, reply: Any) -> tuple[Account, dict[str, str]] | None:
        """The account that a reply names, and ``extra``; None where it names no subject that can be one.

        A name is what people choose themselves, and is read by others and by models: on one line, with nothing unseen.
        """
        subject, name = _fill(self.subject, reply), _plain(_fill(self.name, reply))
        if not re.fullmatch(_SUBJECT, subject):
            return None
        extra = {key: value for key, template in self.extra.items() if (value := _fill(template, reply))}
        return Account(subject, name or _plain(subject) or subject), extra


NAMELESS: Final = Identity("", "", "")
"""Of a server that never says whose account a token is, as MCP's do: each grant is an account of its own."""


class Imports(NamedTuple):
    """How tokens are read that somebody has already. ``scopes_header``: of an answer, with the scopes of its token, ""
    where none has them. ``personal``: how tokens begin that no user gave an app, as a pattern; "" where none do.
    ``unique_names``: the provider sees to it that no two accounts have one name, so it says whose tokens are; where
    nobody does, an id does.
    """

    scopes_header: str = ""
    personal: str = ""
    unique_names: bool = False


NO_IMPORTS: Final = Imports()


class Permissions(NamedTuple):
    """Where rights are read that come from elsewhere than scopes: ``items`` of the reply, each with a map ``of``.

    ``{"issues": "write"}`` there becomes ``issues:write`` here. The url asks for ``per_page`` items; where as many
    come there may be more, on a next ``page``.
    """

    url: str
    items: str
    of: str
    per_page: int = 100

    def read(self, reply: Any) -> tuple[frozenset[str], bool] | None:
        """The rights in a reply, as ``name:level``, and whether there may be more on the next page; None for none."""
        items = reply.get(self.items) if isinstance(reply, Mapping) else None
        if not isinstance(items, list):
            return None
        maps = [item.get(self.of) for item in items if isinstance(item, Mapping)]
        pairs = [pair for rights in maps if isinstance(rights, Mapping) for pair in rights.items()]
        rights = frozenset(f"{name}:{level}" for name, level in pairs if _is_word(name) and _is_word(level))
        return rights, len(items) >= self.per_page


def _plain(name: str) -> str:
    """The name as it can be shown anywhere."""
    return " ".join(without_hidden(name).split())[:MAX_OF_NAME]


def _is_word(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z_]{1,60}", value) is not None


def _fill(template: str, reply: Any) -> str:
    """The template with ``{a.b}`` replaced from the reply, ``{a|b}`` by the first there is; empty if any is missing."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = next((one for path in match[1].split("|") if (one := _at(path, reply))), "")
        missing |= not found
        return found

    filled = re.sub(_FIELD, value, template)
    return "" if missing else filled


def _at(path: str, reply: Any) -> str:
    """What lies there in the reply, if it is a text or a whole number."""
    found = reply
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    good = isinstance(found, str | int) and not isinstance(found, bool)
    return str(found) if good else ""
