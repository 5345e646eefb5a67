"""GitHub files and gists keep their line ends, byte order mark and final newline if a model changes their lines."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core import Act, ApprovalRequired, Call, InvalidInput, Verdict, allow_all
from deputize.core.tools.preview import show_rows
from deputize.sandbox.github.git import blob_sha, packed
from deputize.toolkits._shared.line_ends import BOM, split_lines, with_lf
from deputize.toolkits._shared.long_text import digest
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.github_play import ALL, SITE
from tests.toolkits.test_github_commits_shown import put
from tests.toolkits.test_line_ends import FILES, made

PATH: Final = "run.cmd"
GIST: Final = "a" * 20
CRLF: Final = b"@echo off\r\nset PORT=80\r\nrun\r\n"


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"github": ALL}) as world:
        yield world


def stored(world: ShownWorld) -> bytes:
    store = world.sandbox._world.services["github"]
    tree = store["commits"][SITE][store["repos"][SITE]["branches"]["main"]]["tree"]
    return base64.b64decode(tree[PATH])


def ask_always(act: Act) -> Verdict:
    return Verdict.ASK


async def read(world: ShownWorld) -> Any:
    return await world.act("github_get_file", repo=SITE, path=PATH)


async def written(world: ShownWorld, content: str, **more: Any) -> Any:
    return await world.act("github_write_file", repo=SITE, path=PATH, message="M", content=content, **more)


async def overwritten(world: ShownWorld, content: str, **more: Any) -> Any:
    return await written(world, content, mode="overwrite", expected_sha=blob_sha(packed(stored(world))), **more)


async def committed(world: ShownWorld, content: str, **more: Any) -> Any:
    file = {"path": PATH, "content": content, "sha": blob_sha(packed(stored(world))), **more}
    return await world.act("github_commit_files", repo=SITE, branch="main", message="M", files=[file])


async def put_back(world: ShownWorld) -> None:
    [last, *_] = await world.deputy.undoable("alice")
    await world.deputy.undo("alice", last.id)


def gist_of(world: ShownWorld) -> dict[str, str]:
    files: dict[str, str] = world.sandbox._world.services["github"]["gists"][GIST]["files"]
    return files


@pytest.mark.parametrize("data", FILES)
async def test_model_reads_lines_without_cr_and_is_told_the_line_ends(world: ShownWorld, data: bytes) -> None:
    put(world, {PATH: data})
    found = await read(world)
    assert found["text"] == with_lf(data).decode() and found.get("bom", False) == data.startswith(BOM)
    assert bool(found.get("line_ends")) == (b"\r" in data) and found["lines"] == "1-5 of 5" and "warning" not in found


@pytest.mark.parametrize("data", FILES)
@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 4), (5, 5)])
async def test_replaced_lines_keep_all_other_bytes(world: ShownWorld, data: bytes, first: int, last: int) -> None:
    put(world, {PATH: data})
    await written(world, "new\nlines", mode="replace_lines", start_line=first, end_line=last)
    was, now = split_lines(data), split_lines(stored(world))
    assert now[: first - 1] == was[: first - 1] and [one for one, _ in now[first - 1 : first + 1]] == [b"new", b"lines"]
    assert now[first + 1 :] == was[last:] and bool(now[-1][1]) == bool(was[-1][1])
    assert stored(world).startswith(BOM) == data.startswith(BOM) and {end for _, end in now} <= {end for _, end in was}
    await put_back(world)
    assert stored(world) == data


@pytest.mark.parametrize("data", FILES)
@pytest.mark.parametrize("way", [overwritten, committed])
async def test_file_written_back_changes_only_edited_lines(world: ShownWorld, data: bytes, way: Any) -> None:
    put(world, {PATH: data})
    text = (await read(world))["text"]
    await way(world, text.replace("line 3", "third"))
    assert stored(world) == data.replace(b"line 3", b"third")
    [show] = world.shown
    assert "line_ends" not in show.fields
    await put_back(world)
    assert stored(world) == data
    await way(world, text)
    assert stored(world) == data


@pytest.mark.parametrize("data", FILES)
async def test_appended_lines_use_the_existing_line_ends(world: ShownWorld, data: bytes) -> None:
    put(world, {PATH: data})
    await written(world, "last", mode="append")
    was, now = split_lines(data), split_lines(stored(world))
    assert now[:4] == was[:4] and [line for line, _ in now[4:]] == [b"line 5", b"last"]
    assert bool(now[-1][1]) == bool(was[-1][1]) and {end for _, end in now} <= {end for _, end in was}
    await put_back(world)
    assert stored(world) == data


@pytest.mark.parametrize("data", FILES)
async def test_gist_file_changes_only_where_edited(world: ShownWorld, data: bytes) -> None:
    text = data.decode()
    gist_of(world)["run.cmd"] = text
    found = await world.act("github_list_gists", gist_id=GIST, file="run.cmd", raw=True)
    assert found["text_digest"] == digest(text) and ("line_ends" in found) == (b"\r" in data)
    new = with_lf(data).decode().replace("line 3", "third")
    await world.act("github_save_gist", gist_id=GIST, files={"run.cmd": new}, if_text={"run.cmd": digest(text)})
    assert gist_of(world)["run.cmd"] == text.replace("line 3", "third")
    assert "line_ends" not in world.shown[-1].fields
    await put_back(world)
    assert gist_of(world)["run.cmd"] == text


@pytest.mark.parametrize("way", [overwritten, committed])
async def test_line_end_change_is_made_only_on_request_and_previewed(world: ShownWorld, way: Any) -> None:
    put(world, {PATH: CRLF})
    await way(world, CRLF.decode().replace("\r", ""), exact=True)
    assert stored(world) == CRLF.replace(b"\r", b"")
    [show] = world.shown
    told = dict(show_rows(show))
    assert "CRLF" in told["line ends now"] and "CRLF" not in told["line ends"] and "LF" in told["line ends"]
    await put_back(world)
    assert stored(world) == CRLF and "CRLF" in dict(show_rows(world.shown[-1]))["line ends"]


async def test_line_end_change_of_a_gist_is_previewed(world: ShownWorld) -> None:
    gist_of(world)["run.cmd"] = CRLF.decode()
    given: dict[str, Any] = {"gist_id": GIST, "files": {"run.cmd": CRLF.decode().replace("\r", "")}, "exact": True}
    await world.act("github_save_gist", **given, if_text={"run.cmd": digest(CRLF.decode())})
    told = dict(show_rows(world.shown[-1]))
    assert told["line ends now"] == "run.cmd: CRLF" and told["line ends"] == "run.cmd: LF"
    assert gist_of(world)["run.cmd"] == given["files"]["run.cmd"]
    await world.act("github_save_gist", files={"new.cmd": CRLF.decode()})
    assert dict(show_rows(world.shown[-1]))["line ends"] == "new.cmd: CRLF"


async def test_too_large_file_reports_that_line_ends_are_not_kept(world: ShownWorld) -> None:
    put(world, {PATH: b"line\r\n" * 300_000})
    await committed(world, "small\n")
    told = dict(show_rows(world.shown[-1]))
    assert told["line ends now"] == f"{PATH}: not read" and told["line ends"] == f"{PATH}: LF"


@pytest.mark.parametrize("data", [CRLF, CRLF.replace(b"\r", b""), b"a\rb\nset PORT=80\n"])
async def test_placeholder_for_a_line_end_is_never_written(world: ShownWorld, data: bytes) -> None:
    put(world, {PATH: data})
    gist_of(world)["run.cmd"] = data.decode()
    with pytest.raises(InvalidInput, match="000D"):
        await written(world, "set PORT=90\\u{000D}", mode="replace_lines", start_line=2)
    for way in (overwritten, committed):
        with pytest.raises(InvalidInput, match="000D"):
            await way(world, "@echo off\\u{000D}\nset PORT=90\\u{000D}\r\nrun\n")
    with pytest.raises(InvalidInput, match="000D"):
        await world.act("github_save_gist", gist_id=GIST, files={"run.cmd": "set PORT=90\\u{000D}\n"})
    assert stored(world) == data and gist_of(world)["run.cmd"] == data.decode() and world.shown == []


async def test_cr_inside_a_line_is_shown_escaped_and_not_written_back(world: ShownWorld) -> None:
    put(world, {PATH: b"one\rtwo\r\r\nthree\r\n"})
    found = await read(world)
    assert found["text"] == "one\\u{000D}two\\u{000D}\nthree\n" and found["line_ends"] == "CRLF"
    with pytest.raises(InvalidInput, match="000D"):
        await overwritten(world, found["text"].replace("three", "drei"))
    await written(world, "drei", mode="replace_lines", start_line=2)
    assert stored(world) == b"one\rtwo\r\r\ndrei\r\n"


async def test_source_may_contain_a_literal_cr_escape(world: ShownWorld) -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        put(world, {PATH: b'cr = "x";' + end})
        await overwritten(world, 'cr = "\\u{000D}";\n')
        assert stored(world) == b'cr = "\\u{000D}";' + end


@pytest.mark.parametrize("way", [overwritten, committed])
async def test_undo_restores_a_file_containing_a_literal_cr_escape(world: ShownWorld, way: Any) -> None:
    put(world, {PATH: b"cr is\r\n\\u{000D}\r\n"})
    await way(world, "none\n")
    assert stored(world) == b"none\r\n"
    await put_back(world)
    assert stored(world) == b"cr is\r\n\\u{000D}\r\n"


async def test_whole_file_is_replaced_only_after_reading(world: ShownWorld) -> None:
    put(world, {PATH: CRLF})
    with pytest.raises(InvalidInput, match="nothing says that it was read"):
        await written(world, CRLF.decode().replace("\r", ""), mode="overwrite", exact=True)
    await written(world, CRLF.decode().replace("\r", ""), mode="overwrite")  # nothing of it changes
    assert stored(world) == CRLF


async def test_exact_is_for_whole_files(world: ShownWorld) -> None:
    put(world, {PATH: made("CRLF")})
    with pytest.raises(InvalidInput, match="exact: only with"):
        await written(world, "x", mode="append", exact=True)
    assert stored(world) == made("CRLF")


async def test_diff_of_a_crlf_file_has_no_placeholder(world: ShownWorld) -> None:
    put(world, {PATH: CRLF})
    await written(world, "set PORT=90", mode="replace_lines", start_line=2)
    shown = await world.act("github_get_commit", repo=SITE, ref="main", include_diff=True)
    assert "+set PORT=90" in str(shown) and "000D" not in str(shown)


async def test_users_edit_keeps_line_ends_and_undo_restores_every_byte(world: ShownWorld) -> None:
    put(world, {PATH: BOM + CRLF})
    world.deputy.policy = ask_always
    given = {"repo": SITE, "path": PATH, "message": "M", "mode": "replace_lines", "start_line": 2, "content": "no"}

    async def write() -> Any:
        return await world.deputy.act("github_write_file", given, user="alice", call=Call("once"))

    with pytest.raises(ApprovalRequired) as asked:
        await write()
    edited = {**given, "content": "set PORT=91\nset X=1\n"}
    await world.deputy.decide(asked.value.approval.id, "edit", by="alice", arguments=edited)
    await write()
    assert stored(world) == BOM + b"@echo off\r\nset PORT=91\r\nset X=1\r\nrun\r\n"
    world.deputy.policy = allow_all
    await put_back(world)
    assert stored(world) == BOM + CRLF
