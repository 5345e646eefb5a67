"""The page on roles: its settings are accepted, and its function and policy do what the text says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from deputize.core import Decision, User, Verdict
from deputize.core.roles import Role, RoleMap
from tests.docs.blocks import blocks, run

PAGE: Final = "docs/roles.md"


def test_every_block_is_executed_here() -> None:
    assert (len(blocks(PAGE, "python")), len(blocks(PAGE, "toml"))) == (2, 1)


def test_documented_roles_are_accepted() -> None:
    roles = RoleMap.of(tomllib.loads(blocks(PAGE, "toml")[0])["roles"])
    assert roles.roles_of({"groups": ["agents-operators"]}) == {Role.OPERATOR}
    assert roles.roles_of({"groups": ["agents-auditors"], "roles": ["Finance.Approver"]}) == {"auditor", "finance"}


async def test_documented_function_gives_the_roles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path))

    class Directory:
        async def roles(self, tenant: str, user: str) -> list[str]:
            return ["finance"] if (tenant, user) == ("acme", "bob") else []

    names: dict[str, Any] = await run(blocks(PAGE, "python")[0], {"directory": Directory()})
    async with names["deputy"] as deputy:
        assert await deputy.roles.of_act(User("bob", "acme")) == {"finance"}
        assert await deputy.roles.of_person(User("bob")) == frozenset()


async def test_documented_policy_asks_finance_and_denies_others() -> None:
    names = await run(blocks(PAGE, "python")[1], {})
    act = SimpleNamespace(arguments={"amount": 20_000}, roles=frozenset())
    assert names["policy"](act) is Verdict.DENY
    act.roles = frozenset({"finance"})
    assert names["policy"](act) == Decision(Verdict.ASK, "big-money", "Above 1,000.", "finance")
