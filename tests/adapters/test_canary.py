"""No secret leaks: after a whole conversation, every byte written anywhere is searched for every secret used."""

from __future__ import annotations

import asyncio
import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.types import Command

from deputize.adapters.langchain import tools
from deputize.core import ConsentRequired, DeputizeError, Deputy, User
from deputize.core.audit import Audit
from deputize.sandbox import Sandbox
from tests.support.canary import Wiretap, dump, files, hits, walk_error
from tests.support.graphs import SEARCH, SEND, Context, asking, config, plain, sqlite_saver
from tests.support.sandbox_deputy import build, consent, new_vault

ALICE = Context("alice")
KEY = bytes(range(9, 200, 6))[:32]


class Listener(BaseCallbackHandler):
    """Records what a tracer receives."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_tool_start(self, serialized: dict[str, Any], input_str: str, **more: Any) -> None:
        self.heard.append(dump([serialized, input_str, more]))

    def on_tool_end(self, output: Any, **more: Any) -> None:
        self.heard.append(dump([output, more]))

    def on_tool_error(self, error: BaseException, **more: Any) -> None:
        self.heard.append(dump([error, more]))

    def on_chain_start(self, serialized: dict[str, Any], inputs: dict[str, Any], **more: Any) -> None:
        self.heard.append(dump([serialized, inputs, more]))


class Conversation:
    """A deputy on disk whose secrets are all known, and everything it printed or returned."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sandbox, self.said = folder, Sandbox(state=folder / "sandbox.json"), list[str]()
        self.tap = Wiretap(self.sandbox.transport())

    async def deputy(self) -> Deputy:
        vault = await new_vault(self.folder / "vault.sqlite", KEY)
        return await build(
            self.sandbox, vault=vault, audit=Audit(self.folder / "audit", vault.keys.audit), transport=self.tap
        )

    def say(self, value: Any) -> None:
        self.said.append(dump(value))


async def play(talk: Conversation) -> None:
    """Consent, search, send, expire, refresh, fail, deny, revoke: through the graph and through plain tools."""
    listener = Listener()
    how: Any = {**config(), "callbacks": [listener]}
    async with await talk.deputy() as deputy:
        with sqlite_saver(talk.folder / "checkpoints.sqlite") as saver:
            graph = plain(deputy, saver=saver)

            async def run(given: Any) -> Any:
                return await asyncio.to_thread(graph.invoke, given, how, context=ALICE)

            talk.say(await run(asking(SEARCH, SEND)))
            [pause] = (await asyncio.to_thread(graph.get_state, config())).interrupts
            talk.say(pause.value)
            for ask in pause.value["consents"]:
                await visit(talk, deputy, ask["consent_id"])
            talk.say(await run(Command(resume={"wake": True})))
            [pause] = (await asyncio.to_thread(graph.get_state, config())).interrupts
            decisions = {ask["approval_id"]: "approve" for ask in pause.value["approvals"]}
            talk.say(await run(Command(resume={"decisions": decisions})))
            talk.sandbox.expire_access_tokens()
            talk.say(await run(asking(SEARCH)))
            talk.sandbox.switches.down = True
            talk.say(await run(asking({**SEARCH, "args": {}})))
            talk.sandbox.switches.down = False
            for tool in tools(deputy, "gmail", user="alice"):
                talk.say([tool.args, tool.metadata, tool.extras, tool.description])
            talk.say(
                [await deputy.connections("alice"), await deputy.vault.list_grants(User("alice")), deputy, deputy.apps]
            )
            talk.say(await deputy.revoke("alice", "google"))
            try:
                await deputy.act("gmail_search_emails", {}, user="alice")
            except ConsentRequired as e:
                talk.said += [
                    *walk_error(e),
                    "".join(traceback.TracebackException.from_exception(e, capture_locals=True).format()),
                ]
    talk.said += listener.heard


async def visit(talk: Conversation, deputy: Deputy, consent_id: str) -> None:
    asked = await deputy.consents.status(consent_id)
    assert asked is not None
    ended = await consent(deputy, talk.tap, asked)
    assert ended.status == "granted"
    talk.say(ended)


async def test_secrets_are_left_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    talk = Conversation(tmp_path)
    await play(talk)
    assert len(talk.sandbox.sent("alice@example.test")) == 1
    assert talk.tap.kinds() >= {"access_token", "refresh_token", "code", "code_verifier", "client_secret", "state"}
    out, err = capfd.readouterr()
    sinks: dict[str, bytes | str] = {
        **files(tmp_path),
        "log": caplog.text,
        "stdout": out,
        "stderr": err,
        "said": "\n".join(talk.said),
    }
    assert {"vault.sqlite", "checkpoints.sqlite", "sandbox.json"} <= sinks.keys() and any("audit" in s for s in sinks)
    assert hits(talk.tap.secrets, sinks) == []


@pytest.mark.processes
async def test_canary_finds_a_planted_leak(tmp_path: Path) -> None:
    """The search finds a secret in each encoding in which it could be written."""
    talk = Conversation(tmp_path)
    await play(talk)
    token = next(secret for secret, kind in talk.tap.secrets.items() if kind == "access_token")
    (tmp_path / "leak").write_text(f"x{token}y")
    assert "access_token in leak" in hits(talk.tap.secrets, files(tmp_path))


async def test_errors_of_every_kind_hold_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    talk = Conversation(tmp_path)
    faults: list[tuple[int, dict[str, str], Any]] = [
        (500, {}, {"error": "internal_failure"}),
        (
            403,
            {},
            {"error": {"code": 403, "message": "Bearer {token}", "errors": [{"reason": "insufficientPermissions"}]}},
        ),
        (400, {}, b"Authorization: Bearer {token}"),
        (404, {}, {"error": {"code": 404}}),
        (401, {}, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}),
    ]
    async with await talk.deputy() as deputy:
        [consent] = await deputy.connect("alice", tools=["gmail_search_emails", "gmail_send_email"])
        await visit(talk, deputy, consent.id)
        [token] = [secret for secret, kind in talk.tap.secrets.items() if kind == "access_token"]
        for status, headers, body in faults:
            echoed = body.replace(b"{token}", token.encode()) if isinstance(body, bytes) else _fill(body, token)
            talk.sandbox.switches.faults[("GET", "/gmail")] = [(status, headers, echoed)] * 4
            try:
                talk.say(await deputy.act("gmail_search_emails", {}, user="alice"))
            except DeputizeError as e:
                talk.said += walk_error(e)
    deputy.audit.flush()
    assert len(talk.said) > 2 * len(faults)
    assert hits(talk.tap.secrets, {**files(tmp_path), "said": "\n".join(talk.said), "log": caplog.text}) == []


def _fill(body: Any, token: str) -> Any:
    if isinstance(body, dict):
        return {k: _fill(v, token) for k, v in body.items()}
    if isinstance(body, list):
        return [_fill(v, token) for v in body]
    return body.replace("{token}", token) if isinstance(body, str) else body
