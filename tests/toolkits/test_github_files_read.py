"""A GitHub file is replaced only by a caller who has read it, and keeps what the reader was not shown."""

from __future__ import annotations

import base64
from typing import Any, Final

import pytest

from deputize.core import Conflict, InvalidInput
from deputize.sandbox.github.git import blob_sha, packed
from tests.toolkits.github_play import GUIDE_SHA, SITE, Play

GUIDE: Final = {"repo": SITE, "message": "M"}
SECRET: Final = "gh" + "p_" + "a1B2" * 9
HIDING: Final = f"one\u202e\nTOKEN={SECRET}\nthree\n"


def files(play: Play) -> dict[str, str]:
    tree = play.store["commits"][SITE][play.store["repos"][SITE]["branches"]["main"]]["tree"]
    return {path: base64.b64decode(content).decode() for path, content in tree.items() if path.endswith((".md", ".c"))}


async def replaced(play: Play, tool: str, path: str, content: str, sha: str | None) -> Any:
    if tool == "write_file":
        return await play.act(
            tool, **GUIDE, path=path, content=content, mode="overwrite", **({"expected_sha": sha} if sha else {})
        )
    one = {"path": path, "content": content} | ({"sha": sha} if sha else {})
    return await play.act(tool, **GUIDE, branch="main", files=[one])


both = pytest.mark.parametrize("tool", ["write_file", "commit_files"])


@both
async def test_file_is_replaced_only_with_the_sha_that_was_read(play: Play, tool: str) -> None:
    before = files(play)
    with pytest.raises(InvalidInput) as refused:
        await replaced(play, tool, "docs/guide.md", "Short", None)
    assert refused.value.reason == "unread" and "github_get_file" in refused.value.hint
    with pytest.raises(Conflict) as stale:
        await replaced(play, tool, "docs/guide.md", "Short", "0" * 40)
    assert stale.value.reason == "stale" and files(play) == before
    read = await play.act("get_file", repo=SITE, path="docs/guide.md")
    assert read["sha"] == GUIDE_SHA
    await replaced(play, tool, "docs/guide.md", "Short", read["sha"])
    assert files(play) == before | {"docs/guide.md": "Short\n"}


@both
async def test_new_or_unchanged_file_needs_no_sha(play: Play, tool: str) -> None:
    before = files(play)
    await replaced(play, tool, "docs/guide.md", before["docs/guide.md"], None)
    await replaced(play, tool, "docs/new.md", "New", None)
    assert files(play) == before | {"docs/new.md": "New"}


async def test_existing_file_error_does_not_reveal_its_sha(play: Play) -> None:
    """A model would take it from there, and replace a file it has not read."""
    with pytest.raises(Conflict) as exists:
        await play.act("write_file", **GUIDE, path="docs/guide.md", content="Short")
    assert GUIDE_SHA not in f"{exists.value}{exists.value.hint}"


@both
@pytest.mark.parametrize("stand_in", ["one\\u{202E}", "TOKEN=[redacted]"])
async def test_placeholder_shown_for_hidden_text_is_not_written_back(play: Play, tool: str, stand_in: str) -> None:
    await play.act("write_file", **GUIDE, path="keys.c", content="x")
    head = play.store["commits"][SITE][play.store["repos"][SITE]["branches"]["main"]]
    head["tree"]["keys.c"] = packed(HIDING)
    shown = (await play.act("get_file", repo=SITE, path="keys.c"))["text"]
    assert stand_in in shown
    with pytest.raises(InvalidInput, match="would be lost"):
        await replaced(play, tool, "keys.c", f"{stand_in}\nfour\n", blob_sha(packed(HIDING)))
    assert files(play)["keys.c"] == HIDING
    await play.act("write_file", **GUIDE, path="keys.c", content="four\n", mode="replace_lines", start_line=3)
    assert files(play)["keys.c"] == HIDING.replace("three", "four")
