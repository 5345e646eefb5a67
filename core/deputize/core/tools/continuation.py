"""What comes next of a text that was cut: a reference in the result, which its toolkit's `read_more` follows.

    {"text": "First ...", "more": "github_list_comments?comment_id=5&offset=600&repo=acme%2Fweb.k3m9q2x7p4"}

A reference is the call of a reading tool. It is sealed for its user, so a model follows only what a result has given it
and reaches no tool that the host did not hand out; the call itself is an act like any other: judged, audited, within
the user's grant. Nothing is kept for it, so it is as good after a restart as before.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl, urlencode

from deputize.core.errors import InvalidInput
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import User

if TYPE_CHECKING:
    from deputize.core.tools.act import Act

LONGEST: Final = 16_000
"""Characters of a reference: a path of GitHub's alone has 4,096 bytes, each of them three characters here at worst."""
_SEAL: Final = 10
"""Characters of 5 bits."""
_ACCOUNT, _APP = "@account", "@app"
_PLACES: Final = ("offset", "cursor")
"""Arguments that say where to go on, the first that the tool has."""
_HINT: Final = 'Pass "more" of an earlier result unchanged, or read the thing itself again.'


class Continuation(str):
    """The call that reads what comes next of a text that was cut; a result has it under ``more``.

    ``tool``: a tool that only reads. Its arguments are texts, whole numbers and yes or no.
    """

    tool: str
    arguments: Mapping[str, str | int | bool]

    def __new__(cls, tool: str, /, **arguments: str | int | bool) -> Self:
        told = sorted((name, _word(value)) for name, value in arguments.items())
        one = super().__new__(cls, f"{tool}?{urlencode(told, errors='replace')}")
        one.tool, one.arguments = tool, arguments
        return one

    def at(self, offset: int) -> Self:
        """The same, from this offset on."""
        return type(self)(self.tool, **{**self.arguments, "offset": offset})


def _word(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@frozen
class Called(Printed):
    """The call that a reference stands for."""

    tool: str
    arguments: dict[str, Any]
    account: str | None
    app: str


class References:
    """Seals references for their users. ``key``: the vault's own."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def sealed(self, more: Continuation, act: Act) -> str:
        """The reference as it stands in the result of this act: with the account that the call named, or that is an
        organisation's."""
        named = {_ACCOUNT: act.account, _APP: act.app if act.account or act.organisation else ""}
        kept = {name: value for name, value in named.items() if value}
        plain = f"{more}&{urlencode(kept)}" if kept else str(more)
        return f"{plain}.{self._seal(act.user, plain)}"

    def call(self, user: User, ref: object, cursor: object = "") -> Called:
        """The call that this user's reference stands for; ``cursor``: where to go on instead.

        Raises `InvalidInput` for a text that no result of this user's has given.
        """
        text = ref.strip() if isinstance(ref, str) and len(ref) <= LONGEST else ""
        if not self.is_sealed(user, text):
            raise InvalidInput("ref: not a reference of an earlier result of this user's.", hint=_HINT)
        tool, _, query = text.rpartition(".")[0].partition("?")
        arguments = dict(parse_qsl(query, keep_blank_values=True))
        account, app = arguments.pop(_ACCOUNT, None), arguments.pop(_APP, "")
        if cursor not in ("", None):
            arguments[next((one for one in _PLACES if one in arguments), _PLACES[0])] = str(cursor)
        return Called(tool, arguments, account, app)

    def is_sealed(self, user: User, text: str) -> bool:
        """True if the text is a reference that a result of this user's has given."""
        plain, _, seal = text.rpartition(".")
        if len(text) > LONGEST:
            return False
        return hmac.compare_digest(seal.encode(errors="replace"), self._seal(user, plain).encode())

    def _seal(self, user: User, plain: str) -> str:
        digest = hmac.digest(self.key, repr(("more", user.tenant, user.id, plain)).encode(errors="replace"), "sha256")
        return base64.b32encode(digest).decode()[:_SEAL].lower()
