"""Hostile values at every public entry point lead to a value or to a documented error.

These runs use the values that have found the most, and some of the others. ``python -m tests.entry_points`` uses all.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, Deputy, InvalidInput
from deputize.core.consent.consents import Consents
from tests.core.web.web_application import make
from tests.entry_points import command_line, deputy_methods, mcp_calls, server_metadata, web_pages
from tests.entry_points.hostile_values import CANARY, LONE, Report, fits, is_documented


def seeded() -> Random:
    """Return the same numbers in every run."""
    return Random(7)  # noqa: S311


def judged(report: Report, least: int) -> None:
    """Fail if there was a fault, or if there were too few cases to find one."""
    assert not report.faults, f"\n{report}"
    assert report.calls >= least


async def test_methods_of_a_deputy_raise_documented_errors_only() -> None:
    judged(await deputy_methods.play(seeded(), 0.005), 800)


async def test_pages_answer_hostile_requests_without_an_internal_error() -> None:
    judged(await web_pages.play(seeded(), 0.01), 500)


async def test_mcp_server_answers_hostile_calls_without_an_internal_error() -> None:
    judged(await mcp_calls.play(seeded(), 0.01), 30)


async def test_hostile_metadata_of_a_server_is_refused_by_a_documented_error() -> None:
    judged(await server_metadata.play(seeded(), 0.1), 100)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> command_line.Terminal:
    return command_line.Terminal(tmp_path, monkeypatch)


def test_commands_end_hostile_arguments_with_a_message(terminal: command_line.Terminal) -> None:
    judged(command_line.play_commands(seeded(), 0.04, terminal), 100)


def test_hostile_settings_end_in_a_message(terminal: command_line.Terminal) -> None:
    judged(command_line.play_settings(seeded(), 0.006, terminal), 80)


# ------------------------------------------------------------- the oracle itself


async def test_fuzz_reports_an_undocumented_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Deputy, user: Any) -> None:
        raise KeyError(user)

    monkeypatch.setattr(Deputy, "undoable", broken)
    report = await deputy_methods.play(seeded(), 0.0, only="undoable")
    assert any(fault.startswith("undoable(user=): KeyError") for fault in report.faults)


async def test_fuzz_reports_a_new_parameter_without_a_usual_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deputy, "about", lambda self, unheard_of: None, raising=False)
    with pytest.raises(AssertionError, match=r"about\(unheard_of=\)"):
        await deputy_methods.play(seeded(), 0.0, only="about")


async def test_fuzz_sends_forms_that_pages_take() -> None:
    world = await make()
    for name, status in (("mandate", 303), ("form", 403)):
        body = web_pages.form(world, "/connections/mandates/end", False, name, b"0" * 16)
        assert (await web_pages.send(world, "POST", "/connections/mandates/end", {}, body)).status_code == status


async def test_fuzz_follows_usual_metadata_to_the_users_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Consents, "start", None)
    report = Report()
    await server_metadata.tried(report, "nothing", "", json.dumps(dict(server_metadata.METADATA)))
    assert any("TypeError" in fault for fault in report.faults)


def test_fuzz_reports_a_traceback_and_a_secret(
    terminal: command_line.Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: object) -> str:
        raise LookupError(CANARY)

    monkeypatch.setattr("deputize.cli.show.clean", broken)
    report = Report()
    terminal.run(report, "act tool", LONE, "act", LONE)
    assert any("LookupError" in fault for fault in report.faults)


def test_type_check_tells_which_values_a_signature_allows() -> None:
    assert fits("x", str | None) and fits(None, str | None) and not fits(5, str | None)
    assert fits(5, float) and not fits(True, float) and not fits(True, int) and fits({"a": 1}, dict[str, Any])
    assert fits([("a", {}, Call())], list[tuple[str, dict[str, Any], Call]]) and not fits(
        [("a",)], list[tuple[str, Any]]
    )
    assert not fits(Call(id=5), Call)  # type: ignore[arg-type]


def test_error_that_no_terminal_can_print_is_not_documented() -> None:
    assert is_documented(InvalidInput("No.")) and not is_documented(InvalidInput(f"No {LONE}."))
    assert not is_documented(ValueError("No.")) and issubclass(ApprovalRequired, Exception)
