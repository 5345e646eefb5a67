"""Validation of values by a foreign schema with jsonschema-rs: bounded patterns, no requests, no values in messages.

The extra ``mcp`` installs it. Schemas are bounded before (`definitions.check_schema_shape`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from deputize.core.errors import SettingsError
from deputize.core.mcp_client.definitions import LeftOut

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_FAULTS: Final = 5
MAX_BACKTRACKING: Final = 10_000
"""Backtracking steps in one match of a pattern with a lookaround or reference; all others take linear time. Half a
millisecond, a hundredth of the package's own limit: a server may have thousands of texts matched."""
MAX_CHECKED: Final = 20_000
"""Characters of a result that is checked against its schema: as many as a model gets."""
MASK: Final = "the value"


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise `LeftOut` for a schema that is invalid or uses unknown features."""
    try:
        _validator(json.dumps(schema))
    except (ValueError, TypeError):
        raise LeftOut("its schema is invalid") from None


def faults_of(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return the first five violations of a schema by a value: their places and kinds, without the value.

    Raises `SettingsError` if jsonschema-rs is not installed.
    """
    try:
        errors = list(_validator(json.dumps(schema)).iter_errors(value))
    except (ValueError, TypeError) as unusable:  # not JSON, or an invalid output schema
        return [f"arguments: cannot be checked ({type(unusable).__name__})"]
    return [f"{'.'.join(map(str, e.instance_path)) or 'arguments'}: {e.message[:200]}" for e in errors[:MAX_FAULTS]]


def fits(schema: Mapping[str, Any] | None, structured: Any) -> bool:
    """Return True if a result's structure matches its tool's schema, is too long to check, or there is no schema."""
    try:
        return schema is None or len(json.dumps(structured)) > MAX_CHECKED or not faults_of(schema, structured)
    except (ValueError, RecursionError):
        return True


def load() -> Any:
    """Return the package, imported on first use. Raises `SettingsError` if it is not installed."""
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
