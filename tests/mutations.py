"""Change the code at one place at a time, and see whether a test fails.

python -m tests.mutations --count 200 --seed 7 [--conditions] [MODULE ...] [--tests PATH ...]

Each MODULE is a path or a pattern, from the root of the checkout; by default they are `MODULES`. First the tests run
once, to learn which of them run which line. Then the tests of its line try each mutant in a copy of the checkout, until
one fails. Prints a line for each mutant, and totals with the seed. 200 mutants take about an hour on two cores.
With ``--conditions``, only comparisons, ``and``, ``or`` and ``not`` change: is each check of a module tested?
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final, TypeAlias

import pytest

ROOT: Final = Path(__file__).parents[1]
MODULES: Final = (
    *(f"core/deputize/core/{room}/*.py" for room in ("acts", "approvals", "idempotency", "policy", "provenance")),
    *("core/deputize/core/tools/*.py", "core/deputize/core/consent/*.py", "core/deputize/core/grants/**/*.py"),
    *("core/deputize/core/audit/verification.py", "core/deputize/core/http/client.py"),
    *(f"core/deputize/core/vault/{name}.py" for name in ("records", "seal", "rotation")),
    *("toolkits/deputize/toolkits/gmail/send.py", "adapters/deputize/adapters/llamaindex/consent_batching.py"),
    "adapters/deputize/adapters/langgraph/approval_graph.py",
)
"""The modules in which a mistake lets somebody act who may not, repeats a write, or loses a token."""
TESTS: Final = ("tests/core", "tests/toolkits", "tests/adapters", "tests/cli")
AT_ONCE: Final = 2
SECONDS: Final = 120.0
"""Time limit for the tests of one mutant. Tests are chosen that take half of it: a mutant that needs more hangs."""


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    ``lines``: those of the change and of its statement; ``inside``: in a function; ``place``: in bytes.
    """

    module: str
    lines: tuple[int, int]
    inside: bool
    place: slice
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (" ".join(text.split())[:90] for text in (self.old, self.new))
        return f"{self.module}:{self.lines[0]}  {old}  ->  {new}"

    def into(self, source: bytes) -> bytes:
        """The module's source with the change."""
        return source[: self.place.start] + self.new.encode() + source[self.place.stop :]


PAIRS: Final = (
    *((ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.And, ast.Or)),
)
OTHER: Final[dict[type[ast.AST], Any]] = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
SILENT: Final = (ast.Raise, ast.JoinedStr, ast.MatchMapping)
"""What is not changed: texts of errors; f-strings, whose positions Python 3.11 does not know; keys that take no
parentheses."""
Part = ast.expr | ast.stmt
Kinds: TypeAlias = tuple[type[ast.AST], ...]
CONDITIONS: Final[Kinds] = (ast.Compare, ast.BoolOp, ast.UnaryOp)


def mutants_of(root: Path, module: str, kinds: Kinds = (ast.expr, ast.stmt)) -> Iterator[Mutant]:
    """Return all mutants of a module that change one of these kinds of node; in rare cases one does not compile."""
    source, starts = (root / module).read_bytes(), [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node, new, first, inside in _changes(ast.parse(source), 0, False):
        if not isinstance(node, kinds):
            continue
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        place = slice(starts[node.lineno - 1] + node.col_offset, end)
        text = f"({ast.unparse(new)})" if isinstance(new, ast.expr) else ast.unparse(new)
        yield Mutant(module, (node.lineno, first), inside, place, source[place].decode(), text)


def _changes(node: ast.AST, first: int, inside: bool) -> Iterator[tuple[Part, Part, int, bool]]:
    """Yield each part that can change, its replacement, its statement's line, and whether it is in a function."""
    if isinstance(node, Part):
        first = node.lineno if isinstance(node, ast.stmt) else first
        yield from ((node, new, first, inside) for new in _instead_of(node))
    if isinstance(node, ast.If | ast.IfExp) and not isinstance(node.test, ast.UnaryOp):
        yield node.test, ast.UnaryOp(ast.Not(), node.test), first, inside
    if isinstance(node, SILENT) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return
    for name, value in ast.iter_fields(node):
        within = inside or (name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))
        for below in value if isinstance(value, list) else [value]:
            if isinstance(below, ast.AST) and name not in ("annotation", "returns", "decorator_list"):
                yield from _changes(below, first, within)


def _instead_of(node: Part) -> Iterator[Part]:
    match node:
        case ast.Compare(ops=[operator]):
            yield ast.Compare(node.left, [OTHER[type(operator)]()], node.comparators)
        case ast.BoolOp(values=values):
            yield ast.BoolOp(OTHER[type(node.op)](), values)
            yield from (ast.BoolOp(node.op, [one for one in values if one is not left_out]) for left_out in values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant("" if value else "mutant")
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.Await()):
            yield ast.Pass()


TRACED: Final = "MUTATIONS_TRACED_MODULES"
NAMES: Final = {str(Path.cwd() / module): module for module in os.environ.get(TRACED, "").splitlines()}
RAN: Final = defaultdict[str, set[int]](set)


def _follow(frame: FrameType, event: str, _: object) -> Any:
    """Record executed lines of functions in these modules, but not of imports: those happen in whichever test comes
    first."""
    module, code = NAMES.get(frame.f_code.co_filename), frame.f_code
    if module is None or not code.co_flags & inspect.CO_OPTIMIZED:
        return None
    RAN[module].update([frame.f_lineno] if event == "line" else [])
    return _follow


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Trace the test in all threads; if it passes, write its name, its seconds and the lines it ran."""
    RAN.clear()
    failed, began = item.session.testsfailed, time.monotonic()
    threading.settrace(_follow)
    sys.settrace(_follow)
    yield
    sys.settrace(None)
    if item.session.testsfailed == failed:
        lines = {module: list(numbers) for module, numbers in RAN.copy().items()}
        with Path(f"{os.getpid()}.rows").open("a", encoding="utf-8") as file:
            file.write(json.dumps([item.nodeid, time.monotonic() - began, lines]) + "\n")


class Tests:
    """The tests that passed without mutants: the lines they ran, and their seconds."""

    def __init__(self, copy: Copy, modules: Sequence[str], tests: Sequence[str]) -> None:
        self.seconds, self.of_place = dict[str, float](), defaultdict[object, list[str]](list)
        _, said = copy.run(f"-n{AT_ONCE}", "-p", "tests.mutations", *tests, told={TRACED: "\n".join(modules)})
        print(*said[-1:], flush=True)
        rows = "".join(file.read_text() for file in copy.folder.glob("*.rows"))
        for test, seconds, lines in map(json.loads, rows.splitlines()):
            self.seconds[test] = seconds
            for place in (*lines, *((module, line) for module in lines for line in lines[module])):
                self.of_place[place].append(test)

    def of(self, mutant: Mutant) -> tuple[list[str], int]:
        """Return as many tests of its line (of its module, if it runs at import) as fit, fastest first; and how many
        there are."""
        places = [(mutant.module, line) for line in mutant.lines] if mutant.inside else [mutant.module]
        found = next((tests for place in places if (tests := self.of_place.get(place))), [])
        quick = sorted(found, key=self.seconds.__getitem__)
        until = accumulate(self.seconds[test] for test in quick)
        return [test for test, at in zip(quick, until, strict=True) if at < SECONDS / 2] or quick[:1], len(quick)


class Copy:
    """A copy of the checkout, in which one mutant at a time is tried."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns(".*", "node_modules"))
        self.path = os.pathsep.join([*(str(folder / one) for one in ("core", "toolkits", "adapters", "")), str(ROOT)])

    def run(self, *options: str, told: dict[str, str], seconds: float | None = None) -> tuple[int, list[str]]:
        """Return pytest's exit code and output lines; 1 if it hangs. Processes started by its tests end with it."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        told = os.environ | told | {"PYTHONPATH": self.path}
        apart: dict[str, Any] = {"cwd": self.folder, "env": told, "start_new_session": True}
        with subprocess.Popen(command, stdout=-1, stderr=-2, text=True, **apart) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
                return process.returncode, output.splitlines()
            except subprocess.TimeoutExpired:
                return 1, [f"FAILED to end in {seconds} seconds"]
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def tried(self, mutant: Mutant, tests: Sequence[str]) -> tuple[str, str]:
        """Return the result of these tests for a mutant, and which of them were run."""
        module, names = self.folder / mutant.module, self.folder / "names.txt"
        module.write_bytes(mutant.into(module.read_bytes()))
        names.write_text("\n".join(tests), encoding="utf-8")
        code, output = self.run("-n0", "-x", f"@{names}", told={"PYTHONDONTWRITEBYTECODE": "1"}, seconds=SECONDS)
        shutil.copy2(self.root / mutant.module, module)
        said = (line[:120] for line in output if line.startswith(("FAILED", "ERROR")))
        return {0: "survived", 4: "tests did not start"}.get(code, "killed"), next(said, "")


def main(arguments: Sequence[str], root: Path = ROOT) -> Counter[str]:
    """Try as many mutants as the arguments say; print each result, and the totals."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations")
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="which ones")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH", help="which tests try them")
    parser.add_argument("--conditions", action="store_true", help="change conditions only")
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE", help="paths or patterns")
    given = parser.parse_args(arguments)
    began, totals, copies = time.monotonic(), Counter[str](), SimpleQueue[Copy]()
    modules = sorted({str(one.relative_to(root)) for pattern in given.modules for one in root.glob(pattern)})
    kinds = CONDITIONS if given.conditions else (ast.expr, ast.stmt)
    mutants = [mutant for module in modules for mutant in mutants_of(root, module, kinds)]
    random.Random(given.seed).shuffle(mutants)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory(prefix="mutations") as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(AT_ONCE):
            copies.put(Copy(root, Path(scratch, str(number)).resolve()))
        ran = Tests(one := copies.get(), modules, given.tests)
        copies.put(one)

        def judged(mutant: Mutant) -> str:
            (chosen, of), copy = ran.of(mutant), copies.get()
            verdict, said = copy.tried(mutant, chosen) if chosen else ("no test runs the line", "")
            copies.put(copy)
            totals[verdict] += 1
            return f"{verdict:22} {mutant}  ({len(chosen)} of {of} tests) {said}".rstrip()

        for line in pool.map(judged, mutants[: given.count]):
            print(line, flush=True)
    counts = ", ".join(f"{number} {verdict}" for verdict, number in totals.most_common())
    print(f"seed {given.seed}: {counts}; {len(modules)} modules, {time.monotonic() - began:.0f} seconds")
    return totals


if __name__ == "__main__":
    main(sys.argv[1:])
