"""What the audit says of one call, as far as it is known: each step adds what it has found out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from deputize.core.act.act import Act, Call
from deputize.core.act.needs import asks_of
from deputize.core.audit.facts import OfCall
from deputize.core.vault.grant import Grant, User

LONGEST_NAME = 100


@dataclass
class CallRow:
    """``call`` is frozen, and exchanged for one that says more."""

    call: OfCall

    @classmethod
    def begun(cls, tool: str, user: User | str | None, call: Call | None, agent: str) -> CallRow:
        """What is known before anything was checked."""
        who, call = user if isinstance(user, User) else User(str(user or "")), call or Call()
        return cls(
            OfCall(
                tenant=who.tenant,
                user=who.id,
                agent=agent,
                tool=str(tool)[:LONGEST_NAME],
                thread=call.thread,
                run=call.run,
                call_id=call.id,
            )
        )

    def validated(self, act: Act, called: str) -> None:
        """The call is this act. ``called``: the name it was called by, which may be an alias."""
        self.call = replace(
            self.call,
            tool=act.tool.name,
            provider=act.provider,
            app=act.app,
            effect=act.effect.words(),
            called=called if act.tool.called else "",
        )

    def permitted(self, act: Act, grant: Grant, account_hash: str) -> None:
        """The act, as the user may have changed it, with the grant that it uses."""
        self.call = replace(
            self.call,
            effect=act.effect.words(),
            account_hash=account_hash,
            grant_gen=grant.generation,
            scopes_required=asks_of(act.needs),
            scopes_granted=in_order(grant.scopes),
        )

    def showed(self, digest: str) -> None:
        """What was shown, and is now done."""
        self.call = replace(self.call, show=digest)

    def left_out(self, what: str) -> None:
        """What the provider left out of a good answer."""
        self.call = replace(self.call, incomplete=what)


@lru_cache(maxsize=4096)
def in_order(scopes: frozenset[str]) -> tuple[str, ...]:
    """Scopes as people and the audit read them: sorted."""
    return tuple(sorted(scopes))
