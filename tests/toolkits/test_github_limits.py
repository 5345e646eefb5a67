"""GitHub's limits and refusals through one tool: how long is waited, what is repeated, and what is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pytest

from deputize.core import DeputizeError, ProviderUnavailable, RateLimited
from deputize.sandbox.faults import github_rate_limited, github_secondary_limit
from tests.toolkits.github_play import SITE, Play

READ: Final = ("GET", f"/repos/{SITE}/issues/1")
WRITE: Final = ("POST", f"/repos/{SITE}/issues")


async def read(play: Play) -> Any:
    return await play.act("get_issue", repo=SITE, number=1)


async def write(play: Play) -> Any:
    return await play.act("create_issue", repo=SITE, title="T")


@pytest.mark.parametrize("writes", [False, True])
async def test_a_secondary_limit_is_waited_out_and_then_it_goes_on(writes: bool) -> None:
    play = await Play.begin()
    play.sandbox.switches.faults[WRITE if writes else READ] = [github_secondary_limit(wait=5)]
    assert (await (write if writes else read)(play))["number"]
    assert play.waited == [5.0]


@pytest.mark.parametrize("writes", [False, True])
async def test_a_primary_limit_far_away_is_told_with_the_seconds_that_are_left(writes: bool) -> None:
    play = await Play.begin()
    now = play.sandbox.clock()
    play.sandbox.switches.faults[WRITE if writes else READ] = [github_rate_limited(now, wait=1700)]
    with pytest.raises(RateLimited) as limited:
        await (write if writes else read)(play)
    assert limited.value.retry_after is not None and 1600 <= limited.value.retry_after <= 1701
    assert play.waited == [] and len(play.store["issues"][SITE]) == 3


async def test_a_primary_limit_that_is_nearly_over_is_waited_out() -> None:
    play = await Play.begin()
    play.sandbox.switches.faults[READ] = [github_rate_limited(play.sandbox.clock(), wait=4)]
    assert (await read(play))["number"] == 1
    assert len(play.waited) == 1 and 1 <= play.waited[0] <= 5


async def test_a_limit_that_does_not_end_is_told_after_three_tries() -> None:
    play = await Play.begin()
    play.sandbox.switches.faults[READ] = [github_secondary_limit(wait=2)] * 9
    with pytest.raises(RateLimited):
        await read(play)
    assert play.asked.count(f"GET /repos/{SITE}/issues/1") == 3


class Row(NamedTuple):
    """A refusal of GitHub's, and what it comes to: ``code`` of the error, and words in its message or hint."""

    id: str
    fault: tuple[int, Mapping[str, str], Any]
    code: str
    says: str = ""
    writes: bool = False


SSO: Final = "https://github.com/orgs/acme/sso?authorization_request=AZ1"
RESTRICTED: Final = (
    "Although you appear to have the correct authorization credentials, the `acme` organization has enabled OAuth App "
    "access restrictions, meaning that data access to third-parties is limited."
)
ROWS: Final = [
    Row("H08", (401, {}, {"message": "Requires authentication", "status": "401"}), "invalid_input"),
    Row(
        "H09",
        (403, {"X-GitHub-SSO": f"required; url={SSO}"}, {"message": "Resource protected by SAML."}),
        "org_blocked",
    ),
    Row("H11", (403, {}, {"message": RESTRICTED}), "org_blocked"),
    Row(
        "H12",
        (403, {"X-Accepted-GitHub-Permissions": "issues=write"}, {"message": "Resource not accessible by integration"}),
        "org_blocked",
        writes=True,
    ),
    Row(
        "H13",
        (404, {"X-OAuth-Scopes": "gist", "X-Accepted-OAuth-Scopes": "public_repo, repo"}, {"message": "Not Found"}),
        "reconsent_required",
        writes=True,
    ),
    Row(
        "H14",
        (404, {"X-OAuth-Scopes": "repo", "X-Accepted-OAuth-Scopes": "repo"}, {"message": "Not Found"}),
        "not_found",
    ),
    Row("H15", (404, {}, {"message": "Not Found", "status": "404"}), "not_found"),
    Row(
        "H16",
        (
            403,
            {"X-OAuth-Scopes": "repo", "X-Accepted-OAuth-Scopes": "admin:org, repo"},
            {"message": "Must have admin rights."},
        ),
        "not_found",
        "no right",
    ),
    Row("gone", (410, {}, {"message": "Issues are disabled for this repo"}), "invalid_input", writes=True),
    Row("archived", (403, {}, {"message": "Repository was archived so is read-only."}), "invalid_input", writes=True),
    Row(
        "invalid",
        (422, {}, {"message": "Validation Failed", "errors": [{"field": "title", "code": "invalid"}]}),
        "invalid_input",
        writes=True,
    ),
    Row("lost", (502, {}, {"message": "Server Error"}), "outcome_unknown", writes=True),
    Row("legal", (451, {}, {"message": "Repository access blocked"}), "not_found"),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
async def test_a_refusal_comes_to_what_it_means(row: Row) -> None:
    play = await Play.begin()
    play.sandbox.switches.faults[WRITE if row.writes else READ] = [row.fault]
    with pytest.raises(DeputizeError) as refused:
        await (write if row.writes else read)(play)
    error = refused.value
    assert error.code == row.code and row.says in error.message
    assert SSO not in str(error) and getattr(error, "url", SSO) in (SSO, "")
    assert len(play.store["issues"][SITE]) == 3


async def test_bad_credentials_keep_the_grant_as_long_as_github_knows_its_token() -> None:
    play = await Play.begin()
    play.sandbox.switches.faults[READ] = [(401, {}, {"message": "Bad credentials", "status": "401"})]
    with pytest.raises(ProviderUnavailable) as refused:
        await read(play)
    assert refused.value.reason == "token_refused"
    assert await read(play)


async def test_results_that_leave_organizations_out_say_so() -> None:
    play = await Play.begin()
    partial = {"X-GitHub-SSO": "partial-results; organizations=21955855,20582480"}
    play.sandbox.switches.faults["GET", "/user/repos"] = [(200, partial, [])]
    found = await play.act("search_repos")
    assert found["items"] == [] and "2 organizations need SSO" in found["incomplete"]
