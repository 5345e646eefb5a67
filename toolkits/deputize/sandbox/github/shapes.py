"""Users and repositories in GitHub's format."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.github.seed import ORGS, login, number_id
from deputize.sandbox.people import Person


def user(person: Person) -> dict[str, Any]:
    """Return a short user, as inside other objects."""
    name = login(person.email)
    return {
        "login": name,
        "id": number_id(person.sub),
        "node_id": f"U_{number_id(person.sub)}",
        "avatar_url": f"https://avatars.example.test/u/{number_id(person.sub)}",
        "url": f"https://api.github.com/users/{name}",
        "html_url": f"https://github.com/{name}",
        "type": "User",
        "site_admin": False,
    }


def repository(row: dict[str, Any]) -> dict[str, Any]:
    """Return a repository, as in lists."""
    owner, _, name = row["full_name"].partition("/")
    return {
        "id": row["id"],
        "node_id": f"R_{row['id']}",
        "name": name,
        "full_name": row["full_name"],
        "private": row["private"],
        "archived": row["archived"],
        "owner": {"login": owner, "type": "Organization" if owner in ORGS else "User"},
        "html_url": f"https://github.com/{row['full_name']}",
        "url": f"https://api.github.com/repos/{row['full_name']}",
        "description": row["description"],
        "fork": bool(row["fork_of"]),
        "language": row["language"],
        "topics": row["topics"],
        "license": {"key": "mit", "name": "MIT License", "spdx_id": "MIT"} if row["license"] else None,
        "visibility": "private" if row["private"] else "public",
        "default_branch": row["default_branch"],
        "stargazers_count": len(row["stars"]),
        "forks_count": row["forks"],
        "pushed_at": row["pushed_at"],
        "created_at": row["created_at"],
        "updated_at": row["pushed_at"],
        "is_template": row["template"],
    }
