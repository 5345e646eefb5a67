"""The providers: one file each, with facts from the providers' own documentation; and those that packages add.

What all providers share (code flow, S256, rotation, expiry) is in the engine, not in a definition.

    built in           `PROVIDERS`
    another package    an entry point of the group ``deputize.providers``: a `Provider`, or a module with ``PROVIDER``
    settings           ``[providers.NAME]``: see `deputize.core.providers.from_settings`
"""

from __future__ import annotations

import re
from typing import Final

from deputize.core.oauth.provider import Provider
from deputize.core.plugins import Plugins
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
    "PLUGINS",
    "PROVIDERS",
    "SALESFORCE",
    "SLACK",
    "bad_name",
    "known",
]

PROVIDERS: Final = {provider.name: provider for provider in (GOOGLE, SLACK, GITHUB, GITHUB_APP, LINEAR, SALESFORCE)}
"""Those that are built in, by name."""


_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


def bad_name(name: str) -> str:
    """Return why a provider of a package or of settings may not have this name, or "".

    A name that people would mistake for a built-in one, such as ``Google`` or ``github-app``, is refused.
    """
    if not _NAME.fullmatch(name):
        return "a name has letters a-z, digits, - and _ only."
    plain = name.replace("-", "").replace("_", "")
    alike = next((one for one in PROVIDERS if one.replace("_", "") == plain and one != name), "")
    return f"its name is too much like that of the built-in {alike}." if alike else ""


def _unusable(row: Provider) -> str:
    """Return why a provider definition cannot be used, or ""."""
    if fault := bad_name(row.name) or row.apis.identity.bad_subject():
        return fault
    api = row.apis.foreign_api()
    return f"the host of its API {api!r} is not among its hosts, so no token may go there." if api else ""


PLUGINS: Final = Plugins(
    "deputize.providers", Provider, noun="provider", export="PROVIDER", built_in=lambda: PROVIDERS, check=_unusable
)


def known_providers() -> dict[str, Provider]:
    """Return built-in providers and those of installed packages, by name. A faulty one is logged once and left out."""
    return {**PROVIDERS, **PLUGINS.all()}
