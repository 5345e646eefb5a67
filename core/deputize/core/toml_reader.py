"""Reader of TOML files whose errors name the line: policy files and descriptions of jobs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from deputize.core.errors import SettingsError, instead


class TomlReader:
    """Reads one file, and knows in which lines its tables are. ``text``: "" for content that is in no file."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.lines = text, name, text.splitlines()

    def content(self) -> dict[str, Any]:
        """Return the content of the file. Raises `SettingsError` if it is not TOML."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as e:
            raise SettingsError(f"{self.name} is not TOML: {e}.", hint="Correct this line.") from None
        except RecursionError:
            raise SettingsError(f"{self.name} is nested too deeply.", hint="Write flat tables.") from None

    def line(self, table: str, key: str = "", number: int = 0) -> int:
        """Return the number of the line with this key, as far as it can be found; 0 if it cannot."""
        heads = [n for n, text in enumerate(self.lines) if re.match(rf"\s*\[\[\s*{re.escape(table)}\s*\]\]", text)]
        if table and not heads:
            heads = [n for n, text in enumerate(self.lines) if re.match(rf"\s*\[?\s*{re.escape(table)}\b", text)]
            number = 0
        begin = heads[number] if table and number < len(heads) else 0
        for n, text in enumerate(self.lines[begin:], begin):
            if key and re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text):
                return n + 1
            if n > begin and table and re.match(r"\s*\[", text):
                break
        return begin + 1 if table and heads else 0

    def refuse(self, table: str, key: str, problem: str, hint: str = "", number: int = 0) -> NoReturn:
        """Refuse the file: one that is only half understood would decide something else than it says."""
        self.refuse_at(self.line(table, key, number), problem, hint)

    def refuse_at(self, line: int, problem: str, hint: str) -> NoReturn:
        """Refuse the file, because of this line; 0 if it is not known."""
        raise SettingsError(f"{self.name}{f' line {line}' if line else ''}: {problem}.", hint=hint)

    def check_keys(self, table: Mapping[str, Any], known: Sequence[str], name: str = "", number: int = 0) -> None:
        """Refuse the file if this table has a key that is not ``known``."""
        for key in table:
            if key not in known:
                self.refuse(name, str(key), f"{key!r} is not a key here", instead(str(key), known), number)

    def tables(self, content: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
        """Return the tables ``[[name]]`` of the content, at most ``most``."""
        found = content.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            self.refuse(name, "", f"{name} is not a list of tables", f"Begin each with [[{name}]].")
        if len(found) > most:
            self.refuse(name, "", f"there are {len(found)} {name}", f"Write at most {most}.")
        return found
