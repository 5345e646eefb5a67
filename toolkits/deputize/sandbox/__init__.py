"""A stand-in for OAuth providers, for demos and tests: now Google with Gmail.

    sandbox = Sandbox()
    client = httpx.AsyncClient(transport=sandbox.transport())       # production URLs, no network
    page = await Browser(sandbox.transport()).allow(authorize_url)  # Alice says yes

Its OAuth client is in `deputize.sandbox.google`. Nothing here reaches the internet.
"""

from __future__ import annotations

from deputize.sandbox.browser import Browser, Page
from deputize.sandbox.people import Person
from deputize.sandbox.sandbox import Sandbox, Seen
from deputize.sandbox.switches import Switches

__all__ = ["Browser", "Page", "Person", "Sandbox", "Seen", "Switches"]
