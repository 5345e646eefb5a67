"""One tool call as a user: where it came from, and what is about to be done.

Call   conversation, message that asked, id of the call: what tells whether two calls are the same one
Act    the call, validated: whose, which tool, which arguments and effect, through which app, under which key
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, TypeAlias, TypedDict, Unpack

from deputize.core.tools.act_key import ActKey
from deputize.core.tools.canonical import canonical
from deputize.core.tools.needs import Need
from deputize.core.tools.preview import Preview
from deputize.core.tools.tool import Effect, Tool
from deputize.core.tools.untrusted import Untrusted
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.grant import User


@frozen
class Undoes(ValueObject):
    """What a call puts back. ``act``: the id of that act; ``holds``: what it has left, by the names of what the call
    shows; see `deputize.core.Undo`."""

    act: str
    holds: Mapping[str, Any]


@frozen
class Call(ValueObject):
    """Where a tool call came from: conversation, message that asked, id of the call. Empty: nobody can ask again.

    ``undoes``: the act that it puts back, where it does that.
    """

    thread: str = ""
    message: str = ""
    id: str = ""
    run: str = ""
    undoes: Undoes | None = field(default=None, compare=False)

    @property
    def has_id(self) -> bool:
        """Whether a second call can be told to be the same one."""
        return bool(self.id)

    @property
    def ask(self) -> str:
        """The request of the user behind the call; empty if it is not known."""
        return ActKey.of("ask", self.thread, self.message).hex[:32] if self.message else ""


ToolCall: TypeAlias = tuple[str, Mapping[str, Any], Call]
"""A tool's name, its arguments, and where the call came from."""


class Progress(TypedDict, total=False):
    """What becomes known of an act on its way, and changes nothing of what it is."""

    approved: bool
    show: Preview
    began: float
    outside: tuple[Untrusted, ...]
    mandate: str


@frozen(slots=False)
class Act(Printed):
    """One tool call as a user, validated and not yet done: what a policy decides about.

    ``nonce`` stands in for the id of a call that has none: such an act is never the same as another. ``provider_base``:
    the row that the provider was made from, whose scopes it has; see `deputize.core.oauth.provider.Provider`.
    ``asked``: what the user was asked about, where the user changed the arguments. ``approved``: on the user's yes,
    which it takes.
    ``show``: what is about to happen, resolved; None as long as that is not known, and always of a tool that does not
    show. ``began``: when it was first asked for, in Unix seconds; 0.0 where nobody has to know. ``outside``: those of
    its targets that strangers have named in a text which was read in the same conversation. ``mandate``: the id of the
    one it happens under. ``organisation``: whose service account acts, in words; "" where it is an account of the user.
    """

    user: User
    tool: Tool
    arguments: Mapping[str, Any]
    effect: Effect
    call: Call
    agent: str
    app: str
    provider: str
    account: str | None = None
    nonce: str = ""
    provider_base: str = ""
    asked: Mapping[str, Any] | None = None
    approved: bool = False
    show: Preview | None = None
    began: float = 0.0
    outside: tuple[Untrusted, ...] = ()
    mandate: str = ""
    organisation: str = ""

    def having(self, **more: Unpack[Progress]) -> Act:
        """The same act, further on its way. What follows from its arguments is not worked out again."""
        same = object.__new__(Act)
        same.__dict__.update(self.__dict__, **more)
        return same

    @property
    def shows(self) -> bool:
        """Whether it shows what it will do, and is judged and asked about there."""
        return self.tool.shows and self.effect is not Effect.READS

    @property
    def service_account(self) -> str:
        """The app whose service account acts; "" where it is an account of the user."""
        return self.app if self.organisation else ""

    @property
    def can_ask(self) -> bool:
        """Whether what its provider asks finds the user, and a later run of it their answer."""
        return not self.organisation and (self.call.has_id or self.effect is Effect.READS)

    @cached_property
    def needs(self) -> Sequence[Need]:
        """What these arguments need, in the words of the provider that is asked."""
        return self.tool.needs_of(self.arguments, self.provider_base or self.provider)

    @cached_property
    def said(self) -> str:
        """What was asked for, in one form; see `deputize.core.tools.canonical`. An edit does not change it."""
        return canonical(self.tool, self.arguments if self.asked is None else self.asked)

    @property
    def changed_by_user(self) -> Mapping[str, Any]:
        """The arguments that the user's edit has put in place of what was asked for, as JSON; None: its default."""
        if self.asked is None:
            return {}
        before, now = json.loads(self.said), json.loads(canonical(self.tool, self.arguments))
        return {name: now.get(name) for name in {**before, **now} if now.get(name) != before.get(name)}

    @cached_property
    def key(self) -> ActKey:
        """What makes two calls the same act. Texts that look alike, in another form of Unicode, are the same."""
        call, name = self.call, self.call.id or self.nonce
        whose = self.user.tenant, self.user.id, call.thread, call.message, name, self.tool.name
        return ActKey.of(*whose, unicodedata.normalize("NFC", self.said))

    @property
    def digest(self) -> str:
        """Of what was asked for, to the letter: 32 hexadecimal characters."""
        return hashlib.sha256(self.said.encode(errors="surrogatepass")).hexdigest()[:32]
