"""Frameworks whose runs end at a request: how many mails are sent, and which user may continue."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deputize.adapters import operator_warnings
from deputize.core import (
    ApprovalPayload,
    Conflict,
    ConsentPayload,
    Deputy,
    InvalidInput,
    PolicyDenied,
    Steps,
    Toolkit,
    allow_all,
)
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.support.deferred_conversations import FORGED, FRAMEWORKS, MAILS, WRONG_DECISIONS, Play, framework, mails
from tests.support.graphs import SEARCH, SEND
from tests.support.lanes import sample
from tests.support.sandbox_deputy import build, connect

ROOT = Path(__file__).parents[2]
each = pytest.mark.parametrize("name", FRAMEWORKS)


@each
@pytest.mark.parametrize("how", MAILS)
async def test_each_deferred_mail_is_sent_once_or_not_at_all(name: str, how: str) -> None:
    async with Play.of(name) as play:
        assert await mails(play, how) == MAILS[how]


async def done(name: str, folder: Path, step: str, base: str, ends: int = 0) -> str:
    """Run one step in a new process, and return its output."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.deferred_conversations", name, str(folder), step, base,
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(child.communicate(), 120)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == ends, f"{step} of {name} ended with {child.returncode}"
    return out.decode()


@pytest.mark.every(4)
@each
@pytest.mark.processes
async def test_each_step_of_a_deferred_run_can_use_its_own_process(name: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with serve(sandbox.app) as base:
        for step, leads_to in (("begin", "consent"), ("look", "approval"), ("approve", "Sent."), ("approve", "Sent.")):
            kept = (tmp_path / "saved").read_text() if step == "approve" else ""
            assert leads_to in await done(name, tmp_path, step, base)
            if kept:
                (tmp_path / "saved").write_text(kept)  # resumed once more from the same place
    assert len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.every(4)
@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "when", "says"),
    [
        ("pydantic_ai", "after", "earlier run"),
        ("openai_agents", "unsaved", "Sent."),
        ("google_adk", "after", "earlier run"),
        pytest.param("google_adk", "unsaved", "Sent.", marks=pytest.mark.sweep),
        pytest.param("pydantic_ai", "unsaved", "Sent.", marks=pytest.mark.sweep),
        pytest.param("openai_agents", "after", "earlier run", marks=pytest.mark.sweep),
    ],
)
async def test_process_killed_during_an_act_sends_one_mail(name: str, when: str, says: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with serve(sandbox.app) as base:
        for step in ("begin", "look"):
            await done(name, tmp_path, step, base)
        kept = (tmp_path / "saved").read_text()
        assert await done(name, tmp_path, when, base, -signal.SIGKILL) == ""
        assert len(sandbox.sent("alice@example.test")) == 1 and (tmp_path / "saved").read_text() == kept
        rivals = await asyncio.gather(*(done(name, tmp_path, "rival", base) for _ in range(2)))
        assert all(says in said for said in rivals), rivals
    assert len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.every(4)
@pytest.mark.parametrize("name", sample(FRAMEWORKS))
@pytest.mark.processes
async def test_processes_racing_for_one_approval_send_one_mail(name: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with serve(sandbox.app) as base:
        for step in ("begin", "look"):
            await done(name, tmp_path, step, base)
        rivals = await asyncio.gather(*(done(name, tmp_path, "rival", base) for _ in range(3)))
        assert any("Sent." in said for said in rivals), rivals
    assert len(sandbox.sent("alice@example.test")) == 1


@each
async def test_frameworks_bare_approval_only_resumes(name: str) -> None:
    async with Play.of(name) as play:
        turn = await play.runs.start(play.deputy, SEND)
        await play.runs.bare_yes(play.deputy, turn.saved)
        await play.visit(turn)
        [turn] = await play.resume(turn)
        end = await play.runs.bare_yes(play.deputy, turn.saved)
        assert play.sent() == 0 and "Sent." not in end.text
        [end] = await play.resume(turn, "approve")
        assert play.sent() == 1 and "Sent." in end.text


@each
async def test_calls_at_one_provider_share_one_link_and_list_all_scopes(name: str) -> None:
    async with Play.of(name) as play:
        turn = await play.runs.start(play.deputy, SEND, SEARCH)
        assert turn.kinds == {"consent"}
        assert all(ask["link"].startswith("http") and ask["provider"] == "google" for ask in turn.asks)
        assert all(ask.keys() == ConsentPayload.__annotations__.keys() for ask in turn.asks)
        assert len(set(turn.ids("consent"))) == 1 == len(await play.deputy.pending("alice"))
        await play.visit(turn)
        [turn] = await play.resume(turn)
        [ask] = turn.asks
        assert turn.kinds == {"approval"} and play.sent() == 0
        assert ask.keys() == ApprovalPayload.__annotations__.keys() - {"fault"}
        assert ask["tool"] == "gmail_send_email" and "Yes, gladly." in str(ask["preview"])
        [end] = await play.resume(turn, "approve")
        assert "Sent." in end.text and "Bob Brown" in end.text and play.sent() == 1


@each
async def test_calls_with_one_id_in_two_messages_are_two_acts(name: str) -> None:
    async with Play.of(name, policy=allow_all) as play:
        await play.connect("alice")
        for count in (1, 2):
            assert "Sent." in (await play.runs.start(play.deputy, SEND)).text and play.sent() == count


@each
async def test_edit_sends_the_users_text(name: str) -> None:
    async with Play.of(name) as play:
        await play.connect("alice")
        turn = await play.runs.start(play.deputy, SEND)
        [approval] = turn.ids("approval")
        edited = {"decision": "edit", "arguments": {**SEND["args"], "body": "No, sorry."}}
        for _ in range(2):
            end = await play.runs.resume(play.deputy, turn.saved, {approval: edited})
            assert "Sent." in end.text
        [mail] = play.sandbox.sent("alice@example.test")
        assert b"No, sorry." in mail.raw and b"gladly" not in mail.raw


@each
async def test_invalid_edit_is_asked_again_with_its_fault(name: str) -> None:
    async with Play.of(name) as play:
        await play.connect("alice")
        turn = await play.runs.start(play.deputy, SEND)
        [approval] = turn.ids("approval")
        wrong = {"decision": "edit", "arguments": {"to": "nobody"}}
        turn = await play.runs.resume(play.deputy, turn.saved, {approval: wrong})
        assert turn.kinds == {"approval"} and turn.asks[0]["fault"] and play.sent() == 0
        assert turn.asks[0].keys() == ApprovalPayload.__annotations__.keys()


@each
async def test_rejection_is_recorded_and_reported_to_the_model(name: str) -> None:
    async with Play.of(name) as play:
        await play.connect("alice")
        turn = await play.runs.start(play.deputy, SEND)
        [approval] = turn.ids("approval")
        end = await play.runs.resume(play.deputy, turn.saved, {approval: "reject"})
        found = await play.deputy.get_approval(approval, by="alice")
        assert found and found.status == "rejected" and "declined" in end.text.lower() and play.sent() == 0
        end = await play.runs.resume(play.deputy, turn.saved, {approval: "approve"})
        assert play.sent() == 0, "a no holds"


@each
async def test_malformed_or_unshown_decision_is_refused(name: str) -> None:
    async with Play.of(name) as play:
        await play.connect("alice")
        turn = await play.runs.start(play.deputy, SEND)
        [approval] = turn.ids("approval")
        for wrong in WRONG_DECISIONS:
            with pytest.raises(InvalidInput, match="is malformed"):
                await play.runs.resume(play.deputy, turn.saved, {approval: wrong})
        with pytest.raises(PolicyDenied if name == "openai_agents" else InvalidInput):
            await play.runs.resume(play.deputy, turn.saved, {"another": "approve"})
        assert play.sent() == 0


@each
async def test_model_argument_cannot_name_the_user(name: str, deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    before = len(sandbox.requests)
    for forged in FORGED:
        turn = await framework(name).start(deputy, {**SEARCH, "args": {"query": "x", **forged}})
        assert next(iter(forged)) in turn.text and len(sandbox.requests) == before, forged


@pytest.mark.parametrize(
    ("name", "nobody"),
    [
        ("pydantic_ai", {"user": ""}),
        ("openai_agents", {"user": ""}),
        ("google_adk", {"named": lambda ctx: None}),
        ("google_adk", {"named": lambda ctx: ctx.state.get("who", "")}),
    ],
)
async def test_run_without_a_user_is_refused_and_logged(
    name: str,
    nobody: dict[str, Any],
    deputy: Deputy,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operator_warnings, "_logged", set())
    with caplog.at_level(logging.WARNING, "deputize"):
        assert "The user is missing" in (await framework(name).start(deputy, SEARCH, **nobody)).text
    warned = [one.getMessage() for one in caplog.records if one.name == "deputize"]
    assert warned == [operator_warnings.NO_USER] and sandbox.requests == []


@each
async def test_result_is_equal_in_all_frameworks(name: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    kit = Toolkit("shelf", "google")

    @kit.tool()
    def count(kind: str) -> Steps:
        """Count the books."""
        yield from ()
        if kind == "odd":
            raise Conflict("Nobody counts these.")
        if kind == "broken":
            raise ValueError("ya29.secret-secret-secret-secret")
        return {"kind": kind, "ü": [1, 2]} if kind == "json" else 0 if kind == "zero" else kind

    async with await build(sandbox, toolkits=[kit], policy=allow_all) as deputy:
        await connect(deputy, sandbox, "readonly")
        said, told = dict[str, str](), list[str]()
        for kind in ("text", "json", "zero", "odd", "broken"):
            call = {"name": "shelf_count", "args": {"kind": kind}, "id": kind}
            turn = await framework(name).start(deputy, call, told=told, kit="shelf")
            said[kind] = turn.text
            assert "ya29.secret" not in f"{turn} {told} {caplog.text}"
            assert name != "google_adk" or ('"error":' in turn.saved) == (kind in ("odd", "broken"))
    assert (said["text"], said["json"], said["zero"]) == ("text", '{"kind":"json","ü":[1,2]}', "0")
    assert "Nobody counts these." in said["odd"] and "bug in the tool" in said["broken"] and len(told) == 10


def test_every_framework_has_test_runs() -> None:
    assert all(framework(name) for name in FRAMEWORKS)
