"""The same requests to the sandbox and to emulate, an independent simulation: OAuth, a read, a write, a refusal.

Each response is reduced to its shape: status, error name, and the names of its members. Differences are listed in
`KNOWN` with their reasons; one that has gone away fails too, so that the list stays true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.deputies import CLIENTS
from deputize.sandbox.oauth import challenge_of
from tests.sandbox.connected_users import Landing
from tests.sandbox.registered_app import ALICE
from tests.support.counterparts import require_emulate
from tests.support.emulate import Emulate, Production, oauth_client
from tests.support.strict_emulate import consent_click

pytestmark = pytest.mark.counterpart

VERIFIER: Final = "v" * 43
REDIRECT: Final = {
    "slack": "http://localhost:8765/callback/slack",
    "github": "http://127.0.0.1:8765/callback/github",
    "linear": "http://127.0.0.1:8765/callback/linear",
}
AUTHORIZE: Final = {
    "slack": "https://slack.com/oauth/v2/authorize",
    "github": "https://github.com/login/oauth/authorize",
    "linear": "https://linear.app/oauth/authorize",
}
TOKEN: Final = {
    "slack": "https://slack.com/api/oauth.v2.access",
    "github": "https://github.com/login/oauth/access_token",
    "linear": "https://api.linear.app/oauth/token",
}
ASKED: Final = {
    "slack": {"user_scope": "chat:write,channels:read,channels:history", "scope": ""},
    "github": {"scope": "repo"},
    "linear": {"scope": "read,issues:create"},
}


class Shape(NamedTuple):
    """The compared parts of a response."""

    status: int
    error: str
    members: frozenset[str]


class Side:
    """One of the two simulations, and its client."""

    def __init__(self, transport: httpx.AsyncBaseTransport, client: dict[str, str], sandbox: Sandbox | None) -> None:
        self.http = httpx.AsyncClient(transport=transport)
        self.transport, self.client, self.sandbox = transport, client, sandbox
        self.token = ""
        self.shapes: dict[str, Shape] = {}

    async def consent(self, provider: str, person: str) -> str:
        query = {
            "client_id": self.client["client_id"],
            "redirect_uri": REDIRECT[provider],
            "response_type": "code",
            "state": "s" * 20,
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
        url = f"{AUTHORIZE[provider]}?{urlencode(query | ASKED[provider])}"
        if self.sandbox is None:
            location = await consent_click(self.transport, url, person)
            return parse_qs(urlsplit(location).query)["code"][0]
        landing = Landing(self.sandbox)
        await Browser(landing).allow(url, as_=ALICE)
        return landing.back["code"]

    async def connect(self, provider: str, person: str) -> Any:
        """Return the token reply, after exchanges that fail: with a wrong secret, and of a used code."""
        spent = await self.consent(provider, person)
        await self.exchange(provider, "wrong secret", spent, client_secret="wrong")
        await self.exchange(provider, "spent", spent)
        await self.exchange(provider, "spent again", spent)
        return await self.exchange(provider, "code", await self.consent(provider, person))

    async def exchange(self, provider: str, step: str, code: str, **changed: str) -> Any:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT[provider],
            "code_verifier": VERIFIER,
        }
        return await self.send(step, "POST", TOKEN[provider], data=form | self.client | changed)

    async def send(self, step: str, method: str, url: str, **how: Any) -> Any:
        """Send one request, and record its response's shape under the name of the step."""
        headers = {"accept": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        reply = await self.http.request(method, url, headers=headers, **how)
        body = reply.json() if reply.content else {}
        self.shapes[step] = Shape(reply.status_code, error_of(body), frozenset(members(body)))
        return body


def error_of(body: Any) -> str:
    """Return the error's name, wherever this provider puts it."""
    if not isinstance(body, dict):
        return ""
    if errors := body.get("errors"):
        return str((errors[0].get("extensions") or {}).get("code") or errors[0].get("code"))
    return str(body.get("error") or "")


def members(body: Any, where: str = "") -> Iterator[str]:
    """Return the names in a response, two levels deep; of a list its first element."""
    if isinstance(body, list):
        yield from members(body[0], where) if body else ()
    elif isinstance(body, dict):
        for name, value in body.items():
            yield where + name
            if where.count(".") < 2 and name not in ("errors", "labels", "user", "assignee", "assignees"):
                yield from members(value, f"{where}{name}.")


async def play_slack(side: Side) -> None:
    """Connect, read, post, and be refused."""
    body = await side.connect("slack", ALICE)
    side.token = body["authed_user"]["access_token"]
    api = "https://slack.com/api/"
    await side.send("who", "POST", api + "auth.test")
    found = await side.send("read", "POST", api + "conversations.list", data={"limit": 100})
    eng = next(row["id"] for row in found["channels"] if row["name"] == "eng")
    await side.send("write", "POST", api + "chat.postMessage", data={"channel": eng, "text": "Hello"})
    history = await side.send("read back", "POST", api + "conversations.history", data={"channel": eng, "limit": 1})
    assert history["messages"][0]["text"] == "Hello"
    await side.send("no channel", "POST", api + "chat.postMessage", data={"channel": "C0NOWHERE", "text": "Hello"})
    await side.send("no text", "POST", api + "chat.postMessage", data={"channel": eng})


async def play_github(side: Side) -> None:
    """Connect, read, open an issue, and be refused."""
    body = await side.connect("github", "alice")
    side.token = body["access_token"]
    assert (await side.send("who", "GET", "https://api.github.com/user"))["login"] == "alice"
    repo = "alice/hello" if side.sandbox is None else "alice/garden"
    issues = f"https://api.github.com/repos/{repo}/issues"
    made = await side.send("write", "POST", issues, json={"title": "Once", "body": "x"})
    (first, *_) = await side.send("read", "GET", issues, params={"per_page": 1})
    assert first["number"] == made["number"]
    await side.send("no title", "POST", issues, json={"body": "x"})
    await side.send("nowhere", "GET", "https://api.github.com/repos/alice/nowhere/issues")


async def play_linear(side: Side) -> None:
    """Connect, read, create an issue, rotate, and be refused."""
    body = await side.connect("linear", ALICE)
    renew = {"grant_type": "refresh_token", "refresh_token": body["refresh_token"], **side.client}
    fresh = await side.send("refresh", "POST", TOKEN["linear"], data=renew)
    await side.send("refresh again", "POST", TOKEN["linear"], data=renew)
    side.token = fresh["access_token"]

    async def ask(step: str, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        return await side.send(step, "POST", "https://api.linear.app/graphql", json=body)

    who = await ask("who", "{ viewer { id name email } organization { id name urlKey } }")
    assert who["data"]["viewer"]["email"] == ALICE
    await ask("read", "{ issues(first: 2) { nodes { id identifier title } pageInfo { hasNextPage endCursor } } }")
    teams = await ask("teams", "{ teams { nodes { id key name } } }")
    team = next(row["id"] for row in teams["data"]["teams"]["nodes"] if row["key"] == "ENG")
    create = (
        "mutation($t: String!, $i: String!) { issueCreate(input: {teamId: $t, title: $i}) { success issue { id } } }"
    )
    made = await ask("write", create, t=team, i="Once")
    assert made["data"]["issueCreate"]["success"] is True
    await ask("no field", "{ viewer { shoeSize } }")
    await side.send("revoke", "POST", "https://api.linear.app/oauth/revoke", data={"token": side.token, **side.client})
    await ask("revoked", "{ viewer { id } }")


PLAYS: Final[dict[str, Callable[[Side], Any]]] = {"slack": play_slack, "github": play_github, "linear": play_linear}


class Difference(NamedTuple):
    """How emulate's response differs from the sandbox's, and why the sandbox keeps its own."""

    why: str
    status: tuple[int, int] | None = None
    error: tuple[str, str] | None = None
    ours: frozenset[str] = frozenset()
    theirs: frozenset[str] = frozenset()


def of(text: str) -> frozenset[str]:
    """Return names, written side by side."""
    return frozenset(text.split())


BOT: Final = Difference(
    "emulate always installs a bot beside the user's token; ours is asked for user scopes only",
    theirs=of("access_token bot_user_id scope token_type"),
)
KNOWN: Final[dict[tuple[str, str], Difference]] = {
    ("slack", "wrong secret"): Difference(
        "Slack's reference names bad_client_secret for a wrong secret and invalid_client_id for an unknown client",
        error=("bad_client_secret", "invalid_client_id"),
    ),
    ("slack", "spent"): BOT,
    ("slack", "code"): BOT,
    ("slack", "who"): Difference(
        "emulate describes its bot; a user's token says whether the whole organization installed the app",
        ours=of("is_enterprise_install"),
        theirs=of("app_id app_name bot_id"),
    ),
    ("slack", "read"): Difference(
        "both leave members out: ours keeps no read marks, emulate no context team",
        ours=of("channels.context_team_id channels.is_general"),
        theirs=of("channels.is_open channels.last_read"),
    ),
    ("slack", "write"): Difference("Slack's messages name their team", ours=of("message.team")),
    ("slack", "read back"): Difference(
        "Slack's messages name their team, and a channel's history counts its pins",
        ours=of("messages.team pin_count"),
    ),
    ("github", "who"): Difference(
        "ours keeps the members of a profile that a toolkit reads",
        theirs=of(
            "bio blog company events_url followers followers_url following following_url gists_url gravatar_id "
            "hireable location organizations_url public_gists received_events_url repos_url starred_url "
            "subscriptions_url twitter_username user_view_type"
        ),
    ),
    ("github", "no title"): Difference(
        "GitHub names the field that is missing; emulate says only that validation failed",
        error=("missing_field", ""),
        ours=of("errors status"),
        theirs=of("documentation_url"),
    ),
    ("github", "nowhere"): Difference(
        "GitHub repeats the status in errors; the link to the documentation is for people",
        ours=of("status"),
        theirs=of("documentation_url"),
    ),
    ("linear", "wrong secret"): Difference("RFC 6749 5.2: an unknown client is 401", status=(401, 400)),
    ("linear", "no field"): Difference(
        "Linear gives every error a code in its extensions", error=("GRAPHQL_VALIDATION_FAILED", "None")
    ),
    ("linear", "revoke"): Difference("a body that nobody needs", ours=of("success")),
    ("linear", "revoked"): Difference(
        "Linear answers a dead token with a GraphQL error; emulate's body is not GraphQL's",
        error=("AUTHENTICATION_ERROR", ""),
        ours=of("errors"),
        theirs=of("documentation_url message"),
    ),
}


@pytest.fixture(scope="module")
def emulate() -> Iterator[Emulate]:
    """The three services, started once."""
    require_emulate()
    with Emulate("slack", "github", "linear") as running:
        yield running


@pytest.mark.parametrize("provider", PLAYS)
async def test_sandbox_gmail_and_emulate_answer_alike_except_known_gaps(provider: str, emulate: Emulate) -> None:
    sandbox, client = Sandbox(), oauth_client(provider)
    own = {"client_id": CLIENTS[provider].client_id, "client_secret": CLIENTS[provider].client_secret}
    ours = Side(sandbox.transport(), own, sandbox)
    theirs = Side(Production(emulate.urls), {"client_id": client.id, "client_secret": client.secret}, None)
    for side in (ours, theirs):
        await PLAYS[provider](side)
    found = {
        (provider, step): (one, other)
        for step in ours.shapes
        if (one := ours.shapes[step]) != (other := theirs.shapes[step])
    }
    assert {key: told(*pair) for key, pair in found.items()} == {
        key: known._replace(why="") for key, known in KNOWN.items() if key[0] == provider
    }


def told(one: Shape, other: Shape) -> Difference:
    return Difference(
        "",
        (one.status, other.status) if one.status != other.status else None,
        (one.error, other.error) if one.error != other.error else None,
        one.members - other.members,
        other.members - one.members,
    )
