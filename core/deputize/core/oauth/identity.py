"""The account of a token, and its permissions if they are not scopes: where providers report them, and in what form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal, NamedTuple

from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Account
from deputize.core.visible_text import CONTROLS, without_hidden

MAX_OF_SUBJECT: Final = 255
"""Characters that identify an account: OpenID Connect Core 2 has no longer ones."""
MAX_OF_NAME: Final = 254
"""Characters of an account's name that are shown: those of the longest e-mail address (RFC 5321 4.5.3.1)."""
_SUBJECT: Final = rf"[^{CONTROLS}\t\n]{{1,{MAX_OF_SUBJECT}}}"
_FIELD: Final = r"\{([\w.|]+)\}"


@frozen
class Identity(ValueObject):
    """How to identify the account of a token.

    ``method`` and ``json``: method and body of the request, unless it is a plain GET. Templates name fields of the
    reply: ``{sub}``, ``{data.viewer.id}``; ``{email|name}`` is the first that exists. ``subject`` must be stable,
    ``name`` is for people, ``extra`` is stored with the grant. `NAMELESS` is for a server that never identifies
    accounts.
    """

    url: str
    subject: str
    name: str
    extra: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"
    json: Mapping[str, Any] | None = None

    @property
    def nameless(self) -> bool:
        """True if the provider does not identify the account of a token, so that accounts cannot be told apart."""
        return not self.subject

    def bad_subject(self) -> str:
        """Return why the subject template cannot identify an account, or ""."""
        return "" if re.search(_FIELD, self.subject) else "its subject names no field of the reply, such as {sub}."

    def may_be_subject(self, text: str) -> bool:
        """Return True if this string has the form of a subject, such as ``T1:U1`` for ``{team_id}:{user_id}``."""
        return re.fullmatch(r"\S+".join(map(re.escape, re.split(_FIELD, self.subject)[::2])), text) is not None

    def read(self, reply: Any) -> tuple[Account, dict[str, str]] | None:
        """Return the account in a reply with its ``extra``, or None without a valid subject.

        People choose account names, and other people and models read them. So a name is one line without invisible
        characters.
        """
        subject, name = _fill(self.subject, reply), _plain(_fill(self.name, reply))
        if not re.fullmatch(_SUBJECT, subject):
            return None
        extra = {key: value for key, template in self.extra.items() if (value := _fill(template, reply))}
        return Account(subject, name or _plain(subject) or subject), extra


NAMELESS: Final = Identity("", "", "")
"""For a server that never identifies accounts, as MCP servers do: each grant is its own account."""


class Imports(NamedTuple):
    """How imported tokens are recognized. ``scopes_header``: response header with the token's scopes, or "".
    ``personal``: pattern for the start of personal tokens, which users create without an app, or "". ``unique_names``:
    True if the provider guarantees unique account names, so that a name identifies an account as an id does."""

    scopes_header: str = ""
    personal: str = ""
    unique_names: bool = False


NO_IMPORTS: Final = Imports()


class Permissions(NamedTuple):
    """Where permissions other than scopes come from: the ``items`` of a reply, each with a map ``of`` permissions.

    The entry ``{"issues": "write"}`` becomes ``issues:write``. The url requests ``per_page`` items. If that many
    arrive, there may be more on the next ``page``.
    """

    url: str
    items: str
    of: str
    per_page: int = 100

    def read(self, reply: Any) -> tuple[frozenset[str], bool] | None:
        """Return the permissions in a reply, as ``name:level``, and whether the next page may have more; or None."""
        items = reply.get(self.items) if isinstance(reply, Mapping) else None
        if not isinstance(items, list):
            return None
        maps = [item.get(self.of) for item in items if isinstance(item, Mapping)]
        pairs = [pair for rights in maps if isinstance(rights, Mapping) for pair in rights.items()]
        rights = frozenset(f"{name}:{level}" for name, level in pairs if _is_word(name) and _is_word(level))
        return rights, len(items) >= self.per_page


def _plain(name: str) -> str:
    """Return the name in a form that can be displayed anywhere."""
    return " ".join(without_hidden(name).split())[:MAX_OF_NAME]


def _is_word(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z_]{1,60}", value) is not None


def _fill(template: str, reply: Any) -> str:
    """Return the template with ``{a.b}`` filled in, ``{a|b}`` by the first that exists; "" if a value is missing."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = next((text for path in match[1].split("|") if (text := _value_at(path, reply))), "")
        missing |= not found
        return found

    filled = re.sub(_FIELD, value, template)
    return "" if missing else filled


def _value_at(path: str, reply: Any) -> str:
    """Return the string or whole number at a path of the reply, or ""."""
    found = reply
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    good = isinstance(found, str | int) and not isinstance(found, bool)
    return str(found) if good else ""
