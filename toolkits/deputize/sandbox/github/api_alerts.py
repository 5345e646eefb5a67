"""Security alerts: code scanning, Dependabot and leaked secrets."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Reply

_ALERTS = ("security_events", "repo", "public_repo")


def _alerts(call: Call, repo: Json, kind: str) -> list[Json]:
    rows: list[Json] = call.store["alerts"].get(repo["full_name"], {}).get(kind, [])
    return rows if call.ask.one("state", "open") == "open" else []


@route("GET", "R/code-scanning/alerts", "security_events:read", scopes=_ALERTS, push=True)
def code_scanning(call: Call, repo: Json) -> Reply:
    told = [
        {
            "number": row["number"],
            "state": "open",
            "created_at": call.now,
            "rule": {
                "id": "x",
                "description": row["rule"],
                "severity": "error",
                "security_severity_level": row["severity"],
            },
            "most_recent_instance": {"location": {"path": row["path"], "start_line": row["line"]}},
        }
        for row in _alerts(call, repo, "code-scanning")
    ]
    return call.page(told)


@route("GET", "R/dependabot/alerts", "vulnerability_alerts:read", scopes=_ALERTS, push=True)
def dependabot(call: Call, repo: Json) -> Reply:
    wanted = call.ask.one("severity")
    told = [
        {
            "number": row["number"],
            "state": "open",
            "created_at": call.now,
            "dependency": {"package": {"ecosystem": "npm", "name": row["package"]}, "manifest_path": "package.json"},
            "security_advisory": {"severity": row["severity"], "summary": row["summary"]},
            "security_vulnerability": {"first_patched_version": {"identifier": "1.1.3"}},
        }
        for row in _alerts(call, repo, "dependabot")
        if wanted in ("", row["severity"])
    ]
    return call.page(told, by="after")


@route("GET", "R/secret-scanning/alerts", "secret_scanning_alerts:read", scopes=_ALERTS, push=True)
def secret_scanning(call: Call, repo: Json) -> Reply:
    """Return leaked secrets; the secret itself is hidden if the query says so."""
    hidden = call.ask.one("hide_secret") == "true"
    told = [
        {
            "number": row["number"],
            "state": "open",
            "created_at": call.now,
            "secret_type": "example_key",
            "secret_type_display_name": row["type"],
            **({} if hidden else {"secret": row["secret"]}),
        }
        for row in _alerts(call, repo, "secret-scanning")
    ]
    return call.page(told)
