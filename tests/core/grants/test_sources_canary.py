"""No session token, assertion or imported token is in a log, an audit row, a file, an error or its frames."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deputize.core import DeputizeError, Deputy
from deputize.core.audit import Audit
from tests.support.canary import files, frame_hits, hits, walk_error
from tests.support.sandbox_deputy import Clock, new_vault
from tests.support.token_sources import ASSERTION, EXCHANGE, READ, World, app, bot_app, deputy_with, forged

ALICE = "alice@acme.test"
Fault = Callable[[World, Deputy], Awaitable[object]]


def answers(key: str, status: int, body: object) -> Fault:
    async def act(world: World, deputy: Deputy) -> object:
        world.answers[key] = status, body
        return await deputy.act("notes_count_notes", {}, user="alice")

    return act


async def nothing(world: World, deputy: Deputy) -> object:
    return await deputy.act("notes_count_notes", {}, user="alice")


async def another_kind(world: World, deputy: Deputy) -> object:
    world.issued = "id-jag"
    return await deputy.act("notes_count_notes", {}, user="alice")


async def no_such_user(world: World, deputy: Deputy) -> object:
    return await deputy.act("notes_count_notes", {}, user="bob")


async def application_fails(world: World, deputy: Deputy) -> object:
    token = next(iter(world.sessions))

    def fails(user: object) -> str:
        raise RuntimeError(token)

    deputy.sources.token_for = fails
    return await deputy.act("notes_count_notes", {}, user="alice")


async def of_another(world: World, deputy: Deputy) -> object:
    token = next(iter(world.sessions))
    deputy.sources.token_for = lambda user: token
    return await deputy.act("notes_count_notes", {}, user="mallory")


async def import_of_another(world: World, deputy: Deputy) -> object:
    access, refresh = world.tokens_of("mallory", READ)
    world.sessions[access] = world.sessions[refresh] = {"sub": "-"}  # told to the test as secrets
    return await deputy.sources.import_tokens(
        "alice", "api", account=ALICE, by="ops", access_token=access, refresh_token=refresh
    )


async def import_of_the_dead(world: World, deputy: Deputy) -> object:
    dead = forged(sub="alice")
    world.sessions[dead] = {"sub": "-"}
    return await deputy.sources.import_tokens("alice", "api", account=ALICE, by="ops", refresh_token=dead)


FAULTS: dict[str, Fault] = {
    "nothing": nothing,
    "another kind of token": another_kind,
    "no session": no_such_user,
    "the application fails": application_fails,
    "the session of another": of_another,
    "the import of another's": import_of_another,
    "the import of a dead one": import_of_the_dead,
    "the server is down": answers("auth.api.test/token", 503, {}),
    "the server says no": answers("auth.api.test/token", 400, {"error": "invalid_grant"}),
    "the company says no": answers("login.company.test/token", 400, {"error": "invalid_grant"}),
    "the company answers nonsense": answers(
        "login.company.test/token", 200, {"access_token": "x", "token_type": "N_A"}
    ),
    "nobody is said": answers("auth.api.test/me", 200, {}),
    "the API is down": answers("api.test/v1/notes", 500, {}),
}


@pytest.mark.parametrize("source", [EXCHANGE, ASSERTION], ids=lambda one: one.kind)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_exchange_shows_no_token_in_errors_logs_or_files(
    source: object, fault: Fault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world, vault = World(Clock(1_800_000_000.0)), await new_vault(tmp_path / "vault.sqlite")
    audit = Audit(tmp_path / "audit", vault.keys.audit)
    world.session("alice")
    shown: list[str] = []
    error: DeputizeError | None = None
    async with await deputy_with(world, app(source), bot_app(world), vault=vault, audit=audit) as deputy:  # type: ignore[arg-type]
        try:
            shown.append(str(await fault(world, deputy)))
        except DeputizeError as e:
            error = e
    secrets = [*world.sessions, *world.assertions, *world.tokens, *world.refresh_tokens]
    assert secrets
    named = {secret: f"secret {number}" for number, secret in enumerate(secrets)}
    assert frame_hits(error, named) == [] if error else shown
    told = {"log": caplog.text, "result": " ".join(shown), "error": " ".join(walk_error(error))}
    assert hits(named, {**told, **files(tmp_path)}) == []
