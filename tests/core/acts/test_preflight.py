"""Preflight says before a job what its run then does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Call, DeputizeError, SettingsError, User, policy_file
from deputize.core.acts.job import MAX_FILE_BYTES, parse_job, read_job
from deputize.core.acts.preflight import Preflight
from deputize.core.errors import AuditNotExported
from tests.core.approvals.test_mandates import DAY, World, world

__all__ = ["world"]

BOB = {"tool": "gmail_tell", "args": {"people": ["bob@acme.example"]}, "recipient": ["bob@acme.example"]}
SELF = {"tool": "gmail_tell", "args": {"people": [], "audience": "SELF"}, "audience": "self"}
BLIND = {"tool": "gmail_blind", "args": {"people": ["bob@acme.example"]}}
WIPE = {"tool": "gmail_wipe", "args": {"people": ["bob@acme.example"]}, "recipient": ["bob@acme.example"]}
BUDGET = '[[budgets]]\nid = "two"\nwhen = { effect = "sends" }\nmax = 2\n'
RULE = '[[rules]]\nid = "home"\nwhen = { recipient = { domain_not_in = ["home.example"] } }\nthen = "deny"\n'

NIGHT = '[[rules]]\nid = "n"\nwhen = { unattended = true }\nthen = "deny"\n'


def job(*calls: dict[str, Any], user: str = "alice", **more: Any) -> dict[str, Any]:
    return {"version": 1, "users": [user], "calls": list(calls), **more}


async def run(world: World, call: dict[str, Any], user: str, number: int) -> str:
    """Make the call as a job does. Return the code of its error, or ""."""
    origin = Call("job", f"m{number}", "c")
    try:
        await world.deputy.act(call["tool"], call["args"], user=User(user, unattended=True), call=origin)
    except DeputizeError as e:
        return e.code
    return ""


def after(world: World, days: float) -> datetime:
    return datetime.fromtimestamp(world.clock.now + days * DAY, UTC)


def lacks(found: Preflight) -> list[str]:
    return [one.what for one in found.findings if one.state == "bad"]


def use_policy(world: World, folder: Path, text: str) -> None:
    (folder / "policy.toml").write_text(f"version = 1\n{text}\n# end\n")
    world.deputy.policy = policy_file(folder / "policy.toml")


ALLOW, ASK = 'default = "allow"\n', 'default = "ask"\n'
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("allowed", SELF, {}),
    ("needs an approval", BOB, {}),
    ("mandate", BOB, {"mandate": ["@acme.example"]}),
    ("mandate with other targets", BOB, {"mandate": ["@other.example"]}),
    ("mandate for another agent", BOB, {"mandate": ["@acme.example"], "agent": "other"}),
    ("mandate of another user", BOB, {"mandate": ["@acme.example"], "user": "bob"}),
    ("mandate used up", BOB, {"mandate": ["@acme.example"], "uses": 20}),
    ("mandate does not destroy", WIPE, {"mandate": ["@acme.example"]}),
    ("mandate destroys", WIPE, {"mandate": ["@acme.example"], "destroys": True}),
    ("no preview", BLIND, {}),
    ("no preview, allowed", BLIND, {"policy": ALLOW}),
    ("denied by the recipient", BOB, {"policy": ALLOW + RULE, "mandate": ["@acme.example"]}),
    ("denied always", BOB, {"policy": 'default = "deny"\n'}),
    ("budget with room", BOB, {"policy": ALLOW + BUDGET, "uses": 1}),
    ("budget used up", BOB, {"policy": ALLOW + BUDGET, "uses": 2}),
    ("budget asks", BOB, {"policy": ALLOW + BUDGET + 'then = "ask"\n', "uses": 2, "mandate": ["@acme.example"]}),
    ("no connection", SELF, {"user": "carol"}),
    (
        "unattended denied",
        SELF,
        {"policy": ALLOW + '[[rules]]\nid = "n"\nwhen = { unattended = true }\nthen = "deny"\n'},
    ),
    ("scopes missing", SELF, {"scopes": []}),
    ("connection lost", SELF, {"lost": True}),
    ("token over, without a refresh token", SELF, {"grant": {"refresh_token": None, "expires_at": 1.0}}),
    ("token over, with a refresh token", SELF, {"grant": {"expires_at": 1.0}}),
]


@pytest.mark.parametrize(("call", "setting"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
async def test_preflight_says_what_the_run_then_does(
    world: World, tmp_path: Path, call: dict[str, Any], setting: dict[str, Any]
) -> None:
    user = setting.get("user", "alice")
    if targets := setting.get("mandate"):
        more = {"agent": setting.get("agent", ""), "allow_destructive": setting.get("destroys", False)}
        await world.give(*targets, tools=["gmail_tell", "gmail_wipe"], **more)
    if policy := setting.get("policy"):
        use_policy(world, tmp_path, policy)
    for number in range(setting.get("uses", 0)):
        assert await run(world, call, user, -1 - number) == ""
    if setting.keys() & {"scopes", "lost", "grant"}:
        [grant] = await world.deputy.vault.list_grants(User("alice"), "google", "google")
        if setting.get("lost"):
            await world.deputy.refresher.end(grant, "revoked")
        else:
            more = setting.get("grant") or {"scopes": frozenset({"openid"})}
            assert await world.deputy.vault.replace(grant, replace(grant, **more))
    sent = len(world.wire.seen)
    found = await world.deputy.preflight(job(call, user=user))
    assert len(world.wire.seen) == sent  # no provider was asked
    codes = [one.code for one in found.findings if one.state == "bad"]
    code = await run(world, call, user, 99)
    assert (not codes) == (code == "") == found.is_ready, (found, code)
    if code:
        assert code.replace("reconsent", "consent") in codes


async def test_preflight_stores_nothing(world: World) -> None:
    await world.give()
    before = {kind: [r.mark for r in await world.deputy.vault.scan(kind)] for kind in ("mandate", "approval", "budget")}
    rows = len(list(world.deputy.audit.rows()))
    await world.deputy.preflight(job(BOB, SELF, BLIND))
    now = {kind: [r.mark for r in await world.deputy.vault.scan(kind)] for kind in ("mandate", "approval", "budget")}
    assert now == before and len(list(world.deputy.audit.rows())) == rows


async def test_token_must_last_until_the_last_run_unless_it_can_be_refreshed(world: World) -> None:
    [grant] = await world.deputy.vault.list_grants(User("alice"), "google", "google")
    ends = world.clock.now + 2 * DAY
    assert await world.deputy.vault.replace(grant, replace(grant, refresh_token=None, expires_at=ends))
    for until, ready in ((after(world, 1), True), (after(world, 3), False)):
        found = await world.deputy.preflight(job(SELF, every="1d", until=until))
        assert found.is_ready is ready and lacks(found) == ([] if ready else ["connection"]), found
    [grant] = await world.deputy.vault.list_grants(User("alice"), "google", "google")
    assert await world.deputy.vault.replace(grant, replace(grant, expires_at=0.0, reason="token_refused"))
    [first, *_] = (await world.deputy.preflight(job(SELF))).findings
    assert (first.state, first.what) == ("open", "connection") and "refused the token" in first.found


async def test_job_is_not_ready_while_a_collector_of_the_audit_lags_too_much(world: World) -> None:
    async def gate(*, writes: bool) -> None:
        if writes:
            raise AuditNotExported("Rows have not reached the collector 'siem'.")

    world.deputy.lag_gate = gate
    found = await world.deputy.preflight(job(SELF))
    assert [one.code for one in found.findings if one.state == "bad"] == ["audit_not_exported"]
    assert await run(world, SELF, "alice", 1) == "audit_not_exported"


async def test_run_with_more_calls_than_a_minute_allows_is_told_so(world: World) -> None:
    world.deputy.previewer.runner.transport.budgets.per_minute = 300
    for times, told in ((300, []), (301, ["rate_limited"])):
        found = (await world.deputy.preflight(job(SELF | {"times": times}))).findings
        assert [one.code for one in found if one.what == "job"] == told


async def test_mandate_must_last_for_every_run(world: World) -> None:
    given = await world.give(most=3, days=30)
    found = await world.deputy.preflight(job(BOB, every="1d", until=after(world, 2.5)))
    assert found.is_ready and "covers 3 of 3 calls" in str(found)
    found = await world.deputy.preflight(job(BOB, every="1d", until=after(world, 5.5)))
    [lacking] = [one for one in found.findings if one.state == "bad"]
    assert lacking.found == f"mandates cover 3 of 6 calls: {given.id} has 3 uses left"
    assert "--audience" not in str(found.findings)
    assert "deputize mandates give --user alice --agent agent --tool gmail_tell --target bob@acme.example --max 3" in (
        lacking.todo
    )
    await world.give(most=20, days=2)
    found = await world.deputy.preflight(job(BOB, every="1d", until=after(world, 9.5)))
    [lacking] = [one for one in found.findings if one.state == "bad"]
    assert lacking.found.startswith("mandates cover 5 of 10 calls")  # two before it ends, then the other one's three


async def test_command_for_a_user_of_a_tenant_names_the_tenant(world: World) -> None:
    found = await world.deputy.preflight(job(BOB) | {"users": [{"id": "carol", "tenant": "acme"}]})
    todos = [one.todo for one in found.findings if one.state == "bad"]
    assert [todo.partition(" --user carol --tenant acme ")[0] for todo in todos] == [
        "deputize connect google",
        "deputize mandates give",
    ]


@pytest.mark.parametrize("default", ["deny", "ask"])
async def test_roles_of_a_sign_in_must_last_for_every_run(world: World, tmp_path: Path, default: str) -> None:
    rule = '[[rules]]\nid = "staff"\nwhen = { role = "user" }\nthen = "allow"\n'
    use_policy(world, tmp_path, f'default = "{default}"\n{rule}')
    await world.deputy.roles.learn(User("alice", roles=frozenset({"user"})))
    assert (await world.deputy.preflight(job(SELF))).is_ready
    assert (await world.deputy.preflight(job(SELF, every="1h", until=after(world, 0.4)))).is_ready
    found = await world.deputy.preflight(job(SELF, every="1h", until=after(world, 0.6)))
    [lacking] = [one for one in found.findings if one.state == "bad"]
    assert (lacking.what, lacking.code) == ("policy", {"deny": "policy_denied", "ask": "approval_required"}[default])
    assert "the roles of alice's last sign-in count until" in lacking.found
    world.clock.now += 0.51 * DAY
    assert await run(world, SELF, "alice", 1) == lacking.code
    use_policy(world, tmp_path, f'default = "allow"\n{rule}')
    await world.deputy.roles.learn(User("alice", roles=frozenset({"user"})))
    assert (await world.deputy.preflight(job(SELF, every="1h", until=after(world, 0.6)))).is_ready


async def test_budget_must_last_for_every_run_of_a_period(world: World, tmp_path: Path) -> None:
    use_policy(world, tmp_path, ALLOW + BUDGET)
    assert (await world.deputy.preflight(job(BOB | {"times": 2}))).is_ready
    assert lacks(await world.deputy.preflight(job(BOB | {"times": 3}))) == ["budget"]
    assert lacks(await world.deputy.preflight(job(BOB, BOB, BOB))) == ["budget"]
    assert lacks(await world.deputy.preflight(job(BOB, every="8h", until=after(world, 3)))) == ["budget"]
    await run(world, BOB, "alice", 1)
    found = await world.deputy.preflight(job(BOB | {"times": 2}))
    assert lacks(found) == ["budget"] and "has room for 1 calls until" in str(found)


async def test_call_without_targets_or_arguments_is_not_said_to_be_ready(world: World) -> None:
    found = await world.deputy.preflight(job({"tool": "gmail_tell"}))
    assert [one.state for one in found.findings] == ["open", "ok", "bad"]
    found = await world.deputy.preflight(job({"tool": "gmail_tel"}))
    assert found.findings[0].code == "not_found" or found.findings[0].code == "invalid_input"


GOOD = 'version = 1\nusers = ["alice"]\n[[calls]]\ntool = "gmail_tell"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 2\n", "job.toml line 1: version is 2"),
        (GOOD.replace("[[calls]]", 'unti = "x"\n[[calls]]'), "job.toml line 3: 'unti' is not a key here"),
        (GOOD + "arg = {}\n", "job.toml line 5: 'arg' is not a key here"),
        (GOOD + "args = 3\n", "job.toml line 5: args is 3, not a table"),
        (GOOD + "times = 0\n", "job.toml line 5: times is 0"),
        (GOOD + "times = true\n", "job.toml line 5: times is True"),
        (GOOD + "recipient = 3\n", "job.toml line 5: recipient cannot be read"),
        (GOOD + 'audience = "all"\n', "job.toml line 5: audience cannot be read"),
        (GOOD.replace('["alice"]', '"alice"'), "job.toml line 2: users is 'alice'"),
        (GOOD.replace('["alice"]', "[3]"), "job.toml line 2: users is 3"),
        (GOOD.replace('["alice"]', "[]"), "job.toml line 2: users is []"),
        (GOOD.replace("[[calls]]", 'every = "1d"\n[[calls]]'), "job.toml line 3: a job that runs again needs an end"),
        (GOOD.replace("[[calls]]", 'every = "1y"\n[[calls]]'), "job.toml line 3: every is '1y'"),
        (GOOD.replace("[[calls]]", 'until = "2026"\n[[calls]]'), "job.toml line 3: until is '2026'"),
        (GOOD.replace("[[calls]]", "until = 2026-12-31T00:00:00\n[[calls]]"), "job.toml line 3: until is"),
        (GOOD.replace("gmail_tell", ""), "job.toml line 4: a call names no tool"),
        ('version = 1\nusers = ["alice"]\n', "there are no calls"),
        ("version = = 1", "is not TOML"),
        (f"version = {'9' * 5000}", "too many digits"),
        ("a = " + "[" * 5000, "nested too deeply"),
        (GOOD + GOOD[GOOD.index("[[") :] * 200, "there are 201 calls"),
    ],
)
def test_file_with_a_fault_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_job(text, "job.toml")
    assert said in str(refused.value)


def test_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SettingsError, match="too large"):
        read_job(tmp_path / "job.toml")
