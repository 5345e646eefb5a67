"""Toolkits of other packages, really installed (dist-info on the path). A broken one is named and skipped."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from deputize.core import InvalidInput, SettingsError
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.plugins import PLUGINS, find_toolkits
from tests.support import packages
from tests.support.lanes import sample

TOOLKIT: Final = """
from deputize.core import Request, Steps, Toolkit

TOOLKIT = Toolkit({name!r}, provider="google", api="gmail")


@TOOLKIT.tool()
def {tool}() -> Steps:
    '''Look.'''
    yield Request("GET", "/x")
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution on the path: ``install("acme-x", "x = acme_x", acme_x="code")``."""
    PLUGINS.forget()

    def put(distribution: str, *points: str, **modules: str) -> None:
        packages.install(tmp_path, monkeypatch, distribution, {PLUGINS.group: points}, **modules)

    return put


def code(name: str, tool: str = "look") -> str:
    return TOOLKIT.format(name=name, tool=tool)


def reasons() -> dict[str, str]:
    return {one.name: f"{one.distribution}: {one.reason}" for one in PLUGINS.skipped()}


@pytest.mark.parametrize("value", ["acme_a", "acme_a:TOOLKIT"])
def test_entry_point_is_a_toolkit_or_a_module_with_one(install: Install, value: str) -> None:
    install("acme", f"tasks = {value}", acme_a=code("tasks"))
    assert [tool.name for tool in Catalog().tools("tasks")] == ["tasks_look"]
    assert Catalog().tool("tasks_look").toolkit == "tasks" and list(find_toolkits())[-1] == "tasks"
    assert reasons() == {}


BROKEN: Final = [
    ("tasks = acme_b", {"acme_b": "import no_such_module_of_acme"}, "ModuleNotFoundError: No module named 'no_such"),
    ("tasks = acme_b", {"acme_b": "raise SystemExit(3)"}, "SystemExit: 3."),
    ("tasks = acme_b", {"acme_b": "def broken(:"}, "SyntaxError"),
    ("tasks = no_such_acme", {}, "ModuleNotFoundError"),
    ("tasks = acme_b:NAME", {"acme_b": code("tasks")}, "AttributeError"),
    ("tasks = acme_b", {"acme_b": "X = 1"}, "acme_b exports no TOOLKIT."),
    ("tasks = acme_b", {"acme_b": "TOOLKIT = 'x'"}, "acme_b exports no TOOLKIT."),
    ("tasks = acme_b:TOOLKIT", {"acme_b": "TOOLKIT = {}"}, "acme_b:TOOLKIT is a dict, no Toolkit."),
    ("tasks = acme_b", {"acme_b": code("other")}, "its toolkit is called 'other'"),
    ("gmail = acme_b", {"acme_b": code("gmail")}, "a toolkit of this name is built in."),
    ("slack_send = acme_b", {"acme_b": code("slack_send", "message")}, "slack_send_message is a tool of the built-in"),
    ("gmail_read = acme_b", {"acme_b": code("gmail_read", "more")}, "gmail_read_more is a tool of the built-in gmail"),
    ("find = acme_b", {"acme_b": code("find", "people")}, "find_people is a tool of the core"),
]


@pytest.mark.parametrize(("point", "modules", "reason"), BROKEN, ids=[row[2][:30] for row in BROKEN])
def test_broken_toolkit_is_skipped_and_reported_once(
    install: Install, caplog: pytest.LogCaptureFixture, point: str, modules: dict[str, str], reason: str
) -> None:
    install("acme-broken", point, **modules)
    install("acme-whole", "notes = acme_c", acme_c=code("notes"))
    name = point.partition(" ")[0]
    with caplog.at_level(logging.WARNING, "deputize"):
        tools = [{tool.name for tool in Catalog().tools()} for _ in range(3)][-1]
    assert {"notes_look", "gmail_send_email", "slack_send_message"} <= tools
    assert Catalog().tool("slack_send_message").toolkit == "slack"
    [told] = [record.getMessage() for record in caplog.records]
    assert f"{name!r} of acme-broken 1.2 is skipped" in told and reason in told
    assert reason in reasons()[name] and reasons()[name].startswith("acme-broken 1.2: ")


def test_broken_toolkit_requested_by_name_raises_its_cause(install: Install) -> None:
    install("acme-broken", "tasks = no_such_acme")
    with pytest.raises(SettingsError, match="The toolkit 'tasks' cannot be used: ModuleNotFoundError") as caught:
        Catalog().tools("tasks")
    assert "acme-broken 1.2" in caught.value.hint
    assert [tool.toolkit for tool in Catalog().tools("gmail_send_email")] == ["gmail"]
    with pytest.raises(InvalidInput):
        Catalog().tools("task")


def test_first_of_two_toolkits_of_one_name_is_used_and_the_other_reported(install: Install) -> None:
    install("b-second", "tasks = acme_e", acme_e=code("tasks", "other"))
    install("a-first", "tasks = acme_d", acme_d=code("tasks"))
    assert [tool.name for tool in Catalog().tools("tasks")] == ["tasks_look"]
    assert reasons() == {"tasks": "b-second 1.2: a-first 1.2 has a toolkit of this name already."}


def test_package_alias_does_not_take_a_built_in_tools_name(install: Install) -> None:
    alias = code("acme").replace("TOOLKIT.tool()", 'TOOLKIT.tool(aliases=["Google.SendEmail"])')
    install("acme", "acme = acme_f", acme_f=alias)
    assert Catalog().tool("Google.SendEmail").name == "gmail_send_email"


def test_failed_toolkit_code_is_not_run_again(install: Install, tmp_path: Path) -> None:
    count = tmp_path / "count"
    once = f"import os\nos.mkdir({str(count)!r})\nraise ValueError('a\\nb')"
    install("acme", "tasks = acme_g", acme_g=once)
    for _ in range(3):
        find_toolkits()
        PLUGINS.skipped()
    assert count.is_dir() and "ValueError: a b." in reasons()["tasks"]


@pytest.mark.processes
@pytest.mark.parametrize("words", sample([["tools"], ["tools", "gmail"], ["tools", "tasks"], ["doctor", "--offline"]]))
def test_command_line_names_a_broken_toolkit_without_traceback(
    install: Install, tmp_path: Path, words: list[str]
) -> None:
    install("acme-broken", "tasks = acme_h", acme_h="import no_such_module_of_acme")
    path = [str(tmp_path), *(entry for entry in sys.path if entry)]
    environment = {"PYTHONPATH": ":".join(path), "DEPUTIZE_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    ran = subprocess.run(
        [sys.executable, "-m", "deputize.cli", *words], env=environment, capture_output=True, text=True, timeout=120
    )
    said = ran.stdout + ran.stderr
    assert "Traceback" not in said, said
    if words != ["tools", "gmail"]:
        assert "acme-broken 1.2" in said and "no_such_module_of_acme" in said and "tasks" in said
    if words != ["tools", "tasks"]:
        assert "gmail" in ran.stdout
    assert ran.returncode == (1 if words[-1] in ("tasks", "--offline") else 0)
