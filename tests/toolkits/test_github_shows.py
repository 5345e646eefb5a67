"""No word leaves for GitHub that was not shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core.act.show import SEEN_BY, show_rows
from tests.support import shown
from tests.support.shown import ShownWorld, shown_world
from tests.toolkits.github_play import ALL, GARDEN, SITE

OURS: Final = frozenset("repos contents git refs heads tags issues pulls comments deputize graphql".split())
"""Words of formats and paths, which nobody has to see."""

NEW: Final = {"repo": SITE, "path": "notes/fresh.md", "message": "Jot it down", "content": "Käthe\n  tabs\tand\r\n"}
LINES: Final = {"mode": "replace_lines", "start_line": 2, "end_line": 3}
COMMIT: Final = {
    "repo": SITE,
    "branch": "main",
    "message": "Tidy all",
    "files": [{"path": "docs/guide.md", "content": "Shorter\n"}, {"path": "zebra.txt", "content": "Stripes\n"}],
    "delete_paths": ["README.md"],
}

ROWS: Final[list[tuple[str, Any]]] = [
    ("write_file", NEW),
    ("write_file", NEW | {"branch": "old"}),
    ("write_file", NEW | {"path": "docs/guide.md", "mode": "overwrite"}),
    ("write_file", NEW | {"path": "docs/guide.md", "mode": "append"}),
    ("write_file", NEW | LINES | {"path": "docs/guide.md", "content": "between"}),
    ("commit_files", COMMIT),
    ("create_branch", {"repo": SITE, "branch": "fix/typo"}),
    ("create_branch", {"repo": GARDEN, "branch": "fix/typo", "from_ref": "main"}),
]
IDS: Final = [f"{n}-{tool}" for n, (tool, _) in enumerate(ROWS)]
every = pytest.mark.parametrize(("tool", "arguments"), ROWS, ids=IDS)

AUDIENCES: Final[dict[str, str]] = {  # who sees what a tool does
    "commit_files": "who sees the repository",
    "create_branch": "who sees the repository",
    "write_file": "who sees the repository",
}


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"github": ALL}) as world:
        yield world


@every
async def test_no_word_leaves_that_was_not_shown(world: ShownWorld, tool: str, arguments: Any) -> None:
    unseen = await world.unseen(f"github_{tool}", arguments, formats=OURS)
    assert [word for word in unseen if not is_mark(word)] == []


def is_mark(word: str) -> bool:
    """What makes a text of an act's findable: a comment that GitHub does not show."""
    return bool(re.fullmatch(r"[0-9a-f]{16}", word))


async def test_a_word_that_is_kept_back_is_caught(world: ShownWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: without the row of the message it does."""
    monkeypatch.setattr(shown, "show_rows", lambda show: [row for row in show_rows(show) if row[0] != "message"])
    assert "jot" in await world.unseen("github_write_file", NEW, formats=OURS)
