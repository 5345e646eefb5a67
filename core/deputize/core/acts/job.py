"""A job without a person, such as a cron job, as a file describes it: for whom, which calls, how often, until when.

version = 1
users = ["alice"]
agent = "reporter"
every = "1d"
until = 2026-12-31T00:00:00Z

[[calls]]
tool = "gmail_send_email"
args = { to = ["boss@acme.example"], subject = "Report", body = "..." }
recipient = ["boss@acme.example"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from deputize.core.errors import SettingsError, UserRequired
from deputize.core.policy.policy_tests import PREVIEWED, preview_of
from deputize.core.toml_reader import TomlReader
from deputize.core.tools.preview import Preview
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import User

MAX_FILE_BYTES: Final = 1_000_000
MAX_USERS: Final = 1000
MAX_CALLS: Final = 200
MAX_TIMES: Final = 10_000
"""Calls of one kind in one run."""
MAX_CHECKS: Final = 10_000
"""Users times calls."""
UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TOP: Final = ("version", "users", "agent", "every", "until", "calls")
_CALL: Final = ("tool", "args", "app", "account", "times", *PREVIEWED)


@frozen
class JobCall(Frozen):
    """One call of each run. ``arguments``: None if they are not known in advance. ``show``: what its preview will tell;
    None if the file does not say. ``times``: how often a run makes it."""

    tool: str
    arguments: Mapping[str, Any] | None
    show: Preview | None
    app: str
    account: str | None
    times: int


@frozen
class Job(Frozen):
    """A job. ``every``: seconds from one run to the next, 0.0 for one run. ``until``: the time of its last run, in Unix
    seconds, 0.0 for now."""

    users: tuple[User, ...]
    calls: tuple[JobCall, ...]
    agent: str = ""
    every: float = 0.0
    until: float = 0.0

    def runs(self, until: float, now: float) -> int:
        """Return how many runs begin before this time, the first of them now."""
        last = min(until, self.until) if self.until else until
        return 1 + int((last - now) // self.every) if self.every and last > now else 1

    def last_run(self, now: float) -> float:
        """Return the time of the last run, if the first of them is now."""
        return now + (self.runs(self.until or now, now) - 1) * self.every


def read_job(path: Path) -> Job:
    """Return the job that a file describes. Raises `SettingsError` that names the line and what to write instead."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise SettingsError(f"The file {path.name} cannot be read: {e.strerror}.", hint=str(path)) from None
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError(f"The file {path.name} is too large.", hint=f"Limit: {MAX_FILE_BYTES:,} bytes.")
    try:
        return parse_job(content.decode(), path.name)
    except UnicodeDecodeError:
        raise SettingsError(f"The file {path.name} is not UTF-8.", hint=str(path)) from None


def parse_job(content: str | Mapping[str, Any], name: str = "job") -> Job:
    """Return the job in the text of a file, or in its content as a mapping. Raises `SettingsError`."""
    try:
        return _JobReader(content if isinstance(content, str) else "", name).read(content)
    except ValueError:  # from Python itself, which does not convert numbers of thousands of digits
        raise SettingsError(f"{name} has a number with too many digits.", hint="Write a shorter one.") from None


class _JobReader(TomlReader):
    """Reads one job."""

    def read(self, given: str | Mapping[str, Any]) -> Job:
        content = self.content() if isinstance(given, str) else given
        if not isinstance(content, Mapping):
            raise SettingsError(f"{self.name} is not a mapping.", hint="Pass the content of a job's file.")
        self.check_keys(content, _TOP)
        if content.get("version") != 1 or isinstance(content.get("version"), bool):
            self.refuse("", "version", f"version is {content.get('version')!r}", "Write: version = 1")
        users = self._users(content.get("users"))
        found = self.tables(content, "calls", MAX_CALLS)
        if not found:
            self.refuse("", "calls", "there are no calls", 'Begin each with [[calls]] and tool = "...".')
        if len(users) * len(found) > MAX_CHECKS:
            self.refuse("", "users", "there are too many users and calls", f"Write at most {MAX_CHECKS:,} together.")
        agent = content.get("agent", "")
        if not isinstance(agent, str):
            self._wrong("", "agent", agent, "a string")
        calls = tuple(self._call(one, number) for number, one in enumerate(found))
        until = self._until(content.get("until"))
        every = self._every(content.get("every"))
        if every and not until:
            self.refuse("", "every", "a job that runs again needs an end", "Add until = 2026-12-31T00:00:00Z.")
        return Job(users, calls, agent, every, until)

    def _wrong(self, table: str, key: str, value: Any, wanted: str, number: int = 0, hint: str = "") -> NoReturn:
        shown = repr(value)
        self.refuse(
            table, key, f"{key} is {shown if len(shown) < 80 else shown[:80] + '...'}, not {wanted}", hint, number
        )

    def _users(self, given: Any) -> tuple[User, ...]:
        if not isinstance(given, list) or not 0 < len(given) <= MAX_USERS:
            self._wrong("", "users", given, f"a list of 1 to {MAX_USERS:,} users", hint='Write: users = ["alice"].')
        found = []
        for one in given:
            parts = {"id": one} if isinstance(one, str) else one
            if not isinstance(parts, dict) or parts.keys() - {"id", "tenant"}:
                self._wrong("", "users", one, "a user", hint='Write "alice", or { id = "alice", tenant = "acme" }.')
            try:
                found.append(User.of(User(parts.get("id", ""), parts.get("tenant", ""))))
            except (UserRequired, TypeError, ValueError):
                self._wrong("", "users", one, "a user", hint='Write "alice", or { id = "alice", tenant = "acme" }.')
        return tuple(dict.fromkeys(found))

    def _until(self, given: Any) -> float:
        if given is None:
            return 0.0
        if not isinstance(given, datetime) or given.tzinfo is None:
            self._wrong("", "until", given, "a time with its zone", hint="Write: until = 2026-12-31T00:00:00Z.")
        return given.timestamp()

    def _every(self, given: Any) -> float:
        if given is None:
            return 0.0
        found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", given) if isinstance(given, str) else None
        if found is None:
            self._wrong("", "every", given, "a duration", hint='Write: every = "1d", or m, h, w for minutes and so on.')
        return int(found[1]) * UNITS[found[2]]

    def _call(self, content: Mapping[str, Any], number: int) -> JobCall:
        self.check_keys(content, _CALL, "calls", number)
        for key in ("tool", "app", "account"):
            if not isinstance(content.get(key, ""), str):
                self._wrong("calls", key, content[key], "a string", number)
        if not content.get("tool"):
            self.refuse(
                "calls", "tool", "a call names no tool", 'Write its name, such as: tool = "send_report".', number
            )
        arguments, times = content.get("args"), content.get("times", 1)
        if arguments is not None and not isinstance(arguments, dict):
            self._wrong("calls", "args", arguments, "a table", number)
        if type(times) is not int or not 1 <= times <= MAX_TIMES:
            self._wrong("calls", "times", times, f"a number from 1 to {MAX_TIMES:,}", number)
        told = [key for key in PREVIEWED if key in content]
        try:
            show = preview_of(content) if told else None
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            problem = f"{', '.join(told)} cannot be read: {e}"
            self.refuse("calls", told[0], problem, "They have the form of a test of a policy file.", number)
        app, account = content.get("app", ""), content.get("account") or None
        return JobCall(content["tool"], arguments, show, app, account, times)
