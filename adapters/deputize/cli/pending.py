"""``deputize pending``: the consents and approvals that wait for a user. It answers none of them."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deputize.cli import show
from deputize.cli.common import JsonOption, TenantOption, UserOption, command_user, open_deputy

if TYPE_CHECKING:
    from deputize.core import Approval, Consent


def pending(user: UserOption = "", tenant: TenantOption = "", as_json: JsonOption = False) -> None:
    """List what waits for an answer: your consents and approvals, and approvals of others that your role may give.

    Runs that nobody watches leave them here: docs/unattended.md. deputize open shows the page where you answer.
    """
    who = command_user(user, tenant)
    with open_deputy() as deputy:
        own, others = deputy.run(deputy.pending(who)), deputy.run(deputy.pending_of_others(who))
        labels = {name: provider.label for name, provider in deputy.providers.items()}
    if as_json:
        show.data([_facts(one, "") for one in own] + [_facts(one, one.requester) for one in others])
        return
    for one in [*own, *others]:
        show.out.print(show.plain(_describe(one, labels)), soft_wrap=True)
        words = ["deputize", "open", "--user", who.id, *(["--tenant", who.tenant] if who.tenant else [])]
        place = one.link or shlex.join(words)
        show.out.print(show.plain(f"  To answer: {place}", "dim"), soft_wrap=True)
    if not own and not others:
        show.out.print("Nothing waits for an answer.")


def _facts(one: Consent | Approval, requester: str) -> dict[str, Any]:
    return {**one.payload()} | ({"requester": requester} if requester else {})


def _describe(one: Consent | Approval, labels: dict[str, str]) -> str:
    """Return a pending request in sentences."""
    from deputize.core import Approval

    until = f"Until {datetime.fromtimestamp(one.expires_at, UTC).astimezone():%Y-%m-%d %H:%M %Z}."
    if isinstance(one, Approval):
        whose = f" For {one.requester}." if one.requester else ""
        decides = f" Somebody with the role {one.approvers} decides." if one.approvers else ""
        return f"{one.id}  {one.summary}.{whose}{decides}\n  {until}"
    wanted = ", ".join(one.scope_descriptions) or "know which account is yours"
    account = f" as {one.account}" if one.account else ""
    return f"{one.id}  {one.agent} asks to connect {labels.get(one.provider, one.provider)}{account}: {wanted}."
