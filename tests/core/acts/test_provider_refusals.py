"""Every known refusal of an API, through a whole deputy: the error of `Deputy.act`, and what was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from deputize.core import (
    PROVIDERS,
    Call,
    Conflict,
    DeputizeError,
    Deputy,
    Effect,
    InvalidInput,
    NotFound,
    OrgBlocked,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    ReconsentRequired,
    Request,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.failures.retry import MAX_RETRY_WAIT_SECONDS, TRIES
from deputize.core.vault.grant import Grant
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.faults import Line, broken, shown
from tests.support.lanes import sample
from tests.support.sandbox_deputy import build, set_sleep

ROWS: Final[list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "failures" / "rows.json").read_text(encoding="utf-8")
)
CALLS: Final = ("read", "idem", "write")
API_ROWS: Final = [row for row in ROWS if row["call"] in CALLS]
CLOCK: Final = "Tue, 24 Nov 2026 14:00:00 GMT"
SCOPES: Final = {
    "google": ["https://www.googleapis.com/auth/gmail.readonly"],
    "slack": ["channels:read", "chat:write"],
    "github": ["repo"],
    "linear": ["read", "issues:create"],
    "salesforce": ["api"],
}
API: Final = {"google": "gmail"}
ALICE: Final = User("alice")
KIND: Final[dict[str, type[DeputizeError]]] = {
    "REAUTH": ReconsentRequired,
    "MISSING_SCOPE": ReconsentRequired,
    "ORG_BLOCKED": OrgBlocked,
    "RATE_LIMITED": RateLimited,
    "HIDDEN_OR_NOT_FOUND": NotFound,
    "CONFLICT": Conflict,
    "INVALID_INPUT": InvalidInput,
    "TRANSIENT": ProviderUnavailable,
    "AMBIGUOUS_WRITE": OutcomeUnknown,
}
DONE: Final = {"ok": True, "data": {"done": True}}


def provider_of(row: dict[str, Any]) -> str:
    """Return the provider of the response; cases valid for all providers are tested with Google."""
    return "google" if row["provider"] == "generic" else str(row["provider"])


def kit(row: dict[str, Any]) -> Toolkit:
    """Return a toolkit whose only tool sends the case's kind of request."""
    name, call = provider_of(row), row["call"]
    made = Toolkit("row", provider=name, api=API.get(name, name))
    needs = [any_of(*need) for need in row.get("needs", [])] or [any_of(SCOPES[name][0])]

    @made.tool(needs=needs, effect=Effect.READS if call == "read" else Effect.WRITES, shows=False)
    def send(n: int = 0) -> Steps:
        """Send one request."""
        yield Request("GET" if call == "read" else "POST", "/row", repeat=call)
        return {"done": True}

    return made


def answer_of(row: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    if "no_answer" in row:
        return broken(httpx.ReadError if row["no_answer"] == "lost" else httpx.ConnectError)
    headers = {"Date": CLOCK, **row.get("headers", {})}
    return lambda request: httpx.Response(row["status"], content=row["body"].encode(), headers=headers)


class Played:
    """The provider of one case: its responses, the requests to its API, and the time waited."""

    def __init__(self, deputy: Deputy, line: Line, grant: Grant) -> None:
        self.deputy, self.line, self.grant, self.waited = deputy, line, grant, list[float]()
        row = deputy.providers[grant.provider].for_grant(grant.extra)
        root = urlsplit(row.apis.roots[API.get(grant.provider, grant.provider)])
        self.place = (root.netloc, f"{root.path}/row")
        set_sleep(deputy, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    def says(self, *answers: Callable[[httpx.Request], httpx.Response]) -> None:
        self.line.answers[self.place] = list(answers)

    async def act(self) -> Any:
        """Make the same act at each call."""
        return await self.deputy.act("row_send", {}, user="alice", call=Call("t", "m", "c"))

    async def refused(self) -> DeputizeError:
        with pytest.raises(DeputizeError) as caught:
            await self.act()
        return caught.value

    def sent(self) -> int:
        """Return how many requests reached the API."""
        return self.line.count(self.place)

    async def is_suspect(self) -> bool:
        [grant] = await self.deputy.vault.list_grants(ALICE)
        assert grant.status == "active"  # an API's word ends no grant
        return grant.is_suspect


@asynccontextmanager
async def playing(row: dict[str, Any]) -> AsyncIterator[Played]:
    """Return a deputy with the case's tool, where Alice has more scopes than it needs."""
    sandbox, name = Sandbox(), provider_of(row)
    line = Line(sandbox.transport())
    ours = [app for app in apps() if app.provider == name]
    deputy = await build(sandbox, apps=ours, toolkits=[kit(row)], transport=line, policy=allow_all, clock=sandbox.clock)
    granted = {*SCOPES[name], *(need[0] for need in row.get("needs", []))}
    grant = give_grant(sandbox, deputy, "alice", sorted(granted), provider=name, email="alice@example.test")
    yield Played(deputy, line, grant)
    await deputy.close()


def tries(row: dict[str, Any]) -> int:
    """Return how often the request may be sent while the response stays the same."""
    want = row["expect"]
    wait = want.get("wait")
    safe = want["kind"] == "TRANSIENT" and (want.get("safe") or row["call"] != "write")
    limited = want["kind"] == "RATE_LIMITED" and (wait is not None or want.get("backoff"))
    return TRIES if (safe or limited) and (wait is None or wait <= MAX_RETRY_WAIT_SECONDS) else 1


SHOWN: Final = sample(
    API_ROWS, lambda row: (row["provider"], row["expect"]["kind"]), ids=[f"row_{row['id']}" for row in API_ROWS]
)


@pytest.mark.parametrize("row", SHOWN)
async def test_provider_refusal_raises_the_error_of_its_rule(row: dict[str, Any]) -> None:
    want, answer = row["expect"], answer_of(row)
    async with playing(row) as played:
        if want["kind"] == "REFRESH_ONCE":
            await _refreshed_once(played, row)
            return
        played.says(*[answer] * 9)
        if want["kind"] == "OK":
            assert await played.act() == {"done": True, "incomplete": want["warning"]}
            assert played.deputy.audit.rows()[-1]["incomplete"] == want["warning"]
            return
        error = await played.refused()
        assert type(error) is _kind(row)
        assert played.sent() == tries(row) and len(played.waited) == tries(row) - 1
        assert await played.is_suspect() is (want["kind"] == "REAUTH")
        assert played.grant.access_token.reveal() not in shown(error)
        _fits(row, error)
        if want["kind"] in ("REAUTH", "MISSING_SCOPE"):
            return
        played.says(lambda request: httpx.Response(200, json=DONE))
        if want["kind"] == "AMBIGUOUS_WRITE":
            assert type(await played.refused()) is OutcomeUnknown and played.sent() == 1
        else:
            assert await played.act() == {"done": True}  # it was refused, so it may be done now


def _kind(row: dict[str, Any]) -> type[DeputizeError]:
    """Return the error for a case; a permission that only an administrator can give is not requested from the user."""
    want = row["expect"]
    return OrgBlocked if (want["kind"], want["fix_by"]) == ("MISSING_SCOPE", "admin") else KIND[want["kind"]]


def _fits(row: dict[str, Any], error: DeputizeError) -> None:
    """Check the error's fields beside its type."""
    want = row["expect"]
    match error:
        case ReconsentRequired() if want["kind"] == "REAUTH":
            assert error.reason == want["detail"]
        case ReconsentRequired():
            assert error.reason == "scope_missing"
            declared = [need[0] for need in row.get("needs", [])]
            assert set(error.consent.scopes) & {*want["needed"], *declared}
        case RateLimited():
            assert error.retry_after == want["wait"]
        case Conflict():
            assert error.reason == ("exists" if "ours" in row else want["detail"])
        case InvalidInput():
            assert error.fix_by == want["fix_by"]
        case OrgBlocked():
            assert error.url == want.get("url", "")
            assert ("administrator" in error.hint) is (want["fix_by"] == "admin")
            assert not error.url or error.url in error.hint
        case NotFound():
            assert ("no right" in str(error)) is (want.get("detail") == "user_lacks_rights")


async def _refreshed_once(played: Played, row: dict[str, Any]) -> None:
    """A refused token is replaced once. A second refusal ends no grant: an outage or the organization may cause it."""
    played.says(answer_of(row), lambda request: httpx.Response(200, json=DONE))
    if played.grant.refresh_token is None:
        await _refused_and_kept(played)
        return
    assert await played.act() == {"done": True}
    assert played.sent() == 2 and played.waited == []
    [grant] = await played.deputy.vault.list_grants(ALICE)
    assert grant.access_token != played.grant.access_token
    played.says(*[answer_of(row)] * 9)
    error = await _another(played)
    blocked = grant.provider == "salesforce"
    assert type(error) is (OrgBlocked if blocked else ProviderUnavailable)
    assert played.sent() == 4 and await played.is_suspect()


async def _refused_and_kept(played: Played) -> None:
    """A token that cannot be replaced is refused: the act fails, and the grant stays.

    The user is asked to reconnect if nothing else can tell whether the token is dead.
    """
    error, asks = await played.refused(), played.grant.provider != "github"
    assert isinstance(error, ReconsentRequired if asks else ProviderUnavailable)
    assert error.reason == ("rejected" if asks else "token_refused")
    assert played.sent() == 1 and await played.is_suspect()
    played.says(lambda request: httpx.Response(200, json=DONE))
    assert await played.act() == {"done": True}


async def _another(played: Played) -> DeputizeError:
    with pytest.raises(DeputizeError) as caught:
        await played.deputy.act("row_send", {}, user="alice", call=Call("t", "m2", "c"))
    return caught.value


def test_every_api_failure_rule_is_tested() -> None:
    assert len(API_ROWS) == len({row["id"] for row in API_ROWS}) == 140
    assert {provider_of(row) for row in API_ROWS} == SCOPES.keys() <= PROVIDERS.keys()
    assert {row["expect"]["kind"] for row in API_ROWS} == KIND.keys() | {"OK", "REFRESH_ONCE"}


async def test_grant_without_refresh_token_survives_a_refusal() -> None:
    [row] = [row for row in API_ROWS if row["id"] == "F08"]
    async with playing(row) as played:
        assert await played.deputy.vault.replace(played.grant, replace(played.grant, refresh_token=None))
        played.says(*[answer_of(row)] * 9)
        await _refused_and_kept(played)


@pytest.mark.parametrize("url", ["https://evil.example.test/sso", "http://github.com/orgs/acme/sso", "javascript:x"])
async def test_foreign_sign_in_url_is_removed_from_org_blocked(url: str) -> None:
    [row] = [row for row in API_ROWS if row["id"] == "H09"]
    async with playing(row) as played:
        played.says(answer_of(row | {"headers": {"X-GitHub-SSO": f"required; url={url}"}}))
        error = await played.refused()
        assert isinstance(error, OrgBlocked) and error.url == "" and url not in f"{error} {error.hint}"
