"""A simulation of five OAuth providers: Google with Gmail and Calendar, Slack, GitHub, Linear and Salesforce.

    sandbox = Sandbox()
    client = httpx.AsyncClient(transport=sandbox.transport())       # production URLs, no network
    page = await Browser(sandbox.transport()).allow(authorize_url)  # Alice allows it

Each provider's OAuth clients are in `deputize.sandbox.google`, `.slack`, `.github`, `.linear` and `.salesforce`;
failures of providers are in `deputize.sandbox.faults`. The sandbox never reaches the internet. The package loads its
modules when a name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deputize.sandbox.any_provider import ApiCall
    from deputize.sandbox.browser import Browser, Page
    from deputize.sandbox.http_types import Refused, Reply, in_json
    from deputize.sandbox.oauth import App
    from deputize.sandbox.people import Person
    from deputize.sandbox.sandbox import Sandbox, Seen
    from deputize.sandbox.switches import Switches

__all__ = [
    "ApiCall",
    "App",
    "Browser",
    "Page",
    "Person",
    "Refused",
    "Reply",
    "Sandbox",
    "Seen",
    "Switches",
    "in_json",
]

_HOMES = {
    "ApiCall": "any_provider",
    "App": "oauth",
    "Browser": "browser",
    "Page": "browser",
    "Person": "people",
    "Refused": "http_types",
    "Reply": "http_types",
    "Sandbox": "sandbox",
    "Seen": "sandbox",
    "Switches": "switches",
    "in_json": "http_types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
