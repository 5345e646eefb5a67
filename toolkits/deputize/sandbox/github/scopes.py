"""Scopes of GitHub's OAuth Apps: their descriptions, and which of them include others."""

from __future__ import annotations

from collections.abc import Iterable

WORDS = {
    "repo": "Full control of private repositories",
    "repo:status": "Access commit status",
    "repo_deployment": "Access deployment status",
    "public_repo": "Access public repositories",
    "repo:invite": "Access repository invitations",
    "security_events": "Read and write security events",
    "workflow": "Update GitHub Action workflows",
    "gist": "Create gists",
    "notifications": "Access notifications",
    "user": "Update all user data",
    "read:user": "Read all user profile data",
    "user:email": "Access user email addresses (read-only)",
    "user:follow": "Follow and unfollow users",
    "read:org": "Read org and team membership, read org projects",
    "write:org": "Read and write org and team membership, read and write org projects",
    "admin:org": "Full control of orgs and teams, read and write org projects",
    "project": "Full control of projects",
    "read:project": "Read access of projects",
    "write:discussion": "Read and write team discussions",
    "read:packages": "Download packages",
    "write:packages": "Upload packages",
    "offline_access": "Keep access while you are away",
    "issues:write": "Read and write issues, where the app is installed",
    "metadata:read": "Read repository metadata, where the app is installed",
}
IMPLIES = {
    "repo": ("public_repo", "repo:status", "repo_deployment", "repo:invite", "security_events"),
    "user": ("read:user", "user:email", "user:follow"),
    "admin:org": ("write:org", "read:org"),
    "write:org": ("read:org",),
    "project": ("read:project",),
    "write:packages": ("read:packages",),
}


def drop_included(scopes: Iterable[str]) -> list[str]:
    """Return the scopes without those that a broader one includes, as GitHub grants them."""
    asked = list(scopes)
    covered = {narrow for scope in asked for narrow in IMPLIES.get(scope, ())}
    return [scope for scope in asked if scope not in covered]


def covered_scopes(scopes: Iterable[str]) -> set[str]:
    """Return the scopes with all that they include."""
    held = set(scopes)
    return held | {narrow for scope in held for narrow in IMPLIES.get(scope, ())}
