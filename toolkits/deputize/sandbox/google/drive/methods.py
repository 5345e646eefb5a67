"""Drive's methods: paths, query parameters, and scopes, of which one suffices; and the fields of its records.

From Google's discovery document drive.v3, revision 20261106.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import unquote

ROOT: Final = "/drive/v3"
UPLOAD: Final = f"/upload{ROOT}"
SCOPE: Final = "https://www.googleapis.com/auth/drive"
COMMON: Final = frozenset({"alt", "fields", "key", "prettyPrint", "quotaUser", "userIp", "oauth_token"})
UPLOADING: Final = frozenset({"uploadType", "upload_id"})
BOOLEANS: Final = frozenset(
    """acknowledgeAbuse copyComments enforceExpansiveAccess enforceSingleParent ignoreDefaultVisibility includeDeleted
    includeItemsFromAllDrives includeTeamDriveItems keepRevisionForever moveToNewOwnersRoot removeExpiration
    sendNotificationEmail supportsAllDrives supportsTeamDrives transferOwnership useContentAsIndexableText
    useDomainAdminAccess""".split()
)
PAGE_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    **{"files.list": (100, 1000), "drives.list": (10, 100), "permissions.list": (100, 100)},
    **{"comments.list": (20, 100), "revisions.list": (200, 1000)},
}
"""The usual and the largest page of each list."""
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "File": """appProperties capabilities clientEncryptionDetails contentHints contentRestrictions
        copyRequiresWriterPermission createdTime description downloadRestrictions driveId explicitlyTrashed exportLinks
        fileExtension folderColorRgb fullFileExtension hasAugmentedPermissions hasThumbnail headRevisionId iconLink id
        imageMediaMetadata inheritedPermissionsDisabled isAppAuthorized kind labelInfo lastModifyingUser
        linkShareMetadata md5Checksum mimeType modifiedByMe modifiedByMeTime modifiedTime name originalFilename
        ownedByMe owners parents permissionIds permissions properties quotaBytesUsed resourceKey sha1Checksum
        sha256Checksum shared sharedWithMeTime sharingUser shortcutDetails size spaces starred teamDriveId thumbnailLink
        thumbnailVersion trashed trashedTime trashingUser version videoMediaMetadata viewedByMe viewedByMeTime
        viewersCanCopyContent webContentLink webViewLink writersCanShare""",
        "Permission": """allowFileDiscovery deleted displayName domain emailAddress expirationTime id
        inheritedPermissionsDisabled kind pendingOwner permissionDetails photoLink role teamDrivePermissionDetails type
        view""",
        "Comment": """anchor assigneeEmailAddress author content createdTime deleted htmlContent id kind
        mentionedEmailAddresses modifiedTime quotedFileContent replies resolved""",
        "Reply": """action assigneeEmailAddress author content createdTime deleted htmlContent id kind
        mentionedEmailAddresses modifiedTime""",
        "Revision": """exportLinks id keepForever kind lastModifyingUser md5Checksum mimeType modifiedTime
        originalFilename publishAuto published publishedLink publishedOutsideDomain size""",
        "Drive": """backgroundImageFile backgroundImageLink capabilities colorRgb createdTime hidden id kind name
        orgUnitId restrictions themeId""",
    }.items()
}


def full_scope(short: str) -> str:
    """Return a scope's full name; ``all`` is the scope for everything."""
    return SCOPE if short == "all" else f"{SCOPE}.{short}"


@dataclass(frozen=True)
class Method:
    """One method: its id without ``drive.``, verb, path, query parameters, sufficient scopes, the records of its body
    and of its reply, and whether it takes uploads."""

    id: str
    verb: str
    path: str
    query: frozenset[str]
    scopes: tuple[str, ...]
    body: str
    reply: str
    uploads: bool

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern of the whole path."""
        root = rf"(?:{ROOT}|{UPLOAD})" if self.uploads else ROOT
        return re.compile(root + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    @property
    def rpc(self) -> str:
        """The method's name in Google's errors."""
        thing, verb = self.id.split(".")
        return f"google.apps.drive.v3.Drive{thing.capitalize()}.{verb[0].upper()}{verb[1:]}"

    def ids_in(self, path: str) -> dict[str, str] | None:
        """Return the ids in a path of this method; None if the path belongs to another."""
        found = self.pattern.fullmatch(path)
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None


def _method(
    id: str,
    verb: str,
    path: str,
    query: str,
    scopes: str,
    reply: str = "",
    *,
    body: bool = False,
    uploads: bool = False,
) -> Method:
    names = frozenset(query.split())
    return Method(id, verb, path, names, tuple(map(full_scope, scopes.split())), reply if body else "", reply, uploads)


_ALL_DRIVES = "supportsAllDrives supportsTeamDrives"
_PAGES = "pageSize pageToken"
_LABELS = "includeLabels includePermissionsForView"
_SEES = "all appdata file meet.readonly metadata metadata.readonly photos.readonly readonly"
_READS = "all file meet.readonly readonly"
_WRITTEN = f"enforceSingleParent keepRevisionForever ocrLanguage {_LABELS} {_ALL_DRIVES}"
_FILE = "/files/{fileId}"
_SHARES = f"enforceExpansiveAccess useDomainAdminAccess {_ALL_DRIVES}"

METHODS: Final = (
    _method(
        "files.list",
        "GET",
        "/files",
        f"corpora corpus driveId includeItemsFromAllDrives includeTeamDriveItems orderBy q spaces teamDriveId "
        f"{_LABELS} {_PAGES} {_ALL_DRIVES}",
        _SEES,
        "File",
    ),
    _method("files.generateIds", "GET", "/files/generateIds", "count space type", "all appdata file"),
    _method("files.get", "GET", _FILE, f"acknowledgeAbuse {_LABELS} {_ALL_DRIVES}", _SEES, "File"),
    _method("files.export", "GET", f"{_FILE}/export", "mimeType", _READS),
    _method(
        "files.create",
        "POST",
        "/files",
        f"ignoreDefaultVisibility useContentAsIndexableText {_WRITTEN}",
        "all appdata file",
        "File",
        body=True,
        uploads=True,
    ),
    _method(
        "files.update",
        "PATCH",
        _FILE,
        f"addParents removeParents useContentAsIndexableText {_WRITTEN}",
        "all appdata file metadata scripts",
        "File",
        body=True,
        uploads=True,
    ),
    _method(
        "files.copy",
        "POST",
        f"{_FILE}/copy",
        f"copyComments ignoreDefaultVisibility {_WRITTEN}",
        "all appdata file photos.readonly",
        "File",
        body=True,
    ),
    _method(
        "permissions.list",
        "GET",
        f"{_FILE}/permissions",
        f"includePermissionsForView useDomainAdminAccess {_PAGES} {_ALL_DRIVES}",
        "all file meet.readonly metadata metadata.readonly photos.readonly readonly",
        "Permission",
    ),
    _method(
        "permissions.create",
        "POST",
        f"{_FILE}/permissions",
        f"emailMessage enforceSingleParent moveToNewOwnersRoot sendNotificationEmail transferOwnership {_SHARES}",
        "all file",
        "Permission",
        body=True,
    ),
    _method(
        "permissions.update",
        "PATCH",
        f"{_FILE}/permissions/{{permissionId}}",
        f"removeExpiration transferOwnership {_SHARES}",
        "all file",
        "Permission",
        body=True,
    ),
    _method("permissions.delete", "DELETE", f"{_FILE}/permissions/{{permissionId}}", _SHARES, "all file"),
    _method(
        "comments.list", "GET", f"{_FILE}/comments", f"includeDeleted startModifiedTime {_PAGES}", _READS, "Comment"
    ),
    _method("comments.get", "GET", f"{_FILE}/comments/{{commentId}}", "includeDeleted", _READS, "Comment"),
    _method("comments.create", "POST", f"{_FILE}/comments", "", "all file", "Comment", body=True),
    _method("comments.delete", "DELETE", f"{_FILE}/comments/{{commentId}}", "", "all file"),
    _method("replies.create", "POST", f"{_FILE}/comments/{{commentId}}/replies", "", "all file", "Reply", body=True),
    _method("revisions.list", "GET", f"{_FILE}/revisions", _PAGES, _SEES, "Revision"),
    _method("drives.list", "GET", "/drives", f"q useDomainAdminAccess {_PAGES}", "all readonly", "Drive"),
    _method("drives.get", "GET", "/drives/{driveId}", "useDomainAdminAccess", "all readonly", "Drive"),
)
