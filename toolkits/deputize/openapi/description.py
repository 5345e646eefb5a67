"""An OpenAPI description (3.0, 3.1) as it was read: JSON or YAML, references followed within it and nowhere else."""

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
"""Parts of a description that one operation may lead to."""
VERSIONS: Final = ("3.0", "3.1")


class CannotTranslate(ValueError):
    """Why something of a description has no counterpart here, in words for the operator."""


@dataclass(slots=True)
class Description:
    """A whole description. ``looked``: at how many parts, since `begin`: a few schemas that refer to each other often
    enough are as many as there are ways through them."""

    root: Json
    looked: int = 0

    def begin(self) -> None:
        """Look at the next operation, which may lead to so many parts again."""
        self.looked = 0

    def found(self, part: Any) -> Json:
        """What stands there, references followed; members beside a reference count before those behind it.

        Raises `CannotTranslate` for a reference out of the document, in a circle, or to nothing; and for one part more
        than `MAX_PARTS`.
        """
        self.looked += 1
        if self.looked > MAX_PARTS:
            raise CannotTranslate("its schemas refer to each other too often")
        beside: Json = {}
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(part, dict):
                raise CannotTranslate("something in the description is no object where there should be one")
            if not isinstance(ref := part.get("$ref"), str):
                return {**part, **beside} if beside else part
            beside = {**{name: value for name, value in part.items() if name != "$ref"}, **beside}
            part = self._at(ref)
        raise CannotTranslate("a reference leads in a circle")

    def _at(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            raise CannotTranslate(f"it refers to {ref[:80]!r}, and nothing outside of the file is read")
        where: Any = self.root
        for part in ref[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(where, dict) or key not in where:
                raise CannotTranslate(f"it refers to {ref[:80]!r}, which is not there")
            where = where[key]
        return where

    def objects(self, name: str, inside: Mapping[str, Any] | None = None) -> Json:
        """The object of this name, or an empty one."""
        there = (self.root if inside is None else inside).get(name)
        return there if isinstance(there, dict) else {}


def read(path: Path) -> Description:
    """The description in a file. Raises `InvalidInput`: not there, too large, not parsed, of another version."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST else b""
    except OSError as e:
        raise InvalidInput(f"{path}: cannot be read: {e.strerror}.") from None
    if size > LARGEST:
        raise InvalidInput(f"{path}: {size:,} bytes, and at most {LARGEST:,} are read.")
    return described(_parsed(data, path.name), path.name)


def described(root: Any, name: str = "description") -> Description:
    """What was parsed, if it is an OpenAPI description. Raises `InvalidInput`."""
    version = root.get("openapi", root.get("swagger")) if isinstance(root, dict) else None
    if not isinstance(version, str) or not version.startswith(VERSIONS):
        known = "none" if version is None else f"version {str(version)[:20]!r}"
        raise InvalidInput(
            f"{name}: an OpenAPI description of version {' or '.join(VERSIONS)} is wanted; it says {known}.",
            hint="Swagger 2.0 is translated by swagger2openapi or https://converter.swagger.io.",
        )
    return Description(root)


def _parsed(data: bytes, name: str) -> Any:
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
    """YAML in the JSON schema's words. Raises `SettingsError` where nothing here can read it."""
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError:
        raise SettingsError(f"{name} is no JSON, and YAML is read with PyYAML.", hint="pip install pyyaml") from None
    if len(text) > LARGEST_YAML:
        raise ValueError(f"{len(text):,} characters, and at most {LARGEST_YAML:,} of YAML are read")
    try:
        parsed = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # both are safe
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from None
    return _as_json(parsed, {})


def _as_json(value: Any, done: dict[int, Any]) -> Any:
    """With texts for keys and dates. What stands under several aliases is looked at once, however often it is named."""
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
