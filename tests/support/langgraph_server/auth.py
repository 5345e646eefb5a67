"""A custom authentication for LangGraph's dev server: ``Bearer alice/acme`` is alice, of acme."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def who(authorization: str | None) -> Any:
    """Return the user of a request, and their tenant."""
    name, _, org = (authorization or "").removeprefix("Bearer ").partition("/")
    if not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no")
    return {"identity": name, "org": org}
