"""Fields of a preview of a change at GitHub: place, audience, and texts without changes.

A repository is looked up once before the preview, and called by that name from then on. So a later rename is refused
(`deputize.toolkits.github.api.follow_move`), and a repository that became public, or was recreated under the same name,
needs another approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from deputize.core import Audience, Change, Need, Preview
from deputize.core.errors import NotFound
from deputize.core.tools.preview import shown_file
from deputize.core.tools.steps import MIB
from deputize.toolkits.github import api
from deputize.toolkits.github.base import Asks, reads
from deputize.toolkits.github.prose import LONGEST_BODY, Prose, mask_secrets
from deputize.toolkits.github.rows import repo_of

HOME: Final[Need] = reads("GET R")
"""The need of `home_of`."""

ISSUE: Final[Need] = reads("GET R/issues/{issue_number}", "issues:read", "pull_requests:read")
"""The need of `issue_of` and `subject_of`."""

FOR_GOOD: Final = "cannot be taken back"
INVITED: Final = "its owner and whom they have invited"
"""The audience of a person's private repository: reading their names takes more rights."""


@dataclass(frozen=True, slots=True)
class Home:
    """A repository. ``row``: GitHub's row for it."""

    row: Mapping[str, Any]

    @classmethod
    def from_node(cls, node: Mapping[str, Any]) -> Self:
        """Return the repository of a GraphQL node."""
        visibility = str(node.get("visibility") or "").lower()
        owner = {"type": (node.get("owner") or {}).get("__typename")}
        return cls(
            {
                "id": node.get("databaseId"),
                "full_name": node.get("nameWithOwner"),
                "visibility": visibility,
                "owner": owner,
            }
        )

    @property
    def name(self) -> str:
        """The current ``owner/name``."""
        return str(self.row.get("full_name"))

    @property
    def default_branch(self) -> str:
        """The branch for calls that name none."""
        return str(self.row.get("default_branch") or "")

    @property
    def visibility(self) -> str:
        """public, internal or private; "" if GitHub reports none."""
        word = {True: "private", False: "public"}.get(self.row.get("private"), "")  # type: ignore[arg-type]
        return str(self.row.get("visibility") or word)

    @property
    def members(self) -> Audience:
        """The readers of a private repository: the organization, or the people whom the owner invited."""
        of_org = (self.row.get("owner") or {}).get("type") == "Organization"
        return Audience.ORGANISATION if of_org else Audience.PEOPLE

    @property
    def audience(self) -> Audience:
        """The readers of the repository."""
        known = {"public": Audience.PUBLIC, "internal": Audience.ORGANISATION, "private": self.members}
        return known.get(self.visibility, Audience.UNKNOWN)

    def where(self, branch: str = "") -> str:
        """Return the place of a change in words."""
        seen = self.visibility or "visibility not known"
        if self.audience is Audience.PEOPLE:
            seen = f"{seen}: {INVITED}"
        return f"{self.name} ({seen})" + (f", branch {branch}" if branch else "")

    def shows(self, what: str, /, *, branch: str = "", pins: Mapping[str, Any] | None = None, **more: Any) -> Preview:
        """Return the preview of a change in the repository. ``more``: fields of `Preview`."""
        given = {"audience": self.audience, "where": self.where(branch), "targets": {"repository": self.name}, **more}
        return Preview(what, pins={"repository": self.row.get("id"), **(pins or {})}, **given)


def home_of(repo: str) -> Asks[Home]:
    """Return the repository of this name. Old names of a renamed repository are accepted."""
    return Home((yield from api.get("R", repo)))


def issue_of(home: Home, number: int) -> Asks[dict[str, Any]]:
    """Return an issue or pull request of this repository. Raises `NotFound` if it was moved to another."""
    row = dict((yield from api.get("R/issues/{issue_number}", home.name, at={"issue_number": number})))
    there = repo_of(row)
    if there and there.lower() != home.name.lower():
        said = Prose().line(f"#{number} of {home.name} was moved to #{row.get('number')} of {there}.", 300)
        raise NotFound(said, hint="Name it where it is now.")
    return row


def subject_of(home: Home, comment: Mapping[str, Any]) -> Asks[str | None]:
    """Return the number and title of a comment's issue, or None."""
    number = str(comment.get("issue_url") or comment.get("pull_request_url") or "").rpartition("/")[2]
    if not number.isdecimal():
        return None
    try:
        return title_of((yield from issue_of(home, int(number))))
    except NotFound:
        return f"#{number}"


def file_shown(path: str, data: bytes) -> Any:
    """Return a file's whole text, or the digest of a binary file or of more than a megabyte."""
    text = None if len(data) > MIB or b"\x00" in data else text_of(data)
    return shown_file(path, "application/octet-stream", data) if text is None else text


def text_of(data: bytes) -> str | None:
    """Return the bytes as text if the text encodes to the same bytes, or None."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def writable(data: bytes) -> str | None:
    """Return the text with which a tool could restore a file, or None."""
    text = text_of(data) if len(data) <= MIB else None
    return text if text is not None and mask_secrets(text) == text else None


def restorable_text(text: Any) -> str | None:
    """Return the text if a tool could write it again, or None."""
    told = str(text or "")
    return told if len(told) <= LONGEST_BODY and mask_secrets(told) == told else None


def change_of(before: Any, after: Any) -> Change | None:
    """Return a `Change`, or None if nothing changes."""
    return None if (before or "") == (after or "") else Change("" if before is None else before, after)


def loses(before: Any, after: str | None) -> bool:
    """Return whether existing text would be lost. ``after``: None leaves the text unchanged."""
    return after is not None and str(before or "").strip() not in after


def title_of(row: Mapping[str, Any]) -> str:
    """Return the number and title of an issue, pull request or discussion."""
    return f"#{row.get('number')} {row.get('title') or ''}".strip()


def pull_size(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of a pull request, for a preview's ``beside``."""
    added, removed = row.get("additions"), row.get("deletions")
    lines = None if added is None else f"{added} added, {removed} removed"
    return {"commits": row.get("commits"), "files": row.get("changed_files"), "lines": lines}


def commit_shown(sha: str, message: Any) -> str:
    """Return a commit's short sha and first line."""
    return f"{sha[:12]} {str(message or '').partition(chr(10))[0]}".strip()


def undo_message(message: Any) -> str:
    """Return the message of a commit that undoes the commit with this message."""
    return f"Undo: {message}"[:256]


def size_shown(file: Mapping[str, Any]) -> str:
    """Return the name and size of a release's file."""
    return f"{file.get('name')} ({file.get('size')} bytes)"
