"""What pages say, in plain words. ``{label}`` is the provider, ``{account}`` who was expected there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WHY: Final[Mapping[str, str]] = {
    "invalid_grant": "{label} has ended the earlier connection. That happens after a password change, a long pause, or "
    "when access was removed there.",
    "moved": "The earlier connection was made with another registration of this application.",
    "lost_rotation": "The earlier connection was lost in an interruption and has to be made anew.",
    "rejected": "{label} no longer accepts the earlier connection.",
    "expired": "The earlier connection has expired.",
    "account_changed": "Another account was connected before.",
    "scope_missing": "{label} says that the earlier connection does not allow enough.",
}
"""Why a connection that was there has to be made again."""

WHY_ELSE: Final = "The earlier connection no longer works."

ENDED: Final[Mapping[str, str]] = {
    "account_mismatch": "You came back with another {label} account than {account}. It was not connected, and nothing "
    "that was connected before has changed. Ask again, and choose {account} at {label}.",
    "same_account": "You came back with the {label} account that was connected already, and it was allowed less than "
    "before. Nothing has changed. Ask again, and choose another account at {label}.",
    "user_mismatch": "Somebody else was signed in when this link was used, so it was closed. Nothing was connected.",
    "browser_mismatch": "The answer from {label} came from another browser than the one that asked, so it was refused. "
    "Nothing was connected. Finish in the browser you began in.",
    "other_app": "The answer from {label} did not fit the question, so it was refused. Nothing was connected.",
    "other_issuer": "The answer did not come from {label}, so it was refused. Nothing was connected.",
    "expired_code": "The code for {label} was not entered in time. Nothing was connected.",
    "expired_state": "It took too long to come back from {label}. Nothing was connected.",
    "restart_consent": "{label} did not accept its own answer any more. Nothing was connected.",
    "grant_dead": "{label} did not accept its own answer any more. Nothing was connected.",
    "moved": "This application was set up for another server than the one you were asked at. Nothing was connected.",
    "operator": "This application is not registered with {label} as it should be. Whoever runs it has to mend that.",
    "invalid_input": "{label} did not accept the question of this application. Whoever runs it has to mend that.",
    "org_blocked": "Your organization does not allow this at {label}. An administrator can change that.",
    "org_session_policy": "Your organization wants you to sign in to {label} again first.",
    "account_inactive": "This {label} account is not active.",
    "rate_limited": "{label} is answering too many questions just now. Try again in a few minutes.",
    "no_user_token": "{label} gave access to the workspace but not to your own account. Nothing was connected.",
}
"""How a consent failed, by its reason."""

ENDED_ELSE: Final = "{label} did not finish the connection. Nothing was connected. Ask again in a few minutes."

EFFECTS: Final[Mapping[str, str]] = {
    "reads": "only looks something up",
    "writes": "changes something of yours",
    "sends": "does something that others will see",
    "destructive": "deletes or overwrites something",
}

UPSTREAM: Final[Mapping[str, str]] = {
    "done": "{label} has ended the access as well.",
    "queued": "{label} could not be reached. It will be told as soon as it can be.",
    "moved": "{label} was not told, since this application is set up for another server now. Remove the access in the "
    "account it came from as well.",
    "not_supported": "{label} offers no way to be told. You can remove the access in your {label} account as well.",
    "gave_up": "{label} could not be told. Remove the access in your {label} account as well.",
}
"""What the provider knows of a disconnected account."""

REVOKING: Final[Mapping[str, str]] = {
    "google": "Google ends all that this application may do with the account at once, not only for one agent: mail "
    "and calendar alike.",
}
"""What disconnecting means at providers where it means more than one might think."""


def other_words(other: str, instead: str, label: str) -> str:
    """What happens to the accounts there are, where a consent is for another one; empty where it is not."""
    if other == "another":
        return f"This adds one more account. Choose it at {label}; what is connected already stays as it is."
    if other == "switch":
        who = f" instead of {instead}, which stays connected" if instead else ""
        return f"The account that you choose at {label} will act for you from now on{who}."
    return ""


def agent_words(name: str) -> str:
    """How a sentence about the agent begins."""
    return name if name and name != "agent" else "Your agent"


def said(table: Mapping[str, str], key: str, otherwise: str, label: str, account: str = "") -> str:
    """The sentence for a reason, filled in."""
    return table.get(key, otherwise).format(label=label, account=account or "the account you had connected")


def minutes(seconds: float) -> str:
    """A time that is left, roughly."""
    whole = max(round(seconds / 60), 1)
    return "1 minute" if whole == 1 else f"{whole} minutes"
