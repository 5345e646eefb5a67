"""The providers' known refusals of a reading call, through one real tool of each toolkit: error, waits, grant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from deputize.core import DeputizeError, OrgBlocked, ProviderUnavailable, ReconsentRequired, User, allow_all
from deputize.core.failures.retry import MAX_RETRY_WAIT_SECONDS, TRIES
from deputize.core.tools.plugins import find_toolkits
from deputize.core.vault.grant import Grant
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.core.acts.test_provider_refusals import KIND, answer_of
from tests.support.faults import Line, shown
from tests.support.lanes import sample
from tests.support.sandbox_deputy import build, set_sleep

ROWS: Final[list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "core" / "failures" / "rows.json").read_text(encoding="utf-8")
)
TOOLS: Final = {  # by toolkit: the tool, and where its first request goes
    "gmail": ("gmail_list_labels", "gmail", "/users/me/labels"),
    "calendar": ("calendar_list_calendars", "calendar", "/users/me/calendarList"),
    "slack": ("slack_list_conversations", "slack", "/users.conversations"),
    "github": ("github_whoami", "github", "/user"),
    "linear": ("linear_whoami", "linear", "/graphql"),
    "contacts": ("contacts_search", "people", "/people/me/connections"),
    "drive": ("drive_search_files", "drive", "/files"),
    "salesforce": ("salesforce_describe", "salesforce", "/data/v64.0/sobjects"),
}
CASES: Final = [
    (kit, row)
    for kit, found in find_toolkits(*TOOLS).items()
    for row in ROWS
    if row["call"] == "read" and row["provider"] in (found.provider, "generic") and row["expect"]["kind"] != "OK"
]


def test_every_toolkit_and_provider_rule_has_a_test_tool() -> None:
    assert (
        TOOLS.keys() == {name for name, kit in find_toolkits().items() if kit.provider}
        and {kit for kit, _ in CASES} == TOOLS.keys()
    )
    assert len(CASES) == 117


@pytest.mark.parametrize(
    ("kit", "row"),
    sample(
        CASES,
        lambda case: (case[0], case[1]["expect"]["kind"]),
        ids=[f"{kit}-row_{row['id']}" for kit, row in CASES],
        spread=True,
    ),
)
async def test_reading_tool_raises_the_error_of_the_rule(kit: str, row: dict[str, Any]) -> None:
    name, api, path = TOOLS[kit]
    provider, want = find_toolkits(kit)[kit].provider, row["expect"]
    sandbox = Sandbox()
    line, waited = Line(sandbox.transport()), list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    ours = [app for app in apps() if app.provider == provider]
    async with await build(
        sandbox, apps=ours, toolkits=[find_toolkits(kit)[kit]], transport=line, policy=allow_all, clock=sandbox.clock
    ) as deputy:
        set_sleep(deputy, sleep)
        scopes = [need.ask for need in deputy.catalog.tool(name).usual_needs(provider)]
        grant = give_grant(sandbox, deputy, "alice", scopes, provider=provider, email="alice@example.test")
        root = urlsplit(deputy.providers[provider].for_grant(grant.extra).apis.roots[api])
        place = (root.netloc, root.path + path)
        line.answers[place] = [answer_of(row)] * 9
        with pytest.raises(DeputizeError) as refused:
            await deputy.act(name, {}, user="alice")
        assert type(refused.value) in _kinds(want, grant), refused.value
        assert grant.access_token.reveal() not in shown(refused.value)
        renewed = want["kind"] == "REFRESH_ONCE" and grant.refresh_token is not None
        assert line.count(place) == (2 if renewed else _tries(want))
        assert all(seconds <= MAX_RETRY_WAIT_SECONDS for seconds in waited) and len(waited) == _tries(want) - 1
        if (wait := want.get("wait")) is not None and waited:
            assert waited == [wait] * len(waited)
        [kept] = await deputy.vault.list_grants(User("alice"))
        assert kept.status == "active"  # only the token endpoint ends a grant


def _kinds(want: dict[str, Any], grant: Grant) -> set[type[DeputizeError]]:
    if want["kind"] == "REFRESH_ONCE" and grant.refresh_token is None and grant.provider == "slack":
        return {ReconsentRequired}  # nothing renews its token, and Slack cannot be asked whether it lives
    if want["kind"] == "REFRESH_ONCE":
        return {ProviderUnavailable, OrgBlocked}
    if (want["kind"], want["fix_by"]) == ("MISSING_SCOPE", "admin"):
        return {OrgBlocked}
    return {KIND[want["kind"]]}


def _tries(want: dict[str, Any]) -> int:
    wait = want.get("wait")
    limited = want["kind"] == "RATE_LIMITED" and (wait is not None or want.get("backoff"))
    return TRIES if (want["kind"] == "TRANSIENT" or limited) and (wait is None or wait <= MAX_RETRY_WAIT_SECONDS) else 1
