"""LlamaIndex's workflow server: each request has a user, who reaches only their own runs; client input proves nothing.

The server is simulated here; `tests/counterparts/test_workflow_server.py` uses the real one.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from llama_index.core.workflow import Context
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from workflows.runtime.runtime_decorators import BaseRuntimeDecorator
from workflows.runtime.verbose import VerboseDecorator

from deputize.adapters.llamaindex import (
    ApprovalResponse,
    ConsentResponse,
    UserMiddleware,
    UserSource,
    resume_paused,
    save_paused,
    served_user,
    store_user,
)
from deputize.adapters.llamaindex.host import SERVED, on_server
from deputize.adapters.llamaindex.server import handler_prefix
from deputize.core import Deputy, User
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND
from tests.support.llamaindex_agents import agent, asked, ended
from tests.support.sandbox_deputy import connect

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
HIS = handler_prefix("bob") + "one"
HERS = handler_prefix("alice") + "one"


async def seen(request: Request) -> JSONResponse:
    """Answer with the request that the server behind the middleware receives."""
    user = SERVED.get()
    body = json.loads(await request.body() or b"null")
    length = request.headers.get("content-length")
    return JSONResponse({"user": user and user.id, "path": request.url.path, "body": body, "length": length})


async def session_user(request: Request) -> str | None:
    return request.headers.get("x-user")


def served(user: str | None = "alice", *, mount: str = "", **more: Any) -> httpx.AsyncClient:
    """Return a client of the simulated server, as this user."""
    inner: Any = UserMiddleware(Starlette(routes=[Route("/{rest:path}", seen, methods=ALL)]), session_user)
    app = Starlette(routes=[Mount(mount, app=inner)]) if mount else inner
    headers = {} if user is None else {"x-user": user}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=f"http://server{mount}", headers=headers, **more)


ALL = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]


# ------------------------------------------------------------- who reaches what


@pytest.mark.parametrize("mount", ["", "/agents", "/events"])
async def test_user_reaches_only_own_handlers(mount: str) -> None:
    async with served(mount=mount) as alice:
        for method, path in (
            ("GET", "/results/{}"),
            ("GET", "/events/{}"),
            ("POST", "/events/{}"),
            ("GET", "/handlers/{}"),
            ("POST", "/handlers/{}/cancel"),
        ):
            own = await alice.request(method, path.format(HERS))
            assert own.status_code == 200 and own.json()["user"] == "alice"
            for foreign in (HIS, "one", "", ".", HERS[:31], "x" + HERS, HERS[:32], f"{HIS}%2F{HERS}", HERS.upper()):
                answer = await alice.request(method, path.format(foreign))
                assert answer.status_code in (403, 404) and "user" not in answer.json(), foreign


@pytest.mark.parametrize("path", ["/handlers", "/handlers/", "/", "/docs", "/workflows/mail", "/events", "/new/thing"])
async def test_route_listing_all_runs_or_unknown_route_is_refused(path: str) -> None:
    async with served() as alice:
        for method in ("GET", "POST", "DELETE"):
            assert (await alice.request(method, path)).status_code == 403


async def test_signed_out_client_reaches_only_the_health_check() -> None:
    for nobody in (None, "", "  "):
        async with served(nobody) as client:
            for path in ("/workflows", f"/results/{HERS}", "/handlers", "/"):
                assert (await client.get(path)).status_code == 401
            assert (await client.post("/workflows/mail/run", json={})).status_code == 401
            assert (await client.get("/health")).json()["user"] is None


async def test_http_error_of_the_user_function_is_answered_with_its_status() -> None:
    async def refused(request: Request) -> str:
        raise HTTPException(403, "canary of a session")

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(UserMiddleware(Starlette(), refused)), base_url="http://server"
    ) as client:
        answer = await client.get(f"/results/{HERS}")
    assert answer.status_code == 403 and "canary" not in answer.text


async def test_application_exception_text_never_reaches_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """LlamaIndex's server answers uncaught exceptions with "Internal server error" and their text."""

    async def broken(request: Request) -> str:
        raise RuntimeError("canary of a database")

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(UserMiddleware(Starlette(), broken)), base_url="http://server"
    ) as client:
        answer = await client.get(f"/results/{HERS}")
    assert answer.status_code == 500 and "RuntimeError" in caplog.text
    assert "canary" not in answer.text + caplog.text


@pytest.mark.parametrize("how", ["run", "run-nowait"])
async def test_each_run_gets_a_handler_id_of_its_user(how: str) -> None:
    async with served() as alice:
        answer = (await alice.post(f"/workflows/mail/{how}", json={"start_event": {"user_msg": "hi"}})).json()
        assert answer["user"] == "alice" and answer["body"]["start_event"] == {"user_msg": "hi"}
        assert answer["body"]["handler_id"].startswith(handler_prefix("alice"))
        assert int(answer["length"]) == len(json.dumps(answer["body"]))
        empty = (await alice.post(f"/workflows/mail/{how}")).json()
        assert empty["body"]["handler_id"] not in ("", answer["body"]["handler_id"])
        again = await alice.post(f"/workflows/mail/{how}", json={"handler_id": HERS})
        assert again.json()["body"]["handler_id"] == HERS, "she goes on with her own"
        for foreign in (HIS, "one", 7, ["x"], {"x": 1}, handler_prefix("alice")[:-1]):
            assert (await alice.post(f"/workflows/mail/{how}", json={"handler_id": foreign})).status_code == 404
        doubled = f'{{"handler_id": "{HERS}", "handler_id": "{HIS}"}}'
        assert (await alice.post(f"/workflows/mail/{how}", content=doubled)).status_code == 404


@pytest.mark.parametrize("body", ["[]", "null", "7", '"x"', "{", "\xff", "[" * 100_000, '{"context": {"state": {}}}'])
async def test_body_with_a_context_or_that_is_not_an_object_is_refused(body: str) -> None:
    async with served() as alice:
        answer = await alice.post("/workflows/mail/run", content=body.encode("latin-1"))
        assert answer.status_code in (400, 403) and "user" not in answer.json()


def test_equal_user_ids_in_two_tenants_have_different_handlers() -> None:
    names = [User("alice"), User("alice", "acme"), User("ali", "ce"), User("acme", "alice"), User("bob")]
    assert len({handler_prefix(user) for user in names}) == len(names)
    assert not any("alice" in handler_prefix(user) for user in names)


async def test_concurrent_requests_keep_their_users_apart() -> None:
    async with served() as alice, served("bob") as bob:
        said = await asyncio.gather(*(who.post("/workflows/mail/run", json={}) for who in [alice, bob] * 10))
    assert [one.json()["user"] for one in said] == ["alice", "bob"] * 10 and SERVED.get() is None


async def test_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await UserMiddleware(Starlette(), session_user)({"type": "websocket", "path": f"/events/{HERS}"}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


# ------------------------------------------------------------- what clients write counts for nothing


class Served(BaseRuntimeDecorator):
    """A runtime other than LlamaIndex's in-process one, as a server has it."""


def on_a_server(deputy: Deputy, *calls: dict[str, Any], user: UserSource) -> Any:
    one = agent("FunctionAgent", deputy, *calls, user=user)
    one._switch_runtime(Served(one.runtime))
    return one


async def test_trap_server_runtime_is_detected_without_a_public_name(deputy: Deputy) -> None:
    """The runtime of the context's workflow is read instead. Without it every run counts as served."""
    found: dict[str, list[bool]] = {"here": [], "verbose": [], "served": [], "served and verbose": []}
    for where, seen_there in found.items():
        one = agent("FunctionAgent", deputy, SEARCH, user=lambda ctx, to=seen_there: to.append(on_server(ctx)))  # type: ignore[misc]
        if "served" in where:
            one._switch_runtime(Served(one.runtime))
        if "verbose" in where:
            one._switch_runtime(VerboseDecorator(one.runtime))
        assert on_server(Context(one)) == ("served" in where)
        await ended(one.run("go on"))
    assert found == {"here": [False], "verbose": [False], "served": [True], "served and verbose": [True]}
    assert on_server(object())  # type: ignore[arg-type]


async def test_context_store_from_a_client_does_not_name_the_user(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    one = on_a_server(deputy, SEARCH, user=store_user())
    ctx: Context[Any] = Context(one)
    await ctx.store.set("user_id", "alice")
    before = len(sandbox.requests)
    assert "does not say who acts" in await ended(one.run("go on", ctx=ctx)) and len(sandbox.requests) == before


async def test_approval_event_only_resumes(deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    await connect(deputy, sandbox, "send")
    for decide in (False, True):
        handler = on_a_server(deputy, SEND, user="alice").run("go on")
        [request] = await asked(handler)
        if decide:  # on its page, or by the host's own route
            await deputy.decide(request.approval_id, "approve", by="alice")
        handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="approve"))
        said = await ended(handler)
        assert ("Sent." in said) == decide and len(sandbox.sent("alice@example.test")) == decide
    assert "UserMiddleware" in caplog.text


async def test_event_of_the_user_decides_behind_the_middleware(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    for who, mails in (("bob", 0), ("alice", 1)):
        SERVED.set(User(who))
        handler = on_a_server(deputy, SEND, user="alice").run("go on")
        [request] = await asked(handler)
        handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="approve"))
        await ended(handler)
        assert len(sandbox.sent("alice@example.test")) == mails


async def test_run_resumed_by_another_users_request_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    """A server removes an idle run from memory, and continues it in the request that sends the next event."""
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    SERVED.set(User("alice"))
    one = agent("FunctionAgent", deputy, SEARCH, user=served_user)
    handler = one.run("go on")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    SERVED.set(User("bob"))
    before = len(sandbox.requests)
    handler = await resume_paused(one, blob, user="alice")
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "another user" in await ended(handler) and len(sandbox.requests) == before
