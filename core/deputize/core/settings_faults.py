"""What is wrong in the settings, in words of whoever wrote them: the place as it stands there, and never a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deputize.core.errors import SettingsError

if TYPE_CHECKING:
    from pydantic import ValidationError


def in_words(error: ValidationError) -> SettingsError:
    """What to raise in its place."""
    faults = "; ".join(map(_fault, error.errors(include_input=False)))
    return SettingsError(f"Settings: {faults}", hint="Check the DEPUTIZE_... variables and deputize.toml.")


def _fault(found: Mapping[str, Any]) -> str:
    place, says = list(found["loc"]), found["msg"]
    if place[:1] == ["apps"] and place[2:3] == ["source"] and len(place) > 3:
        del place[3]  # which kind of source it was read as: pydantic's, not written there
    if found["type"] == "union_tag_not_found":
        place, says = [*place, "kind"], "Field required"
    elif found["type"] == "union_tag_invalid":
        place, says = [*place, "kind"], f"Input should be one of {found['ctx']['expected_tags']}"
    return f"{'.'.join(map(str, place))}: {says}"
