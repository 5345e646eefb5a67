"""Providers with changed fields for tests: fields are named alone, wherever they are in the provider."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from deputize.core.oauth.provider import ApiRules, OAuthEndpoints, Provider


def with_fields(row: Provider, **changes: Any) -> Provider:
    """Return the provider with these fields replaced, its own or those of its ``oauth`` or ``apis``."""
    oauth, apis = (_among(kind, changes) for kind in (OAuthEndpoints, ApiRules))
    return replace(row, oauth=replace(row.oauth, **oauth), apis=replace(row.apis, **apis), **changes)


def _among(kind: type[OAuthEndpoints] | type[ApiRules], changes: dict[str, Any]) -> dict[str, Any]:
    return {one.name: changes.pop(one.name) for one in fields(kind) if one.name in changes}


def said_fields(row: Provider) -> dict[str, Any]:
    """Return all fields of a provider definition by name, except cached values."""
    own = {one.name: getattr(row, one.name) for one in fields(Provider) if one.init}
    parts = (own.pop("oauth"), own.pop("apis"))
    return own | {one.name: getattr(part, one.name) for part in parts for one in fields(part)}
