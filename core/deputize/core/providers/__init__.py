"""The table of providers: one file each, facts from the providers' own documentation.

Rows end where their differences end: what all have in common (code flow, S256, rotation, expiry) is the engine's.
"""

from __future__ import annotations

from typing import Final

from deputize.core.providers.github import GITHUB, GITHUB_APP
from deputize.core.providers.google import GOOGLE
from deputize.core.providers.linear import LINEAR
from deputize.core.providers.salesforce import SALESFORCE
from deputize.core.providers.slack import SLACK

__all__ = [
    "GITHUB",
    "GITHUB_APP",
    "GOOGLE",
    "LINEAR",
    "PROVIDERS",
    "SALESFORCE",
    "SLACK",
]

PROVIDERS: Final = {provider.name: provider for provider in (GOOGLE, SLACK, GITHUB, GITHUB_APP, LINEAR, SALESFORCE)}
