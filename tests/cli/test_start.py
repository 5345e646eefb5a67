"""Start of the command line: fast, without frameworks, with commands of other packages, and clear about what is
missing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from deputize.cli import commands
from deputize.core import Conflict
from tests.cli.conftest import Command
from tests.cli.terminal import PATIENCE, environment
from tests.support.lanes import sample


def test_every_command_has_help(cli: Command) -> None:
    listed = cli("--help")
    assert listed.exit_code == 0
    for name in ("demo", "connect", "open", "accounts", "revoke", "act", "tools", "audit", "key", "doctor"):
        assert re.search(rf"^\W+{name} ", listed.stdout, re.MULTILINE), name
        assert cli(name, "--help").exit_code == 0


@pytest.mark.processes
@pytest.mark.parametrize("words", sample([["--help"], ["demo", "--help"], ["key", "new"], ["tools"]]))
def test_commands_without_frameworks_load_none(words: list[str], home: Path) -> None:
    look = (
        "import sys; from deputize.cli import main; sys.argv = ['deputize', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('langchain_core', 'langgraph', 'langchain', 'starlette', 'uvicorn') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", look, *words],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_missing_cli_extra_is_named(missing: str, home: Path) -> None:
    start = f"import sys; sys.modules[{missing!r}] = None; from deputize.cli import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", start], env=environment(home), cwd=home, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert 'pip install "deputize[cli]"' in found.stderr and "Traceback" not in found.stderr


POSTGRES = "postgresql://app@db.example.test/vault"


@pytest.mark.parametrize("words", sample([["store", "init"], ["store", "check"], ["doctor"], ["accounts"]]))
def test_missing_postgres_extra_is_named(words: list[str], home: Path) -> None:
    start = "import sys; sys.modules['psycopg'] = None; from deputize.cli import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", start, *words],
        env=environment(home) | {"DEPUTIZE_VAULT": POSTGRES},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert 'pip install "deputize[postgres]"' in found.stdout + found.stderr and "Traceback" not in found.stderr


def test_demo_without_langgraph_says_so(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import_module("deputize.cli.demo.auto")  # which is an attribute of its package from then on
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.sqlite.aio", None)
    found = cli("demo", "--auto")
    assert found.exit_code == 1
    assert "LangGraph" in found.stderr and 'pip install "deputize[all]"' in found.stderr


# ------------------------------------------------------------- commands of other packages


def hello(name: str = "you") -> None:
    """Say hello."""
    typer.echo(f"Hello, {name}.")


def clash() -> None:
    """Fail as commands of ours fail."""
    raise Conflict("That was there already.", hint="Take another.")


more = typer.Typer(help="More of them.")
more.command("hello")(hello)
more.command("clash")(clash)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set entry points by name, as of installed packages: ``plugins(hello="tests.cli.test_start:hello")``."""

    def install(**points: str) -> None:
        found = [EntryPoint(name, value, commands.GROUP) for name, value in points.items()]
        monkeypatch.setattr(commands, "entry_points", lambda group: found if group == commands.GROUP else [])

    return install


def test_other_packages_can_add_commands(cli: Command, plugins: Callable[..., None]) -> None:
    plugins(hello=f"{__name__}:hello", more=f"{__name__}:more", clash=f"{__name__}:clash")
    assert "Say hello." in cli("--help").stdout
    assert cli("hello").stdout == "Hello, you.\n"
    assert cli("more", "hello", "--name", "Bob").stdout == "Hello, Bob.\n"
    assert cli("clash").exit_code == 1 and "[conflict]" in cli("more", "clash").stderr


def test_package_command_cannot_replace_ours(cli: Command, plugins: Callable[..., None]) -> None:
    plugins(key=f"{__name__}:hello")
    assert "Hello" not in cli("key", "new").stdout


def test_unloadable_command_breaks_no_other(cli: Command, plugins: Callable[..., None]) -> None:
    plugins(broken="no_such_module:command")
    listed = cli("--help")
    assert listed.exit_code == 0 and "Cannot be loaded: ModuleNotFoundError." in listed.stdout
    found = cli("broken")
    assert found.exit_code == 1 and "[settings_error]" in found.stderr
    assert len(cli("key", "new").stdout) > 40
