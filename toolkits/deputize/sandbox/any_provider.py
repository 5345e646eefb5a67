"""Simulation of any OAuth provider from its definition: consent page, rotating tokens, revocation, identity.

sandbox.play(ACME, api)      authorize, token, revoke and identity reply as in RFC 6749, 7636 and 7009
                             all other requests to its hosts go to ``api`` with the token's person
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.core import Account, Provider
from deputize.sandbox import authorize_page
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.issue_tokens import IssuedTokens, TokenMaker, random, redeem, refresh
from deputize.sandbox.oauth import App, InvalidGrant, Token
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

_log = logging.getLogger("deputize.sandbox")
LIVES: Final = 3600.0
"""Seconds of an access token."""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A person's request to a simulated API. ``path`` is percent-encoded; ``query`` contains first values."""

    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    json: dict[str, Any] = field(repr=False)
    person: Person
    scopes: frozenset[str]

    def need(self, *any_of: str) -> None:
        """Raise 403 ``insufficient_scope`` for a token with none of these scopes (RFC 6750 3.1)."""
        if not self.scopes & set(any_of):
            raise _bearer_error(403, "insufficient_scope", any_of)


Api = Callable[[ApiCall], Any]
"""Answers a call with JSON, or with a `Reply`; raises `Refused` to refuse it."""


def nothing_here(call: ApiCall) -> Reply:
    """Return 404: an API without any routes."""
    return in_json({"error": "not_found"}, 404)


@dataclass(frozen=True, slots=True)
class Played:
    """A provider that is simulated from its definition."""

    row: Provider
    api: Api
    app: App
    maker: TokenMaker

    @classmethod
    def of(cls, row: Provider, api: Api) -> Played:
        """Create the provider with its own OAuth client, whose id and secret work nowhere else."""
        row = row.played()
        redirects = tuple(f"{base}/callback/{row.name}" for base in _BASES)
        app = App(f"sandbox-{row.name}", f"sandbox-{row.name}-secret", "deputize sandbox", redirects, row.name)
        maker = TokenMaker(lambda: random(f"{row.name}_access_"), lambda: random(f"{row.name}_refresh_"), LIVES)
        return cls(row, api, app, maker)

    @property
    def hosts(self) -> set[str]:
        """The provider's hosts."""
        oauth, apis = self.row.oauth, self.row.apis
        ends = (oauth.authorize_url, oauth.token_url, apis.identity.url, oauth.revoke_url, *apis.roots.values())
        return {urlsplit(url).netloc for url in ends if url} | apis.hosts

    def account(self, person: Person) -> Account:
        """Return the account that a deputy reads from this person's identity reply."""
        found = self.row.apis.identity.read(identity_reply(self.row, person))
        assert found is not None  # noqa: S101  # the reply is made from the templates
        return found[0]

    def handle(self, ask: Ask, world: World) -> Reply:
        """Run the provider's own endpoint, or else the API."""
        row, oauth, here = self.row, self.row.oauth, f"https://{ask.host}{ask.path}"
        if here == _without_query(oauth.authorize_url):
            return authorize_page.handle(ask, world, self._consent_page())
        if here == _without_query(oauth.token_url) and ask.method == "POST":
            return self._token(ask, world)
        if oauth.revoke_url and here == _without_query(oauth.revoke_url) and ask.method == "POST":
            return self._revoke(ask, world)
        token, person = self._caller(ask, world)
        if here == _without_query(row.apis.identity.url):
            return in_json(identity_reply(row, person), who=person.email)
        query = {name: values[0] for name, values in ask.query.items()}
        call = ApiCall(ask.method, ask.path, query, ask.content(), person, frozenset(token.scopes))
        try:
            found = self.api(call)
            return found if isinstance(found, Reply) else in_json(found, who=person.email)
        except Refused:
            raise
        except Exception:  # a bug in the simulated API; its caller sees a failed server, as with a real one
            _log.exception("The API played for %s failed at %s %s.", row.name, ask.method, ask.path)
            return in_json({"error": "server_error"}, 500, who=person.email)

    def _consent_page(self) -> authorize_page.AuthorizePage:
        row, oauth = self.row, self.row.oauth
        return authorize_page.AuthorizePage(
            row.name,
            row.label,
            urlsplit(oauth.authorize_url).path,
            {**{scope: scope for scope in oauth.always_scopes}, **row.scope_descriptions},
            issuer=oauth.issuer,
            sends_iss=oauth.iss_required,
            parameter=oauth.scope_param,
            needs_scope=False,
            always=lambda app: oauth.always_scopes,
            only_always=lambda app: not oauth.scope_param,
        )

    def _token(self, ask: Ask, world: World) -> Reply:
        form = ask.single()
        app, kind = self._client(ask, form, world), form.get("grant_type")
        try:
            if kind == "authorization_code":
                return _token_reply(world, redeem(world, app, form, self.maker, refreshable=True))
            if kind == "refresh_token":
                return _token_reply(world, refresh(world, app, form, self.maker, rotates=True))
        except InvalidGrant as invalid:
            raise _oauth_error(400, "invalid_grant", invalid.fault) from None
        raise _oauth_error(400, "unsupported_grant_type", "grant_type")

    def _client(self, ask: Ask, form: Mapping[str, str], world: World) -> App:
        client_id, secret = ask.basic() or (form.get("client_id", ""), form.get("client_secret", ""))
        app = world.app(client_id, self.row.name)
        if app is None or (self.row.oauth.client_auth != "none" and not app.has_secret(secret)):
            raise _oauth_error(401, "invalid_client", "client_id or client_secret")
        return app

    def _revoke(self, ask: Ask, world: World) -> Reply:
        """Revoke a token. An unknown token counts as revoked (RFC 7009 2.2)."""
        form = ask.single()
        secret = ask.bearer() if self.row.oauth.revoke_by == "bearer" else form.get("token", "")
        if self.row.oauth.revoke_by == "form":
            self._client(ask, form, world)
        token = world.revoke(secret, self.row.name, alone=not self.row.oauth.revokes_all)
        return in_json({}, who=world.address_of(token.sub) if token else "")

    def _caller(self, ask: Ask, world: World) -> tuple[Token, Person]:
        token = world.access(ask.bearer(), self.row.name)
        person = next((one for one in world.people if token and one.sub == token.sub), None)
        if token is None or person is None:
            raise _bearer_error(401, "invalid_token", ())
        return token, person


_BASES: Final = ("http://127.0.0.1", "http://localhost", "https://deputy.example.test")


def identity_reply(row: Provider, person: Person) -> dict[str, Any]:
    """Return a reply in which the identity's templates find this person.

    The subject's fields contain the subject id, ``name`` the name, and all others the address.
    """
    shape, reply = row.apis.identity, dict[str, Any]()
    for template in (*shape.extra.values(), shape.name):
        for path in _paths(template):
            _put(reply, path, person.name if path.rpartition(".")[2] == "name" else person.email)
    for path in _paths(shape.subject):
        _put(reply, path, person.sub)
    return reply


def _paths(template: str) -> list[str]:
    return [path for found in re.findall(r"\{([\w.|]+)\}", template) for path in found.split("|")]


def _put(reply: dict[str, Any], path: str, value: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        reply = reply.setdefault(parent, {})
    reply[last] = value


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _token_reply(world: World, issued: IssuedTokens) -> Reply:
    body: dict[str, Any] = {"access_token": issued.access, "token_type": "Bearer", "expires_in": issued.lives}
    body |= {"refresh_token": issued.refresh} if issued.refresh else {}
    body |= {} if world.switches.omit_scope else {"scope": " ".join(issued.scopes)}
    body = {name: value for name, value in body.items() if value is not None}
    return in_json(body, who=world.address_of(issued.sub), gives_tokens=True)


def _oauth_error(status: int, name: str, what: str) -> Refused:
    """Return an error of RFC 6749 5.2."""
    return Refused(in_json({"error": name, "error_description": f"Invalid {what}."}, status))


def _bearer_error(status: int, name: str, scopes: tuple[str, ...]) -> Refused:
    """Return an error of RFC 6750 3."""
    more = f', scope="{" ".join(scopes)}"' if scopes else ""
    headers = (("www-authenticate", f'Bearer error="{name}"{more}'),)
    return Refused(in_json({"error": name}, status, headers))
