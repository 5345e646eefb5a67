"""The Gmail toolkit, its scopes, and the scopes that each API method accepts.

API: developers.google.com/workspace/gmail/api/reference/rest. The accepted scopes are from its discovery document,
gmail.v1 of 2026-10-05. gmail.metadata is never accepted: Gmail applies its limits to the whole token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from deputize.core import Need, Toolkit, any_of
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.text import FACTS, WRITERS
from deputize.toolkits.gmail.sent import people_written_to

GMAIL = Toolkit(
    "gmail",
    provider="google",
    label="Gmail",
    accepts=ACCEPTS,
    facts=FACTS,
    writers=WRITERS,
    shows="changes",
    cuts=True,
    words=("mail", "email", "inbox", "mailbox"),
    contacts_in=people_written_to,
)

SCOPE: Final = "https://www.googleapis.com/auth/gmail."
READONLY, SEND, COMPOSE, MODIFY, LABELS = (f"{SCOPE}{name}" for name in "readonly send compose modify labels".split())
MAIL: Final = "https://mail.google.com/"
SETTINGS, SHARING = f"{SCOPE}settings.basic", f"{SCOPE}settings.sharing"
READING: Final = frozenset({READONLY, MODIFY, MAIL})
DRAFTING: Final = frozenset({COMPOSE, MODIFY, MAIL})


def reads(method: str) -> Need:
    return any_of(READONLY, MODIFY, MAIL, method=f"gmail.users.{method}")


def reads_drafts(method: str) -> Need:
    """Return the need of a method that reads drafts, which gmail.compose allows too."""
    return any_of(READONLY, COMPOSE, MODIFY, MAIL, method=f"gmail.users.{method}")


def drafts(method: str) -> Need:
    """Return the need of a method that writes or sends drafts, for which gmail.send is not enough."""
    return any_of(COMPOSE, MODIFY, MAIL, method=f"gmail.users.{method}")


def modifies(method: str) -> Need:
    return any_of(MODIFY, MAIL, method=f"gmail.users.{method}")


def labels(method: str) -> Need:
    return any_of(LABELS, MODIFY, MAIL, method=f"gmail.users.{method}")


SENDS: Final = any_of(SEND, COMPOSE, MODIFY, MAIL, method="gmail.users.messages.send")
GETS: Final = reads("messages.get")
KNOWS_LABELS: Final = any_of(READONLY, LABELS, MODIFY, MAIL, method="gmail.users.labels.list")
KNOWS_ALIASES: Final = any_of(READONLY, MODIFY, MAIL, SETTINGS, method="gmail.users.settings.sendAs.list")


def knows_settings(method: str) -> Need:
    return any_of(READONLY, MODIFY, MAIL, SETTINGS, method=f"gmail.users.settings.{method}")


def knows_to_set(method: str) -> Need:
    """Return the need of a read before a change, which requests the scope of the change."""
    return replace(knows_settings(method), ask=SETTINGS)


def sets(method: str) -> Need:
    """Return the need of a method that changes settings. gmail.settings.sharing is never requested."""
    broader = (SHARING,) if method == "sendAs.patch" else ()
    return any_of(SETTINGS, *broader, method=f"gmail.users.settings.{method}")
