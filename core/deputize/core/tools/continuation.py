"""References to the rest of a text that was cut. The toolkit's `read_more` follows them.

    {"text": "First ...", "more": "github_list_comments?comment_id=5&offset=600&repo=acme%2Fweb.k3m9q2x7p4"}

A reference contains the call of a reading tool, signed for its user. So a model can only follow references from that
user's results, and cannot reach a tool that your application left out. The call is an act like any other: judged,
audited, within the user's grant. Nothing is stored for a reference, so it is valid after a restart.
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

MAX_REF_CHARACTERS: Final = 16_000
"""Characters of a reference: a GitHub path alone has up to 4,096 bytes, each up to three characters here."""
_SEAL: Final = 10
"""Characters of the signature, 5 bits each."""
_ACCOUNT, _APP = "@account", "@app"
_PLACES: Final = ("offset", "cursor")
"""Arguments for the position. The first that the call has is replaced by ``cursor``."""
_HINT: Final = 'Pass "more" of an earlier result unchanged, or read the thing itself again.'


class Continuation(str):
    """The call that reads the rest of a cut text, returned in a result's ``more``.

    ``tool``: a tool that only reads. Its arguments are strings, integers and booleans.
    """

    tool: str
    arguments: Mapping[str, str | int | bool]

    def __new__(cls, tool: str, /, **arguments: str | int | bool) -> Self:
        told = sorted((name, _word(value)) for name, value in arguments.items())
        one = super().__new__(cls, f"{tool}?{urlencode(told, errors='replace')}")
        one.tool, one.arguments = tool, arguments
        return one

    def at(self, offset: int) -> Self:
        """Return the same call with this offset."""
        return type(self)(self.tool, **{**self.arguments, "offset": offset})


def _word(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@frozen
class Called(Printed):
    """The call that a reference contains."""

    tool: str
    arguments: dict[str, Any]
    account: str | None
    app: str


class References:
    """Signs and verifies references. ``key``: a key derived from the vault's."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def sealed(self, more: Continuation, act: Act) -> str:
        """Return the signed reference for a result of this act. The reference includes the account that the call named,
        or the app whose service account acts."""
        named = {_ACCOUNT: act.account, _APP: act.app if act.account or act.organisation else ""}
        kept = {name: value for name, value in named.items() if value}
        plain = f"{more}&{urlencode(kept)}" if kept else str(more)
        return f"{plain}.{self._seal(act.user, plain)}"

    def call(self, user: User, ref: object, cursor: object = "") -> Called:
        """Return the call in this reference of the user. ``cursor``: another position to continue from.

        Raises `InvalidInput` for a string that is not a reference from one of this user's results.
        """
        text = ref.strip() if isinstance(ref, str) and len(ref) <= MAX_REF_CHARACTERS else ""
        if not self.is_sealed(user, text):
            raise InvalidInput("ref: not a reference from an earlier result of this user.", hint=_HINT)
        tool, _, query = text.rpartition(".")[0].partition("?")
        arguments = dict(parse_qsl(query, keep_blank_values=True))
        account, app = arguments.pop(_ACCOUNT, None), arguments.pop(_APP, "")
        if cursor not in ("", None):
            arguments[next((one for one in _PLACES if one in arguments), _PLACES[0])] = str(cursor)
        return Called(tool, arguments, account, app)

    def is_sealed(self, user: User, text: str) -> bool:
        """Return True if the string is a reference from one of this user's results."""
        plain, _, seal = text.rpartition(".")
        if len(text) > MAX_REF_CHARACTERS:
            return False
        return hmac.compare_digest(seal.encode(errors="replace"), self._seal(user, plain).encode())

    def _seal(self, user: User, plain: str) -> str:
        digest = hmac.digest(self.key, repr(("more", user.tenant, user.id, plain)).encode(errors="replace"), "sha256")
        return base64.b32encode(digest).decode()[:_SEAL].lower()
