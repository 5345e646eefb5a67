"""Parsed OpenAPI descriptions (3.0, 3.1): JSON or YAML, with references inside the file only."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from deputize.core.errors import InvalidInput, SettingsError

Json = dict[str, Any]

LARGEST: Final = 64 * 2**20
"""Bytes of a description in JSON; GitHub's has 13 million."""
LARGEST_YAML: Final = 16 * 2**20
_LONGEST_CHAIN: Final = 20
MAX_PARTS: Final = 4_000
"""Parts of a description that one operation may reach."""
VERSIONS: Final = ("3.0", "3.1")


class CannotTranslate(ValueError):
    """A part of a description cannot be translated. The message is the reason, for the operator."""


@dataclass(slots=True)
class Description:
    """A whole description. ``looked``: number of parts resolved since `begin`. It is limited, because a few schemas
    that refer to each other give many paths."""

    root: Json
    looked: int = 0

    def begin(self) -> None:
        """Start the next operation, which may resolve `MAX_PARTS` parts again."""
        self.looked = 0

    def resolve(self, part: Any) -> Json:
        """Return a part with its references resolved. Members beside a ``$ref`` override those of its target.

        Raises `CannotTranslate` for a reference out of the document, in a circle, or to a missing part, and after
        `MAX_PARTS` parts.
        """
        self.looked += 1
        if self.looked > MAX_PARTS:
            raise CannotTranslate("its schemas refer to each other too often")
        beside: Json = {}
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(part, dict):
                raise CannotTranslate("a part of the description should be an object, and is not")
            if not isinstance(ref := part.get("$ref"), str):
                return {**part, **beside} if beside else part
            beside = {**{name: value for name, value in part.items() if name != "$ref"}, **beside}
            part = self._follow(ref)
        raise CannotTranslate("a reference leads in a circle")

    def _follow(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            raise CannotTranslate(f"it refers to {ref[:80]!r}, and references to other files are not read")
        where: Any = self.root
        for part in ref[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(where, dict) or key not in where:
                raise CannotTranslate(f"it refers to {ref[:80]!r}, which does not exist")
            where = where[key]
        return where

    def objects(self, name: str, inside: Mapping[str, Any] | None = None) -> Json:
        """Return the object of this name, or an empty one."""
        there = (self.root if inside is None else inside).get(name)
        return there if isinstance(there, dict) else {}


def read(path: Path) -> Description:
    """Read a description from a file. Raises `InvalidInput` if it is missing, too large or invalid."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST else b""
    except OSError as e:
        raise InvalidInput(f"{path}: cannot be read: {e.strerror}.") from None
    if size > LARGEST:
        raise InvalidInput(f"{path}: {size:,} bytes, and at most {LARGEST:,} are read.")
    return from_parsed(_parse(data, path.name), path.name)


def from_parsed(root: Any, name: str = "description") -> Description:
    """Return the description of a parsed file. Raises `InvalidInput` if it is not one."""
    version = root.get("openapi", root.get("swagger")) if isinstance(root, dict) else None
    if not isinstance(version, str) or not version.startswith(VERSIONS):
        known = "none" if version is None else f"version {str(version)[:20]!r}"
        raise InvalidInput(
            f"{name}: an OpenAPI description of version {' or '.join(VERSIONS)} is wanted; it says {known}.",
            hint="Swagger 2.0 is translated by swagger2openapi or https://converter.swagger.io.",
        )
    return Description(root)


def _parse(data: bytes, name: str) -> Any:
    try:
        text = data.decode("utf-8-sig")
        return _json(text) if text.lstrip()[:1] == "{" else _yaml(text, name)
    except UnicodeDecodeError:
        raise InvalidInput(f"{name}: not UTF-8.") from None
    except RecursionError:
        raise InvalidInput(f"{name}: nested too deeply.") from None
    except ValueError as e:
        raise InvalidInput(f"{name}: cannot be parsed: {' '.join(str(e).split())[:160]}") from None


def _json(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def _yaml(text: str, name: str) -> Any:
    """Parse YAML into JSON's types. Raises `SettingsError` if PyYAML is missing."""
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError:
        raise SettingsError(f"{name} is not JSON, and reading YAML needs PyYAML.", hint="pip install pyyaml") from None
    if len(text) > LARGEST_YAML:
        raise ValueError(f"{len(text):,} characters, and at most {LARGEST_YAML:,} of YAML are read")
    try:
        parsed = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # both are safe
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from None
    return _as_json(parsed, {})


def _as_json(value: Any, done: dict[int, Any]) -> Any:
    """Return the value with keys and dates as strings. An object with several aliases is converted once."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, dict):
        made: Json = {}
        done[id(value)] = made
        made.update({_key(key): _as_json(one, done) for key, one in value.items()})
        return made
    if isinstance(value, list):
        items: list[Any] = []
        done[id(value)] = items
        items.extend(_as_json(one, done) for one in value)
        return items
    return value if value is None or type(value) in (str, int, float, bool) else str(value)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
