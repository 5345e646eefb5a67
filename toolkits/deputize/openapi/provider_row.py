"""Definition of a provider from a description: its endpoints, scopes, and the identity of a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.core.errors import InvalidInput
from deputize.openapi.arguments import KEY_HEADER
from deputize.openapi.description import CannotTranslate, Description, Json
from deputize.openapi.identifiers import constant_name
from deputize.openapi.layout import Group, Part, lay_out, literal
from deputize.openapi.prose import docstring, plain
from deputize.openapi.schemas import members_of
from deputize.openapi.security import LONGEST_SCOPE
from deputize.openapi.servers import Servers

MAX_SCOPES: Final = 300
_WHO: Final = re.compile(
    r"(?:/[\w.~-]+){0,3}/(?:me|user|userinfo|whoami|users/me|account|profile|viewer)", re.IGNORECASE
)
_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[\w.~-]+)+", re.ASCII)
_SUBJECTS: Final = ("id", "sub", "user_id", "userId", "uuid", "login")
_LABELS: Final = ("email", "login", "username", "userName", "name", "display_name", "displayName")
_ADDRESS: Final = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/?=&%{}-]{0,300}")


@dataclass(frozen=True, slots=True)
class Row:
    """The parts of a provider definition. ``whoami``: the address that identifies a token's user."""

    name: str
    label: str
    authorize: str
    token: str
    scopes: dict[str, str]
    servers: Servers
    whoami: str
    subject: str
    account: str
    sign_in: str = ""


def row_of(description: Description, name: str, servers: Servers, whoami: str = "", sign_in: str = "") -> Row:
    """Return the provider definition. ``whoami``: the path that identifies a token's user; guessed by default.
    ``sign_in``: how requests carry a user's key, "" for OAuth.

    Raises `InvalidInput` without an authorization code flow or a key, or without such a path.
    """
    description.begin()
    title = plain(description.objects("info").get("title"), 40) or name
    if sign_in:
        path, subject, account = "", "", ""
        with suppress(InvalidInput) if not whoami else nullcontext():
            path, subject, account = _identity(description, whoami)
        who = f"{servers.address}{path}" if path else ""
        return Row(name, title, servers.address, servers.address, {}, servers, who, subject, account, sign_in)
    flow = _flow(description)
    if flow is None:
        raise InvalidInput(
            f"There is no provider {name!r}, and the description has no authorizationCode flow to make one of.",
            hint="Describe it in [providers.NAME] of the settings, or give an app an issuer (docs/providers.md). If "
            "users have keys there, name how requests carry them: --sign-in header:X-Api-Key.",
        )
    path, subject, account = _identity(description, whoami)
    return Row(
        name,
        title,
        _endpoint(flow, "authorizationUrl"),
        _endpoint(flow, "tokenUrl"),
        dict(_scopes(flow)),
        servers,
        f"{servers.address}{path}",
        subject,
        account,
    )


def _flow(description: Description) -> Json | None:
    schemes = description.objects("securitySchemes", description.objects("components"))
    for one in schemes.values():
        try:
            flow = description.objects("authorizationCode", description.objects("flows", description.resolve(one)))
        except CannotTranslate:
            continue
        if flow:
            return flow
    return None


def _endpoint(flow: Json, name: str) -> str:
    url = flow.get(name)
    if not isinstance(url, str) or not _ADDRESS.fullmatch(url) or len(url) > 90:
        hint = "Describe it in [providers.NAME.oauth]."
        raise InvalidInput(f"The description's {name} is not an https address.", hint=hint)
    return url


def _scopes(flow: Json) -> Iterator[tuple[str, str]]:
    """Yield scopes with labels that continue "It asks to be allowed to", because descriptions use any form."""
    there = flow.get("scopes")
    for scope, what in list((there if isinstance(there, dict) else {}).items())[:MAX_SCOPES]:
        if 0 < len(scope) <= LONGEST_SCOPE and scope.isascii() and scope.isprintable() and " " not in scope:
            said = plain(what, 60)
            yield scope, f'use the permission "{scope}" ({said})' if said and said != scope else scope


def _identity(description: Description, whoami: str) -> tuple[str, str, str]:
    """Return the path that identifies a token's user, and the response fields with the id and a name."""
    paths = description.objects("paths")
    likely = [whoami] if whoami else sorted((one for one in paths if len(one) < 60 and _WHO.fullmatch(one)), key=len)
    for path in filter(_PATH.fullmatch, likely):  # a path without its slash would be part of the host
        members = _members(description, paths.get(path))
        subject = next((one for one in _SUBJECTS if one in members), "")
        if subject:
            return path, subject, next((one for one in _LABELS if one in members), subject)
    hint = "Name the GET that returns the user's id: --whoami /me."
    if whoami:
        raise InvalidInput(f"GET {whoami[:80]} is not described as an answer with {', '.join(_SUBJECTS)}.", hint=hint)
    raise InvalidInput("The description has no call that tells a token's user.", hint=hint)


def _members(description: Description, item: Any) -> dict[str, Any]:
    description.begin()
    try:
        answers = description.objects("responses", description.objects("get", description.resolve(item)))
        content = description.objects("content", description.resolve(answers.get("200")))
        schema = description.objects("application/json", content).get("schema")
        found = members_of(description, schema)
    except CannotTranslate:
        return {}
    return found[0] if found else {}


def row_text(row: Row, once: bool) -> str:
    """Return the module with the provider definition. ``once``: True if its calls accept idempotency keys."""
    constant = constant_name(row.name, set())
    hosts = sorted({urlsplit(url).netloc.lower() for url in (row.servers.address, row.whoami) if url})
    identity = [
        literal(row.whoami),
        f"subject={literal(f'{{{row.subject}}}' if row.subject else '')}",
        f"name={literal(f'{{{row.account}}}' if row.account else '')}",
    ]
    apis: list[Part] = [
        Group("roots={", [f"{literal(row.servers.api)}: {literal(row.servers.address)}"], "}"),
        Group("hosts=frozenset(", [Group("{", [literal(one) for one in hosts], "}")], ")"),
        Group("identity=Identity(", identity, ")"),
        *([f"credential=Credential.of({literal(row.sign_in)})"] if row.sign_in else []),
        *([f"request_headers=frozenset({{{literal(KEY_HEADER)}}})"] if once else []),
    ]
    authorize = "authorize_url=ENDPOINT" if row.sign_in else f"authorize_url={literal(row.authorize)}"
    told: list[Part] = [
        f"name={literal(row.name)}",
        f"label={literal(row.label)}",
        Group("oauth=OAuthEndpoints(", [authorize, "token_url=ENDPOINT"], ")"),
        Group("apis=ApiRules(", apis, ")"),
    ]
    if row.scopes:
        told.append(
            Group("scope_descriptions={", [f"{literal(one)}: {literal(what)}" for one, what in row.scopes.items()], "}")
        )
    key = "Credential, " if row.sign_in else ""
    about = f"{row.label}: how people consent there, and whose a token is. Made from its OpenAPI description."
    if row.sign_in:
        about = f"{row.label}: where requests carry each user's key. Made from its OpenAPI description."
    parts = [
        docstring(about, 0),
        "from __future__ import annotations",
        f"from deputize.core import ApiRules, {key}Identity, OAuthEndpoints, Provider",
        f"ENDPOINT = {literal(row.token)}",
        lay_out(Group(f"{constant} = Provider(", told, ")")),
    ]
    return "\n\n".join(parts) + "\n"
