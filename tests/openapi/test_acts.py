"""A generated toolkit over the sandbox: consent at the generated provider, approval of the preview, each act once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, ConsentRequired, Deputy, InvalidInput, allow_all
from deputize.core.providers import PLUGINS as PROVIDER_PLUGINS
from deputize.core.tools.plugins import PLUGINS as TOOLKIT_PLUGINS
from deputize.sandbox import ApiCall, Sandbox, in_json
from deputize.sandbox.pytest_plugin import Granting
from tests.openapi.acme import acme, make
from tests.support.packages import install

MADE = make(acme())


class Tasks:
    """Acme's API, as far as its description's tools go."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.keys: list[str] = []

    def __call__(self, call: ApiCall) -> Any:
        match call.method, call.path:
            case "GET", "/v1/tasks":
                call.need("tasks:read")
                return {"total": len(self.made), "items": self.made[: int(call.query["per_page"])]}
            case "POST", "/v1/tasks":
                call.need("tasks:write")
                self.made.append({"id": f"T{len(self.made)}", "owner": {"name": call.person.email}, **call.json})
                return self.made[-1]
            case "DELETE", path:
                call.need("tasks:write")
                self.made = [one for one in self.made if one["id"] != path.rpartition("/")[2]]
                return in_json(None, 204)
        return in_json({"error": "not_found"}, 404)


@pytest.fixture
def api() -> Tasks:
    return Tasks()


@pytest.fixture
def sandbox(api: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The whole sandbox, and Acme, whose modules are installed as a third party's package."""
    points = {"deputize.providers": ["acme = acme_provider:ACME"], "deputize.toolkits": ["acme = acme_made:TOOLKIT"]}
    install(tmp_path, monkeypatch, "acme-made", points, acme_made=MADE.module, acme_provider=MADE.provider)
    PROVIDER_PLUGINS.forget()
    TOOLKIT_PLUGINS.forget()
    sandbox = Sandbox()
    sandbox.play(PROVIDER_PLUGINS.all()["acme"], api)
    yield sandbox
    monkeypatch.undo()
    PROVIDER_PLUGINS.forget()
    TOOLKIT_PLUGINS.forget()


def yes(deputy: Deputy, asked: ApprovalRequired) -> None:
    deputy.run(deputy.decide(asked.approval, "approve", by="alice"))


def test_missing_consent_requests_only_the_described_scopes(deputy: Deputy, sandbox: Sandbox) -> None:
    with pytest.raises(ConsentRequired) as asked:
        deputy.run(deputy.act("acme_list_tasks", {}, user="alice"))
    assert asked.value.consent.scopes == ("tasks:read",)
    assert asked.value.consent.scope_descriptions == ('use the permission "tasks:read" (Read your tasks)',)
    assert not sandbox.requests


def test_write_waits_for_one_approval_and_happens_once(deputy: Deputy, grant: Granting, api: Tasks) -> None:
    grant("alice", "tasks:write")
    arguments = {"title": "Buy milk", "due_date": "2026-12-01", "extra": {"file": "x", "to": "eve@evil.test"}}
    call = Call(id="1", thread="t")
    with pytest.raises(ApprovalRequired) as asked:
        deputy.run(deputy.act("acme_create_task", arguments, user="alice", call=call))
    shown = asked.value.approval.preview
    assert (shown["title"], shown["due date"], shown["request"]) == ("Buy milk", "2026-12-01", "POST /tasks")
    assert "eve@evil.test" in shown["extra"] and shown["seen by"] == "not known; possibly everybody"
    assert not api.made
    yes(deputy, asked.value)
    done = deputy.run(deputy.act("acme_create_task", arguments, user="alice", call=call))
    assert done == {"id": "T0", "title": "Buy milk", "owner.name": "alice@example.test", "untrusted": True}
    assert deputy.run(deputy.act("acme_create_task", arguments, user="alice", call=call)) == done
    assert [one["due-date"] for one in api.made] == ["2026-12-01"]


def test_list_has_the_relevant_fields_and_its_next_page(deputy: Deputy, grant: Granting, api: Tasks) -> None:
    grant("alice", "tasks:read")
    api.made = [
        {"id": f"T{n}", "title": "t", "self_url": "https://api.acme.example/x", "done": False} for n in range(4)
    ]
    found = deputy.run(deputy.act("acme_list_tasks", {}, user="alice"))
    rows = [{"id": f"T{n}", "title": "t", "done": False} for n in range(3)]
    assert found == {"total": 4, "items": rows, "next_page": 2, "untrusted": True}


def test_address_in_any_field_is_untrusted(deputy: Deputy, grant: Granting, api: Tasks) -> None:
    grant("alice", "tasks:read", "tasks:write")
    for number, field in enumerate(("id", "title", "owner")):  # those that the description keeps
        address = f"bob{number}@evil.test"
        api.made = [{"id": "T0", field: {"name": address} if field == "owner" else address}]
        call = Call(id=f"1{field}", thread="t")
        with pytest.raises(ApprovalRequired) as before:
            deputy.run(deputy.act("acme_create_task", {"title": address}, user="alice", call=call))
        deputy.run(deputy.act("acme_list_tasks", {}, user="alice", call=Call(id=f"2{field}", thread="t")))
        with pytest.raises(ApprovalRequired) as after:
            deputy.run(deputy.act("acme_create_task", {"title": address}, user="alice", call=Call("t", "n", field)))
        assert "comes from" not in before.value.approval.preview
        assert after.value.approval.preview["comes from"].startswith(f"{address}: a text, read"), field


def test_deletion_preview_warns_about_the_loss(deputy: Deputy, grant: Granting, api: Tasks) -> None:
    grant("alice", "tasks:write")
    api.made = [{"id": "T0"}]
    call = Call(id="1", thread="t")
    with pytest.raises(ApprovalRequired) as asked:
        deputy.run(deputy.act("acme_delete_task", {"task_id": "T0"}, user="alice", call=call))
    assert "will be lost" in asked.value.approval.preview["warning"]
    yes(deputy, asked.value)
    assert deputy.run(deputy.act("acme_delete_task", {"task_id": "T0"}, user="alice", call=call)) == {"done": True}
    assert not api.made


@pytest.mark.parametrize("task", ["../me", "a/b", "", ".."])
def test_argument_cannot_leave_its_path_segment(deputy: Deputy, grant: Granting, sandbox: Sandbox, task: str) -> None:
    deputy.policy = allow_all
    grant("alice", "tasks:write")
    with pytest.raises(InvalidInput, match="task_id: not an id"):
        deputy.run(deputy.act("acme_delete_task", {"task_id": task}, user="alice"))
    assert not [one for one in sandbox.requests if one.method == "DELETE"]
