"""SCIM 2.0 for deprovisioning (RFC 7643, RFC 7644): an identity provider says who has left.

    /scim/v2/Users            GET with a filter, POST       or /scim/{name}/v2/... for the issuer of [signin.NAME]
    /scim/v2/Users/{id}       GET, PUT, PATCH, DELETE
    /scim/v2/ServiceProviderConfig, ResourceTypes, Schemas

``active: false`` and DELETE offboard the user, each time they arrive, before anything is stored. A record holds what
clients read back: userName, externalId, active and two times. All other attributes are accepted and dropped. The
attribute that is the user's subject at the issuer cannot be changed, so a token reaches users of its issuer and tenant
only, and each record belongs to one user.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import DeputizeError, StoreUnavailable
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.record import Record
from deputize.core.web.pages.site import Page, Site, body_of, note
from deputize.core.web.signin.base_sign_in import BaseSignIn
from deputize.core.web.signing_key import sign

MAX_BODY_BYTES: Final = 65536
MAX_RESULTS: Final = 100
MAX_NAME_CHARACTERS: Final = 255
USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
_CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:"
_MESSAGES: Final = "urn:ietf:params:scim:api:messages:2.0:"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_FILTER: Final = re.compile(
    rf'\s*(?:{re.escape(USER)}:)?(userName|externalId|id)\s+eq\s+("(?:[^"\\]|\\.)*")\s*', re.IGNORECASE
)
_ID: Final = re.compile(r"[0-9a-f]{8,64}")
_NAMES: Final = {name.lower(): name for name in ("userName", "externalId", "active", "id")}


class Refused(Exception):
    """An error response (RFC 7644 3.12)."""

    def __init__(self, status: int, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind = status, detail, kind


class Scim:
    """The SCIM service provider for one issuer's users.

    ``token``: the client's. ``user_of``: returns the user for a subject, or None for an invalid one. ``subject``: the
    attribute that is the subject.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        token: Secret,
        user_of: Callable[[Any], User | None],
        sign_in: BaseSignIn,
        subject: Literal["externalId", "userName"] = "externalId",
    ) -> None:
        self.deputy, self.vault, self._user_of, self.subject = deputy, deputy.vault, user_of, subject
        self._token = _digest(f"Bearer {token.reveal()}")
        self.realm = sign(self.vault.keys.web, "scim realm", sign_in.tenant, sign_in.sessions.issuer)
        self.path: Final = f"/scim/{sign_in.name}/v2" if sign_in.name else "/scim/v2"
        self.base = sign_in.base + self.path
        self.pages: Final = [Page(method, f"{self.path}/{{rest:path}}", self._answer) for method in _METHODS]

    # ------------------------------------------------------------- requests

    async def _answer(self, site: Site, request: Request) -> Response:
        try:
            if not hmac.compare_digest(_digest(request.headers.get("authorization", "")), self._token):
                raise Refused(401, "The bearer token is missing or wrong.")
            return await self._route(request, request.path_params["rest"].strip("/").split("/"))
        except Refused as refused:
            return _error(refused)
        except DeputizeError as error:
            note(error, f"{request.method} {self.path}")
            away = isinstance(error, StoreUnavailable)
            return _error(Refused(503 if away else 500, "Try again later." if away else "See the server's log."))

    async def _route(self, request: Request, parts: list[str]) -> Response:
        method = request.method
        match parts:
            case ["Users"] if method == "GET":
                return await self._list(request)
            case ["Users"] if method == "POST":
                return await self._create(request)
            case ["Users", name] if method in ("GET", "PUT", "PATCH", "DELETE"):
                return await self._one(request, name)
            case ["ServiceProviderConfig"] if method == "GET":
                return _reply(self._with_meta(_CONFIG, "ServiceProviderConfig", "ServiceProviderConfig"))
            case ["ResourceTypes" | "Schemas" as what, *rest] if method == "GET" and len(rest) < 2:
                return self._described(what, rest)
            case ["Users"] | ["Users", _] | ["ServiceProviderConfig"] | ["ResourceTypes"] | ["Schemas"]:
                raise Refused(405, f"{method} is not supported here.")
        raise Refused(404, "There is no such resource.")

    def _described(self, what: str, rest: list[str]) -> Response:
        content, name = (_USER_TYPE, "User") if what == "ResourceTypes" else (self._schema(), USER)
        found = self._with_meta(content, what.removesuffix("s"), f"{what}/{name}")
        if not rest:
            return _reply(_list_of([found], 1, 1))
        if rest != [name]:
            raise Refused(404, "There is no such resource.")
        return _reply(found)

    # ------------------------------------------------------------- users

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        try:
            start, count = max(1, int(query.get("startIndex", 1))), max(0, int(query.get("count", MAX_RESULTS)))
        except ValueError:
            raise Refused(400, "startIndex and count are numbers.", "invalidValue") from None
        if "filter" in query:
            found = await self._find(query["filter"])
        else:
            found = [one async for rows, _ in self.vault.pages("scim_user") for one in rows if self._is_own(one)]
        page = found[start - 1 : start - 1 + min(count, MAX_RESULTS)]
        return _reply(_list_of([self._shown(one, request) for one in page], len(found), start))

    async def _find(self, text: str) -> list[Record]:
        """Return the users that a filter selects, one at most."""
        match = _FILTER.fullmatch(text) if len(text) < 4 * MAX_NAME_CHARACTERS else None
        try:
            value = json.loads(match[2]) if match else None
        except ValueError:
            value = None
        if match is None or not isinstance(value, str):
            raise Refused(
                400, 'Only userName, externalId and id can be searched, as: userName eq "..."', "invalidFilter"
            )
        name, found = _NAMES[match[1].lower()], None
        if name == "id":
            found = await self._load(value)
        elif name == self.subject == "externalId":
            found = await self._get(self._key_of(value))
        elif name == "userName":
            index = await self.vault.get("scim_name", self._name_key(value))
            found = await self._get(index.json["of"]) if index else None
        else:
            return [
                one
                async for rows, _ in self.vault.pages("scim_user")
                for one in rows
                if self._is_own(one) and one.json.get(name) == value
            ]
        same = found is not None and (name != "userName" or found.json["name"] == self._name_key(value))
        return [found] if found is not None and same else []

    async def _create(self, request: Request) -> Response:
        body = await _read(request)
        user = self._user_of(dict(_named_values(body)).get(self.subject))
        if user is not None and _deactivates([body]):
            await self.deputy.offboard(user, "SCIM: created as inactive")
        given = _attributes(body)
        name = given.get("userName")
        if not isinstance(name, str) or not name.strip():
            raise Refused(400, "userName is required.", "invalidValue")
        if user is None:
            raise Refused(400, f"{self.subject} is required: it names the user at the issuer.", "invalidValue")
        active = given.get("active", True)
        key, now = self._key(user), self._now()
        content = {
            **{"realm": self.realm, "user": [user.tenant, user.id], "name": self._name_key(name), "userName": name},
            **{"externalId": given.get("externalId"), "active": active, "created": now, "changed": now},
        }
        if await self._get(key) or not await self._claim_name(content["name"], key):
            raise Refused(409, "There is such a user.", "uniqueness")
        made = await self.vault.insert("scim_user", key, content, await self.vault.data_keys.get(user.tenant))
        if made is None:
            raise Refused(409, "There is such a user.", "uniqueness")
        shown = self._shown(made, request)
        return _reply(shown, 201, {"location": shown["meta"]["location"]})

    async def _one(self, request: Request, name: str) -> Response:
        record = await self._load(name)
        if record is None:
            raise Refused(404, "There is no such user.")
        if request.method == "DELETE":
            return await self._delete(record)
        if request.method == "GET":
            return _reply(self._shown(record, request))
        body = await _read(request)
        if _deactivates([body] if request.method == "PUT" else _changes(body)):  # each time: a crash repeats it
            await self.deputy.offboard(_user_of(record), "SCIM: deactivated")
        changed = _attributes(body) if request.method == "PUT" else _patched(body)
        while record is not None:
            if saved := await self._save(record, changed):
                return _reply(self._shown(saved, request))
            record = await self._get(record.key)
        raise Refused(404, "There is no such user.")

    async def _save(self, record: Record, changed: Mapping[str, Any]) -> Record | None:
        """Store the changed attributes. Return None if the record has changed in between."""
        before = record.json
        new = {**before, **changed}
        if new[self.subject] != before[self.subject]:
            raise Refused(400, f"{self.subject} names the user and cannot be changed.", "mutability")
        if not isinstance(new["userName"], str) or not new["userName"].strip():
            raise Refused(400, "userName is required.", "invalidValue")
        new |= {"name": self._name_key(new["userName"]), "changed": self._now()}
        if new["name"] != before["name"] and not await self._claim_name(new["name"], record.key):
            raise Refused(409, "Another user has this userName.", "uniqueness")
        saved = await self.vault.swap(record, new)
        if saved and new["name"] != before["name"]:
            await self._free_name(before["name"], record.key)
        return saved

    async def _delete(self, record: Record) -> Response:
        await self.deputy.offboard(_user_of(record), "SCIM: deleted")
        now: Record | None = record
        while now is not None and not await self.vault.delete(now):
            now = await self._get(now.key)
        await self._free_name(record.json["name"], record.key)
        return Response(status_code=204)

    # ------------------------------------------------------------- records

    def _key(self, user: User) -> str:
        return self.vault.key_prefix(user) + "scim"

    def _key_of(self, subject: str) -> str:
        user = self._user_of(subject)
        return self._key(user) if user else ""

    def _name_key(self, name: str) -> str:
        """Return the key of a userName, which is case-insensitive (RFC 7643 4.1.1)."""
        return sign(self.vault.keys.web, "scim name", self.realm, name.casefold())

    async def _claim_name(self, name: str, key: str) -> bool:
        """Let the name lead to this key. Return False if it leads to another user."""
        while not await self.vault.insert("scim_name", name, {"of": key}):
            old = await self.vault.get("scim_name", name)
            if old is None:
                continue
            holder = await self._get(old.json["of"]) if old.json["of"] != key else None
            if holder is not None and holder.json["name"] == name:
                return False
            if await self.vault.swap(old, {"of": key}):
                return True
        return True

    async def _free_name(self, name: str, key: str) -> None:
        if (old := await self.vault.get("scim_name", name)) and old.json["of"] == key:
            await self.vault.delete(old)

    async def _load(self, name: str) -> Record | None:
        return await self._get(f"{name}.scim") if _ID.fullmatch(name) else None

    async def _get(self, key: str) -> Record | None:
        record = await self.vault.get("scim_user", key) if key else None
        return record if record and self._is_own(record) else None

    def _is_own(self, record: Record) -> bool:
        """Return True if the record is of this issuer and tenant."""
        return bool(record.json["realm"] == self.realm)

    def _now(self) -> str:
        return datetime.fromtimestamp(self.deputy.clock(), UTC).isoformat(timespec="milliseconds")

    # ------------------------------------------------------------- what is shown

    def _shown(self, record: Record, request: Request) -> dict[str, Any]:
        content, name = record.json, record.key.removesuffix(".scim")
        times = {"created": content["created"], "lastModified": content["changed"]}
        user: dict[str, Any] = {"schemas": [USER], "id": name, "userName": content["userName"]}
        user |= {"externalId": content["externalId"]} if content["externalId"] is not None else {}
        user = self._with_meta(user | {"active": content["active"]}, "User", f"Users/{name}", times)
        wanted, hidden = (_named(request, parameter) for parameter in ("attributes", "excludedAttributes"))
        always = {"schemas", "id", *(["meta"] if request.method == "POST" else [])}
        return {
            key: value
            for key, value in user.items()
            if key in always or (key.lower() not in hidden and (not wanted or key.lower() in wanted))
        }

    def _with_meta(
        self, content: Mapping[str, Any], kind: str, path: str, times: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        return {**content, "meta": {"resourceType": kind, "location": f"{self.base}/{path}", **times}}

    def _schema(self) -> dict[str, Any]:
        fixed = {"mutability": "immutable", "required": True, "caseExact": True}
        return {
            "schemas": [f"{_CORE}Schema"],
            "id": USER,
            "name": "User",
            "description": "A user who may be offboarded.",
            "attributes": [
                _attribute("userName", required=True, uniqueness="server")
                | (fixed if self.subject == "userName" else {}),
                _attribute("externalId", caseExact=True) | (fixed if self.subject == "externalId" else {}),
                _attribute("active", "boolean", required=True),
            ],
        }


def _named(request: Request, parameter: str) -> set[str]:
    """Return the attributes that a parameter of the request names, in lower case (RFC 7644 3.9)."""
    names = request.query_params.get(parameter, "").split(",")
    return {name.strip().rpartition(":")[2].lower() for name in names} - {""}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _user_of(record: Record) -> User:
    tenant, name = record.json["user"]
    return User(name, tenant)


async def _read(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body."""
    body = await body_of(request, MAX_BODY_BYTES)
    if body is None:
        raise Refused(413, f"The body has more than {MAX_BODY_BYTES} bytes.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "The body is not a JSON object.", "invalidSyntax")
    return found


def _named_values(body: Any, *, top: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that are stored, by their names in any case (RFC 7643 2.1), with or without the schema, or
    below its name."""
    for key, value in body.items() if isinstance(body, Mapping) else ():
        name = _name_of(key)
        if top and name == USER.lower():
            yield from _named_values(value, top=False)
        elif name in _NAMES:
            yield _NAMES[name], value


def _name_of(path: str) -> str:
    """Return the name of an attribute in lower case, without its schema."""
    return path.strip().lower().removeprefix(f"{USER.lower()}:")


def _deactivates(changes: Iterable[Any]) -> bool:
    """Return True if these changes leave the user inactive, whatever else is wrong with them."""
    active = True
    for name, value in (pair for change in changes for pair in _named_values(change)):
        if name == "active":
            with suppress(Refused):
                active = _boolean(value)
    return not active


def _attributes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that are stored."""
    found = dict[str, Any]()
    for name, value in _named_values(body):
        if name == "active":
            found[name] = _boolean(value)
        elif name != "id":
            if value is not None and not (isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS):
                raise Refused(400, f"{name} is not a string of {MAX_NAME_CHARACTERS} characters.", "invalidValue")
            found[name] = value
    return found


def _changes(body: Mapping[str, Any]) -> list[Any]:
    """Return what the operations of a PATCH add or replace, as objects, as far as they can be read."""
    given = next((value for key, value in body.items() if key.lower() == "operations"), None)
    operations = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return [
        one.get("value") if one.get("path") is None else {str(one["path"]): one.get("value")}
        for one in operations
        if str(one.get("op")).lower() in ("add", "replace")
    ]


def _patched(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that a PATCH changes (RFC 7644 3.5.2), also as Entra spells it: with ``Replace``, without a
    path, with "False" as a string, in a list."""
    operations = next((value for key, value in body.items() if key.lower() == "operations"), None)
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise Refused(400, "Operations is not a list of objects.", "invalidSyntax")
    found = dict[str, Any]()
    for one in operations:
        verb, path, value = str(one.get("op")).lower(), one.get("path"), one.get("value")
        if verb not in ("add", "replace", "remove"):
            raise Refused(400, "op is add, replace or remove.", "invalidSyntax")
        if verb == "remove":
            if path is None:
                raise Refused(400, "A remove needs a path.", "noTarget")
            if _name_of(str(path)) == "active":
                raise Refused(400, "active is required.", "mutability")
            value = None
        if path is None:
            if not isinstance(value, dict):
                raise Refused(400, "An operation without a path needs an object.", "invalidValue")
            found |= _attributes(value)
        else:
            found |= _attributes({str(path): value})
    return found


def _boolean(value: Any) -> bool:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0].get("value")
    known = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(known, bool):
        raise Refused(400, "active is true or false.", "invalidValue")
    return known


def _reply(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = {}) -> Response:
    more = {"cache-control": "no-store", **headers}
    return Response(json.dumps(content), status, more, media_type="application/scim+json")


def _error(refused: Refused) -> Response:
    content = {"schemas": [f"{_MESSAGES}Error"], "status": str(refused.status), "detail": refused.detail}
    headers = {"www-authenticate": "Bearer"} if refused.status == 401 else {}
    return _reply(content | ({"scimType": refused.kind} if refused.kind else {}), refused.status, headers)


def _list_of(found: list[dict[str, Any]], total: int, start: int) -> dict[str, Any]:
    numbers = {"totalResults": total, "startIndex": start, "itemsPerPage": len(found)}
    return {"schemas": [f"{_MESSAGES}ListResponse"], **numbers, "Resources": found}


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    usual = {"multiValued": False, "required": False, "caseExact": False, "mutability": "readWrite"}
    return {
        "name": name,
        "type": kind,
        "description": name,
        **usual,
        "returned": "default",
        "uniqueness": "none",
    } | more


_CONFIG: Final[Mapping[str, Any]] = {
    "schemas": [f"{_CORE}ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
    "filter": {"supported": True, "maxResults": MAX_RESULTS},
    "changePassword": {"supported": False},
    "sort": {"supported": False},
    "etag": {"supported": False},
    "authenticationSchemes": [
        {"type": "oauthbearertoken", "name": "Bearer token", "description": "The token of the settings, scim_token."}
    ],
}
_USER_TYPE: Final[Mapping[str, Any]] = {
    "schemas": [f"{_CORE}ResourceType"],
    "id": "User",
    "name": "User",
    "endpoint": "/Users",
    "schema": USER,
}
