"""Our pages beside the API of LangGraph's server, mounted as in docs/langgraph-server.md. The session is a cookie."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from deputize.core import Deputy, User
from deputize.core.web.app import pages_app
from tests.support.langgraph_server.graphs import settings

deputy = Deputy.from_settings(settings)


def signed_in(request: Request) -> User | None:
    """Return the signed-in user: the same names as `auth.who` gives."""
    name = request.cookies.get("session")
    return User(name) if name else None


app = Starlette(routes=[Mount("/deputize", pages_app(deputy, verifier=signed_in, sign_in="/login"))])
