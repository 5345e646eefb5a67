"""Every command with hostile arguments, and every setting with hostile values in the environment and in the file."""

from __future__ import annotations

import functools
import inspect
import os
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from pydantic import BaseModel
from typer.main import get_command
from typer.testing import CliRunner

from deputize.cli import show
from deputize.cli.app import app
from deputize.core.configfile import NAME
from deputize.core.settings import Settings
from tests.entry_points.hostile_values import CANARY, DIGITS, NUMBERS, TEXTS, Report, place_of, some

BUILT: Final = functools.cache(get_command)
HOSTILE: Final = tuple(text.replace("\ud800", "\udcff") for text in TEXTS)
"""The texts as an operating system hands them over: a byte that is no UTF-8 becomes a surrogate."""
GOOD: Final[Mapping[str, str]] = {
    "provider": "google",
    "tool": "gmail_search_emails",
    "name": "acme",
    "client": "claude",
}
ENDINGS: Final = (0, 1, 2, 3, 130)
"""The exit codes there are; 3: the server did not start."""
ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {"wait": ("--wait=0",), "yes": ("--yes",)}
WAITS: Final = (DIGITS, "1e400", "inf")
"""Numbers of seconds for which a command would wait."""
LONG_WAIT: Final = 60.0
SECONDS: Final = 30.0


class Terminal:
    """A folder of its own, and the command line in this process."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home = home
        home.chmod(0o700)
        (home / "folder").mkdir()
        (home / "text.txt").write_text("{[", encoding="utf-8")
        (home / "bytes.bin").write_bytes(b"\xff\xfe\x00")
        for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
            patch.delenv(name)
        for name, value in self.environment().items():
            patch.setenv(name, value)
        patch.chdir(home)
        patch.setattr("typer.testing._get_command", BUILT)
        patch.setattr("time.sleep", self._sleep(time.sleep))
        patch.setattr("uvicorn.Server.run", self._interrupt)
        patch.setattr("deputize.cli.browser.open_browser", lambda url: None)
        for console in (show.out, show.err):
            patch.setattr(console, "_force_terminal", False)
            patch.setattr(console, "_color_system", None)

    def environment(self) -> dict[str, str]:
        """Return variables under which every command has something to do, and reaches nobody."""
        return {
            "HOME": str(self.home),
            "COLUMNS": "160",
            "DEPUTIZE_HOME": str(self.home / "deputize"),
            "DEPUTIZE_USER": "alice",
            "DEPUTIZE_PORT": "0",
            "DEPUTIZE_SANDBOX_URL": "http://127.0.0.1:9",
            "DEPUTIZE_APPS__GOOGLE__CLIENT_ID": "an-id",
            "DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": CANARY,
        }

    @staticmethod
    def _sleep(usual: Callable[[float], None]) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            if seconds >= LONG_WAIT:
                raise KeyboardInterrupt
            usual(seconds)

        return sleep

    @staticmethod
    def _interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def run(self, report: Report, where: str, value: Any, *words: str, env: Mapping[str, str] | None = None) -> None:
        """Run a command, and note everything but a usual end."""
        report.calls += 1
        began = time.monotonic()
        ended = CliRunner().invoke(app, words, input="", env=env)
        error = ended.exception
        if error is not None and not isinstance(error, SystemExit):
            report.fault(where, place_of(error), value)
        elif ended.exit_code not in ENDINGS:
            report.fault(where, f"exit code {ended.exit_code}", value)
        for sign in ("Traceback (most recent call last)", CANARY):
            if sign in ended.output:
                report.fault(where, f"its output has {sign!r}", value)
        if time.monotonic() - began > SECONDS:
            report.fault(where, "took too long", value)

    def texts(self) -> list[str]:
        """Return the hostile texts and paths."""
        return [*HOSTILE, *(str(self.home / name) for name in ("folder", "text.txt", "bytes.bin", "none"))]


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return each command, by its words."""
    command = command or BUILT(app)
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
    for name, one in (below or {}).items():
        yield from commands(one, (*words, name))


def play_commands(random: Random, share: float, terminal: Terminal) -> Report:
    """Return what came of this share of all hostile arguments of commands."""
    report = Report()
    cases = [
        (words, command, one, value)
        for words, command in commands()
        for one in command.params
        if words != ("demo",) and not getattr(one, "is_flag", False) and one.name != "help"
        for value in terminal.texts()
        if one.name != "wait" or value not in WAITS
    ]
    for words, command, one, value in some(random, cases, share):
        arguments = [other for other in command.params if other.param_type_name == "argument"]
        needed = [other for other in arguments if other.required or other is one]
        given = [value if other is one else GOOD.get(other.name, "x") for other in needed]
        named = [] if one in arguments else [f"{one.opts[0]}={value}"]
        always = [word for other in command.params if other is not one for word in ALWAYS.get(other.name, ())]
        terminal.run(report, f"{' '.join(words)} {one.name}", value, *words, *always, *named, "--", *given)
    return report


# ----------------------------------------------------------------- settings


USUAL: Final[Mapping[str, Any]] = {
    "apps": {"google": {"client_id": "an-id", "client_secret": CANARY}},
    "providers": {
        "acme": {
            "oauth": {"authorize_url": "https://acme.example/authorize", "token_url": "https://acme.example/token"},
            "apis": {"roots": {"api": "https://acme.example/api"}, "identity": {"url": "https://acme.example/me"}},
        }
    },
    "mcp": {"linear": {"url": "https://mcp.example.test/mcp"}},
}
NAMES: Final[Mapping[str, str]] = {"apps": "google", "providers": "acme", "mcp": "linear", "tools": "a_tool"}
"""The name of an entry of each table of tables."""


def keys(model: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the path of each setting, those in tables included."""
    for name, one in model.model_fields.items():
        here = (*path, one.alias or name)
        yield here
        for below, entry in _models(one.annotation, name):
            yield from keys(below, (*here, *entry))


def _models(
    annotation: Any, name: str, entry: tuple[str, ...] = ()
) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, entry
    of = typing.get_args(annotation)
    is_table = typing.get_origin(annotation) is dict
    for one in of[1:] if is_table else of:
        yield from _models(one, name, (NAMES.get(name, "x"),) if is_table else entry)


def with_value(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the usual settings with one hostile value."""
    settings: dict[str, Any] = _copy(USUAL)
    place = settings
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place[path[-1]] = value
    return settings


def _copy(value: Any) -> Any:
    return {name: _copy(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def as_toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_toml(name)} = {as_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value) + '"'
    return str(value).lower() if abs(value) < 10**300 else "1" + "0" * 400


TYPED: Final[tuple[Any, ...]] = (*NUMBERS, [], {}, [""], [[]], ["a"] * 3000, {"": ""}, {"a": {"a": {}}})


VARIABLES: Final = ("DEPUTIZE_CONFIG", "HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY")


def play_settings(random: Random, share: float, terminal: Terminal) -> Report:
    """Return what came of this share of all hostile settings: ``deputize doctor`` reads all of them, and ``accounts``
    opens the vault."""
    report = Report()
    file = terminal.home / "deputize" / NAME
    file.parent.mkdir(mode=0o700, exist_ok=True)
    written = [(path, value) for path in keys() for value in (*terminal.texts(), *TYPED)]
    for path, value in some(random, written, share):
        lines = (f"{as_toml(name)} = {as_toml(one)}" for name, one in with_value(path, value).items())
        file.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
        for words in (("doctor", "--offline"), ("accounts",)):
            terminal.run(report, f"{NAME}: {'.'.join(path)}", value, *words)
        file.unlink()
    variables = [*VARIABLES, *("DEPUTIZE_" + "__".join(path).upper() for path in keys())]
    for variable, value in some(random, [(name, text) for name in variables for text in terminal.texts()], share):
        if "\0" not in value:  # no environment has it
            terminal.run(report, variable, value, "doctor", "--offline", env={variable: value})
    for value in some(random, terminal.texts(), share):
        terminal.run(report, "--config", value, f"--config={value}", "doctor", "--offline")
    return report
