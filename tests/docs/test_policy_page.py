"""The files on docs/policy.md are valid, and decide what the page says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from deputize.core import policy_file
from deputize.core.policy.check import check
from deputize.core.policy.policy_file import FilePolicy
from deputize.core.policy.policy_tests import facts_of, read_cases, run_cases
from deputize.core.policy.rules import KEYS, PREDICATES
from deputize.core.tools.catalog import Catalog
from tests.docs.blocks import text

PAGE = text("docs/policy.md")


def loaded(folder: Path, language: str) -> FilePolicy:
    """Return the policy of the page's block in this language, as a file."""
    [found] = re.findall(rf"^( *)```{language}\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)
    path = folder / f"policy.{language}"
    path.write_text(textwrap.dedent(found[1]))
    path.chmod(0o600)
    policy = policy_file(path)
    assert isinstance(policy, FilePolicy)
    return policy


def test_toml_file_of_the_page_is_correct_and_passes_its_test(tmp_path: Path) -> None:
    rules, catalog = loaded(tmp_path, "toml").rules, Catalog(None)
    assert check(rules, catalog.tools(), roles=["sales", "finance"]) == []
    assert len(rules.rules) == 2 and len(rules.budgets) == 1
    [(case, failure)] = run_cases(rules, read_cases(rules.tests, catalog.tool, "the page"))
    assert failure == "" and rules.decide(facts_of(case.act, case.at)).reason == "Mail goes to partners only."


def test_cedar_file_of_the_page_denies_asks_and_allows(tmp_path: Path) -> None:
    rules = loaded(tmp_path, "cedar").rules
    mail = {"tool": "gmail_send_email", "effect": "sends", "args": {}}
    cases: list[dict[str, Any]] = [
        {**mail, "recipient": "bob@acme.example", "verdict": "ask", "rule": "ask"},
        {**mail, "recipient": "eve@evil.example", "verdict": "deny", "rule": "mail-stays-home"},
        {**mail, "audience": "unknown", "verdict": "deny", "rule": "mail-stays-home"},
        {"tool": "gmail_search_emails", "effect": "reads", "verdict": "allow", "rule": "reads"},
    ]
    assert [failure for _, failure in run_cases(rules, read_cases(cases, lambda name: None, "x")) if failure] == []


@pytest.mark.parametrize("names", [KEYS, PREDICATES], ids=["conditions", "predicates"])
def test_every_condition_and_predicate_is_on_the_page(names: dict[str, object]) -> None:
    assert [name for name in names if f"`{name}`" not in PAGE] == []
