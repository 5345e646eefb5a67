"""Whose account a token is, and what it may do where no scope says it: where a provider shows that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Identity:
    """How to learn whose account a token is.

    ``method`` and ``json``: of the request, where it is not a plain GET. Templates name fields of the reply:
    ``{sub}``, ``{data.viewer.id}``; ``{email|name}`` is the first of these that is there. ``subject`` must be stable,
    ``name`` is for people, ``extra`` is kept with the grant.
    """

    url: str
    subject: str
    name: str
    extra: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"
    json: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Permissions:
    """Where rights are read that come from elsewhere than scopes: ``items`` of the reply, each with a map ``of``.

    ``{"issues": "write"}`` there becomes ``issues:write`` here. The url asks for ``per_page`` items; where as many
    come there may be more, on a next ``page``.
    """

    url: str
    items: str
    of: str
    per_page: int = 100
