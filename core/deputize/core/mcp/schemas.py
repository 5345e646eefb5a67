"""Values against a foreign schema, by jsonschema-rs: patterns of bounded work, nothing fetched, no value in a message.

Its extra is ``mcp``. A schema has been bounded before it comes here (`definitions.checked`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from deputize.core.errors import SettingsError
from deputize.core.mcp.definitions import LeftOut

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_FAULTS: Final = 5
MAX_BACKTRACKING: Final = 10_000
"""Steps back in one match of a pattern with a lookaround or a reference; all others take linear time. Half a
millisecond, a hundredth of the package's own bound: a server may have thousands of texts matched."""
MAX_CHECKED: Final = 20_000
"""Characters of a result that is compared with its schema: as much as a model is given of it."""
MASK: Final = "the value"


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise `LeftOut` for a schema that says what none may, or asks for what is not known here."""
    try:
        _validator(json.dumps(schema))
    except (ValueError, TypeError):
        raise LeftOut("its schema is none") from None


def faults_of(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Where a value is not as the schema says, and how, without the value; the first five.

    Raises `SettingsError` where jsonschema-rs is not installed.
    """
    try:
        errors = list(_validator(json.dumps(schema)).iter_errors(value))
    except (ValueError, TypeError) as unusable:  # what is no JSON, or an output schema that is none
        return [f"arguments: cannot be checked ({type(unusable).__name__})"]
    return [
        f"{'.'.join(map(str, one.instance_path)) or 'arguments'}: {one.message[:200]}" for one in errors[:MAX_FAULTS]
    ]


def fits(schema: Any, result: Mapping[str, Any]) -> bool:
    """Whether a result's structure is as its tool's own schema says, if there are both and it is of a usual size."""
    structured = result.get("structuredContent")
    if not isinstance(schema, Mapping) or structured is None or result.get("isError") is True:
        return True
    try:
        return len(json.dumps(structured)) > MAX_CHECKED or not faults_of(schema, structured)
    except (ValueError, RecursionError):
        return True


def load() -> Any:
    """The package, which is read from the disk once. Raises `SettingsError` where it is not installed."""
    try:
        import jsonschema_rs
    except ImportError as missing:
        raise SettingsError.without(missing, "mcp") from None
    return jsonschema_rs


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Validator:
    rs = load()
    patterns = rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKING)
    made: Validator = rs.validator_for(
        json.loads(schema), offline=True, mask=MASK, validate_formats=True, pattern_options=patterns
    )
    return made
