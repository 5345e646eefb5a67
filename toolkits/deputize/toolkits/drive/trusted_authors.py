"""``trusted_authors = own``: files that only the user can have written, and the user's own comments. ``domain``: also
files of which the owner, everybody who may write and who changed it last are in the user's domain.

Drive names the owner and the last writer. Who else may write is known only to those who may share the file, and not of
files in shared drives, so the texts of those are withheld. gmail.com does not count as a shared domain.
developers.google.com/workspace/drive/api/reference/rest/v3/files
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from deputize.core import Request, Run
from deputize.core.tools.steps import Step, Try
from deputize.core.tools.trusted_authors import Withheld
from deputize.toolkits._shared.redact_results import blanked, domain_of, own_domain
from deputize.toolkits._shared.steps import Asks
from deputize.toolkits.drive.base import DRIVE, MARK
from deputize.toolkits.drive.rows import WRITING, is_own

NOT_OWN: Final = "not written by the user alone"
NOT_OURS: Final = "not written only by the user and the user's domain"
_KEPT: Final = frozenset(
    """action allowFileDiscovery createdTime domain driveId emailAddress expirationTime headRevisionId id inheritedFrom
    kind md5Checksum me mimeType modifiedTime nextPageToken permissionType role sha256Checksum size targetId trashedTime
    type version view webViewLink""".split()
)
"""Fields that Google sets, or that identify people. A media type has no blanks, and is cut in rows."""
_PEOPLE: Final = ("owners", "lastModifyingUser", "permissions")


class Authors:
    """The screen of one call. It remembers which files it saw, because their bytes and comments name no author."""

    def __init__(self, run: Run, withheld: Withheld, *, ours: bool) -> None:
        self.withheld, self.ours = withheld, ours
        self.me, self.domain = run.account.name.lower(), own_domain(run.account.name)
        self.why = NOT_OURS if ours else NOT_OWN
        self.trusted = dict[str, bool]()

    def __call__(self, step: Step, answer: Any) -> Asks[Any]:
        """Return the response without the texts of other authors."""
        if isinstance(step, list):
            return [self._screen(request, part) for request, part in zip(step, answer, strict=True)]
        if isinstance(step, Try):
            return [self._screen(request, part) for request, part in zip(step.requests, answer, strict=True)]
        return self._screen(step, answer) if isinstance(step, Request) else answer
        yield step

    def _screen(self, request: Request, answer: Any) -> Any:
        if isinstance(answer, bytes):
            known = self.trusted.get(str(request.at.get("id")))
            return answer if known else self.withheld.mark_for(self.why).encode()
        if not isinstance(answer, dict):
            return answer
        for name, screen in (("files", self._file), ("drives", self._blank), ("comments", self._comment)):
            if isinstance(answer.get(name), list):
                return {**answer, name: [screen(one) for one in answer[name]]}
        if "/comments/" in request.path:
            return self._comment(answer)
        if request.path == "/files/{id}":
            return self._file(answer)
        return self._without_names(answer)

    def _file(self, file: dict[str, Any]) -> dict[str, Any]:
        trusted = self._is_trusted(file)
        self.trusted[str(file.get("id"))] = trusted
        if trusted:
            return file
        kept: dict[str, Any] = {name: self._without_names(file[name]) for name in _PEOPLE if name in file}
        mark: dict[str, Any] = {"appProperties": {MARK: ""}} if MARK in (file.get("appProperties") or {}) else {}
        flags: dict[str, Any] = {name: file[name] for name in ("capabilities", "parents") if name in file}
        return {**self._blank(file), **kept, **mark, **flags}

    def _is_trusted(self, file: Mapping[str, Any]) -> bool:
        if is_own(file):
            return True
        if not self.ours or not self.domain or file.get("driveId") or MARK in (file.get("appProperties") or {}):
            return False
        owners = [str(one.get("emailAddress")) for one in file.get("owners") or ()]
        writers = [one for one in file.get("permissions") or () if one.get("role") in WRITING]
        if not owners or not writers or not all(self._is_ours(one) for one in owners):
            return False
        by = str((file.get("lastModifyingUser") or {}).get("emailAddress") or "")
        return self._is_ours(by) and all(
            (one.get("type") == "user" and self._is_ours(str(one.get("emailAddress") or "")))
            or (one.get("type") == "domain" and one.get("domain") == self.domain)
            for one in writers
        )

    def _is_ours(self, address: str) -> bool:
        return address.lower() == self.me or (bool(self.domain) and domain_of(address) == self.domain)

    def _comment(self, comment: dict[str, Any]) -> dict[str, Any]:
        """Return a comment with the words of its other authors withheld, and those of the file."""
        replies = [one if _is_mine(one) else self._blank(one) for one in comment.get("replies") or ()]
        shown = comment if _is_mine(comment) else self._blank(comment)
        quote = (
            {"quotedFileContent": self._blank(comment["quotedFileContent"])} if comment.get("quotedFileContent") else {}
        )
        return {**shown, **quote, "replies": replies}

    def _without_names(self, node: Any) -> Any:
        """Return people without the names that they chose."""
        if isinstance(node, list):
            return [self._without_names(one) for one in node]
        if isinstance(node, dict):
            return {name: self._without_names(one) for name, one in node.items() if name != "displayName"}
        return node

    def _blank(self, node: dict[str, Any]) -> dict[str, Any]:
        return dict(blanked(node, self.withheld.mark_for(self.why), _KEPT))


def _is_mine(one: Mapping[str, Any]) -> bool:
    return bool((one.get("author") or {}).get("me"))


DRIVE.screens["own"] = partial(Authors, ours=False)
DRIVE.screens["domain"] = partial(Authors, ours=True)
