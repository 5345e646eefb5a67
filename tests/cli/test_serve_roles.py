"""``deputize serve`` with roles: finance approves what an agent of another user asks for, and nobody gets past it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import mcp_types as types
import pytest

from deputize.cli.http_app import application
from deputize.core import Act, Decision, Deputy, User, Verdict, ask_before_sending
from deputize.core.background_loop import portal
from deputize.core.web.local.server import serve
from tests.cli.conftest import Command, Provider, connected
from tests.cli.serving_world import Around, Person, around
from tests.cli.terminal import talk
from tests.support.mcp_clients import client, forms_alone

MAIL = {"to": ["bob@example.test"], "subject": "Invoice", "body": "Please pay."}
FINANCE = {"groups": ["finance"]}


def finance(act: Act) -> Verdict | Decision:
    """Let finance approve invoices, and let nobody else with the role intern send anything."""
    if "intern" in act.roles:
        return Verdict.DENY
    if act.arguments.get("subject") == "Invoice":
        return Decision(Verdict.ASK, "invoices", approvers="finance")
    return ask_before_sending(act)


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[Around, Any]]:
    async with around(home) as world:
        roles = {"finance": ["groups:finance"], "intern": ["groups:intern"]}
        changes: dict[str, Any] = {"policy": "tests.cli.test_serve_roles:finance", "roles": roles}
        settings = world.settings().model_copy(update=changes)
        app = await asyncio.to_thread(application, settings)
        async with app.router.lifespan_context(app), serve(app, world.port):
            yield world, app.state.deputy
        await portal().hop(app.state.deputy.http.close)


async def signed_in(world: Around, name: str, claims: dict[str, Any]) -> Person:
    person = Person(name)
    world.issuer.more = claims
    await person.open(f"{world.base}/sign-in")
    world.issuer.more = {}
    return person


@pytest.mark.processes
async def test_finance_approves_the_mail_of_another_users_agent(home: Path) -> None:
    async with served(home) as (world, deputy):
        alice, bob = await signed_in(world, "alice", FINANCE), await signed_in(world, "bob", FINANCE)
        eve = await signed_in(world, "eve", {"groups": ["Finance", "finance-admins"]})
        waits = asyncio.Event()

        async def answers(ctx: Any, asked: types.ElicitRequestParams) -> types.ElicitResult:
            assert isinstance(asked, types.ElicitRequestURLParams)
            if "/connect/" in asked.url:
                return await alice.answers(ctx, asked)
            assert "waits for somebody with the role finance" in asked.message
            own = await alice.open(asked.url)
            assert not [form for form in own.forms if "approve" in form.offers("decision")]
            link = asked.url.replace("/approve/", "/others/")
            for person in (alice, eve):
                assert (await person.browser.open(link)).status == 403
            listed = await bob.browser.open(f"{world.base}/others")
            assert "#alice</strong> asks somebody with the role finance" in listed.text
            page = await bob.browser.open(link)
            [form] = [form for form in page.forms if "approve" in form.offers("decision")]
            await bob.browser.submit(page, form, decision="approve")
            waits.set()
            return types.ElicitResult(action="accept")

        async with client(f"{world.base}/mcp", world.issuer.token("alice"), elicitation_callback=answers) as mcp:
            sent = await mcp.call_tool("gmail_send_email", MAIL)
            assert not sent.is_error and waits.is_set(), sent.content
        assert len(world.sandbox.sent("alice@example.test")) == 1
        approved = next(row for row in deputy.audit.rows() if row["event"] == "approval.approved")
        assert approved["approvers"] == "finance" and approved["approver"] != approved["user"]


@pytest.mark.processes
@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_form_of_the_requesters_client_does_not_decide(home: Path, mode: str) -> None:
    async with served(home) as (world, deputy):
        alice = await signed_in(world, "alice", FINANCE)
        deputy.policy = ask_before_sending
        async with client(f"{world.base}/mcp", world.issuer.token("alice"), elicitation_callback=alice.answers) as mcp:
            assert not (await mcp.call_tool("gmail_send_email", MAIL | {"subject": "Hello"})).is_error
        deputy.policy = finance
        asked: list[Any] = []

        async def approves(ctx: Any, form: types.ElicitRequestParams) -> types.ElicitResult:
            asked.append(form)
            return types.ElicitResult(action="accept", content={"decision": "approve"})

        token = world.issuer.token("alice", **FINANCE)
        with forms_alone():
            async with client(f"{world.base}/mcp", token, mode, elicitation_callback=approves) as mcp:
                result = await mcp.call_tool("gmail_send_email", MAIL)
                text = " ".join(getattr(one, "text", "") for one in result.content)
                assert result.is_error and "Somebody with the role finance decides it" in text
        assert not asked and len(world.sandbox.sent("alice@example.test")) == 1


@pytest.mark.processes
async def test_roles_of_a_call_come_from_its_token_or_else_from_the_last_sign_in(home: Path) -> None:
    async with served(home) as (world, deputy):
        alice = await signed_in(world, "alice", {"groups": ["intern"]})
        owner, url = User(f"{world.issuer.url}#alice"), f"{world.base}/mcp"
        assert await deputy.roles.of_act(owner) == {"intern"} and await deputy.roles.of_person(owner) == frozenset()
        hello = MAIL | {"subject": "Hello"}
        for claims, denied in (({}, True), ({"groups": ["intern"]}, True), ({"groups": ["staff"]}, False)):
            token = world.issuer.token("alice", **claims)
            async with client(url, token, elicitation_callback=alice.answers) as mcp:
                result = await mcp.call_tool("gmail_send_email", hello)
                assert result.is_error is denied, (claims, result.content)
        await signed_in(world, "alice", {})
        assert await deputy.roles.of_act(owner) == frozenset(), "the last sign-in counts"


def test_command_line_does_not_approve_what_another_person_must(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.send") | {"DEPUTIZE_POLICY": "tests.cli.test_serve_roles:finance"}
    for answer in (["--yes"], []):
        done = cli("act", "gmail_send_email", json.dumps(MAIL), *answer, stdin="y\nm\n5\n24\n", **settings)
        assert done.exit_code == 1 and "waits for somebody with the role finance" in done.stderr
        assert "In local mode nobody signs in" in done.stderr
    settings |= {"DEPUTIZE_BASE_URL": "https://agents.example.com"}
    done = cli("act", "gmail_send_email", json.dumps(MAIL), "--yes", "--wait", "0", **settings)
    assert done.exit_code == 1 and "with a longer --wait" in done.stderr
    assert not provider.sandbox.sent("alice@example.test")


@pytest.mark.processes
@pytest.mark.parametrize(("decision", "code"), [("approve", 0), ("reject", 1)])
async def test_command_line_waits_until_another_person_has_decided(
    home: Path, provider: Provider, decision: Literal["approve", "reject"], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = await asyncio.to_thread(connected, home, provider, "gmail.send")
    rule = '[[rules]]\nid = "four-eyes"\nwhen = { effect = "sends" }\nthen = "ask"\napprovers = "finance"\n'
    (home / "policy.toml").write_text(f'version = 1\ndefault = "deny"\n{rule}\n# end\n')
    settings |= {"DEPUTIZE_POLICY": str(home / "policy.toml"), "DEPUTIZE_BASE_URL": "https://agents.example.com"}
    for name, value in (settings | {"DEPUTIZE_HOME": str(home / "deputize")}).items():
        monkeypatch.setenv(name, value)
    bob = User("bob", roles=frozenset({"finance"}))
    with talk("act", "gmail_send_email", json.dumps(MAIL), home=home, env=settings) as acting:
        await asyncio.to_thread(acting.hear, "Waiting for somebody with the role finance")
        async with Deputy.from_settings() as deputy:
            [approval] = await deputy.pending_of_others(bob)
            await deputy.decide(approval, decision, by=bob)
        assert await asyncio.to_thread(acting.ends) == code, acting.heard
    assert len(provider.sandbox.sent("alice@example.test")) == 1 - code
