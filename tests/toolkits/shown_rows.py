"""Every toolkit's cases of writing calls, and the readers of each writing tool's effect, under the tools' full
names."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tests.support.sandbox_deputy import Clock
from tests.toolkits import test_calendar_shows as calendar
from tests.toolkits import test_drive_shows as drive
from tests.toolkits import test_github_shows as github
from tests.toolkits import test_gmail_shows as gmail
from tests.toolkits import test_linear_shows as linear
from tests.toolkits import test_salesforce_shows as salesforce
from tests.toolkits import test_slack_shows as slack
from tests.toolkits.github_play import ALL
from tests.toolkits.tool_driver import NOW

SCOPES: Final[dict[str, dict[str, Any]]] = {
    "calendar": calendar.SCOPES,
    "drive": drive.SCOPES,
    "github": {"github": ALL},
    "gmail": gmail.SCOPES,
    "linear": {"linear": linear.SCOPES},
    "salesforce": salesforce.SCOPES,
    "slack": {"slack": slack.EVERYTHING},
}


class Row(NamedTuple):
    """A call of a writing tool that its toolkit's tests make."""

    kit: str
    tool: str
    make: Any

    @property
    def world(self) -> dict[str, Any]:
        """Return the arguments of `shown_world` for it."""
        return {"scopes": SCOPES[self.kit], "clock": Clock(NOW)}


def _whole(kit: str, name: str) -> str:
    return name if name.startswith(f"{kit}_") else f"{kit}_{name}"


_KITS: Final[dict[str, Any]] = {
    **{"calendar": calendar, "drive": drive, "github": github, "gmail": gmail},
    **{"linear": linear, "salesforce": salesforce, "slack": slack},
}
FORMATS: Final[dict[str, frozenset[str]]] = {kit: module.OURS for kit, module in _KITS.items()}
"""Words of each provider's formats and paths, which need no preview."""
ROWS: Final = [Row(kit, _whole(kit, name), make) for kit, module in _KITS.items() for name, make in module.ROWS]
AUDIENCES: Final = {_whole(kit, name): seen for kit, module in _KITS.items() for name, seen in module.AUDIENCES.items()}
