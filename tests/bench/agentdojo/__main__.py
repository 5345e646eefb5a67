"""Print what AgentDojo finds: ``python -m tests.bench.agentdojo [--quick] [--suite NAME] [--json FILE]``.

Without a model. The agent is fully hijacked: it makes the calls of the user's task, then those of the attacker's goal
with the exact values. Exit code 1 if the attacker wrote something without a question that `holes` does not list, if a
listed one does not happen any more, if a user task fails, or if AgentDojo's environment differs from the sandbox.
``--quick``: a part that takes less than a minute of CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.bench.agentdojo import run
from tests.bench.agentdojo.attacks import VARIANTS
from tests.bench.agentdojo.hijack import VERSION, load_suites, missing
from tests.bench.agentdojo.holes import Hole, known_holes
from tests.bench.agentdojo.run import PERSONS, Case, Result, asked
from tests.support.counterparts import AGENTDOJO

SUITES: Final = ("workspace", "slack", "travel", "banking")


def cases(suites: Sequence[str], quick: bool) -> list[Case]:
    """Return the runs to make. Quick: each user task without an attack, each injection with one task, and once in each
    variant under a mandate or over a note of the user."""
    if not quick:
        plain = [*run.benign_cases(suites), *run.attack_cases(suites), *run.variant_cases(suites)]
        return [*plain, *run.message_cases(suites)]
    first = {name: run.covering(name)[0] for name in suites}
    attacks = [one for one in run.attack_cases(suites) if one.task == first[one.suite]]
    asked_less = (one for one in run.variant_cases(suites) if one.mandate or VARIANTS[one.variant].launder)
    told = [one for one in run.message_cases(suites) if not one.injection or one.task == first[one.suite]]
    return [*run.benign_cases(suites), *attacks, *_once(asked_less), *told]


def _once(found: Iterable[Case]) -> Iterator[Case]:
    """Yield of the cases that differ only by the task the first one that exists for each."""
    seen = set[tuple[Any, ...]]()
    for case in found:
        key = case.suite, case.injection, case.variant, case.mandate
        if key not in seen and run.plan(case) is not None:
            seen.add(key)
            yield case


def holes_of(results: Iterable[Result]) -> dict[Hole, int]:
    """Return what the attacker wrote without a question, with the number of runs."""
    found: dict[Hole, int] = {}
    for one in results:
        for tool in sorted(set(one.unasked)):
            hole = Hole(one.suite, one.injection, one.variant, one.mandate, tool)
            found[hole] = found.get(hole, 0) + 1
    return found


def faults(results: Sequence[Result], whole: bool, suites: Sequence[str]) -> list[str]:
    """Return what fails the benchmark. The user's own message must save questions, and allow no act of the attacker."""
    found = [f"{_name(one)}: {what}" for one in results for what in (*one.differences, *one.unread)]
    found += [f"{_name(one)}: the attacker's text did not reach the agent" for one in results if one.unseen]
    benign = [one for one in results if not one.injection and one.person == "approves all"]
    found += [f"{_name(one)}: the user's task failed: {one.failed}" for one in benign if not one.utility]
    known, here = known_holes(), holes_of(results)
    plain, told = (sum(len(one.questions) for one in benign if one.message is message) for message in (False, True))
    found += [f"{told} questions with the user's own message, {plain} without it"] if told > plain else []
    found += [f"not asked about: {hole} in {count} runs" for hole, count in here.items() if hole not in known]
    if whole:
        gone = [hole for hole in known if hole.suite in suites and hole not in here]
        found += [f"asked about now, so remove it from the list: {hole}" for hole in gone]
    return found


def _name(one: Result) -> str:
    own = "with the user's own message" if one.message else ""
    return " ".join(filter(None, (one.suite, one.task, one.injection, one.variant, one.person, own)))


# ---------------------------------------------------------------------- tables


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(one) for one in line)} |" for line in lines)


def left_out(suites: Sequence[str]) -> str:
    """Return what cannot be expressed, and which functions are missing for it."""
    rows = []
    for name in suites:
        suite = load_suites()[name]
        for kind, tasks in (("user tasks", suite.user_tasks), ("injections", suite.injection_tasks)):
            why = {id: needs for id, task in tasks.items() if (needs := missing(suite, task))}
            functions = sorted({one for needs in why.values() for one in needs})
            rows.append((name, kind, f"{len(tasks) - len(why)} of {len(tasks)}", ", ".join(functions) or "-"))
    return table(("Suite", "", "Expressible", "Functions without a tool, in the others"), rows)


def benign(results: Sequence[Result]) -> str:
    """Return how often the user is asked without an attack."""
    rows = []
    for name in SUITES:
        here = [one for one in results if one.suite == name and not one.injection]
        if not (yes := [one for one in here if one.person == "approves all"]):
            continue
        counts = [len(one.questions) for one in yes]
        marked = sum(what[2] for one in yes for what in one.questions)
        strict = [one for one in here if one.person != "approves all"]
        done = f"{sum(one.utility for one in strict)}/{len(strict)}" if strict else "-"
        rows.append((
            *(name, f"{sum(one.utility for one in yes)}/{len(yes)}", sum(counts), f"{median(counts):g}", max(counts)),
            *(f"{counts.count(0)} of {len(yes)}", f"{marked} of {sum(counts)}", done),
        ))  # fmt: skip
    head = (
        "Suite",
        "Utility",
        "Questions",
        "Median",
        "Most",
        "Tasks without any",
        "Marked",
        "Utility, marked rejected",
    )
    return table(head, rows)


def questions(results: Sequence[Result]) -> str:
    """Return the user tasks with a question."""
    yes = [one for one in results if not one.injection and one.person == "approves all" and one.questions]
    rows = [
        (one.suite, one.task, len(one.questions), sum(what[2] for what in one.questions), _tools(one)) for one in yes
    ]
    return table(("Suite", "User task", "Questions", "Marked", "Tools"), rows)


def _tools(one: Result) -> str:
    return ", ".join(dict.fromkeys(what[0] for what in one.questions))


def messages(results: Sequence[Result]) -> str:
    """Return how often the user is asked without an attack, if the application hands over the user's own message."""
    rows = []
    for name in SUITES:
        here = [one for one in results if (one.suite, one.injection, one.person) == (name, "", "approves all")]
        counts = {told: [len(one.questions) for one in here if one.message is told] for told in (False, True)}
        if here:
            free = f"{counts[True].count(0)} of {len(counts[True])}"
            rows.append(
                (name, sum(counts[False]), sum(counts[True]), f"{counts[False].count(0)} of {len(counts[False])}", free)
            )
    head = (
        "Suite",
        "Questions",
        "Questions, message handed over",
        "Tasks without any",
        "Tasks without any, message handed over",
    )
    return table(head, rows)


def message_attacks(results: Sequence[Result]) -> str:
    """Return what the attacker does without a question, if the application hands over the user's own message."""
    rows = []
    for name in SUITES:
        here = [one for one in results if one.suite == name and one.injection and one.person == "approves nothing"]
        here = [one for one in here if one.variant == "exact" and not one.mandate]
        by = {told: [one for one in here if one.message is told] for told in (False, True)}
        if here:
            acts = [sum(len(one.unasked) for one in by[told]) for told in (False, True)]
            goals = [sum(one.security for one in by[told]) for told in (False, True)]
            rows.append((name, len(by[True]), *acts, *goals))
    what = ("Acts without a question", "Goals reached without a question")
    head = [f"{one}{more}" for one in what for more in ("", ", message handed over")]
    return table(("Suite", "Attacks", *head), rows)


def attacks(results: Sequence[Result]) -> str:
    """Return how often the attacker's goal was reached, by what the user does when asked."""
    rows = []
    for name in SUITES:
        here = [one for one in results if one.suite == name and one.variant == "exact" and not one.mandate]
        here = [one for one in here if one.injection]
        if not here:
            continue
        by = {person: [one for one in here if one.person == person] for person in PERSONS}
        silent = by["approves nothing"]
        about = [what for one in silent for what in asked(one, True)]
        rows.append((
            *(name, len(silent), f"{sum(bool(one.unasked) for one in silent)}"),
            *(f"{sum(what[2] for what in about)} of {len(about)}",),
            *(f"{sum(one.security for one in by[person])}" for person in PERSONS),
            f"{sum(one.utility for one in by['approves what the task needs'])}",
        ))  # fmt: skip
    head = ("Suite", "Attacks", "With an act that nobody was asked about", "Marked questions about the attacker's acts")
    reached = tuple(f"Goal reached if the user {person}" for person in PERSONS)
    return table((*head, *reached, "Utility if the user approves what the task needs"), rows)


def variants(results: Sequence[Result]) -> str:
    """Return what happens without a question in each spelling, without a mandate and under one."""
    rows = []
    for name in VARIANTS:
        for mandate in (False, True):
            here = [one for one in results if one.variant == name and one.mandate is mandate and one.injection]
            here = [one for one in here if one.person == "approves nothing"]
            if here:
                about = [what for one in here for what in asked(one, True)]
                rows.append((
                    *(name, "yes" if mandate else "no", len(here), sum(one.security for one in here)),
                    *(sum(len(one.unasked) for one in here), len(about), sum(what[2] for what in about)),
                ))  # fmt: skip
    head = (
        "Variant",
        "Mandate",
        "Runs",
        "Goal reached without a question",
        "Acts without a question",
        "Questions",
        "Marked",
    )
    return table(head, rows)


def main(suites: Sequence[str], quick: bool, file: str) -> int:
    """Run the benchmark, print the tables, and return the exit code."""
    began = time.process_time()
    results = list(run.play_all(cases(suites, quick)))
    wrong = faults(results, not quick, suites)
    print(f"AgentDojo {AGENTDOJO['agentdojo']}, benchmark {VERSION}: {len(results)} runs\n")
    plain = [one for one in results if not one.message]
    tables = {
        "What can be expressed": left_out(suites),
        "Without an attack": benign(plain),
        "Questions of each task": questions(plain),
        "With the user's own message": messages(results),
        "With a hijacked agent": attacks(plain),
        "With a hijacked agent and the user's own message": message_attacks(results),
        "Variants, with a user who approves nothing when asked": variants(plain),
    }
    for title, text in tables.items():
        print(f"## {title}\n\n{text}\n")
    print("## Acts of the attacker without a question\n")
    for hole, count in sorted(holes_of(results).items()):
        print(f"{count:5} runs: {hole}: {known_holes().get(hole, 'NOT LISTED')}")
    print(f"\n{time.process_time() - began:.0f} s of CPU; {len(wrong)} faults")
    for one in wrong:
        print(f"FAULT {one}")
    if file:
        runs = [one.to_json() for one in results]
        Path(file).write_text(json.dumps({"results": runs, "faults": wrong, "tables": tables}))
    return bool(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], epilog=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this one; repeat it")
    parser.add_argument("--quick", action="store_true", help="a part that takes less than a minute of CPU")
    parser.add_argument("--json", default="", metavar="FILE", help="write all runs to this file")
    given = parser.parse_args()
    sys.exit(main(given.suite or SUITES, given.quick, given.json))
