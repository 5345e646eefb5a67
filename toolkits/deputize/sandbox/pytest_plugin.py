"""Pytest fixtures for users of deputize: ``sandbox``, ``deputy``, ``grant``, ``consent_browser``.

pytest finds them in any environment with deputize. A fixture of the same name in a test module or a conftest.py
replaces them. Nothing is imported before a test requests a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from deputize.core import Deputy
    from deputize.core.vault.grant import Grant
    from deputize.sandbox import Browser, Sandbox


class Granting(Protocol):
    """The type of the ``grant`` fixture."""

    def __call__(self, user: str, *scopes: str, provider: str = "", as_: str = "") -> Grant:
        """Connect ``user`` with these scopes, in addition to earlier ones, without a consent page.

        A scope may be written without the part before its last slash: ``gmail.readonly``. ``provider``: google, slack,
        github, github_app, linear or salesforce; by default the one that has these scopes. ``as_``: the account's
        address in the sandbox; by default ``{user}@example.test``. Returns the grant as stored in the vault. Raises
        LookupError for scopes of no provider or of several, and for an account that is not in the sandbox.
        """
        ...


@pytest.fixture
def sandbox() -> Sandbox:
    """Return a fresh simulation of all providers, with data of alice, of bob, and of a decoy who owns nothing.

    See `deputize.sandbox.Sandbox`: ``sandbox.switches`` injects failures, ``sandbox.sent("alice@example.test")``,
    ``sandbox.service("slack")`` and ``sandbox.requests`` show what happened.
    """
    from deputize.sandbox import Sandbox

    return Sandbox()


@pytest.fixture
def deputy(sandbox: Sandbox) -> Iterator[Deputy]:
    """Yield a deputy over ``sandbox``, with its vault in memory and every provider's app of the sandbox.

    The policy is the default one: it asks before anything is sent or destroyed. Set ``deputy.policy = allow_all`` for
    tests of something else. Waits, such as those after a rate limit, take no time. Works in async tests and, with
    ``deputy.run(...)``, in others.
    """
    from deputize.sandbox.deputies import close, new_deputy

    made = new_deputy(sandbox)
    yield made
    close(made)


@pytest.fixture
def grant(sandbox: Sandbox, deputy: Deputy) -> Granting:
    """Return a function that connects a user without a page: ``grant("alice", "gmail.readonly")``. See `Granting`."""
    from deputize.sandbox.deputies import give_grant

    def connect(user: str, *scopes: str, provider: str = "", as_: str = "") -> Any:
        return give_grant(sandbox, deputy, user, scopes, provider=provider, email=as_ or f"{user}@example.test")

    return connect


@pytest.fixture
def consent_browser(sandbox: Sandbox, deputy: Deputy) -> Browser:
    """Return a browser for the links of ``deputy``: ``await consent_browser.allow(link, as_="alice@example.test")``.

    It goes through deputize's page, the provider's consent page and back; ``untick`` leaves out scopes, ``deny``
    rejects. In a test that is not async: ``deputy.run(consent_browser.allow(link))``.
    """
    from deputize.sandbox.deputies import new_browser

    return new_browser(sandbox, deputy)
