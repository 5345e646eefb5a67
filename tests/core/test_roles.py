"""The mapping from claims to roles."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from deputize.core import User
from deputize.core.errors import SettingsError
from deputize.core.roles import RoleMap
from deputize.core.settings import Settings

ROLES = RoleMap.of(
    {
        "finance": ["groups:finance", "roles:Finance.Approver"],
        "auditor": ["https://acme.example/roles:Auditor", "groups:urn:acme:audit"],
        "operator": ["realm_access.roles:ops"],
    }
)


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({}, set()),
        ({"groups": ["finance", "other"]}, {"finance"}),
        ({"groups": "finance"}, {"finance"}),
        ({"roles": ["Finance.Approver"], "groups": ["urn:acme:audit"]}, {"finance", "auditor"}),
        ({"https://acme.example/roles": ["Auditor"]}, {"auditor"}),
        ({"realm_access": {"roles": ["ops"]}}, {"operator"}),
        ({"realm_access.roles": ["ops"]}, {"operator"}),
        ({"groups": ["Finance"]}, set()),
        ({"groups": ["finance "]}, set()),
        ({"groups": "finance other"}, set()),
        ({"groups": {"finance": True}}, set()),
        ({"groups": [["finance"], None, 1]}, set()),
        ({"groups": ["x"] * 500 + ["finance"]}, set()),
        ({"groups": ["finance"], "_claim_names": {"groups": "src1"}}, set()),
        ({"groups": ["finance"], "hasgroups": True}, set()),
        ({"groups": ["finance"], "_claim_names": {"roles": "src1"}}, {"finance"}),
        ({"realm_access": {"roles": ["ops"]}, "_claim_names": {"realm_access": "src1"}}, set()),
        ({"https": "//acme.example/roles:Auditor"}, set()),
    ],
)
def test_role_map_compares_claims_exactly(claims: dict[str, Any], roles: set[str]) -> None:
    assert ROLES.roles_of(claims) == roles


@pytest.mark.parametrize("entry", ["finance", ":finance", "groups:", "", "groups:" + "x" * 257])
def test_settings_refuse_entry_that_is_not_a_claim_and_a_value(entry: str) -> None:
    with pytest.raises(SettingsError, match=r"roles.*claim"):
        Settings.load(roles={"finance": [entry]})


def test_settings_refuse_role_with_invalid_name() -> None:
    with pytest.raises(SettingsError, match="'fin ance' has an invalid name"):
        Settings.load(roles={"fin ance": ["groups:finance"]})


def test_settings_take_roles_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPUTIZE_ROLES", '{"finance": ["groups:finance"]}')
    assert RoleMap.of(Settings.load().roles).roles_of({"groups": ["finance"]}) == {"finance"}


def test_roles_of_a_user_are_no_part_of_the_identity_and_are_not_pickled() -> None:
    plain, member = User("bob", "acme"), User("bob", "acme", frozenset({"finance"}))
    assert plain == member and len({plain, member}) == 1 and "finance" not in repr(member)
    assert User.of(member).roles == frozenset({"finance"}) and User.of("bob").roles is None
    copy = pickle.loads(pickle.dumps(member))  # noqa: S301
    assert copy == member and copy.roles is None
