"""Who can see a file: permissions in words, and the audience that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from deputize.core import Account, Audience, Request
from deputize.core.errors import DeputizeError
from deputize.toolkits._shared.redact_results import domain_of, own_domain
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.drive.base import PERMISSIONS, Asks, Row

ROLES: Final[Mapping[str, str]] = {
    "reader": "can read",
    "commenter": "can comment",
    "writer": "can edit",
    "fileOrganizer": "can edit and organize",
    "organizer": "manages the shared drive",
    "owner": "owner",
}
_MAX_PAGES: Final = 20


def list_permissions(id: str, token: str = "") -> Request:
    fields = f"nextPageToken,permissions({PERMISSIONS},permissionDetails(permissionType,inherited,inheritedFrom))"
    params = {"fields": fields, "pageSize": 100, "supportsAllDrives": True}
    return Request(
        "GET", "/files/{id}/permissions", at={"id": id}, params=params | ({"pageToken": token} if token else {})
    )


def load_permissions(file: Row) -> Asks[list[Row] | None]:
    """Return all permissions of a file, to the last page. None if the user may not see them."""
    found: list[Row] = []
    token = ""
    for _ in range(_MAX_PAGES):
        try:
            page = yield list_permissions(str(file["id"]), token)
        except DeputizeError:
            return None
        found += [one for one in page.get("permissions") or () if not one.get("deleted")]
        token = str(page.get("nextPageToken") or "")
        if not token:
            return sorted(found, key=_order)
    return None


def _order(permission: Row) -> tuple[int, str]:
    kinds = ("anyone", "domain", "group", "user")
    kind = permission.get("type")
    return kinds.index(kind) if kind in kinds else len(kinds), who(permission, Outside())


def who(permission: Row, outside: Outside) -> str:
    """Return to whom a permission gives access, in words."""
    match permission.get("type"):
        case "anyone":
            return "everybody: found by search" if permission.get("allowFileDiscovery") else "anyone with the link"
        case "domain":
            return f"everybody of {outside.line(str(permission.get('domain') or 'a domain'), 254)}"
        case "group":
            return f"group {outside.line(str(permission.get('emailAddress') or permission.get('displayName')), 254)}"
    return outside.line(str(permission.get("emailAddress") or permission.get("displayName") or "somebody"), 254)


def access_lines(permissions: Iterable[Row], file: Row, names: Mapping[str, str], outside: Outside) -> list[str]:
    """Return one line for each permission: who, what they can do, and why. ``names``: names of folders by id."""
    lines = []
    for one in permissions:
        role = ROLES.get(str(one.get("role")), str(one.get("role")))
        until = f", until {str(one['expirationTime'])[:10]}" if one.get("expirationTime") else ""
        lines.append(f"{who(one, outside)}: {role}{until}{_why(one, file, names)}")
    return lines


def _why(permission: Row, file: Row, names: Mapping[str, str]) -> str:
    details = [one for one in permission.get("permissionDetails") or () if isinstance(one, Mapping)]
    if not is_inherited(permission):
        return ""
    at = str(details[0].get("inheritedFrom") or "")
    if (at and at == file.get("driveId")) or details[0].get("permissionType") == "member":
        return ", as member of the shared drive"
    return f", by the folder {names[at]}" if at in names else ", by a folder above"


def is_inherited(permission: Row) -> bool:
    """True if a permission comes only from a folder above or the shared drive."""
    details = permission.get("permissionDetails") or ()
    return bool(details) and all(one.get("inherited") for one in details)


def audience(permissions: Iterable[Row] | None, me: Account) -> Audience:
    """Return who sees a file with these permissions. Members of a group are not visible, so a group counts as its
    domain, and as unknown outside the user's own."""
    if permissions is None:
        return Audience.UNKNOWN
    return max((_reach(one, me) for one in permissions), default=Audience.SELF)


def _reach(permission: Row, me: Account) -> Audience:
    home = own_domain(me.name)
    match permission.get("type"):
        case "anyone":
            return Audience.PUBLIC
        case "domain":
            return Audience.ORGANISATION if home and permission.get("domain") == home else Audience.UNKNOWN
        case "group":
            domain = domain_of(str(permission.get("emailAddress") or ""))
            return Audience.ORGANISATION if home and domain == home else Audience.UNKNOWN
        case "user":
            address = str(permission.get("emailAddress") or "").lower()
            if not address:
                return Audience.UNKNOWN
            return Audience.SELF if address == me.name.lower() else Audience.PEOPLE
    return Audience.UNKNOWN


def people_of(permissions: Iterable[Row] | None, me: Account) -> list[str]:
    """Return the addresses of everybody else who sees the file by name."""
    addresses = [str(one.get("emailAddress") or "").lower() for one in permissions or ()]
    return sorted({one for one in addresses if one and one != me.name.lower()})
