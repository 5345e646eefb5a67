"""One call to Drive's API: whose it is, which files it may see, and the errors it can raise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from deputize.sandbox.google.drive.fields import BadMask, Mask, masked, read_mask
from deputize.sandbox.google.drive.methods import (
    BOOLEANS,
    COMMON,
    FIELDS,
    PAGE_SIZES,
    UPLOADING,
    Method,
    full_scope,
)
from deputize.sandbox.google.drive.records import APPS, FOLDER, SHORTCUT, content_of, permission_id
from deputize.sandbox.google.errors import api_error
from deputize.sandbox.http_types import Ask, Refused
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

Json = dict[str, Any]
HOST: Final = "www.googleapis.com"
ROLES: Final = ("none", "reader", "commenter", "writer", "fileOrganizer", "organizer", "owner")
_ONLY_THE_APPS: Final = full_scope("file")


@dataclass(frozen=True)
class Call:
    """A call: its request, person, token scopes, method and ids."""

    ask: Ask = field(repr=False)
    world: World = field(repr=False)
    person: Person
    scopes: frozenset[str]
    method: Method
    ids: Mapping[str, str]

    @property
    def store(self) -> Json:
        """All files and shared drives of the sandbox."""
        return self.world.services["drive"]

    @property
    def now(self) -> str:
        """The sandbox's time, in RFC 3339."""
        return f"{datetime.fromtimestamp(self.world.clock(), UTC):%Y-%m-%dT%H:%M:%S.000Z}"

    def flag(self, name: str) -> bool:
        """Return a boolean of the query."""
        return self.ask.one(name) == "true"

    def body(self) -> Json:
        """Return the JSON body. Raise 400 for fields that the method's record lacks."""
        return check_body(self.ask.body or b"{}", self.method.body)

    # ------------------------------------------------------------- access

    def file(self, least: str = "reader", id: str = "") -> Json:
        """Return a file if the caller has at least the role ``least``, and the app may see it."""
        id = id or self.ids["fileId"]
        found: Json | None = self.store["files"].get(self.root if id == "root" else id)
        if found is None or self.role(found) == "none":
            raise missing(id)
        if not self.reaches(found):
            raise self._not_the_apps(id)
        unaware = "supportsAllDrives" in self.method.query and not self.flag("supportsAllDrives")
        if found.get("driveId") and unaware:
            raise missing(id)
        if ROLES.index(self.role(found)) < ROLES.index(least):
            raise lacks_rights()
        return found

    def _not_the_apps(self, id: str) -> Refused:
        """Return the error for a file of which the app may only read, or see, what this method changes."""
        if self.scopes & {full_scope(one) for one in ("readonly", "metadata", "metadata.readonly")}:
            return forbidden("The user has not granted the app access to the file.", "appNotAuthorizedToFile")
        return missing(id)

    @property
    def root(self) -> str:
        """The id of the person's My Drive."""
        return f"root-{self.person.sub}"

    def reaches(self, file: Json) -> bool:
        """Return True if one of the token's scopes allows access to this file."""
        having = set(self.method.scopes) & self.scopes
        return having != {_ONLY_THE_APPS} or self.person.email in file["opened"] or file["id"] == self.root

    def lineage(self, file: Json) -> Iterator[Json]:
        """Yield the file and the folders above it."""
        seen = set[str]()
        while file["id"] not in seen:
            seen.add(file["id"])
            yield file
            file = self.store["files"].get((file["parents"] or [""])[0], file)

    def permissions(self, file: Json) -> list[Json]:
        """Return all permissions of a file, with where each is inherited from."""
        found: dict[str, Json] = {}
        drive = self.store["drives"].get(file.get("driveId") or "")
        given = [(one, at) for at in self.lineage(file) for one in at["permissions"]]
        given += [(one, drive) for one in drive["members"]] if drive else []
        for one, at in given:
            inherited = at["id"] != file["id"]
            detail = {"permissionType": "member" if at is drive else "file", "role": one["role"]}
            detail |= {"inherited": inherited} | ({"inheritedFrom": at["id"]} if inherited and drive else {})
            known = found.setdefault(one["id"], {**one, "kind": "drive#permission", "permissionDetails": []})
            known["permissionDetails"].append(detail)
            known["role"] = max(known["role"], one["role"], key=ROLES.index)
        return list(found.values())

    def role(self, file: Json) -> str:
        """Return the caller's role on a file."""
        mine = [one["role"] for one in self.permissions(file) if self._is_mine(one)]
        return max(mine, key=ROLES.index, default="none")

    def _is_mine(self, permission: Json) -> bool:
        who = self.person.email
        match permission["type"]:
            case "user":
                return str(permission["emailAddress"]) == who
            case "group":
                return who in self.store["groups"].get(permission["emailAddress"], ())
            case "domain":
                return str(permission["domain"]) == who.partition("@")[2]
        return True

    # -------------------------------------------------------------- views

    def user(self, email: str) -> Json:
        """Return a person as Drive shows them."""
        known = self.world.person(email)
        name = known.name if known else self.store["names"].get(email, email)
        found = {"kind": "drive#user", "displayName": name, "me": email == self.person.email}
        return found | ({"emailAddress": email, "permissionId": permission_id("user", email)} if email else {})

    def view(self, file: Json) -> Json:
        """Return a file as the caller sees it, with all fields."""
        role = ROLES.index(self.role(file))
        everybody = self.permissions(file)
        may_write = role >= ROLES.index("writer")
        folder, docs = file["mimeType"] == FOLDER, file["mimeType"].startswith(APPS)
        trashed = any(at["trashed"] for at in self.lineage(file))
        shown: Json = {name: file[name] for name in ("id", "name", "mimeType", "createdTime", "modifiedTime")}
        shown |= {
            "kind": "drive#file",
            "parents": file["parents"],
            "version": str(file["version"]),
            "trashed": trashed,
            "explicitlyTrashed": bool(file["trashed"]),
            "starred": self.person.email in file["starred"],
            "shared": bool(file.get("driveId")) or len(everybody) > 1,
            "ownedByMe": file["owner"] == self.person.email,
            "isAppAuthorized": self.person.email in file["opened"],
            "lastModifyingUser": self.user(file["by"]),
            "webViewLink": f"https://drive.google.com/file/d/{file['id']}/view",
            "capabilities": {
                **dict.fromkeys(("canEdit", "canModifyContent", "canRename"), may_write),
                "canComment": role >= ROLES.index("commenter"),
                "canShare": may_write,
                "canCopy": not folder,
                "canDownload": not folder,
                "canTrash": may_write if file.get("driveId") else file["owner"] == self.person.email,
                "canUntrash": may_write if file.get("driveId") else file["owner"] == self.person.email,
                "canAddChildren": folder and may_write,
                "canListChildren": folder,
                "canReadRevisions": may_write,
                "canAccessViaGenAi": True,
                **file["capabilities"],
            },
        }
        shown |= {name: file[name] for name in ("description", "appProperties", "driveId") if file.get(name)}
        if not file.get("driveId"):
            shown["owners"] = [self.user(file["owner"])]
            shown |= {"permissions": everybody} if may_write else {}
        if file["owner"] != self.person.email and any(one["type"] != "anyone" for one in file["permissions"]):
            shown |= {"sharedWithMeTime": file["createdTime"], "sharingUser": self.user(file["owner"])}
        if file["trashed"]:
            shown["trashedTime"] = file["trashed"]
        if file["mimeType"] == SHORTCUT:
            target = self.store["files"].get(file["target"], {})
            shown["shortcutDetails"] = {"targetId": file["target"], "targetMimeType": target.get("mimeType")}
        if not docs:
            data = content_of(file)
            shown |= {"size": str(len(data)), "headRevisionId": file["revisions"][-1]["id"]}
            shown |= {"md5Checksum": hashlib.md5(data, usedforsecurity=False).hexdigest()}
            shown |= {"sha256Checksum": hashlib.sha256(data).hexdigest()}
        return shown

    def masked(self, record: Json, usual: str = "") -> Json:
        """Return a record with the requested fields, or with the ``usual`` ones."""
        return dict(masked(record, self._mask(usual)))

    def _mask(self, usual: str) -> Mask:
        given = self.ask.one("fields") or usual
        if not given:
            raise invalid("The 'fields' parameter is required for this method.", "required")
        many = self.method.id.endswith(".list")
        try:
            return read_mask(given, "" if many else self.method.reply)
        except BadMask as wrong:
            raise invalid(f"Invalid field selection {wrong}", "invalidParameter") from None

    def page(self, rows: Sequence[Any]) -> tuple[list[Any], Json]:
        """Return one page of rows, and the field with the token of the next page."""
        usual, most = PAGE_SIZES[self.method.id]
        given, token = self.ask.one("pageSize") or str(usual), self.ask.one("pageToken")
        if not given.isdecimal() or not 1 <= int(given) <= most:
            raise invalid(f"Invalid value '{given}'. Values must be within the range: [1, {most}]", "invalidParameter")
        if token and not (token.startswith("page-") and token[5:].isdecimal()):
            raise invalid("Invalid Value", "invalid")
        start = int(token[5:]) if token else 0
        end = start + int(given)
        return list(rows[start:end]), {"nextPageToken": f"page-{end}"} if end < len(rows) else {}

    def check_query(self) -> None:
        """Raise 400 for a parameter that the method lacks, or for a boolean of another value."""
        known = self.method.query | COMMON | (UPLOADING if self.method.uploads else frozenset())
        for name, values in self.ask.query.items():
            if name not in known:
                raise invalid(f"Unknown query parameter {name}.", "invalidParameter")
            if name in BOOLEANS and {*values} - {"true", "false"}:
                raise invalid(f"Invalid boolean value: '{values[0][:40]}'.", "invalidParameter")


def check_body(data: bytes, record: str) -> Json:
    """Parse a JSON body. Raise 400 for a field that the record lacks."""
    try:
        found = json.loads(data)
    except ValueError:
        raise invalid("Parse Error", "parseError") from None
    if not isinstance(found, dict):
        raise invalid("Parse Error", "parseError")
    for name in found:
        if name not in FIELDS[record]:
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.', "badRequest")
    return found


def invalid(message: str, reason: str = "invalid") -> Refused:
    """Return a 400 error."""
    return Refused(api_error(400, message, reason, "INVALID_ARGUMENT"))


def forbidden(message: str, reason: str) -> Refused:
    """Return a 403 error."""
    return Refused(api_error(403, message, reason, "PERMISSION_DENIED"))


def lacks_rights() -> Refused:
    message = "The user does not have sufficient permissions for this file."
    return forbidden(message, "insufficientFilePermissions")


def missing(id: str) -> Refused:
    """Return the 404 of a file that does not exist or that this person or app may not see."""
    return Refused(api_error(404, f"File not found: {id}.", "notFound", "NOT_FOUND"))
