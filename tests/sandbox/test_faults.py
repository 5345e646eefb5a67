"""The ready-made faults: each is in the table of failures, and is classified accordingly."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from deputize.sandbox import Sandbox, faults
from tests.sandbox.registered_app import ALICE, NOW
from tests.sandbox.test_apis import As

ROWS = {row["id"]: row for row in json.loads((Path(__file__).parents[1] / "core/failures/rows.json").read_text())}
NAMED = {
    "G13": "google_rate_limited",
    "G15": "google_resource_exhausted",
    "G17": "google_daily_limit",
    "G20": "google_domain_policy",
    "S15": "slack_rate_limited",
    "S16": "slack_rate_limited_in_200",
    "S18": "slack_sso_required",
    "S31": "slack_fatal_error",
    "S10": "slack_account_inactive",
    "H17": "github_rate_limited",
    "H19": "github_secondary_limit",
    "H09": "github_sso_required",
    "H10": "github_partial_results",
    "H11": "github_app_restricted",
    "L10": "linear_rate_limited",
    "L11": "linear_complexity_limited",
    "L19": "linear_plan_limit",
    "F11": "salesforce_rate_limited",
    "F12": "salesforce_concurrent_limit",
    "F23": "salesforce_row_locked",
    "F13": "salesforce_api_disabled",
    "N06": "token_rate_limited",
    "N07": "bad_gateway",
    "N05": "captive_portal",
}


def made(name: str) -> Any:
    """Return the fault, at the clock of the table."""
    make = getattr(faults, name)
    return make(NOW) if "now" in inspect.signature(make).parameters else make()


def test_every_fault_is_in_the_table() -> None:
    public = {name for name, one in inspect.getmembers(faults, inspect.isfunction) if not name.startswith("_")}
    assert public == set(NAMED.values())


@pytest.mark.parametrize(("row", "name"), NAMED.items())
def test_fault_answers_as_its_row_says(row: str, name: str) -> None:
    status, headers, body = made(name)
    wanted = ROWS[row]
    told = {key.lower(): value for key, value in headers.items()}
    assert status == wanted["status"]
    assert (
        told.items()
        >= {key.lower(): value for key, value in wanted.get("headers", {}).items() if key.lower() != "date"}.items()
    )
    if isinstance(body, bytes):
        assert body.decode() == wanted["body"]
    else:
        assert body == json.loads(wanted["body"])


async def test_fault_is_answered_once_instead_of_acting(sandbox: Sandbox) -> None:
    me, place = As(sandbox, "github", "repo"), "https://api.github.com/repos/alice/garden/issues"
    sandbox.switches.faults["POST", "/repos/"] = [faults.github_secondary_limit(), faults.github_sso_required()]
    before = sandbox.service("github")
    limited = await me("POST", place, json={"title": "x"})
    assert (limited.status_code, limited.headers["retry-after"]) == (403, "60")
    assert (await me("POST", place, json={"title": "x"})).headers["x-github-sso"].startswith("required; url=")
    assert sandbox.service("github") == before and sandbox.live_tokens()[ALICE] == 1
    assert (await me("POST", place, json={"title": "x"})).status_code == 201
