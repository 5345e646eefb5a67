"""How many mails are sent by every kind of agent, in one process and across three, whatever events arrive."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deputize.sandbox import Sandbox
from tests.support.llamaindex_agents import KINDS, MAILS, STAGES, Play
from tests.support.sandbox_deputy import build

ROOT = Path(__file__).parents[2]
pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]


def shown(kind: str, where: str, counted: dict[str, int]) -> None:
    print(f"{kind:13} {where:14}", *(f"{how}: {n}" for how, n in counted.items()), sep=" | ")


@pytest.mark.parametrize("kind", KINDS)
async def test_each_mail_is_sent_once_or_not_at_all_in_one_process(kind: str) -> None:
    counted: dict[str, int] = {}
    for how in MAILS:
        sandbox = Sandbox()
        async with await build(sandbox) as deputy:
            play = Play(deputy, sandbox, kind, how)
            handler = await play.begin()
            if await play.consent(handler):
                await play.approve(handler)
            counted[how] = play.sent()
    shown(kind, "same process", counted)
    assert counted == MAILS


@pytest.mark.every(4)
@pytest.mark.processes
async def test_each_mail_is_sent_once_or_not_at_all_over_three_processes(tmp_path: Path) -> None:
    mails: dict[str, int] = {}
    for stage in STAGES:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.llamaindex_agents", str(tmp_path), stage,
            stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        out, _ = await asyncio.wait_for(child.communicate(), 120)
        assert child.returncode == 0
        mails = json.loads(out)
        assert stage == "approve" or set(mails.values()) == {0}
    for kind in KINDS:
        counted = {how: mails[f"{kind} {how}"] for how in MAILS}
        shown(kind, "new processes", counted)
        assert counted == MAILS
