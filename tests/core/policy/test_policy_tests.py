"""One table of acts, decided by a TOML policy and by the same policy in Cedar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from deputize.core import Decision, Verdict
from deputize.core.policy.cedar import CedarRules
from deputize.core.policy.policy_tests import act_of, facts_of, read_case, read_cases, run_cases
from deputize.core.policy.predicates import YES
from deputize.core.policy.rules import RuleSet, parse_rules
from deputize.core.tools.plugins import find_toolkits
from deputize.core.tools.tool import Tool
from tests.core.policy.policy_cases import EXAMPLE, ROWS, TOML_ONLY, TWIN


def find_tool(name: str) -> Tool | None:
    """Return an installed tool."""
    kit = find_toolkits().get(name.partition("_")[0])
    return kit.tools.get(name) if kit else None


TOML, CEDAR = parse_rules(EXAMPLE.read_text(), EXAMPLE.name), CedarRules(TWIN.read_text(), TWIN.name)


def decided(rules: RuleSet, content: Mapping[str, Any]) -> Decision:
    """Return the decision about a case."""
    case = read_case(content, find_tool, "a case")
    return rules.decide(facts_of(case.act, case.at))


@pytest.mark.parametrize("rules", [TOML, CEDAR], ids=["toml", "cedar"])
def test_acts_are_decided_as_the_table_says(rules: RuleSet, subtests: pytest.Subtests) -> None:
    assert len(ROWS) >= 80
    for number, (content, verdict, rule) in enumerate(ROWS):
        with subtests.test(number=number, content=content):
            found = decided(rules, content)
            assert found.verdict == verdict, found
            if verdict != "deny":  # several rules may deny the same act
                assert found.rule == rule
                assert found.approvers == ("finance" if rule == "big-amounts" else "")


def test_toml_decides_what_cedar_cannot_express(subtests: pytest.Subtests) -> None:
    for content, verdict, rule, why in TOML_ONLY:
        with subtests.test(content=content, why=why):
            assert (decided(TOML, content).verdict, decided(TOML, content).rule) == (verdict, rule)
            assert decided(CEDAR, content).verdict in (Verdict.DENY, Verdict.ASK, Verdict.ALLOW)


def test_denials_name_the_rule_of_the_table() -> None:
    for content, verdict, rule in ROWS:
        if verdict == "deny":
            case = read_case(content, find_tool, "a case")
            told = TOML.explain(facts_of(case.act, case.at))
            denying = [one.id for one, applies, _ in told if applies is YES and not one.allows]
            assert rule in denying, content


def test_example_file_passes_its_own_tests() -> None:
    cases = read_cases(TOML.tests, find_tool, EXAMPLE.name)
    assert len(cases) >= 4 and [failure for _, failure in run_cases(TOML, cases) if failure] == []


def test_failing_case_says_what_was_decided_instead() -> None:
    case = read_case({**ROWS[0][0], "verdict": "deny", "rule": "x"}, find_tool, "a case")
    [(_, failure)] = run_cases(TOML, [case])
    assert failure == "allow instead of deny, internal-mail instead of x (rule internal-mail)"


def test_denial_of_writes_covers_every_effect_that_changes_something() -> None:
    rule = 'version = 1\ndefault = "allow"\n[[rules]]\nid = "r"\nwhen = { %s }\nthen = "%s"\n'
    deny = parse_rules(rule % ('effect = "writes"', "deny"))
    budget = parse_rules(
        'version = 1\ndefault = "allow"\n[[budgets]]\nid = "b"\nwhen = { effect = "writes" }\nmax = 0\n'
    ).budgets[0]
    for tool, args in (
        ("gmail_send_email", args_of_mail()),
        ("salesforce_delete_record", {"object": "Account", "id": "001000000000001AAA"}),
    ):
        assert decided(deny, {"tool": tool, "args": args}).verdict is Verdict.DENY
        case = read_case({"tool": tool, "args": args}, find_tool, "a case")
        assert budget.counts(facts_of(case.act, case.at))
    assert decided(deny, {"tool": "gmail_search_emails", "args": {"query": "x"}}).verdict is Verdict.ALLOW
    allow = parse_rules((rule % ('effect = "writes"', "allow")).replace('default = "allow"', 'default = "deny"'))
    assert decided(allow, {"tool": "gmail_send_email", "args": args_of_mail()}).verdict is Verdict.DENY


def args_of_mail() -> dict[str, Any]:
    """Return the arguments of a mail."""
    return {"to": ["eve@evil.example"], "subject": "s", "body": "b"}


@pytest.mark.parametrize("given", [[{"reference": "a"}, {}], [{}, {"reference": "a"}], [{"reference": ""}], []])
def test_one_value_that_is_left_out_is_absent_for_a_denial(given: list[Any]) -> None:
    rule = '[[rules]]\nid = "r"\nwhen = { args = { "lines.reference" = { absent = %s } } }\nthen = "%s"\n'
    content = {"tool": "erp_pay", "args": {"lines": given}}
    deny = parse_rules('version = 1\ndefault = "allow"\n' + rule % ("true", "deny"))
    allow = parse_rules('version = 1\ndefault = "deny"\n' + rule % ("false", "allow"))
    assert decided(deny, content).verdict is Verdict.DENY
    assert decided(allow, content).verdict is Verdict.DENY


@pytest.mark.parametrize("condition", ['"eve@evil.example"', '"*@evil.example"', '{ in = ["eve@evil.example"] }'])
def test_dot_behind_a_domain_does_not_pass_a_denial(condition: str) -> None:
    rules = parse_rules(
        f'version = 1\ndefault = "allow"\n[[rules]]\nid = "r"\nwhen = {{ recipient = {condition} }}\nthen = "deny"\n'
    )
    mail = {"tool": "gmail_send_email", "args": args_of_mail()}
    assert decided(rules, {**mail, "recipient": "eve@evil.example."}).verdict is Verdict.DENY
    assert decided(rules, {**mail, "recipient": "eve@good.example."}).verdict is Verdict.ALLOW


@pytest.mark.parametrize("rules", [TOML, CEDAR], ids=["toml", "cedar"])
def test_nothing_is_denied_early_that_the_preview_or_the_account_would_allow(
    rules: RuleSet, subtests: pytest.Subtests
) -> None:
    """The policy is first asked before the account and the preview are known."""
    early = set[str]()
    for number, (content, verdict, _) in enumerate(ROWS):
        with subtests.test(number=number, content=content):
            case = read_case(content, find_tool, "a case")
            known = act_of({"account": "account@example.test", **content}, find_tool, early=True)
            for act in (known.having(acting_as=""), known):
                found = rules.decide(facts_of(act, case.at))
                assert found.verdict != "deny" or verdict == "deny", found
                early |= {found.rule} if found.verdict == "deny" else set()
    assert {"frozen", "unattended", "no-destroy-for-interns", "company-accounts"} <= early
