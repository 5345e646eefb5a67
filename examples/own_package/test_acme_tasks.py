"""The tests of this package: python -m pytest, with deputize and this package installed."""

from __future__ import annotations

import pytest
from acme_tasks.toolkit import list_tasks

from deputize.core import Call, Conflict, ConsentRequired, Deputy, Request
from deputize.sandbox import Sandbox
from deputize.sandbox.pytest_plugin import Granting


def test_a_tool_is_a_generator_of_requests() -> None:
    assert next(list_tasks(query="milk")) == Request("GET", "/tasks", params={"q": "milk"})


def test_alice_creates_a_task_and_finds_it(deputy: Deputy, grant: Granting) -> None:
    grant("alice", "tasks:read", "tasks:write")
    made = deputy.run(deputy.act("acme_create_task", {"title": "Buy milk"}, user="alice"))
    assert deputy.run(deputy.act("acme_list_tasks", {"query": "milk"}, user="alice")) == [made]


def test_bob_does_not_see_them(deputy: Deputy, grant: Granting) -> None:
    grant("alice", "tasks:write")
    grant("bob", "tasks:read")
    deputy.run(deputy.act("acme_create_task", {"title": "Buy milk"}, user="alice"))
    assert deputy.run(deputy.act("acme_list_tasks", {}, user="bob")) == []


def test_what_acme_calls_task_exists_is_a_conflict(deputy: Deputy, grant: Granting) -> None:
    grant("alice", "tasks:write")
    deputy.run(deputy.act("acme_create_task", {"title": "Buy milk"}, user="alice", call=Call(id="1")))
    with pytest.raises(Conflict):
        deputy.run(deputy.act("acme_create_task", {"title": "Buy milk"}, user="alice", call=Call(id="2")))


def test_without_a_consent_nothing_is_asked_of_acme(deputy: Deputy, sandbox: Sandbox) -> None:
    with pytest.raises(ConsentRequired) as asked:
        deputy.run(deputy.act("acme_list_tasks", {}, user="alice"))
    assert asked.value.consent.scope_descriptions == ("read your tasks",) and not sandbox.requests


def test_a_token_that_has_expired_is_refreshed(deputy: Deputy, grant: Granting, sandbox: Sandbox) -> None:
    grant("alice", "tasks:read")
    sandbox.expire_access_tokens()
    assert deputy.run(deputy.act("acme_list_tasks", {}, user="alice")) == []
    assert sandbox.count("acme.example", "/oauth/token") == 1


def test_a_disconnect_ends_the_tokens_at_acme(deputy: Deputy, grant: Granting, sandbox: Sandbox) -> None:
    grant("alice", "tasks:read")
    [ended] = deputy.run(deputy.revoke("alice", "acme"))
    assert ended.upstream == "done" and sandbox.live_tokens()["alice@example.test"] == 0
