"""The rules by which Hypothesis makes up trials. Nothing it draws depends on what happened, so each can be repeated."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias
from unittest import mock

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from deputize.core.background_loop import portal
from tests.properties.environment import EVENTS, Weather, ended
from tests.properties.oracle import USERS
from tests.properties.simulated_providers import NAMES
from tests.properties.trial import PEOPLE, How, Trial, Work
from tests.properties.trial_programs import Place

STEPS: Final = 50
"""Steps of one trial."""

Drawn: TypeAlias = tuple[Any, ...]
"""The name of a step of a `Trial`, and its arguments."""

number = st.integers(0, 1)
user = st.sampled_from(USERS)
provider = st.sampled_from(NAMES)
email = st.sampled_from(PEOPLE)
how = st.sampled_from(("plainly", "plainly", "plainly", "cancelled", "before", "after"))
at = st.integers(0, 40)
says = st.sampled_from(("yes", "yes", "yes", "no", "stranger"))
choice = st.sampled_from(("", "", "another", "switch"))
nth = st.integers(0, 3)
answer = st.sampled_from(("yes", "yes", "no"))
anywhere = st.sampled_from(("", *NAMES))
account = st.one_of(st.none(), email)
"""A name of somebody at a provider, or none."""

works: st.SearchStrategy[Drawn] = st.one_of(
    st.tuples(st.just("connect"), user, provider, email, st.integers(1, 2), says, choice),
    st.tuples(st.just("read"), user, provider, account),
    st.tuples(st.just("refresh"), user, provider),
    st.tuples(st.just("post"), user, provider, nth),
    st.tuples(st.just("approved"), user, provider, nth),
    st.tuples(st.just("decide"), user, nth, answer),
    st.tuples(st.just("give"), user, provider, st.integers(1, 2)),
    st.tuples(st.just("spend"), user, provider),
    st.tuples(st.just("end_mandates"), user),
    st.tuples(st.just("revoke"), user, anywhere, account),
    st.tuples(st.just("revoke_all")),
)


class Machine(RuleBasedStateMachine):
    """Plays a trial in `place`; counts steps in `steps`, and what they met in `told`."""

    place: Place
    steps: Counter[str]
    told: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self._made = tempfile.TemporaryDirectory(prefix="properties-", dir=_folder())
        self.trial = Trial(self.place, Path(self._made.name))
        portal().run(self.trial.begin())

    def _work(self, drawn: Drawn) -> Work:
        made: Work = getattr(self.trial, drawn[0])(*drawn[1:])
        return made

    @rule(number=number, how=how, at=at, user=user, provider=provider, email=email, scopes=st.integers(1, 2))
    def connect(self, number: int, how: How, at: int, user: str, provider: str, email: str, scopes: int) -> None:
        """Somebody connects."""
        self._play(("connect", user, provider, email, scopes, "yes", ""), number, how, at)

    @rule(number=number, how=how, at=at, user=user, provider=provider, nth=nth)
    def post(self, number: int, how: How, at: int, user: str, provider: str, nth: int) -> None:
        """Somebody posts."""
        self._play(("post", user, provider, nth), number, how, at)

    @rule(number=number, how=how, at=at, user=user, provider=provider, nth=nth)
    def approved(self, number: int, how: How, at: int, user: str, provider: str, nth: int) -> None:
        """Somebody posts, is asked, says yes, and posts."""
        self._play(("approved", user, provider, nth), number, how, at)

    @rule(number=number, how=how, at=at, user=user, provider=provider)
    def refresh(self, number: int, how: How, at: int, user: str, provider: str) -> None:
        """A token is refused."""
        self._play(("refresh", user, provider), number, how, at)

    @rule(number=number, how=how, at=at, drawn=works)
    def anything(self, number: int, how: How, at: int, drawn: Drawn) -> None:
        """Any step."""
        self._play(drawn, number, how, at)

    @rule(one=works, other=works)
    def together(self, one: Drawn, other: Drawn) -> None:
        """Two steps at once."""
        self.steps[f"{one[0]} beside another"] += 1
        portal().run(self.trial.together(self._work(one), self._work(other)))

    @rule(drawn=works)
    def twice(self, drawn: Drawn) -> None:
        """The same step by both programs at once."""
        self.steps[f"{drawn[0]} twice at once"] += 1
        portal().run(self.trial.together(self._work(drawn), self._work(drawn)))

    @rule(provider=provider)
    def storm(self, provider: str) -> None:
        """Every token is refused, and all act at once."""
        self.steps["storm"] += 1
        portal().run(Weather(self.trial).storm(provider))
        self.trial.oracle.check()

    @rule(event=st.sampled_from(EVENTS))
    def weather(self, event: str) -> None:
        """Something happens around them."""
        self.steps[event] += 1
        portal().run(getattr(Weather(self.trial), event)())
        self.trial.oracle.check()

    def _play(self, drawn: Drawn, number: int, how: How, at: int) -> None:
        self.steps[f"{drawn[0]}, {how}"] += 1
        portal().run(self.trial.play(self._work(drawn), number, how, at))

    def teardown(self) -> None:
        try:
            portal().run(ended(self.trial))
        finally:
            self.told.update(self.trial.told)
            self.told.update(self.trial.witness.counts)
            self._made.cleanup()


def _folder() -> str | None:
    """Where files are written fastest, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own in there


@contextmanager
def without_pauses() -> Iterator[None]:
    """Waits that only leave the machine to others take no time."""
    with (
        mock.patch("deputize.core.grants.refresh.second_try_delay", lambda: 0.0),
        mock.patch("deputize.core.vault.sweeper.PAUSE", 0.0),
        mock.patch("deputize.core.vault.rotation.PAUSE", 0.0),
    ):
        yield


def run(place: Place, steps: int, number: int, *, shrink: bool = True) -> tuple[Counter[str], Counter[str]]:
    """Play trials of `STEPS` steps until there were so many, made up from this seed: what was played, and met.

    Raises what a step raised that must not, with the trial that leads there; with ``shrink`` the shortest, which takes
    minutes.
    """
    played, met = Counter[str](), Counter[str]()
    kind = type("Trials", (Machine,), {"place": place, "steps": played, "told": met})
    chosen = settings(
        max_examples=max(1, -(-steps // STEPS)),
        stateful_step_count=STEPS,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  # its class leaves out old ones
    )
    with without_pauses():
        run_state_machine_as_test(seed(number)(kind), settings=chosen)
    return played, met
