"""GraphQL documents, read from `documents.graphql`: each operation with exactly the fragments that it uses.

The file is read when this module is imported, because tools run on the event loop, which must not wait for a file.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from deputize.core.errors import SettingsError

_USED: Final = re.compile(r"\.\.\.(?!\s*on\b)\s*(\w+)")
_HEAD: Final = re.compile(r"(fragment|query|mutation)\s+(\w+)")


def _read() -> dict[str, str]:
    """Return the file's definitions by name, each on one line."""
    text = files("deputize.toolkits.linear").joinpath("documents.graphql").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for one in text.split("\n\n"):
        head = _HEAD.match(one)
        if head is None:
            raise SettingsError(
                "documents.graphql holds something that is no definition.", hint="Install deputize again."
            )
        found[head[2]] = " ".join(one.split())
    return found


_DEFINITIONS: Final = _read()


def operations() -> list[str]:
    return [name for name, text in _DEFINITIONS.items() if not text.startswith("fragment")]


@cache
def document(operation: str) -> str:
    """Return the document of an operation. Raises KeyError for an unknown operation."""
    texts = [_DEFINITIONS[operation]]
    for text in texts:
        texts += [one for name in dict.fromkeys(_USED.findall(text)) if (one := _DEFINITIONS[name]) not in texts]
    return " ".join(texts)


@cache
def changes(operation: str) -> bool:
    return _DEFINITIONS[operation].startswith("mutation")
