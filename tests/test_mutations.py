"""A mutant that a test notices is killed, and one that none notices survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations import CONDITIONS, main, mutants_of

TOY = """
def larger(one, other):
    return one > other

def unused():
    print()
"""
CHECKS = """
from toy import larger

def test_larger():
    assert larger(2, 1) is True and larger(1, 2) is False
"""


def test_mutants_of_all_kinds_are_small_and_compile(tmp_path: Path) -> None:
    module = tmp_path / "toy.py"
    module.write_text('def f(x):\n    if not x or x == "ä":\n        g(1)\n    return x in (True, "")\n')
    changes = [(one.old, one.new) for one in mutants_of(tmp_path, "toy.py")]
    assert {
        ('not x or x == "ä"', "(not x and x == 'ä')"),
        ('not x or x == "ä"', "(not x)"),
        ('not x or x == "ä"', "(not (not x or x == 'ä'))"),
        ("not x", "(x)"),
        ('x == "ä"', "(x != 'ä')"),
        ('"ä"', "('')"),
        ("g(1)", "pass"),
        ("1", "(2)"),
        ('return x in (True, "")', "return None"),
        ('x in (True, "")', "(x not in (True, ''))"),
        ("True", "(False)"),
        ('""', "('mutant')"),
    } <= set(changes)
    conditions = {one.old for one in mutants_of(tmp_path, "toy.py", CONDITIONS)}
    assert conditions == {'not x or x == "ä"', "not x", 'x == "ä"', 'x in (True, "")'}
    for one in mutants_of(tmp_path, "toy.py"):
        compile(one.into(module.read_bytes()), "toy.py", "exec")


@pytest.mark.every(4)
@pytest.mark.processes
def test_mutants_are_judged_by_the_tests_that_run_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_toy.py").write_text(CHECKS)
    totals = main(["toy.py", "--tests", "checks", "--seed", "1"], tmp_path)
    lines = {line.rpartition("  (")[0] for line in capsys.readouterr().out.splitlines()}
    assert "killed                 toy.py:3  return one > other  ->  return None" in lines
    assert "survived               toy.py:3  one > other  ->  (one >= other)" in lines
    assert "no test runs the line  toy.py:6  print()  ->  pass" in lines
    assert totals == {"killed": 1, "survived": 1, "no test runs the line": 1}
    assert (tmp_path / "toy.py").read_text() == TOY, "only copies are changed"
