"""``demo --auto``: seventeen steps that all pass, and that notice a failure."""

from __future__ import annotations

import base64
import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deputize.cli.demo import auto as story
from deputize.cli.demo.auto import Story, play
from deputize.cli.demo.conversation import Chat
from deputize.cli.demo.folder import DemoFolder
from deputize.cli.demo.scripted_user import Detail
from deputize.cli.demo.secret_recorder import SecretRecorder
from deputize.core import Deputy, allow_all
from deputize.sandbox import Sandbox
from tests.cli.terminal import run

pytestmark = pytest.mark.every(2)


def played(home: Path) -> list[Detail]:
    told: list[Detail] = []
    folder = DemoFolder(home / "demo")
    with folder.held():
        assert play(folder, told.append) == all(step["ok"] for step in told)
    return told


def surprise(home: Path) -> tuple[str, str]:
    last = played(home)[-1]
    assert not last["ok"], last
    return last["step"], last["reason"]


@pytest.mark.processes
@pytest.mark.usefixtures("usual_ports")
def test_auto_demo_passes_and_leaves_nothing_behind(home: Path) -> None:
    (home / "tmp").mkdir()
    found = run("demo", "--auto", "--json", home=home, TMPDIR=str(home / "tmp"))
    steps = [json.loads(line) for line in found.stdout.splitlines()]
    assert found.returncode == 0, found
    assert len(steps) == 17 and all(step["ok"] for step in steps)
    assert all(list(step)[:2] == ["step", "ok"] for step in steps)
    assert list((home / "tmp").iterdir()) == [] and not (home / "deputize").exists()
    assert not any(mark in found.stdout + found.stderr for mark in ("ya29.", "1//0", "state="))


@pytest.mark.processes
@pytest.mark.usefixtures("usual_ports")
def test_auto_demo_keeps_a_named_folder_and_prints_for_people(home: Path) -> None:
    found = run("demo", "--auto", "--folder", str(home / "kept"), home=home)
    assert found.returncode == 0, found
    assert [line[:4] for line in found.stdout.splitlines()] == ["ok  "] * 17
    assert (home / "kept" / "vault.sqlite").exists()
    again = run("demo", "--auto", "--folder", str(home / "kept"), home=home)
    assert again.returncode == 1 and "--fresh" in again.stderr and again.stdout == ""


@pytest.mark.processes
def test_auto_demo_detects_a_second_mail(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Sandbox.sent
    monkeypatch.setattr(Sandbox, "sent", lambda sandbox, email: real(sandbox, email) * 2)
    step, reason = surprise(home)
    assert step.startswith("approve") and "2 mails" in reason


@pytest.mark.processes
def test_auto_demo_detects_a_mail_without_approval(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Deputy.__init__.__kwdefaults__ or {}
    monkeypatch.setattr(Deputy.__init__, "__kwdefaults__", {**real, "policy": allow_all})
    step, reason = surprise(home)
    assert step.startswith("allow: the draft") and "approval" in reason


@pytest.mark.processes
def test_auto_demo_detects_live_tokens_after_revocation(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "live_tokens", lambda sandbox: {"alice@example.test": 1})
    step, reason = surprise(home)
    assert step.startswith("revoke") and "still accepts" in reason


@pytest.mark.processes
def test_auto_demo_detects_excessive_scopes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "READ", "https://www.googleapis.com/auth/gmail.metadata")
    step, reason = surprise(home)
    assert step.startswith("ask about Bob") and "gmail.readonly" in reason


@pytest.mark.processes
def test_auto_demo_detects_a_changed_link_after_the_restart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Chat.look_again

    async def moved(chat: Chat) -> Any:
        turn = await real(chat)
        for ask in turn.consents:
            ask["link"] += "x"
        return turn

    monkeypatch.setattr(Chat, "look_again", moved)
    step, reason = surprise(home)
    assert step.startswith("close everything") and "another one" in reason


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["access_token", "refresh_token", "code_verifier", "code", "state"])
def test_auto_demo_detects_a_secret_in_a_file(home: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Story.audit

    def leaky(tale: Story) -> Detail:
        secret = next(value for value, its in tale.secrets.recorded.items() if its == kind)
        tale.folder.file("debug.log").write_text(f"got {secret} back")
        return real(tale)

    monkeypatch.setattr(Story, "audit", leaky)
    step, reason = surprise(home)
    assert step.startswith("no secret") and reason == f"{kind} in debug.log"


@pytest.mark.processes
def test_auto_demo_reports_foreign_errors_by_type_and_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(chat: Chat, text: str) -> None:
        raise RuntimeError("http://127.0.0.1/callback?code=hush-hush")

    monkeypatch.setattr(Chat, "ask", broken)
    _, reason = surprise(home)
    assert reason.startswith("RuntimeError at test_story.py:")
    assert "hush" not in reason


@pytest.mark.parametrize("shift", range(3))
def test_secret_scan_decodes_base64(shift: int) -> None:
    recorder = SecretRecorder()
    recorder.recorded["a-secret-of-some-length"] = "code"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert recorder.found_in(b"x" + encode(b"." * shift + b"a-secret-of-some-length" + b"...")) == {"code"}
    assert recorder.found_in(b"a-secret-of-another-length") == set()


@pytest.mark.processes
def test_auto_demo_logs_and_prints_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[Detail] = []
    folder = DemoFolder(tmp_path / "demo")
    with folder.held(), ExitStack() as opened:
        tale = Story(folder, opened)
        for name, step in tale.steps():
            told.append({"step": name, **step()})
        recorder = tale.secrets
    out, err = capfd.readouterr()
    kinds = {"access_token", "refresh_token", "code", "code_verifier", "state", "client_secret"}
    assert kinds <= set(recorder.recorded.values())
    for sink in (caplog.text, out, err, repr(told), "\n".join(repr(vars(record)) for record in caplog.records)):
        assert recorder.found_in(sink.encode()) == set()
    assert recorder.found_in(f"x{next(iter(recorder.recorded))}y".encode()), "a planted leak is found"
