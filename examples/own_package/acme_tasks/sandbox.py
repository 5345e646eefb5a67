"""A simulation of Acme's API for tests and `try_it.py`. Its OAuth server is simulated from the provider definition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deputize.sandbox import ApiCall, Refused, in_json


@dataclass
class Tasks:
    """All users' tasks, by address. A title and a ``client_id`` are unique for each user."""

    of: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def __call__(self, call: ApiCall) -> Any:
        """Answer a call to ``/v1/tasks``."""
        mine = self.of.setdefault(call.person.email, [])
        if (call.method, call.path) == ("GET", "/v1/tasks"):
            call.need("tasks:read")
            return {"items": [task for task in mine if call.query.get("q", "") in task["title"]]}
        if (call.method, call.path) == ("POST", "/v1/tasks"):
            call.need("tasks:write")
            return self._create(mine, **call.json)
        return in_json({"error": "not_found"}, 404)

    def _create(self, mine: list[dict[str, str]], title: str, client_id: str) -> dict[str, str]:
        again = next((task for task in mine if task["client_id"] == client_id), None)
        if again:
            return again
        if any(task["title"] == title for task in mine):
            raise Refused(in_json({"error": "task_exists"}, 400))
        mine.append({"id": f"T{len(mine) + 1}", "title": title, "client_id": client_id})
        return mine[-1]
