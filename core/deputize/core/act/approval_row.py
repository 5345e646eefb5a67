"""The stored row of an approval: what it says about an act, and how a person sees it.

status   pending -> approved -> used, or rejected
digest   of what was shown; ``show`` is that itself, for the page and to say what has changed since
question what a provider asks in the middle of an act, instead of a yes; see `deputize.core.act.questions`
edited   the arguments as the user changed them with the yes; ``settled`` once what they would do was shown, too
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import tzinfo
from itertools import chain, count
from typing import Any

from deputize.core.act.act import Act
from deputize.core.act.outside import is_chosen_by_others, outside_rows, shown_outside
from deputize.core.act.show import Audience, Rows, Show, argument_rows, show_rows
from deputize.core.act.tool import Tool
from deputize.core.audit.facts import OfApproval
from deputize.core.errors import InvalidInput
from deputize.core.pending import Approval
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Account, User


@frozen
class Edit(Printed):
    """Other arguments for an act: as they were given, and as the tool understands them."""

    arguments: Mapping[str, Any]
    meant: Mapping[str, Any]

    @classmethod
    def of(cls, tool: Tool, arguments: Mapping[str, Any]) -> Edit:
        """These arguments for this tool, checked. Raises `InvalidInput`, naming each field at fault."""
        valid = tool.validate(arguments)
        try:
            plain = json.loads(json.dumps(dict(arguments)))
        except (TypeError, ValueError):
            raise InvalidInput(f"{tool.name}: arguments are plain JSON.", fix_by="operator") from None
        return cls(plain, meant(tool, valid))


def public(content: Mapping[str, Any], home: str, zone: tzinfo | None) -> Approval:
    """The approval as a person sees it: what was shown; or the arguments, of a tool that does not show, and of an
    edit until it is known what it would do. ``zone``: in which times are told."""
    show = Show.of(content["show"]) if content.get("show") and not is_unseen_edit(content) else None
    rows = show_rows(show, zone) if show else argument_rows(content.get("arguments") or content.get("preview") or {})
    rows += outside_rows(content.get("outside") or ())
    return Approval(
        id=content["id"],
        tool=content["tool"],
        effect=content["effect"],
        preview=previewed(rows),
        expires_at=content["expires"],
        agent=content["agent"],
        account=content["account"],
        status=content["status"],
        reason=content["reason"],
        what=show.what if show else "",
        changed=tuple(name.replace("_", " ") for name in content.get("changed", ())),
        digest=content.get("digest", ""),
        targets=repeatable(content),
        link=f"{home}/approve/{content['id']}" if home else "",
        step=(step := content.get("step", "")),
        step_link=f"{home}/asks/{step}" if home and step else "",
        kind="question" if "question" in content else "act",
    )


def previewed(rows: Rows) -> dict[str, str]:
    """All rows by their names. Of several of one name the last, which is ours where one is, keeps it."""
    found: dict[str, str] = {}
    for name, text in reversed(rows):
        names = chain([name], (f"{name} ({number})" for number in count(2)))
        found[next(one for one in names if one not in found)] = text
    return dict(reversed(found.items()))


def meant(tool: Tool, valid: Mapping[str, Any]) -> dict[str, Any]:
    """Validated arguments as JSON, under the names that people and models know."""
    plain: dict[str, Any] = json.loads(json.dumps(tool.named(valid), default=str))
    return plain


def shown_in(act: Act) -> dict[str, Any]:
    """What the row keeps of what the act has shown, and of which strangers have named what of it."""
    shown = {} if act.show is None else {"show": act.show.kept, "digest": act.show.digest}
    return shown | {"outside": shown_outside(act.outside), "chosen_by_others": is_chosen_by_others(act.outside)}


def is_about(act: Act, content: Mapping[str, Any]) -> bool:
    """Whether the row is about what is shown now. A no, and a yes that was taken, are about the act."""
    if act.show is None or content["status"] in ("used", "rejected"):
        return True
    return bool(content.get("digest") == act.show.digest)


def edit_is_about(act: Act, content: Mapping[str, Any], unedited: Show | None) -> bool:
    """True if what is shown now is what was asked about with the words of the user's edit, and nothing else.

    ``unedited``: what the arguments from before the edit would show now. It must equal what was asked about: so no text
    that differs was changed by anybody but the user.
    """
    if act.show is None or act.asked is None or unedited is None or unedited.digest != content.get("digest"):
        return False
    before, after = meant(act.tool, act.asked), meant(act.tool, act.arguments)
    if not is_unseen_edit(content) or content["arguments"] != after:
        return False
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return act.show.only_edits(unedited, [(_text(before.get(name)), _text(after.get(name))) for name in names])


def _text(value: Any) -> str:
    """All texts and numbers in JSON, in their order, with the names in it; "" for none."""
    if isinstance(value, Mapping):
        value = [part for pair in value.items() for part in pair]
    return "\n".join(map(_text, value)) if isinstance(value, list) else "" if value is None else str(value)


def is_unseen_edit(content: Mapping[str, Any]) -> bool:
    edited = content["status"] == "approved" and content.get("edited") is not None
    return edited and not content.get("settled")


def is_same(content: Mapping[str, Any], edit: Edit | None) -> bool:
    """Whether the yes that was said is this one."""
    return content.get("edited") == edit.arguments if edit else not is_unseen_edit(content)


def agreed_to(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the user last said yes to, if that is what has changed."""
    found: Mapping[str, Any] | None = content.get("show" if content["status"] == "approved" else "agreed")
    return found


def repeatable(approval: Mapping[str, Any]) -> tuple[str, ...]:
    """What a mandate for more acts like that of an approval's row would be bound to; () where none can be given: for
    what destroys, for what nobody knows who will see, and where a value comes from outside, or nobody knows whether."""
    kept = approval.get("show")
    if (
        not kept
        or approval.get("chosen_by_others", bool(approval.get("outside")))
        or not approval.get("thread")
        or approval.get("edited") is not None
        or "subject" not in approval
    ):
        return ()
    show = Show.of(kept)
    once = show.destroys or approval["effect"] == "destructive" or show.audience is Audience.UNKNOWN
    return () if once else show.reached


def refuse_yes_to_question(content: Mapping[str, Any], decision: str) -> None:
    """Raise `InvalidInput` for any decision about a question but a no: its answer is given on its page."""
    if "question" in content and decision != "reject":
        raise InvalidInput(
            "This is a question, which is answered on its page and nowhere else.",
            hint="Let the user open its link. A reject declines it.",
            fix_by="user",
            reason="question",
        )


def waits(content: Mapping[str, Any], now: float) -> bool:
    """Whether it still waits for the user's answer."""
    return bool(content["status"] == "pending" and content["expires"] > now)


def status_before_use(content: Mapping[str, Any]) -> str:
    """The user's answer: of a used row the status it had before, of any other its own."""
    return str(content.get("was", "approved") if content["status"] == "used" else content["status"])


def is_spent(act: Act, content: Mapping[str, Any]) -> bool:
    """Whether an approval was for another call, which only looked the same; or a no to undo, which nobody but the user
    asks for again."""
    if not act.call.known:
        return content["status"] in ("used", "rejected")
    return act.call.undoes is not None and bool(content["status"] == "rejected")


def asked_anew(act: Act, account: Account, key: str, now: float, life: float) -> dict[str, Any]:
    """A row that waits for ``life`` seconds from ``now``: who is asked, about which call, with an id of its own."""
    return {
        "id": fresh_id(key),
        "tool": act.tool.name,
        "effect": act.effect.words(),
        "agent": act.agent,
        "account": account.name,
        "subject": account.subject,
        "thread": act.call.thread,
        "call": act.call.id,
        "step": act.call.ask,
        "status": "pending",
        "reason": "",
        "asked": now,
        "began": act.began,
        "expires": now + life,
    }


def fresh_id(key: str) -> str:
    """A new id for the row in this place, which leads back to it and cannot be guessed."""
    return f"{key.rpartition('.')[2]}-{secrets.token_hex(4)}"


def facts_of(user: User, content: Mapping[str, Any]) -> OfApproval:
    """What the audit says of an approval, from its record."""
    return OfApproval(
        tenant=user.tenant,
        user=user.id,
        agent=content["agent"],
        tool=content["tool"],
        approval_id=content["id"],
        thread=content.get("thread") or "",
        call_id=content.get("call") or "",
        show=content.get("digest") or "",
    )
