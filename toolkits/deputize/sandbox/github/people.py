"""People as GitHub shows them."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.github.seed import login, number_id
from deputize.sandbox.people import Person


def user(person: Person) -> dict[str, Any]:
    """A short user, as inside other objects."""
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
