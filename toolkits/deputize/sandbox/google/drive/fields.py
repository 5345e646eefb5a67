"""The ``fields`` parameter: which fields of a record a reply has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deputize.sandbox.google.drive.methods import FIELDS

Json = dict[str, Any]
Mask = Mapping[str, "Mask | None"]
_TOKEN = re.compile(r"[A-Za-z*]+|[(),/]")
_RECORDS = {"permissions": "Permission", "replies": "Reply", "files": "File", "comments": "Comment"}
_RECORDS |= {"drives": "Drive", "revisions": "Revision"}


class BadMask(ValueError):
    """A mask that names an unknown field, or cannot be read."""


def read_mask(text: str, record: str) -> Mask:
    """Parse ``id,owners(me),capabilities/canEdit``. ``record``: the kind of record, "" for a list of records."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise BadMask(text)
    mask = _list(tokens, record)
    if tokens:
        raise BadMask(text)
    return mask


def _list(tokens: list[str], record: str) -> Mask:
    mask: dict[str, Mask | None] = {}
    while True:
        name = tokens.pop(0) if tokens else ""
        known = FIELDS.get(record)
        if (not name.isalpha() and name != "*") or (known and name != "*" and name not in known):
            raise BadMask(name)
        inner = _RECORDS.get(name, "?")
        mask[name] = None
        if tokens[:1] == ["("]:
            tokens.pop(0)
            mask[name] = _list(tokens, inner)
            if tokens[:1] != [")"]:
                raise BadMask(name)
            tokens.pop(0)
        elif tokens[:1] == ["/"]:
            tokens.pop(0)
            mask[name] = {tokens.pop(0) if tokens else "": None}
        if tokens[:1] != [","]:
            return mask
        tokens.pop(0)


def masked(value: Any, mask: Mask | None) -> Any:
    """Return a record, or each of a list, with only the fields of the mask."""
    if mask is None or "*" in mask:
        return value
    if isinstance(value, list):
        return [masked(one, mask) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: masked(value[name], inner) for name, inner in mask.items() if name in value}
