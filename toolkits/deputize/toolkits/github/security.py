"""GitHub: security alerts. Leaked secrets are never displayed: both GitHub and the tool leave them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from deputize.core import Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Repo
from deputize.toolkits.github.base import GITHUB, needs
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose
from deputize.toolkits.github.rows import ZONED, outer, short

Kind = Literal["code_scanning", "dependabot", "secret_scanning"]
_PATHS = {
    "code_scanning": ("R/code-scanning/alerts", "security_events:read"),
    "dependabot": ("R/dependabot/alerts", "vulnerability_alerts:read"),
    "secret_scanning": ("R/secret-scanning/alerts", "secret_scanning_alerts:read"),
}


@GITHUB.tool(
    needs=lambda arguments: [
        needs(f"GET {path}", "security_events", "repo", "public_repo", app=(right,))
        for kind, (path, right) in _PATHS.items()
        if kind == (arguments["kind"] or "code_scanning")
    ],
    toolset="security",
)
@in_repo()
def list_alerts(
    repo: Repo,
    kind: Kind,
    state: Literal["open", "fixed", "dismissed", "resolved"] = "open",
    severity: Literal["low", "medium", "high", "critical"] | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Security alerts: code scanning, Dependabot or secret scanning."""
    states = ("open", "resolved") if kind == "secret_scanning" else ("open", "fixed", "dismissed")
    if state not in states:
        raise InvalidInput(f"state: {', '.join(states)} for {kind}.", hint="Use one of these.")
    if severity and kind == "secret_scanning":
        raise InvalidInput("severity: cannot be used for leaked secrets.", hint="Leave out severity.")
    params: Json = {"state": state}
    if kind == "secret_scanning":
        params["hide_secret"] = True
    if kind == "dependabot":
        params["severity"] = severity
    shape = {"code_scanning": _code_alert, "dependabot": _dependency, "secret_scanning": _secret}[kind]
    listing = List(
        ("github_list_alerts", run.account.subject, repo, kind, state, severity),
        pages(_PATHS[kind][0], repo, params=params, by="after" if kind == "dependabot" else "page"),
        lambda row: shown if severity in (None, (shown := shape(row)).get("severity")) else None,
        more=ZONED,
    )
    return (yield from listing.show(limit, cursor))


def _alert_row(row: Mapping[str, Any], outside: Prose, about: Json) -> Json:
    shown = {"number": row.get("number"), **about, "state": row.get("state"), "created": short(row.get("created_at"))}
    return outer(shown, outside)


def _code_alert(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    rule, place = row.get("rule") or {}, row.get("most_recent_instance") or {}
    about: Json = {
        "rule": outside.line(str(rule.get("description") or rule.get("id") or ""), 120),
        "severity": rule.get("security_severity_level") or rule.get("severity"),
        "path": outside.line(str((place.get("location") or {}).get("path") or ""), 200),
        "line": (place.get("location") or {}).get("start_line"),
    }
    return _alert_row(row, outside, about)


def _dependency(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    needed, advice = row.get("dependency") or {}, row.get("security_advisory") or {}
    fixed = ((row.get("security_vulnerability") or {}).get("first_patched_version") or {}).get("identifier")
    about: Json = {
        "package": outside.line(str((needed.get("package") or {}).get("name", "")), 100),
        "severity": advice.get("severity"),
        "summary": outside.line(str(advice.get("summary", "")), 120),
        "fixed_in": outside.line(str(fixed or ""), 40),
        "path": outside.line(str(needed.get("manifest_path") or ""), 200),
    }
    return _alert_row(row, outside, about)


def _secret(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    place = row.get("first_location_detected") or {}
    about: Json = {
        "rule": outside.line(str(row.get("secret_type_display_name") or row.get("secret_type") or ""), 100),
        "validity": row.get("validity"),
        "publicly_leaked": bool(row.get("publicly_leaked")),
        "path": outside.line(str(place.get("path") or ""), 200),
    }
    return _alert_row(row, outside, about)
