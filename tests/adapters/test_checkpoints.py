"""What LangGraph stores and streams: plain JSON, readable by the strict serializer, encrypted, in both stream
formats."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.event_hooks import register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from deputize.core import Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, approvals_of, asking, config, grant_all, plain, tool_messages
from tests.support.sandbox_deputy import build, connect, consent

ROOT = Path(__file__).parents[2]
ALICE = Context("alice")
OF_OURS = ("deputize.core.errors", "PolicyDenied")
WAKE: Command[Any] = Command(resume={"wake": True})


@pytest.mark.processes
async def test_checkpoint_tests_pass_under_the_strict_serializer() -> None:
    files = [f"tests/adapters/test_{name}.py" for name in ("langgraph", "agents", "traps", "edits")]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *files,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"},
    )  # fmt: skip
    said, _ = await asyncio.wait_for(child.communicate(), 120)
    assert child.returncode == 0, said.decode()


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_pause_is_streamed_in_both_formats(version: Any, sandbox: Sandbox, deputy: Deputy) -> None:
    graph = plain(deputy)
    shown: list[Any] = []
    stream = graph.astream(asking(SEARCH), config(), context=ALICE, stream_mode="updates", version=version)
    async for part in stream:
        data = part["data"] if version == "v2" else part
        shown += [pause.value["type"] for pause in data.get("__interrupt__", ())]
    assert shown == ["deputize.consent"]
    await grant_all(deputy, sandbox, graph, config())
    after = [part async for part in graph.astream(WAKE, config(), context=ALICE, version=version)]
    assert "Bob Brown" in str(after[-1])


@pytest.mark.parametrize("durability", ["sync", "exit"])
@pytest.mark.parametrize("calls", [[SEND], [SEARCH, SEND]], ids=["one", "two"])
@pytest.mark.parametrize(
    "allowed", [True, None, [("deputize.core.errors", "PolicyDenied")]], ids=["default", "", "named"]
)
async def test_refused_run_stores_no_deputize_type_except_its_error(
    allowed: Any, calls: Any, durability: Any, tmp_path: Path
) -> None:
    """The only deputize type in a checkpoint is the error that ended a run, and it is read back as plain data."""
    sandbox, strange = Sandbox(), set[tuple[str, str]]()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly", "send")

        async def run(given: Any, user: str = "alice") -> Any:
            """Build the graph anew over the same file, as another process would."""
            with closing(sqlite3.connect(tmp_path / "kept", check_same_thread=False)) as db:
                graph = plain(deputy, saver=SqliteSaver(db, serde=JsonPlusSerializer(allowed_msgpack_modules=allowed)))
                if given:
                    await asyncio.to_thread(graph.invoke, given, config(), context=Context(user), durability=durability)
                return graph.get_state(config())

        stop = register_serde_event_listener(lambda event: strange.add((event["module"], event["name"])))
        try:
            await run(asking(*calls))
            with pytest.raises(PolicyDenied):
                await run(WAKE, "bob")
            [task] = (await run(None)).tasks
            words = {"error": "PolicyDenied", "message": "This pause belongs to another user.", "code": "policy_denied"}
            assert task.error == words
            [task] = (await run(WAKE)).tasks
            yes = {one["approval_id"]: "approve" for one in task.interrupts[0].value["approvals"]}
            state = await run(Command(resume={"decisions": yes}))
        finally:
            stop()
        assert strange <= {OF_OURS} and (not strange or allowed in (True, None))
        assert len(sandbox.sent("alice@example.test")) == 1 and len(tool_messages(state.values)) == len(calls)


async def test_encrypted_checkpoint_is_resumed_and_hides_the_link(tmp_path: Path) -> None:
    pytest.importorskip("Crypto")
    from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

    sandbox = Sandbox()
    path = tmp_path / "checkpoints.sqlite"
    serde = EncryptedSerializer.from_pycryptodome_aes(key=bytes(range(32)))
    async with await build(sandbox) as deputy:
        with closing(sqlite3.connect(path, check_same_thread=False)) as db:
            graph = plain(deputy, saver=SqliteSaver(db, serde=serde))
            await asyncio.to_thread(graph.invoke, asking(SEARCH), config(), context=ALICE)
            pauses = (await asyncio.to_thread(graph.get_state, config())).interrupts
            link = pauses[0].value["consents"][0]["link"]
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert link.encode() not in path.read_bytes()
            asked = await deputy.consents.status(pauses[0].value["consents"][0]["consent_id"])
            assert asked and (await consent(deputy, sandbox, asked)).status == "granted"
            state = await asyncio.to_thread(graph.invoke, WAKE, config(), context=ALICE)
            assert tool_messages(state)["search"].status == "success"


async def test_trap_7_link_in_a_checkpoint_is_ours_and_names_no_provider() -> None:
    sandbox, saver = Sandbox(), InMemorySaver()
    async with await build(sandbox) as deputy:
        graph = plain(deputy, saver=saver)
        await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
        kept = str(saver.storage) + str(saver.blobs) + str(saver.writes)
        assert "/connect/" in kept and "accounts.google.com" not in kept and "code_challenge" not in kept
        await grant_all(deputy, sandbox, graph, config())
        await graph.ainvoke(WAKE, config(), context=ALICE)
        [ask] = await approvals_of(graph, config())
        decided: Command[Any] = Command(resume={"decisions": {ask["approval_id"]: "approve"}})
        assert len(tool_messages(await graph.ainvoke(decided, config(), context=ALICE))) == 2
