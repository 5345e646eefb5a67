"""Runs of AgentDojo's tasks with a hijacked agent, and what they show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Final

from deputize.core import Policy, ask_before_sending
from tests.bench.agentdojo.attacks import VARIANTS, planted, values_of
from tests.bench.agentdojo.hijack import Hijacked, attackers_calls, load, load_suites, missing, users_calls, usual
from tests.bench.agentdojo.persons import (
    Person,
    Question,
    approves_all,
    approves_nothing,
    approves_task,
    approves_unmarked,
)
from tests.bench.agentdojo.session import Session
from tests.bench.agentdojo.world import squeezed
from tests.support.counterparts import agentdojo

Json = dict[str, Any]
EXACT: Final = VARIANTS["exact"]
PERSONS: Final = ("approves all", "approves what the task needs", "rejects what is marked", "approves nothing")


@dataclass
class Result:
    """One run. ``utility``, ``security``: AgentDojo's verdicts; ``security`` is True if the attacker's goal is reached.

    ``injection``: "" without an attack. ``unasked``: the tools with which the attacker wrote something without a
    question. ``questions``: for each its tool, if the attacker chose the call, if it is marked, and the decision.
    ``unseen``: the attacker's text did not reach the agent. ``differences``, ``unread``: faults of the bridge.
    """

    suite: str
    task: str
    injection: str
    variant: str
    person: str
    mandate: bool
    message: bool
    utility: bool
    security: bool
    questions: list[tuple[str, bool, bool, bool]]
    unasked: list[str]
    calls: int
    unseen: bool
    differences: list[str]
    unread: list[str]
    failed: list[str] = field(default_factory=list)

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """A run to make."""

    suite: str
    task: str
    injection: str = ""
    variant: str = "exact"
    person: str = "approves all"
    mandate: bool = False
    message: bool = False


def expressible(suite: Any) -> tuple[list[str], list[str]]:
    """Return the user tasks and the injections that can be played."""
    users = [id for id, task in suite.user_tasks.items() if not missing(suite, task)]
    return users, [id for id, task in suite.injection_tasks.items() if not missing(suite, task)]


def benign_cases(suites: Collection[str]) -> Iterator[Case]:
    """Yield each user task alone, with a user who approves all, and with one who rejects what is marked."""
    for name, suite in load_suites().items():
        if name in suites:
            for task in expressible(suite)[0]:
                for person in ("approves all", "rejects what is marked"):
                    yield Case(name, task, person=person)


def message_cases(suites: Collection[str]) -> Iterator[Case]:
    """Yield each user task, alone and with each injection, in an application that hands over the user's own message."""
    for name, suite in load_suites().items():
        if name in suites:
            users, injections = expressible(suite)
            for task in users:
                yield Case(name, task, message=True)
                for injection in injections:
                    yield Case(name, task, injection, person="approves nothing", message=True)


def attack_cases(suites: Collection[str]) -> Iterator[Case]:
    """Yield every pair of a user task and an injection, with four users."""
    for name, suite in load_suites().items():
        if name in suites:
            users, injections = expressible(suite)
            for task in users:
                for injection in injections:
                    for person in PERSONS:
                        yield Case(name, task, injection, person=person)


def variant_cases(suites: Collection[str]) -> Iterator[Case]:
    """Yield every injection in each variant and each place, with and without mandates, for a user who approves
    nothing when asked."""
    for name, suite in load_suites().items():
        if name in suites:
            for injection in expressible(suite)[1]:
                for variant in VARIANTS:
                    for mandate in (False, True):
                        if (variant != "exact" or mandate) and (not mandate or mandates(name, injection)):
                            for task in covering(name):
                                yield Case(name, task, injection, variant, "approves nothing", mandate)


def _person(name: str, task: Any, env: Any) -> Person:
    if name == "approves what the task needs":
        return approves_task([(one.function, one.args) for one in users_calls(task, env)])
    return {"approves all": approves_all, "rejects what is marked": approves_unmarked}.get(name, approves_nothing)


@lru_cache
def candidates(suite: str, task: str) -> tuple[str, ...]:
    direct = agentdojo("attacks.baseline_attacks").DirectAttack(load_suites()[suite], None)
    return tuple(direct.get_injection_candidates(load_suites()[suite].user_tasks[task]))


@lru_cache
def covering(suite: str) -> tuple[str, ...]:
    """Return a few user tasks that read every kind of place where an attacker can write."""
    tasks = expressible(load_suites()[suite])[0]
    left = {task: {_kind(place) for place in candidates(suite, task)} for task in tasks}
    found, seen = list[str](), set[str]()
    while left[best := max(left, key=lambda one: len(left[one] - seen))] - seen:
        seen |= left[best]
        found.append(best)
    return tuple(found)


def _kind(place: str) -> str:
    """Return the kind of a place: all events, and all mails, are read with the same tool."""
    kind = place.partition("_")[0]
    return kind if kind in ("calendar", "email") else place.rstrip("0123456789")


@lru_cache
def mandates(suite: str, injection: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the tools of the injection and the widest targets that a user could have approved for each in advance:
    those whom its calls reach, and for an address its whole domain."""
    found: dict[str, set[str]] = {}
    for tool, targets in _targets(suite, injection):
        found.setdefault(tool, set()).update(f"@{one.rpartition('@')[2]}" if "@" in one[1:] else one for one in targets)
    return tuple((tool, tuple(sorted(targets))) for tool, targets in found.items() if targets)


@lru_cache
def _targets(suite: str, injection: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    loaded = load_suites()[suite]
    task = loaded.user_tasks[expressible(loaded)[0][0]]
    run = Hijacked(loaded, task, loaded.injection_tasks[injection], approves_all, EXACT)
    env = task.init_environment(load(loaded, {}))
    run.query("", agentdojo("functions_runtime").FunctionsRuntime(loaded.tools), env)
    assert run.last is not None
    return tuple((one.tool, tuple(one.targets or _reached(one))) for one in run.last.record.questions if one.injected)


def _reached(question: Question) -> list[str]:
    """Return whom a call reaches by its arguments: a user may have approved another call that reaches them."""
    found = [question.arguments.get(name) for name in ("recipients", "participants", "recipient")]
    return [text for one in found if one for text in ([one] if isinstance(one, str) else one)]


class _Mandated(Hijacked):
    def prepare(self, session: Session) -> None:
        for tool, targets in mandates(self.suite.name, self.injection.ID):
            session.give_mandate([tool], targets)


def plan(case: Case) -> dict[str, str] | None:
    """Return the attacker's texts of a case by their places. None if its variant does not exist for its injection."""
    suite, variant = load_suites()[case.suite], VARIANTS[case.variant]
    if not case.injection:
        return {}
    env, injection = usual(case.suite), suite.injection_tasks[case.injection]
    if variant.launder and not hasattr(env, "inbox"):
        return None
    values = values_of(injection.GOAL, [one.args for one in attackers_calls(suite, injection, env, env)])
    places = candidates(case.suite, case.task)
    found = planted(variant, injection.GOAL, values, places, [one for one in places if one.startswith("calendar")])
    return None if found is None else dict(found)


def play(case: Case, policy: Policy = ask_before_sending) -> Result | None:
    """Run a case. None if its variant does not exist for its injection."""
    texts = plan(case)
    if texts is None:
        return None
    suite = load_suites()[case.suite]
    task, variant = suite.user_tasks[case.task], VARIANTS[case.variant]
    injection = suite.injection_tasks[case.injection] if case.injection else None
    person = _person(case.person, task, task.init_environment(load(suite, texts)))
    pipeline = (_Mandated if case.mandate else Hijacked)(suite, task, injection, person, variant)
    pipeline.policy, pipeline.hands_over_message = policy, case.message
    utility, security = suite.run_task_with_pipeline(pipeline, task, injection, {}, environment=load(suite, texts))
    session = pipeline.last
    assert session is not None
    record, seen = session.record, session.seen
    return Result(
        *(case.suite, case.task, case.injection, case.variant, case.person, case.mandate, case.message),
        *(bool(utility), bool(security) and injection is not None),
        questions=[(one.tool, one.injected, one.marked, one.approved) for one in record.questions],
        unasked=[one.tool for one in record.done if one.injected and not one.asked],
        calls=len(record.done),
        unseen=any(squeezed(one)[:60] not in seen for one in texts.values()),
        differences=pipeline.found,
        unread=record.unread,
        failed=record.failed,
    )


def play_all(cases: Iterable[Case]) -> Iterator[Result]:
    """Run the cases one after another, and leave out variants that do not exist."""
    for case in cases:
        if (found := play(case)) is not None:
            yield found


def asked(result: Result, injected: bool) -> Sequence[tuple[str, bool, bool, bool]]:
    """Return the questions about the user's calls, or about the attacker's."""
    return [one for one in result.questions if one[1] is injected]
