"""A policy file in use: what it refuses, how it is reloaded, and what it decides through a deputy."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from deputize.core import Act, ApprovalRequired, Call, Deputy, PolicyDenied, SettingsError, User, Verdict, policy_file
from deputize.core.policy.policy import Decision, StoredPolicy
from deputize.core.policy.policy_file import FilePolicy
from deputize.core.policy.rules import parse_rules
from tests.core.approvals.test_mandates import World, world
from tests.core.policy.test_policy import Asking
from tests.support.gmail_toolkit import ALL, MAIL

__all__ = ["world"]

HEAD = 'version = 1\ndefault = "ask"\n'


def rule(then: str = "deny", when: str = '{ tool = "gmail_send" }', more: str = "", name: str = "r1") -> str:
    """Return one rule as TOML."""
    return f'\n[[rules]]\nid = "{name}"\nwhen = {when}\nthen = "{then}"\n{more}\n'


@pytest.fixture
async def house() -> AsyncIterator[Asking]:
    made = await Asking().begin()
    await made.connected(*ALL)
    yield made
    await made.deputy.close()


def written(folder: Path, text: str, name: str = "policy.toml") -> Path:
    """Return a policy file with this text."""
    path = folder / name
    path.write_text(f"{text}\n# end\n" if text else "")
    path.chmod(0o600)
    return path


def look_again(policy: StoredPolicy) -> None:
    """Let the policy look at its file at the next act."""
    assert isinstance(policy, FilePolicy)
    policy._looked -= 2


REFUSED: list[tuple[str, str]] = [
    ("version = 2", "version is 2"),
    ("version = true", "version is True"),
    ("version = 1", "there is no default"),
    ('version = 1\ndefault = "maybe"', "line 2: the default is 'maybe'"),
    (HEAD + "rule = []", "line 3: 'rule' is not a key here"),
    (HEAD + "rules = 1", "rules is not a list of tables"),
    (HEAD + 'zone = "Mars"', "line 3: 'Mars' is not a time zone"),
    (HEAD + "[sets]\na = 1", "line 4: the set 'a' is not a list"),
    (HEAD + rule(more="x = 1"), "line 8: 'x' is not a key here"),
    (HEAD + rule(name=""), "line 5: the id of a rule is ''"),
    (HEAD + rule(name="default"), "the id of a rule is 'default'"),
    (HEAD + rule() + rule("allow"), "line 11: the id 'r1' is used in line 5 already"),
    (HEAD + rule("permit"), "line 7: r1: then is 'permit'"),
    (HEAD + rule(when="{ }"), "line 6: r1: when is missing or empty"),
    (HEAD + '[[rules]]\nid = "a"\nthen = "allow"', "a: when is missing or empty"),
    (HEAD + rule(more="unless = {}"), "line 8: r1: unless is missing or empty"),
    (HEAD + rule(when='{ tol = "x" }'), "line 6: r1: 'tol' is not a condition"),
    (HEAD + rule(when='{ tool = "" }'), "tool is ''"),
    (HEAD + rule(when="{ tool = [] }"), "tool is []"),
    (HEAD + rule(when="{ tool = [1] }"), "tool is [1]"),
    (HEAD + rule(when='{ effect = "sendz" }'), "line 6: r1: effect is 'sendz'"),
    (HEAD + rule(when='{ audience = "all" }'), "audience is 'all'"),
    (HEAD + rule(when='{ danger = "fire" }'), "danger is 'fire'"),
    (HEAD + rule(when='{ role = "no role" }'), "'no role' has an invalid name"),
    (HEAD + rule(when='{ untrusted = "yes" }'), "untrusted is 'yes'"),
    (HEAD + rule(when='{ hours = "6-22" }'), "'6-22' are not hours"),
    (HEAD + rule(when='{ hours = "06:00-06:00" }'), "are not hours"),
    (HEAD + rule(when='{ hours = { inside = "06:00-22:00", outside = "06:00-22:00" } }'), "hours is"),
    (HEAD + rule(when='{ hours = { inside = "06:00-22:00", zone = "Mars" } }'), "'Mars' is not a time zone"),
    (HEAD + rule(when='{ weekdays = ["monday"] }'), "weekdays is 'monday'"),
    (HEAD + rule(when='{ recipient = { domain_in = "nobody" } }'), "there is no set 'nobody'"),
    (HEAD + rule(when='{ recipient = { domain_in = ["a@b.example"] } }'), "'a@b.example' is not a domain"),
    (HEAD + rule(when='{ recipient = { domain_in = ["*acme.example"] } }'), "'*acme.example' is not a domain"),
    (HEAD + rule(when='{ recipient = { domain = ["a.example"] } }'), "'domain' is not a predicate"),
    (HEAD + rule(when="{ recipient = { } }"), "recipient has no predicate"),
    (HEAD + rule(when='{ args = "x" }'), "args is 'x'"),
    (HEAD + rule(when='{ args = { "a..b" = { in = ["x"] } } }'), "'a..b' is not a dotted path"),
    (HEAD + rule(when='{ args = { "a" = { above = "10" } } }'), "above is '10'"),
    (HEAD + rule(when='{ args = { "a" = { above = nan } } }'), "above is nan"),
    (HEAD + rule(when='{ args = { "a" = { above = true } } }'), "above is True"),
    (HEAD + rule(when='{ args = { "a" = { absent = 1 } } }'), "absent is 1"),
    (HEAD + rule(when='{ args = { "a" = { in = [[1]] } } }'), "in is [[1]]"),
    (HEAD + rule(more='approvers = "finance"'), "approvers needs then"),
    (HEAD + rule("ask", more='approvers = "no role"'), "'no role' has an invalid name"),
    (HEAD + rule("ask", more="approvers = 1"), "approvers needs then"),
    (HEAD + rule(more="reason = 1"), "the reason is not a string"),
    (HEAD + '[[budgets]]\nid = "b"\nmax = -1', "line 5: b: max is -1"),
    (HEAD + '[[budgets]]\nid = "b"\nmax = 1\nper = "house"', "b: per is ['house']"),
    (HEAD + '[[budgets]]\nid = "b"\nmax = 1\nevery = "year"', "b: every is 'year'"),
    (HEAD + '[[budgets]]\nid = "b"\nmax = 1\nthen = "allow"', "b: then is 'allow'"),
    (HEAD + rule(name="b") + '[[budgets]]\nid = "b"\nmax = 1', "the id 'b' is used in line"),
    ("version = 1\ndefault = ", "is not TOML"),
    (HEAD + "a = " + "[" * 5000, "is"),
]


def test_file_that_is_not_understood_is_refused_as_a_whole(subtests: pytest.Subtests) -> None:
    for text, why in REFUSED:
        with subtests.test(why=why), pytest.raises(SettingsError) as refused:
            parse_rules(text)
        with subtests.test(why=why):
            assert why in str(refused.value) and "policy.toml" in str(refused.value)


def test_near_names_are_in_the_hint() -> None:
    with pytest.raises(SettingsError) as refused:
        parse_rules(HEAD + rule(when='{ recipent = "x" }'))
    assert refused.value.hint.startswith("Did you mean recipient")


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, HEAD)
    path.chmod(mode)
    with pytest.raises(SettingsError, match="others may write"):
        policy_file(path)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        policy_file(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "binary.toml").chmod(0o600)
    with pytest.raises(SettingsError, match="not UTF-8"):
        policy_file(tmp_path / "binary.toml")


# ------------------------------------------------------------- through a deputy


async def test_file_denies_asks_and_allows(house: Asking, tmp_path: Path) -> None:
    text = HEAD + rule("allow", '{ effect = "reads" }') + rule("deny", more='reason = "No mail."', name="r2")
    house.deputy.policy = policy_file(written(tmp_path, text))
    assert await house.act("search")
    with pytest.raises(PolicyDenied, match="No mail"):
        await house.act("send", **MAIL)
    house.deputy.policy = policy_file(written(tmp_path, HEAD, "other.toml"))
    with pytest.raises(ApprovalRequired):
        await house.act("send", **MAIL)
    assert house.mails == 0


async def test_gravest_of_several_policies_counts(house: Asking, tmp_path: Path) -> None:
    def never(act: Act) -> Verdict:
        return Verdict.DENY if act.tool.name == "gmail_send" else Verdict.ALLOW

    file = policy_file(written(tmp_path, HEAD + rule("allow", '{ tool = "*" }')))
    orders: list[list[Any]] = [[file, never], [never, file]]
    for both in orders:
        house.deputy.policy = both
        assert await house.act("search")
        with pytest.raises(PolicyDenied):
            await house.act("send", **MAIL)
    junk: list[Any] = [[], [file, "x"], "ask_before_sending"]
    for wrong in junk:
        with pytest.raises(TypeError):
            house.deputy.policy = wrong


async def test_two_policies_that_ask_different_roles_deny(house: Asking) -> None:
    house.deputy.policy = [
        lambda act: Decision(Verdict.ASK, "a", approvers="a"),
        lambda act: Decision(Verdict.ASK, "b", approvers="b"),
    ]
    with pytest.raises(PolicyDenied, match="different roles"):
        await house.act("send", **MAIL)


async def test_rule_about_untrusted_targets_fails_closed_without_a_conversation(house: Asking, tmp_path: Path) -> None:
    denies = policy_file(written(tmp_path, HEAD.replace("ask", "allow") + rule(when="{ untrusted = true }")))
    allows = policy_file(written(tmp_path, HEAD + rule("allow", "{ untrusted = false }"), "other.toml"))
    for thread in ("", "t"):
        call = Call(thread, "m", "c")
        for tool, arguments in (("gmail_send", MAIL), ("gmail_search", {"query": "x"})):
            for policy, error in ((denies, PolicyDenied), (allows, ApprovalRequired)):
                house.deputy.policy = policy
                with nullcontext() if thread else pytest.raises(error):
                    await house.deputy.act(tool, arguments, user="alice", call=call)
    assert house.mails == 1


async def test_rule_over_the_account_is_decided_with_the_grant(house: Asking, tmp_path: Path) -> None:
    text = HEAD + rule("deny", '{ account = { domain_not_in = ["acme.example"] } }')
    house.deputy.policy = policy_file(written(tmp_path, text))
    with pytest.raises(PolicyDenied):
        await house.act("search")
    text = HEAD + rule("allow", '{ account = { domain_in = ["example.test"] } }')
    house.deputy.policy = policy_file(written(tmp_path, text))
    assert await house.act("search")


async def test_setting_names_a_file_relative_to_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deputize.core.settings import Settings

    written(tmp_path, HEAD + rule())
    written(tmp_path, 'policy = "policy.toml"\n', "deputize.toml")
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path))
    monkeypatch.chdir("/")
    with Deputy.from_settings() as deputy:
        assert isinstance(deputy.policy, FilePolicy) and deputy.policy.path == tmp_path / "policy.toml"
    written(tmp_path, HEAD + "x = 1")
    with pytest.raises(SettingsError, match=r"policy\.toml line 3"):
        Deputy.from_settings(Settings.load())


# ------------------------------------------------------------- reload


async def test_changed_file_is_in_force_without_a_restart(house: Asking, tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + rule("allow", '{ effect = "reads" }'))
    house.deputy.policy = policy = policy_file(path)
    assert await house.act("search")
    written(tmp_path, HEAD + rule("deny", '{ effect = "reads" }', 'reason = "Closed."'))
    look_again(policy)
    with pytest.raises(PolicyDenied, match="Closed"):
        await house.act("search")
    assert house.events().count("policy.loaded") == 1


async def test_broken_reload_keeps_the_old_rules_and_is_logged_and_audited_once(
    house: Asking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, HEAD + rule("deny", '{ effect = "reads" }'))
    house.deputy.policy = policy = policy_file(path)
    broken: list[Any] = [HEAD + rule("allow", '{ tol = "x" }'), "", None]
    for number, text in enumerate(broken, 1):
        path.unlink(missing_ok=True) if text is None else written(tmp_path, text)
        for _ in range(3):
            look_again(policy)
            with pytest.raises(PolicyDenied):
                await house.act("search")
        assert house.events().count("policy.refused") == number
    row = next(row for row in house.deputy.audit.rows() if row["event"] == "policy.refused")
    assert "line 6: r1: 'tol' is not a condition" in row["why"]
    assert sum("old rules stay" in one.getMessage() for one in caplog.records) == 3
    written(tmp_path, HEAD + rule("allow", '{ effect = "reads" }'))
    look_again(policy)
    assert await house.act("search")


async def test_broken_reload_of_a_cedar_file_keeps_the_old_rules(house: Asking, tmp_path: Path) -> None:
    def cedar(text: str, end: str = "\n// end\n") -> Path:
        (tmp_path / "policy.cedar").write_text(text + end)
        return tmp_path / "policy.cedar"

    permit = "permit (principal, action, resource);"
    forbid = 'forbid (principal, action in Action::"reads", resource);'
    house.deputy.policy = policy = policy_file(cedar(permit + forbid))
    for text, end in (
        (permit, ""),  # cut
        (permit + forbid[:-1], "\n// end\n"),
        (permit + forbid.replace("Action::", "Act::"), "\n// end\n"),
        (permit + forbid.replace(";", " when { context has recipientz };"), "\n// end\n"),
        (permit + forbid.replace(";", f" when {{ {'!(' * 3000}true{')' * 3000} }};"), "\n// end\n"),
    ):
        cedar(text, end)
        look_again(policy)
        with pytest.raises(PolicyDenied):
            await house.act("search")
    assert house.events().count("policy.refused") == 5
    cedar(permit)
    look_again(policy)
    assert await house.act("search")


async def test_file_that_others_may_write_now_is_not_loaded(house: Asking, tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + rule("deny", '{ effect = "reads" }'))
    house.deputy.policy = policy = policy_file(path)
    written(tmp_path, HEAD + rule("allow", '{ effect = "reads" }'))
    path.chmod(0o666)
    look_again(policy)
    with pytest.raises(PolicyDenied):
        await house.act("search")


async def test_file_is_looked_at_once_a_second_at_most(
    house: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.deputy.policy = policy_file(written(tmp_path, HEAD + rule("allow", '{ effect = "reads" }')))
    looks: list[Any] = []
    real = os.stat

    def counted(path: Any, **more: Any) -> os.stat_result:
        looks.append(path)
        return real(path, **more)

    monkeypatch.setattr(os, "stat", counted)
    for _ in range(20):
        await house.act("search")
    assert len([one for one in looks if str(one).endswith("policy.toml")]) <= 1


@pytest.mark.parametrize(
    "text",
    [
        f"max = {'9' * 5000}",
        rule(when=f'{{ args = {{ "a" = {{ above = 0x{"F" * 5000} }} }} }}'),
        "[sets]\na = [0x" + "F" * 5000 + "]" + rule(when='{ args = { "a" = { in = "a" } } }'),
    ],
    ids=["decimal", "limit", "set"],
)
async def test_number_that_python_cannot_write_out_is_refused_at_start_and_at_reload(
    house: Asking, tmp_path: Path, text: str
) -> None:
    house.deputy.policy = policy = policy_file(written(tmp_path, HEAD + rule("allow", '{ effect = "reads" }')))
    with pytest.raises(SettingsError, match=r"policy\.toml"):
        policy_file(written(tmp_path, HEAD + text))
    look_again(policy)
    assert await house.act("search")
    assert house.events().count("policy.refused") == 1


async def test_file_that_keeps_its_time_and_size_is_loaded(house: Asking, tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + rule("allow", '{ effect = "reads" }', name="r-1"))
    house.deputy.policy = policy = policy_file(path)
    before = path.stat()
    written(tmp_path, HEAD + rule("deny", '{ effect = "reads" }', name="r-12"))
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    look_again(policy)
    with pytest.raises(PolicyDenied):
        await house.act("search")


def test_file_in_a_folder_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD)
    tmp_path.chmod(0o777)
    with pytest.raises(SettingsError, match="folder that others may write"):
        policy_file(path)


# ------------------------------------------------------------- Cedar, through a deputy

CEDAR = """
@id("ask") @decision("ask") permit (principal, action, resource) unless { context.effects.contains("reads") };
@id("reads") permit (principal, action in Action::"reads", resource);
@id("home") forbid (principal, action in Action::"sends", resource)
unless { context has domains && ["acme.example"].containsAll(context.domains) };
@id("account") forbid (principal, action, resource)
unless { context has account && context.account like "*@example.test" };
@id("resource") forbid (principal, action, resource == Account::"eve@example.test");
@id("night") forbid (principal, action, resource) when { context.unattended };
// end
"""


async def test_cedar_waits_for_the_preview_and_the_account_before_it_forbids(world: World, tmp_path: Path) -> None:
    (tmp_path / "policy.cedar").write_text(CEDAR)
    world.deputy.policy = policy_file(tmp_path / "policy.cedar")
    assert await world.act(tool="read")
    await world.asked(people=["bob@acme.example"])
    with pytest.raises(PolicyDenied) as denied:
        await world.act(people=["eve@evil.example"])
    assert denied.value.rule == "home" and world.sent == 0
    seen = len(world.wire.seen)
    with pytest.raises(PolicyDenied) as denied:  # which needs nothing that comes later
        await world.deputy.act("gmail_read", {}, user=User("alice", unattended=True))
    assert denied.value.rule == "night" and len(world.wire.seen) == seen
    (tmp_path / "policy.cedar").write_text(CEDAR.replace("*@example.test", "*@acme.example"))
    look_again(cast(FilePolicy, world.deputy.policy))
    with pytest.raises(PolicyDenied) as denied:
        await world.act(tool="read")
    assert denied.value.rule == "account" and len(world.wire.seen) == seen
