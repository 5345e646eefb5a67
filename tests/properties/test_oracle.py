"""What the oracle of random trials must not take for a fault, and what it must, each in one step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deputize.core import User
from tests.properties.environment import Weather, ended
from tests.properties.parallel_trials import place_of
from tests.properties.request_log import Violated
from tests.properties.trial import PEOPLE, Choice, Trial
from tests.support.token_families import alive, unknown

BOB = PEOPLE[1]


@pytest.fixture(params=["memory", "sqlite"])
async def trial(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trial]:
    """One that has begun; it ends as all do, and everything is judged once more."""
    with place_of(request.param) as place:
        trial = Trial(place, tmp_path)
        await trial.begin()
        yield trial


@pytest.mark.parametrize("choice", ["switch", "another"])
@pytest.mark.parametrize("provider", ["acme", "birch", "google"])
async def test_tokens_that_came_a_second_time_for_one_account_are_within_reach(
    trial: Trial, provider: str, choice: Choice
) -> None:
    """They are ended at once, or, where one end is the end of all, with the grant that is kept."""
    await trial.play(trial.connect("bob", provider, BOB, 1, "yes", choice), 0)
    assert trial.told["ReconsentRequired"] == 0
    await ended(trial)


async def test_a_live_family_of_which_the_vault_has_no_token_is_found(trial: Trial) -> None:
    vault = trial.programs[0].deputy.vault
    [grant] = await vault.list_grants(User("bob"), "birch", "birch")
    assert (row := await vault.get("grant", vault.record_key(grant))) and await vault.delete(row)
    with pytest.raises(Violated, match="1 families alive that nobody knows"):
        await ended(trial)


async def test_where_one_end_is_the_end_of_all_what_was_not_kept_ends_with_the_next_grant(trial: Trial) -> None:
    """The grant that was kept is lost with a reply; then nobody has a token of the account, until it is connected."""
    await trial.play(trial.connect("bob", "birch", BOB, 1, "yes", "switch"), 0)
    trial.losses.append("/oauth/token")
    await trial.play(trial.refresh("bob", "birch"), 0)
    assert trial.told["ReconsentRequired"] == 1
    vault, stage = trial.programs[0].deputy.vault, trial.stage
    assert len(await unknown(vault, stage.sandbox, stage.clock)) == 1
    await trial.play(trial.connect("bob", "birch", BOB, 1, "yes", ""), 0)
    assert await unknown(vault, stage.sandbox, stage.clock) == set()
    await trial.play(trial.revoke("bob", "birch"), 0)
    await ended(trial)
    assert alive(stage.sandbox, stage.clock) == set()


async def test_a_mandate_that_is_given_while_all_end_may_count_afterwards(trial: Trial) -> None:
    await trial.together(trial.spend("alice", "google"), trial.end_mandates("alice"))
    await ended(trial)


async def test_a_mandate_that_was_given_before_all_ended_may_not(trial: Trial) -> None:
    await trial.play(trial.give("alice", "google", 1), 0)
    await trial.play(trial.end_mandates("alice"), 1)
    [given] = trial.oracle.mandates
    assert given.stands and given.ended


@pytest.mark.parametrize("again", PEOPLE[:2])
async def test_a_no_to_a_post_as_one_account_is_none_to_the_same_post_as_another(trial: Trial, again: str) -> None:
    await trial.play(trial.post("alice", "google", 2), 0)
    await trial.play(trial.decide("alice", 0, "no"), 0)
    await trial.play(trial.revoke_all(), 1)
    await trial.play(trial.connect("alice", "google", again, 2, "yes", ""), 0)
    await trial.play(trial.give("alice", "google", 1), 0)
    await trial.play(trial.post("alice", "google", 2), 1)
    assert [text for _, text in trial.witness.posted] == ["0 alice google 2"] * (again != PEOPLE[0])
    await ended(trial)


@pytest.mark.parametrize("later", [False, True])
async def test_a_mandate_lets_pass_what_somebody_has_said_no_to_once_the_no_has_expired(
    trial: Trial, later: bool
) -> None:
    await trial.play(trial.post("alice", "google", 2), 0)
    await trial.play(trial.decide("alice", 0, "no"), 0)
    if later:
        await Weather(trial).time()
    await trial.play(trial.give("alice", "google", 1), 0)
    await trial.play(trial.post("alice", "google", 2), 0)
    assert len(trial.witness.posted) == later
