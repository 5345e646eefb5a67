"""Texts of the pages, in plain words: what happened, and what to do next.

``{label}`` is the provider, ``{account}`` the account that was expected there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Final, NamedTuple

from deputize.core.approvals.headline import PAGE_AGENT as PAGE_AGENT
from deputize.core.approvals.headline import agent_words as agent_words
from deputize.core.approvals.outcome import describe_outcome
from deputize.core.errors import DeputizeError
from deputize.core.oauth.refusals import REMEDIES
from deputize.core.user_requests import Approval
from deputize.core.visible_text import visible


class Message(NamedTuple):
    """A page with one message: what happened, and what to do next."""

    title: str
    message: str
    hint: str = ""


def failure(error: DeputizeError) -> str:
    """Return the message of an error, followed by the provider's own reason."""
    return (
        f"{error.message} The provider says: {visible(error.provider_says)}" if error.from_provider else error.message
    )


REFUSED: Final = Message(
    "This link cannot be used",
    "It may have been used already, or be too old, or be meant for somebody else.",
    "Go back to where you were asked and open the newest link there.",
)
MISSING_ROLE: Final = Message(
    "This page is not for you",
    "Your sign-in gives you no role that may see it.",
    "If you got the role since you signed in, sign out and sign in again.",
)
SIGN_IN: Final = Message("Sign in first", "Sign in to the application, then open this page again.")
NOT_SIGNED_IN: Final = Message(
    "You are not signed in", "The sign-in did not come to an end.", "Open the page you wanted once more to try again."
)
SIGNED_OUT_MEANWHILE: Final = Message(
    "You are not signed in any more", "Nothing was done.", "Open this page again to sign in, and press the button then."
)
SIGNED_OUT: Final = Message("You are signed out", "Open any page here to sign in again.")
NO_PAGE: Final = Message("Nothing here", "There is no page at this address.")
BROKEN_TITLE: Final = "That did not work"
BROKEN: Final = Message(BROKEN_TITLE, "Something failed on this server, and was logged.", "Try again in a few minutes.")
CALLBACK_FAILED: Final = Message(
    BROKEN_TITLE, "The provider's answer could not be used.", "Ask your agent again in a few minutes."
)
NO_COOKIES: Final = Message(
    "This link needs a cookie",
    "On this machine a link belongs to the browser that opens it first, and this browser keeps no cookie that says so.",
    "Allow cookies for this address, or open the link in another browser.",
)
NOT_UNDONE: Final = "It was not undone"
TOO_LATE_TO_UNDO: Final = Message(NOT_UNDONE, "This is not known any more, so it can no longer be undone.")
LOCAL_CONNECTIONS: Final = Message(
    "Your connections",
    "On this machine nobody signs in, so your connections have a link of their own.",
    "Run deputize open in a terminal and open the link it shows.",
)

WHY: Final[Mapping[str, str]] = {
    "invalid_grant": "{label} has ended the earlier connection. That happens after a password change, a long pause, or "
    "when access was removed there.",
    "moved": "The earlier connection was made with another registration of this application.",
    "lost_rotation": "The earlier connection was lost in an interruption and has to be made again.",
    "rejected": "{label} no longer accepts the earlier connection.",
    "expired": "The earlier connection has expired.",
    "not_bound": "{label} has answered in a way that is not safe enough for this application.",
    "other_account": "{label} has answered for another account than the one that was connected.",
    "session_needed": "Your session in this application, which stood for it, has ended.",
    "session_expired": "Your session in this application, which stood for it, has ended.",
    "scope_missing": "{label} says that the earlier connection does not allow enough.",
    "ends_soon": "The earlier connection ends soon.",
}
"""Why a connection that was there has to be made again."""

END: Final[Mapping[str, str]] = {
    "refresh_token": "{label} ends this connection on {at}.",
    "no_refresh_token": "{label} ends this connection on {at}.",
    "unused": "{label} ends this connection on {at}, unless it is used before.",
    "key": "The key of this account ends on {at}.",
}
"""Sentences about the known end of a connection, by its reason."""

SUSPECT: Final = "{label} refuses this connection at the moment. It is tried again whenever an agent needs it."

WHY_ELSE: Final = "The earlier connection no longer works."

HEADS: Final[Mapping[str, str]] = {
    "granted": "{label} is connected",
    "partial": "{label} is connected, in part",
    "denied": "You said no",
    "cancelled": "This was cancelled",
}
"""The first line of how a consent ended, by its status."""

HEAD_ELSE: Final = "{label} is not connected"

OUTCOMES: Final[Mapping[str, str]] = {
    "granted": "done",
    "partial": "part",
    "denied": "declined",
    "cancelled": "declined",
}
"""How a page looks, by the status of its consent; ``failed`` for any other."""

ENDED: Final[Mapping[str, str]] = {
    "consent_denied": "Nothing was connected at {label}. Your agent will not ask for this again by itself.",
    "disconnected": "The connection was ended while this link was waiting. Nothing was connected.",
    "account_mismatch": "You came back with another {label} account than {account}. It was not connected, and nothing "
    "that was connected before has changed.",
    "same_account": "You came back with the {label} account that was connected already, and it was allowed less than "
    "before. Nothing has changed.",
    "user_mismatch": "Somebody else was signed in when this link was used, so it was closed. Nothing was connected.",
    "browser_mismatch": "The answer from {label} came from another browser than the one that asked, so it was refused. "
    "Nothing was connected.",
    "other_app": "The answer from {label} did not belong to this request, so it was refused. Nothing was connected.",
    "other_issuer": "The answer did not come from {label}, so it was refused. Nothing was connected.",
    "interrupted": "This program was cut off before {label} had answered. Nothing was connected.",
    "expired_code": "The code for {label} was not entered in time. Nothing was connected.",
    "expired_state": "It took too long to come back from {label}. Nothing was connected.",
    "restart_consent": "{label} no longer accepted its own answer. Nothing was connected.",
    "grant_dead": "{label} no longer accepted its own answer. Nothing was connected.",
    "moved": "The settings of this application changed while you were at {label}. Nothing was connected.",
    "bad_id_token": "{label} did not prove whose account this is. Nothing was connected.",
    "operator": "This application is not registered with {label} as it should be. Nothing was connected.",
    "invalid_request": "{label} did not accept the request of this application. Nothing was connected.",
    "invalid_scope": "{label} does not give this application what was asked for. Nothing was connected.",
    "invalid_target": "{label} does not let this application into what was asked for. Nothing was connected.",
    "invalid_client": "{label} does not know this application. Nothing was connected.",
    "unauthorized_client": "{label} does not let this application ask. Nothing was connected.",
    "redirect_uri_mismatch": "{label} does not know the address that this application wanted you to come back to. "
    "Nothing was connected.",
    "unsupported_response_type": "{label} gives this application no codes. Nothing was connected.",
    "invalid_dpop_proof": "{label} wants a proof that this application does not give. Nothing was connected.",
    "unclassified": "{label} did not accept the request of this application. Nothing was connected.",
    "invalid_input": "{label} did not accept the request of this application. Nothing was connected.",
    "not_bound": "{label} answered in a way that is not safe enough for this application. Nothing was connected.",
    "org_blocked": "Your organization does not allow this at {label}. Nothing was connected.",
    "org_session_policy": "Your organization wants you to sign in to {label} again first. Nothing was connected.",
    "account_inactive": "This {label} account is not active. Nothing was connected.",
    "rate_limited": "{label} has too many requests at the moment. Nothing was connected.",
    "no_user_token": "{label} gave access to the workspace but not to your own account. Nothing was connected.",
}
"""How a consent ended without a connection, by its reason."""

ENDED_ELSE: Final = "{label} did not finish the connection. Nothing was connected."

_OPERATOR: Final = "Tell the people who run this application: only they can repair this."

NEXT: Final[Mapping[str, str]] = {
    "consent_denied": "If you change your mind, ask your agent for the same thing again. "
    "With some agents, this works after ten minutes.",
    "disconnected": "Ask your agent again if you want to connect it.",
    "account_mismatch": "Ask your agent again, and choose {account} at {label}.",
    "same_account": "Ask again, and choose another account at {label}.",
    "browser_mismatch": "Ask your agent again, and finish in the browser you begin in.",
    "moved": "Ask your agent again, and open the new link.",
    "interrupted": "Ask your agent again, and open the new link.",
    "bad_id_token": _OPERATOR,
    "operator": _OPERATOR,
    "invalid_input": _OPERATOR,
    **{reason: f"Tell the people who run this application: {remedy}" for reason, remedy in REMEDIES.items()},
    "not_bound": _OPERATOR,
    "org_blocked": "Ask an administrator of your organization to allow it, then ask your agent again.",
    "org_session_policy": "Sign in to {label}, then ask your agent again.",
    "account_inactive": "Ask your agent again, and choose another account at {label}.",
    "no_user_token": "Ask your agent again, and allow access to your own account at {label}.",
}
"""What to do after that, by its reason."""

NEXT_ELSE: Final = "Ask your agent again in a few minutes: you get a new link."

APPROVAL_HEADS: Final[Mapping[str, str]] = {
    "approved": "Approved",
    "rejected": "Rejected",
    "used": "Approved, and begun",
}
"""The first line of an approval that was answered, by its status."""


QUESTION_HEADS: Final[Mapping[str, str]] = {"approved": "Answered", "rejected": "Declined", "used": "Answered"}
"""The same for an answered question."""


def approval_head(act: Approval, zone: tzinfo | None) -> str:
    """Return the first line of a decided approval. If its act has begun, the line is about the act's state."""
    if act.outcome in ("done", "unknown"):
        so = describe_outcome(act, zone)
        return f"{so[:1].upper()}{so[1:]}"
    return APPROVAL_HEADS.get(act.status, "")


EFFECTS: Final[Mapping[str, str]] = {
    "reads": "only looks something up",
    "writes": "changes something of yours",
    "sends": "does something that others will see",
    "destructive": "deletes or overwrites something",
}

ACTS: Final[Mapping[str, tuple[str, str]]] = {
    "done": ("Done", "done"),
    "declined": ("Not done: you said no", "declined"),
    "policy_denied": ("Not done: the rules of this application forbid it", "declined"),
    "interrupted": ("It was cut off. Nobody knows whether it was done", "part"),
    "outcome_unknown": ("Nobody knows whether it was done", "part"),
    "conflict": ("Not done: it was not as expected any more", "failed"),
    "rate_limited": ("Not done: too much at once", "failed"),
    "not_found": ("Not done: something was not found", "failed"),
}
"""How an act ended, and how that looks, by the decision of its row."""


def outcome_label(decision: str) -> tuple[str, str]:
    """Return the outcome of an act in words, and its style."""
    return ACTS.get(decision, ("Not done: it failed", "failed"))


UPSTREAM: Final[Mapping[str, str]] = {
    "done": "{label} has ended the access as well.",
    "queued": "{label} could not be reached. We keep trying to end the access there, too.",
    "moved": "The access at {label} was not ended: this application is set up for another server now. Remove it in the "
    "account it came from as well.",
    "not_supported": "{label} offers no way to end the access from here. Remove it in your {label} account as well.",
    "abandoned": "{label} could not be reached for a day. Remove the access in your {label} account as well.",
}
"""What the provider knows of a disconnected account."""


def other_words(other: str, instead: str, label: str) -> str:
    """Return the effect on the connected accounts if a consent is for another account, or ""."""
    if other == "another":
        return f"This adds one more account. Choose it at {label}; what is connected already stays as it is."
    if other == "switch":
        who = f" instead of {instead}, which stays connected" if instead else ""
        return f"The account that you choose at {label} will act for you from now on{who}."
    return ""


def nameless_words(label: str) -> str:
    """Return the explanation for users about a provider that never names the account."""
    return (
        f"{label} does not tell us whose account this is. If somebody else is signed in there when you continue, "
        "we cannot notice: look there, before you say yes, that the account is yours."
    )


def sentence(table: Mapping[str, str], key: str, otherwise: str, label: str, account: str = "") -> str:
    """Return the sentence for a reason, with label and account filled in."""
    return table.get(key, otherwise).format(label=label, account=account or "the account you had connected")


def minutes(seconds: float) -> str:
    """Return the remaining time, rounded to minutes, to hours from two hours, or to days from two days."""
    for unit, name in ((86400, "days"), (3600, "hours")):
        if seconds >= 2 * unit:
            return f"{round(seconds / unit)} {name}"
    whole = max(round(seconds / 60), 1)
    return "1 minute" if whole == 1 else f"{whole} minutes"
