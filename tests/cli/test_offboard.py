"""``deputize offboard`` and `Deputy.offboard`: all access of one user ends, here and in every other process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Call, Conflict, ConsentRequired, Declined, Deputy, InvalidInput, User, VaultError
from deputize.core.user_requests import Approval
from deputize.core.web.signin.sign_in_sessions import Session, Sessions
from deputize.sandbox import Sandbox
from deputize.sandbox.pytest_plugin import Granting
from tests.cli.conftest import Command, Provider, connected
from tests.cli.terminal import environment
from tests.support.postgres import prepared_server

MAIL = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}
WATCHING = """
import time
from deputize.core import DeputizeError, Deputy

with Deputy.from_settings() as deputy:
    deputy.run(deputy.act("gmail_search_emails", {}, user="alice"))
    print("ready", flush=True)
    done = 0.0
    while True:
        begin = time.time()
        try:
            deputy.run(deputy.act("gmail_search_emails", {}, user="alice"))
            done = begin
        except DeputizeError as e:
            print(e.code, done, flush=True)
            break
"""


def pending(deputy: Deputy, user: str) -> list[str]:
    return [one.id for one in deputy.run(deputy.pending(user)) if isinstance(one, Approval)]


def ask(deputy: Deputy, user: str) -> None:
    with pytest.raises(Exception, match="approv"):
        deputy.run(deputy.act("gmail_send_email", MAIL, user=user, call=Call(thread="t", message="m", id="c")))


def test_offboarding_ends_everything_of_one_user_only(deputy: Deputy, sandbox: Sandbox, grant: Granting) -> None:
    users, sessions = ("alice", "bob"), Sessions(deputy.vault, "https://login.example.com", deputy.clock)
    cookies = {}
    for user in users:
        grant(user, "gmail.readonly", "gmail.send")
        ask(deputy, user)
        deputy.run(
            deputy.create_mandate(
                user,
                tools=["gmail_send_email"],
                targets=["bob@example.test"],
                max_acts=3,
                expires_at=sandbox.clock() + 3600,
            )
        )
        cookies[user] = deputy.run(sessions.begin(Session(User(user))))
    [link] = deputy.run(deputy.connect("alice", "slack", scopes=["chat:write"]))
    [waiting] = pending(deputy, "alice")

    with pytest.raises(InvalidInput):
        deputy.run(deputy.offboard("alice", "two\nlines"))
    ended = deputy.run(deputy.offboard("alice", "left the company"))
    assert (len(ended.revoked), ended.approvals, ended.mandates, ended.sessions) == (1, 1, 1, 1)
    assert ended.revoked[0].upstream == "done" and not sandbox.live_tokens()["alice@example.test"]

    assert not pending(deputy, "alice") and not deputy.run(deputy.mandates("alice"))
    assert deputy.run(sessions.user(cookies["alice"])) is None
    found = deputy.run(deputy.get_consent(link))
    assert found and found.status == "cancelled"
    with pytest.raises(Conflict, match="rejected"):
        deputy.run(deputy.decide(waiting, "approve", by="alice"))
    with pytest.raises((ConsentRequired, Declined)):
        deputy.run(deputy.act("gmail_send_email", MAIL, user="alice", call=Call(thread="t", message="m", id="c")))
    assert sandbox.sent("alice@example.test") == []

    assert pending(deputy, "bob")
    assert deputy.run(deputy.mandates("bob"))
    assert deputy.run(sessions.user(cookies["bob"]))
    assert deputy.run(deputy.connections("bob"))
    rows = [row for row in deputy.audit.rows() if row["event"] == "user.offboarded"]
    assert [(row["cause"], row["accounts"]) for row in rows] == [("left the company", 1)]
    assert rows[0]["user"].startswith("p-"), "a pseudonym"

    again = deputy.run(deputy.offboard("alice", "left the company"))
    assert (again.revoked, again.approvals, again.mandates, again.sessions) == ((), 0, 0, 0)


def test_offboarding_of_one_tenant_leaves_the_same_name_elsewhere(deputy: Deputy, grant: Granting) -> None:
    connect: Any = grant  # it takes a user with a tenant, too
    connect(User("alice", "acme"), "gmail.readonly", as_="alice@example.test")
    connect(User("alice", "umbrella"), "gmail.readonly", as_="bob@example.test")
    deputy.run(deputy.offboard(User("alice", "acme"), "left"))
    assert not deputy.run(deputy.connections(User("alice", "acme")))
    assert deputy.run(deputy.connections(User("alice", "umbrella")))


def test_damaged_mandate_does_not_keep_the_grants_alive(deputy: Deputy, sandbox: Sandbox, grant: Granting) -> None:
    grant("alice", "gmail.send")
    deputy.run(
        deputy.create_mandate(
            "alice",
            tools=["gmail_send_email"],
            targets=["bob@example.test"],
            max_acts=3,
            expires_at=sandbox.clock() + 3600,
        )
    )
    [(key, sealed)] = deputy.run(deputy.vault.store.scan("mandate"))
    assert deputy.run(deputy.vault.store.swap("mandate", key, sealed, sealed[:-1] + bytes([sealed[-1] ^ 1])))
    with pytest.raises(VaultError):
        deputy.run(deputy.offboard("alice", "left"))
    assert not deputy.run(deputy.connections("alice")) and not sandbox.live_tokens()["alice@example.test"]
    assert deputy.audit.rows()[-1]["event"] == "user.offboarded"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.counterpart)])
def shared(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings of a vault that several processes share."""
    if request.param == "sqlite":
        yield {}
        return
    with prepared_server() as server:
        yield {"DEPUTIZE_VAULT": server.url.replace("postgres@", "app@")}


def test_other_process_begins_no_act_after_an_offboarding(
    cli: Command, home: Path, provider: Provider, shared: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    env = connected(home, provider, "gmail.readonly") | shared
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with subprocess.Popen(
        [sys.executable, "-c", WATCHING], stdout=-1, text=True, env=environment(home, **env), cwd=home
    ) as program:
        assert program.stdout and program.stdout.readline() == "ready\n"
        with Deputy.from_settings() as deputy:
            [ended] = deputy.run(deputy.offboard("alice", "left")).revoked
            over = time.time()
        code, last = program.stdout.readline().split()
    assert ended.upstream == "done" and not provider.sandbox.live_tokens()["alice@example.test"]
    assert code == "consent_required" and float(last) < over, "the last act that succeeded began before the end"
    again = cli("offboard", "alice", "--reason", "left", "--yes")
    assert again.exit_code == 0 and "Nothing was connected" in again.output and "Ended 0 approvals." in again.output
    rows = [json.loads(line) for line in cli("audit", "--json").stdout.splitlines()]
    told = [(row["cause"], row["accounts"]) for row in rows if row["event"] == "user.offboarded"]
    assert sorted(told) == [("left", 0), ("left", 1)]
    assert cli("store", "check").exit_code == 0
