"""The end of a grant, if it can be known before: by the provider's reply, the token itself, or the operator's settings.

Nothing is assumed. A grant without a known end may end at any time: a user, a password change or a pause can end it.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from deputize.core.grants.refresh_request import has_refresh_token
from deputize.core.oauth.app import RENEWED_BY_SOURCE, App, ServiceAccount
from deputize.core.oauth.provider import Provider
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Grant

EndReason: TypeAlias = Literal["refresh_token", "unused", "no_refresh_token", "key"]
"""``refresh_token``: the provider has said when its refresh token ends. ``unused``: the same, and each refresh extends
it, so only a grant that is not used ends. ``no_refresh_token``: its access token ends and cannot be refreshed. ``key``:
the service account's key or secret ends."""

END_NOTICE_SECONDS: Final = 259200.0
"""Seconds before the end of a grant from which it is announced: three days, so that a weekend is no surprise."""
ENDS_SOON: Final = "ends_soon"
"""Reason of a consent that replaces a grant before it ends."""


@frozen
class GrantEnd(ValueObject):
    """The end of a grant: ``at`` in Unix seconds, and why."""

    at: float
    reason: EndReason

    def is_near(self, now: float) -> bool:
        """Return True from `END_NOTICE_SECONDS` before the end."""
        return self.at - now <= END_NOTICE_SECONDS


def end_of_key(app: App) -> GrantEnd | None:
    """Return the end of a service account's key or secret, or None if the settings name none."""
    source = app.source
    return GrantEnd(source.valid_until, "key") if isinstance(source, ServiceAccount) and source.valid_until else None


def end_of(grant: Grant, provider: Provider, app: App) -> GrantEnd | None:
    """Return the end of an active grant, or None if it is not known or the grant has ended."""
    if grant.status != "active":
        return None
    if isinstance(app.source, ServiceAccount):
        return end_of_key(app)
    if grant.source in RENEWED_BY_SOURCE:  # its session renews it, and nobody knows how long that lasts
        return None
    if not has_refresh_token(grant):
        return GrantEnd(grant.expires_at, "no_refresh_token") if grant.expires_at else None
    if not grant.refresh_ends_at:
        return None
    return GrantEnd(grant.refresh_ends_at, "unused" if provider.oauth.refresh_extends else "refresh_token")


def must_be_told(grant: Grant, end: GrantEnd, now: float) -> bool:
    """Return True if the audit has not announced this end and should.

    An end that moves is announced again only if it is more than `END_NOTICE_SECONDS` later than the announced one. So
    the announced end has passed before the next row, whatever the provider's replies say.
    """
    is_new = not grant.end_told_at or end.at > grant.end_told_at + END_NOTICE_SECONDS
    return is_new and end.reason != "unused" and end.is_near(now)
