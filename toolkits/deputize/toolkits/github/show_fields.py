"""What a person is shown of a change at GitHub: where it goes, who sees it there, and texts as they are.

A repository is looked up once, before anything is shown. From then on it is called by the name that was found, so that
one that is renamed meanwhile is refused (`deputize.toolkits.github.api.moved`), and one that was made public, or made
anew under the same name, is another question.
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
from deputize.toolkits.github.prose import LONGEST_BODY, Prose, masked
from deputize.toolkits.github.rows import repo_of

HOME: Final[Need] = reads("GET R")
"""The need of `home_of`."""

ISSUE: Final[Need] = reads("GET R/issues/{issue_number}", "issues:read", "pull_requests:read")
"""The need of `issue_of` and `subject_of`."""

FOR_GOOD: Final = "cannot be taken back"
INVITED: Final = "its owner and whom they have invited"
"""Who sees what is private and a person's own: to read their names takes more rights."""


@dataclass(frozen=True, slots=True)
class Home:
    """A repository as it was found: ``row`` is GitHub's own."""

    row: Mapping[str, Any]

    @classmethod
    def of_node(cls, node: Mapping[str, Any]) -> Self:
        """As GraphQL tells of it."""
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
        """``owner/name``, as it is called now."""
        return str(self.row.get("full_name"))

    @property
    def default_branch(self) -> str:
        """The branch that is meant where none is named."""
        return str(self.row.get("default_branch") or "")

    @property
    def visibility(self) -> str:
        """public, internal or private; "" where GitHub does not say."""
        word = {True: "private", False: "public"}.get(self.row.get("private"), "")  # type: ignore[arg-type]
        return str(self.row.get("visibility") or word)

    @property
    def members(self) -> Audience:
        """Who sees what is not for everybody: the organization, or the people that an owner has invited."""
        of_org = (self.row.get("owner") or {}).get("type") == "Organization"
        return Audience.ORGANISATION if of_org else Audience.PEOPLE

    @property
    def audience(self) -> Audience:
        """Who sees what is in it."""
        known = {"public": Audience.PUBLIC, "internal": Audience.ORGANISATION, "private": self.members}
        return known.get(self.visibility, Audience.UNKNOWN)

    def where(self, branch: str = "") -> str:
        """The place in words."""
        seen = self.visibility or "visibility not known"
        if self.audience is Audience.PEOPLE:
            seen = f"{seen}: {INVITED}"
        return f"{self.name} ({seen})" + (f", branch {branch}" if branch else "")

    def shows(self, what: str, /, *, branch: str = "", pins: Mapping[str, Any] | None = None, **more: Any) -> Preview:
        """What is about to happen in it. ``more``: as `Preview` takes it."""
        given = {"audience": self.audience, "where": self.where(branch), **more}
        return Preview(what, pins={"repository": self.row.get("id"), **(pins or {})}, **given)


def home_of(repo: str) -> Asks[Home]:
    """The repository of this name, old names included."""
    return Home((yield from api.get("R", repo)))


def issue_of(home: Home, number: int) -> Asks[dict[str, Any]]:
    """An issue or pull request of just this repository. Raises `NotFound` for one that was moved to another."""
    row = dict((yield from api.get("R/issues/{issue_number}", home.name, at={"issue_number": number})))
    there = repo_of(row)
    if there and there.lower() != home.name.lower():
        said = Prose().line(f"#{number} of {home.name} was moved to #{row.get('number')} of {there}.", 300)
        raise NotFound(said, hint="Name it where it is now.")
    return row


def subject_of(home: Home, comment: Mapping[str, Any]) -> Asks[str | None]:
    """What a comment stands at, by number and title."""
    number = str(comment.get("issue_url") or comment.get("pull_request_url") or "").rpartition("/")[2]
    if not number.isdecimal():
        return None
    try:
        return titled((yield from issue_of(home, int(number))))
    except NotFound:
        return f"#{number}"


def file_shown(path: str, data: bytes) -> Any:
    """A file's text, every character of it; what is none, or is longer than a megabyte, by its digest."""
    text = None if len(data) > MIB or b"\x00" in data else text_of(data)
    return shown_file(path, "application/octet-stream", data) if text is None else text


def text_of(data: bytes) -> str | None:
    """The bytes as text, where that gives the same bytes again."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def writable(data: bytes) -> str | None:
    """The text that a tool could write again, to put a file back."""
    text = text_of(data) if len(data) <= MIB else None
    return text if text is not None and masked(text) == text else None


def restored(text: Any) -> str | None:
    """A text as a tool could write it again; None for one that none may write."""
    told = str(text or "")
    return told if len(told) <= LONGEST_BODY and masked(told) == told else None


def change_of(before: Any, after: Any) -> Change | None:
    """A `Change`, or None where nothing changes."""
    return None if (before or "") == (after or "") else Change("" if before is None else before, after)


def loses(before: Any, after: str | None) -> bool:
    """Whether words that are there now will not be there any more. ``after``: None leaves the text alone."""
    return after is not None and str(before or "").strip() not in after


def titled(row: Mapping[str, Any]) -> str:
    """An issue, pull request or discussion by its number and title."""
    return f"#{row.get('number')} {row.get('title') or ''}".strip()


def commit_shown(sha: str, message: Any) -> str:
    """A commit by the beginning of its name and its first line."""
    return f"{sha[:12]} {str(message or '').partition(chr(10))[0]}".strip()


def undoing(message: Any) -> str:
    """The message of a commit that puts back another one."""
    return f"Undo: {message}"[:256]


def size_shown(file: Mapping[str, Any]) -> str:
    """A file of a release."""
    return f"{file.get('name')} ({file.get('size')} bytes)"
