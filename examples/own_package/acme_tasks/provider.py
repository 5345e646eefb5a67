"""Acme's provider definition: its differences from other OAuth servers, and its errors. Source:
acme.example/developers."""

from __future__ import annotations

from dataclasses import replace

from deputize.core import ApiRules, Identity, OAuthEndpoints, Provider
from deputize.core.failures import Kind, outcome_of, table, when
from deputize.core.failures.standard import EXISTS, GENERIC, HTTP

ACME_RULES = replace(
    GENERIC,
    api=table(
        when(EXISTS, "task_exists"),
        when(outcome_of(Kind.ORG_BLOCKED), "workspace_frozen"),
        *HTTP,
    ),
)

ACME = Provider(
    name="acme",
    label="Acme",
    oauth=OAuthEndpoints(
        authorize_url="https://acme.example/oauth/authorize",
        token_url="https://acme.example/oauth/token",
        revoke_url="https://acme.example/oauth/revoke",
    ),
    apis=ApiRules(
        roots={"acme": "https://api.acme.example/v1"},
        hosts=frozenset({"api.acme.example"}),
        identity=Identity("https://api.acme.example/v1/me", subject="{id}", name="{email}"),
    ),
    rules=ACME_RULES,
    scope_descriptions={"tasks:read": "read your tasks", "tasks:write": "create tasks as you"},
)
