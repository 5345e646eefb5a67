"""Salesforce: values in the forms that models write, and edits of long texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits.salesforce.base import Json
from deputize.toolkits.salesforce.describe import Described, field_in


def as_text(value: Any) -> Any:
    """Return a value as text. Models write numbers, booleans and null in several forms."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value) if isinstance(value, int | float) else value


Value = Annotated[str, BeforeValidator(as_text)]

_TEXTS: Final = ("string", "textarea")


def text_edits(
    known: Described, values: Json, append: Sequence[str], replaces: Mapping[str, str], digests: Mapping[str, str]
) -> dict[str, Edit]:
    """Return an edit for each multi-line text, which no read displays whole, and for each text to edit in part."""
    behind = {str(field_in(known, one, "append")["name"]) for one in append}
    olds = {str(field_in(known, name, "replaces")["name"]): old for name, old in replaces.items()}
    read = {str(field_in(known, name, "if_text")["name"]): one for name, one in digests.items()}
    kinds = {name: str(known[name.lower()].get("type") or "string") for name in {*values, *behind, *olds, *read}}
    for name in (*behind, *olds, *read):
        if name not in values or kinds[name] not in _TEXTS:
            raise InvalidInput(
                f"append, replaces, if_text: {name} is not a text field given in fields.",
                hint="Name a field that is in fields.",
            )
    edited = [name for name in values if name in behind or name in olds or kinds[name] == "textarea"]
    return {name: Edit(name in behind, olds.get(name), read.get(name)) for name in edited}
