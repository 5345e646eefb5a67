"""Pairs of steps that random trials seldom bring together, at once: on a store that others reach between two awaits."""

from __future__ import annotations

from pathlib import Path

from tests.properties.environment import ended
from tests.properties.hypothesis_rules import without_pauses
from tests.properties.oracle import USERS
from tests.properties.parallel_trials import place_of
from tests.properties.simulated_providers import NAMES
from tests.properties.trial import PEOPLE, Trial


async def test_a_disconnect_beside_a_refresh_leaves_no_token_and_lets_nothing_come_back(tmp_path: Path) -> None:
    with place_of("sqlite") as place, without_pauses():
        trial = Trial(place, tmp_path)
        await trial.begin()
        for user, email in zip(USERS, PEOPLE, strict=False):
            for provider in NAMES:
                pair = trial.refresh(user, provider), trial.revoke(user, provider)
                for one, other in (pair, pair[::-1]):
                    await trial.together(one, other)
                    await trial.play(trial.read(user, provider), 0)
                    await trial.play(trial.connect(user, provider, email, 2, "yes", ""), 0)
        await ended(trial)
    assert trial.witness.counts["refreshes"] > 0


async def test_under_a_mandate_an_act_that_died_at_any_step_is_not_done_twice(tmp_path: Path) -> None:
    """No approval says that it was begun: the claim alone does."""
    with place_of("memory") as place, without_pauses():
        trial = Trial(place, tmp_path)
        await trial.begin()
        for at in range(16):
            await trial.play(trial.give("alice", "acme", 2), 0)
            await trial.play(trial.post("alice", "acme", at), 0, "before" if at % 2 else "after", at // 2 * 3)
            await trial.play(trial.post("alice", "acme", at), 1)
    assert trial.told["Died"] > 4 and trial.witness.posted
