"""The state file: everything is restored, and it contains no secret."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, TextIO

import pytest

from deputize.sandbox import Sandbox
from deputize.sandbox.world import World
from tests.sandbox.registered_app import ALICE, BOB, TOKEN, Clock, Gmail, TestApp, written


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the sandbox keeps its state: in a folder that does not exist yet."""
    return tmp_path / "deep" / "sandbox.json"


def kept(state: Path) -> Any:
    return json.loads(state.read_text("utf-8"))


def opened(state: Path) -> TextIO:
    """Open the file as it is now, even if another one replaces it."""
    return state.open(encoding="utf-8")


def mode(state: Path) -> int:
    return stat.S_IMODE(state.stat().st_mode)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_killed_sandbox_continues_where_it_stopped(state: Path, clock: Clock) -> None:
    before = TestApp(Sandbox(state=state, clock=clock))
    reply = await before.connect("modify")
    gmail = Gmail(before.http, reply["access_token"])
    await gmail.post("/messages/send", written(subject="kept"))
    draft = await gmail.post("/drafts", {"message": written(subject="later")})
    label = await gmail.post("/labels", {"name": "Kept"})
    flow = before.flow("send")
    code = await before.code(flow)

    clock.now += 60
    after = TestApp(Sandbox(state=state, clock=clock))
    gmail = Gmail(after.http, reply["access_token"])
    assert [mail.subject for mail in after.sandbox.sent(ALICE)] == ["kept"]
    assert "kept" in [mail.subject for mail in after.sandbox.mailbox(BOB).mails()]
    assert (await gmail.get(f"/labels/{label['id']}"))["name"] == "Kept"
    assert (await gmail.post("/drafts/send", {"id": draft["id"]}))["labelIds"] == ["SENT"]
    assert (await after.refresh(reply["refresh_token"])).status_code == 200
    assert (await after.http.post(TOKEN, data=flow.form(code))).status_code == 200
    mails = [mail.raw for mail in before.sandbox.mailbox("decoy@example.test").mails()]
    assert mails == [mail.raw for mail in after.sandbox.mailbox("decoy@example.test").mails()]


async def test_every_mail_is_restored_byte_for_byte(state: Path, clock: Clock) -> None:
    before, sandbox = Sandbox(state=state, clock=clock), Sandbox(state=state, clock=clock)
    for email in (ALICE, BOB):
        assert before.mailbox(email).mails() == sandbox.mailbox(email).mails()
    before.mailbox(ALICE).add(bytes(range(256)))
    assert Sandbox(state=state, clock=clock).mailbox(ALICE).mails()[0].raw == bytes(range(256))


async def test_state_file_contains_no_code_token_secret_verifier_or_state(state: Path, clock: Clock) -> None:
    app = TestApp(Sandbox(state=state, clock=clock))
    flow = app.flow("modify")
    code = await app.code(flow)
    reply = (await app.http.post(TOKEN, data=flow.form(code))).json()
    app.sandbox.switches.rotate = True
    rotated = (await app.refresh(reply["refresh_token"])).json()
    secrets = [code, flow.verifier, flow.state, flow.form(code)["client_secret"]]
    secrets += [body[kind] for body in (reply, rotated) for kind in ("access_token", "refresh_token")]
    for path in state.parent.iterdir():
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content


async def test_hashes_in_the_state_file_open_nothing(state: Path, clock: Clock) -> None:
    app = TestApp(Sandbox(state=state, clock=clock))
    await app.connect("modify")
    hashes = list(kept(state)["authority"]["tokens"])
    assert len(hashes) == 2
    for stolen in hashes:
        assert (await Gmail(app.http, stolen).send("GET", "/profile")).status_code == 401
        assert (await app.refresh(stolen)).status_code == 400


async def test_state_file_is_private_and_replaced_as_a_whole(state: Path, clock: Clock) -> None:
    app = TestApp(Sandbox(state=state, clock=clock))
    held = opened(state)
    await app.connect("send")
    assert mode(state) == 0o600 and names(state.parent) == ["sandbox.json"]
    with held:
        assert json.load(held)["authority"]["tokens"] == {} and len(kept(state)["authority"]["tokens"]) == 2


def test_failed_write_leaves_the_old_file_unchanged(state: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox(state=state, clock=clock)
    before = kept(state)

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        sandbox.mailbox(ALICE).add(b"Subject: lost\r\n\r\n")
    assert kept(state) == before and names(state.parent) == ["sandbox.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 99}'])
def test_foreign_file_is_refused_and_left_unchanged(state: Path, clock: Clock, content: str) -> None:
    state.parent.mkdir()
    state.write_text(content)
    with pytest.raises(ValueError, match="not a sandbox's state"):
        Sandbox(state=state, clock=clock)
    assert state.read_text() == content


async def test_reading_writes_nothing(state: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    app = TestApp(Sandbox(state=state, clock=clock))
    gmail = await app.gmail("readonly")
    monkeypatch.setattr(World, "save", lambda self: pytest.fail("a read was written down"))
    assert await gmail.ids("from:bob")


def test_reset_is_saved(state: Path, clock: Clock) -> None:
    sandbox = Sandbox(state=state, clock=clock)
    sandbox.mailbox(ALICE).add(b"Subject: extra\r\n\r\n")
    sandbox.reset()
    assert "extra" not in [mail.subject for mail in Sandbox(state=state, clock=clock).mailbox(ALICE).mails()]
