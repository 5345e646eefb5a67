"""Artifacts of a run become files of the user's, and are fetched without their token."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from deputize.core import InvalidInput, NotFound
from tests.toolkits.github_play import SITE, Play

ID = 9002


def run(play: Play) -> dict[str, Any]:
    row: dict[str, Any] = play.store["runs"][SITE][0]
    return row


async def test_artifact_becomes_a_handle_and_is_fetched_without_the_token(play: Play) -> None:
    run(play)["files"] = {"out/report.xml": "<tests/>", "log.txt": "x"}
    listed = await play.act("get_run", repo=SITE, run_id=9001, include=["artifacts"])
    assert listed["artifacts"][0]["id"] == ID
    found = await play.act("get_artifact", repo=SITE, artifact_id=ID)
    assert found["file"].startswith("file_") and found["untrusted"]
    assert [one["name"] for one in found["files"]] == ["out/report.xml", "log.txt"]
    kept = await play.deputy.get_file("alice", found["file"])
    assert zipfile.ZipFile(io.BytesIO(kept.content)).read("log.txt") == b"x" and kept.name == "report.zip"
    away = [one for one in play.recorder.seen if one.url.host != "api.github.com"]
    assert len(away) == 1 and "authorization" not in away[0].headers


async def test_artifact_of_another_user_is_not_found(play: Play) -> None:
    found = await play.act("get_artifact", repo=SITE, artifact_id=ID)
    with pytest.raises(NotFound):
        await play.deputy.get_file("bob", found["file"])


async def test_expired_or_too_large_artifact_is_refused_before_fetching(play: Play) -> None:
    run(play)["expired"] = True
    with pytest.raises(NotFound, match="expired"):
        await play.act("get_artifact", repo=SITE, artifact_id=ID)
    run(play)["expired"] = False
    big = {"id": ID, "name": "big", "size_in_bytes": 26 * 1024 * 1024, "expired": False}
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/actions/artifacts/{ID}"] = [(200, {}, big)]
    with pytest.raises(InvalidInput, match="at most"):
        await play.act("get_artifact", repo=SITE, artifact_id=ID)
    assert not any(one.endswith("/zip") for one in play.asked)


async def test_hostile_archive_is_stored_and_only_its_names_are_read(play: Play) -> None:
    run(play)["artifact_name"] = "../../etc/\u202epasswd"
    run(play)["files"] = {"../../escape\u202e.txt": "x", **{f"f{n}": "" for n in range(60)}}
    found = await play.act("get_artifact", repo=SITE, artifact_id=ID)
    assert "\u202e" not in str(found) and found["cut"] == ["files: 40 of 61 are shown."]
    kept = await play.deputy.get_file("alice", found["file"])
    assert "/" not in kept.name and "\u202e" not in kept.name


async def test_signed_url_on_a_private_host_is_not_followed(play: Play) -> None:
    where = {"location": "https://127.0.0.1/artifacts/1"}
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/actions/artifacts/{ID}/zip"] = [(302, where, None)]
    with pytest.raises(Exception) as refused:
        await play.act("get_artifact", repo=SITE, artifact_id=ID)
    assert "127.0.0.1" not in [one.url.host for one in play.recorder.seen] and refused.value
