"""What a tool receives about its run."""

from __future__ import annotations

import pytest

from deputize.core import Account, ActKey, Effect, Run, SettingsError, Steps, Toolkit
from tests.core.consent.test_consents import House
from tests.support.gmail_toolkit import ALL, gmail

NOW = 1795528800.0
RUN = Run(ActKey.of("one"), frozenset({"read"}), Account("1", "alice@example.test"), {"draft": "d1"}, NOW)


def one_tool(toolkit: Toolkit) -> str:
    """Return the name of the toolkit's only tool."""
    (name,) = toolkit.tools
    return name


def result_of(steps: Steps) -> object:
    """Return what a tool returns that makes no request."""
    with pytest.raises(StopIteration) as stop:
        next(steps)
    return stop.value.value


def test_tool_declaring_run_receives_it_outside_its_schema() -> None:
    kit = Toolkit("notes", provider="google")

    @kit.tool(effect=Effect.WRITES, shows=False)
    def write(text: str, *, run: Run) -> Steps:
        yield from ()
        return text, run

    tool = kit.tools[one_tool(kit)]
    assert list(tool.schema["properties"]) == ["text"] and tool.reads_notes
    assert result_of(tool.begin({"text": "hello"}, lambda: RUN)) == ("hello", RUN)


def test_tool_with_an_unknown_parameter_is_refused() -> None:
    kit = Toolkit("notes", provider="google")

    def write(text: str, *, client: object, granted: frozenset[str]) -> Steps:
        yield from ()

    with pytest.raises(SettingsError, match=r"notes_write .*client, granted.*run: Run"):
        kit.tool()(write)


async def test_run_contains_user_grant_note_and_time() -> None:
    seen: list[Run] = []

    @gmail.tool()
    def look(*, run: Run) -> Steps:
        """See the run."""
        yield from ()
        seen.append(run)
        return {}

    house = await House().begin()
    try:
        grant = await house.connected(*ALL)
        await house.act("look")
    finally:
        del gmail.tools["gmail_look"]
        await house.deputy.close()
    (run,) = seen
    assert run.account == grant.account and run.granted >= grant.scopes
    assert run.noted is None and run.now == house.deputy.clock()
