"""Calls of every Drive tool that together make every request it can make, with the sandbox's seed data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from deputize.core import File
from deputize.sandbox.google.drive.seed import OFFICE
from deputize.toolkits.drive import TOOLKIT
from tests.toolkits.google_driver import ALICE, BOB, Desk

LINK: Final = "https://docs.google.com/document/d/offer/edit?usp=sharing#heading=h.1"


class Case(NamedTuple):
    """A call, and the failure that happens in it."""

    tool: str
    arguments: dict[str, Any]
    spoil: Callable[[Desk], None] = lambda desk: None


def desk(granted: frozenset[str], who: str = ALICE) -> Desk:
    """Return a person's Drive. The app has opened all of Alice's files before, so that drive.file suffices for them."""
    made = Desk(TOOLKIT, granted, person=who)
    made.files["file_aaaaaaaaaa"] = File("plan.txt", "text/plain", b"One.\r\nTwo.")
    for file in made.sandbox._world.services["drive"]["files"].values():
        file["opened"] = [ALICE]
    return made


def _lose_comment(desk: Desk) -> None:
    desk.lose["/files/{id}/comments"] = 1


def _lose_share(desk: Desk) -> None:
    desk.lose["/files/{id}/permissions"] = 1


CASES: Final = [
    Case("search_files", {}),
    Case("search_files", {"query": 'notice "six months"'}),
    Case("search_files", {"kind": "image", "owner": BOB, "modified_after": "2026-11-01T00:00:00Z", "limit": 2}),
    Case("search_files", {"folder": "root"}),
    Case("search_files", {"folder": OFFICE, "kind": "folder"}),
    *(Case("search_files", {"where": where}) for where in ("shared_with_me", "trash", "app_files", "shared_drives")),
    Case("search_files", {"where": "shared_drives", "query": "office"}),
    Case("get_file", {"file": "offer"}),
    Case("get_file", {"file": "lease", "history": True}),
    Case("read_file", {"file": LINK}),
    Case("read_file", {"file": "lease", "find": "notice"}),
    Case("read_file", {"file": "stock"}),
    Case("download_file", {"file": "offer", "format": "pdf"}),
    Case("download_file", {"file": "poster"}),
    Case("list_comments", {"file": "offer"}),
    Case("list_comments", {"file": "offer", "resolved": True, "limit": 1}),
    Case("list_comments", {"file": "offer", "comment": "c1"}),
    Case("share_file", {"file": "fair", "who": BOB, "role": "reader"}),
    Case("share_file", {"file": "fair", "who": "carol@else.test", "role": "writer", "notify": True, "message": "Look"}),
    Case("share_file", {"file": "offer", "who": BOB, "role": "reader"}),
    Case("share_file", {"file": "offer", "who": BOB, "role": "none"}),
    Case("share_file", {"file": "fair", "who": "anyone", "role": "reader"}),
    Case("share_file", {"file": "fair", "who": "carol@else.test", "role": "reader", "notify": True}, _lose_share),
    Case("create_file", {"name": "New"}),
    Case("create_file", {"name": "New", "folder": "fair"}),
    Case("create_file", {"file": "file_aaaaaaaaaa"}),
    Case("create_file", {"file": "file_aaaaaaaaaa", "folder": "leases", "name": "Plan"}),
    Case("write_comment", {"file": "offer", "text": "Is 20 % right?", "quote": "A deposit of 20 %"}),
    Case("write_comment", {"file": "offer", "text": "Yes.", "comment": "c1", "resolve": True}),
    Case("write_comment", {"file": "offer", "text": "Lost"}, _lose_comment),
    Case("trash_file", {"file": "fair"}),
    Case("trash_file", {"file": "old", "restore": True}),
    Case("update_file", {"file": "notes", "name": "Novel"}),
    Case("update_file", {"file": "notes", "folder": "fair"}),
]
