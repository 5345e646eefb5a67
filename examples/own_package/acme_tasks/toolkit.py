"""What an agent can do at Acme: typed generators of requests, without client, user or token."""

from __future__ import annotations

from deputize.core import Audience, Effect, Preview, Request, Run, Steps, Toolkit, any_of

TOOLKIT = Toolkit("acme", provider="acme", api="acme", shows=True)


@TOOLKIT.tool(needs=[any_of("tasks:read", method="GET /tasks")])
def list_tasks(query: str = "") -> Steps:
    """List the user's tasks whose title contains this."""
    found = yield Request("GET", "/tasks", params={"q": query or None})
    return [{"id": task["id"], "title": task["title"]} for task in found["items"]]


@TOOLKIT.tool(needs=[any_of("tasks:write", method="POST /tasks")], effect=Effect.WRITES)
def create_task(title: str, *, run: Run) -> Steps:
    """Create a task that only the user sees."""
    yield Preview("Create this task", audience=Audience.SELF, title=title)
    made = yield Request("POST", "/tasks", json={"title": title, "client_id": run.key.uuid}, repeat="idem")
    return {"id": made["id"], "title": made["title"]}
