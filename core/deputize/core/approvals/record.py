"""One approval as a state machine, and the only reader and writer of its JSON in the vault.

    pending -> approved -> used
       any  -> rejected, but for a used one
       used -> what it was before, if its act did nothing

An `ApprovalRecord` never changes: each transition makes a new one, with its audit event where it has one, which
`deputize.core.approvals.repository` saves by compare-and-swap.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import field
from datetime import tzinfo
from enum import StrEnum
from itertools import chain, count
from typing import Any, Final, Literal, Self, TypeAlias

from deputize.core.audit.common_fields import OfApproval
from deputize.core.audit.events import (
    ApprovalApproved,
    ApprovalEdited,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalUsed,
    Event,
)
from deputize.core.errors import InvalidInput
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience, Preview, Rows, argument_rows, show_rows
from deputize.core.tools.tool import Tool
from deputize.core.tools.untrusted import is_chosen_by_others, outside_rows, shown_outside
from deputize.core.user_requests import Approval
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.grant import Account, User
from deputize.core.vault.record import Record, StoredRecord, take_fields

Reply = Literal["accept", "decline", "cancel"]
"""What a person does with a question: answers it, says no, or closes it without either."""


class Status(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    USED = "used"


MOVES: Final[Mapping[str, frozenset[Status]]] = {
    "approve": frozenset({Status.PENDING}),
    "edit": frozenset({Status.PENDING}),
    "reject": frozenset({Status.PENDING, Status.APPROVED}),
    "reply": frozenset({Status.PENDING}),
    "renew": frozenset({Status.PENDING}),
    "settle": frozenset({Status.APPROVED}),
    "consume": frozenset({Status.APPROVED}),
    "supersede": frozenset({Status.PENDING, Status.APPROVED}),
    "pass_on": frozenset({Status.APPROVED, Status.REJECTED, Status.USED}),
    "release": frozenset({Status.USED}),
}
"""From which statuses each transition leads. Any other is a bug, and raises `RuntimeError`."""


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


@frozen
class Question(ValueObject):
    """What a provider asks in the middle of an act, instead of a yes: see `deputize.core.acts.elicitation`.

    ``kept``: what the tool has kept of it. ``seconds``: how long the provider waits. ``reply``, ``content``: what the
    user said; "" as long as they have not.
    """

    kept: Mapping[str, Any]
    seconds: float
    reply: Literal[Reply, ""] = ""
    content: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Question:
        """Read it from the field of its record."""
        return cls(**take_fields(cls, {**stored, **stored.get("said", {})}))

    def pack(self) -> dict[str, Any]:
        """As JSON for the field of its record."""
        said = {"said": {"reply": self.reply, "content": self.content}} if self.reply else {}
        return {"kept": self.kept, "seconds": self.seconds, **said}


@frozen(kw_only=True, slots=False)
class ApprovalRecord(StoredRecord):
    """An approval as the vault has it. Times are in Unix seconds.

    ``subject``: the account's, None where an old row does not say. ``call``, ``step``: the ids of the tool call and of
    the message it stands in. ``began``: when the act was first asked for. ``show``: what was shown, as `Preview.kept`
    has it; ``digest``: of that. ``outside``, ``chosen_by_others``: which strangers have named what of it.
    ``arguments``: what the act was asked about, by the names that people know; ``preview``: the same in the oldest
    rows. ``edited``: the arguments as the user changed them with the yes; ``settled`` once what they would do was
    shown, too. ``agreed``: what was shown when the user last said yes; ``changed``: what is not so any more. ``act``:
    the key of the act that used it; ``was``: its status before.
    """

    KIND = "approval"
    id: str
    tool: str
    effect: str
    agent: str
    account: str
    subject: str | None = None
    thread: str = ""
    call: str = ""
    step: str = ""
    status: Status = Status.PENDING
    reason: str = ""
    asked: float = 0.0
    began: float = 0.0
    expires: float
    show: Mapping[str, Any] | None = field(default=None, repr=False)
    digest: str = ""
    outside: tuple[str, ...] = field(default=(), repr=False)
    chosen_by_others: bool = False
    arguments: Mapping[str, Any] | None = field(default=None, repr=False)
    preview: Mapping[str, Any] | None = field(default=None, repr=False)
    edited: Mapping[str, Any] | None = field(default=None, repr=False)
    settled: bool = False
    agreed: Mapping[str, Any] | None = field(default=None, repr=False)
    changed: tuple[str, ...] = ()
    question: Question | None = field(default=None, repr=False)
    act: str = ""
    was: Status | None = None
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: Record | None = field(default=None, repr=False, compare=False)

    @classmethod
    def ask(
        cls, act: Act, account: Account, key: str, now: float, life: float, old: ApprovalRecord | None, **facts: Any
    ) -> tuple[Self, Event]:
        """A question about this act that waits for ``life`` seconds, to lie at ``key`` in place of ``old``."""
        asked = cls(
            id=_fresh_id(key),
            tool=act.tool.name,
            effect=act.effect.words(),
            agent=act.agent,
            account=account.name,
            subject=account.subject,
            thread=act.call.thread,
            call=act.call.id,
            step=act.call.ask,
            asked=now,
            began=act.began,
            expires=now + life,
            row=old.row if old else None,
            **facts,
        )
        return asked, ApprovalRequested(asked.facts(act.user))

    # ------------------------------------------------------------- transitions

    def may(self, transition: str) -> bool:
        """Whether this transition leads from here."""
        return self.status in MOVES[transition]

    def _moved(self, transition: str, status: Status, **facts: Any) -> Self:
        if not self.may(transition):
            raise RuntimeError(f"The transition {transition} does not lead from the status {self.status}.")
        return self.copy_with(status=status, **facts)

    def approve(self, by: User, reason: str) -> Change:
        """The user said yes."""
        return self._moved("approve", Status.APPROVED, reason=reason), ApprovalApproved(self.facts(by))

    def edit(self, by: User, reason: str, edit: Edit) -> Change:
        """The user said yes with other arguments."""
        changed = {"edited": edit.arguments, "arguments": edit.meant, "settled": False}
        return self._moved("edit", Status.APPROVED, reason=reason, **changed), ApprovalEdited(self.facts(by))

    def reject(self, by: User, reason: str) -> Change:
        """The user said no."""
        return self._moved("reject", Status.REJECTED, reason=reason), ApprovalRejected(self.facts(by))

    def reply(self, by: User, said: Question, now: float) -> Change:
        """The user answered the question, which is kept for as long as it could wait."""
        accepted = said.reply == "accept"
        status, event = (Status.APPROVED, ApprovalApproved) if accepted else (Status.REJECTED, ApprovalRejected)
        return self._moved("reply", status, expires=now + said.seconds, question=said), event(self.facts(by))

    def renew(self) -> Change:
        """Under a new id, so that no kept answer fits."""
        return self._moved("renew", self.status, id=_fresh_id(self.place.key)), None

    def settle(self, act: Act) -> Change:
        """What the user's edit would do was shown, and is what they said yes to."""
        return self._moved("settle", self.status, settled=True, **shown_in(act)), None

    def consume(self, act: Act) -> Change:
        """The act begins on it."""
        used = self._moved("consume", Status.USED, act=act.key.hex, was=self.status)
        return used, ApprovalUsed(self.facts(act.user))

    def supersede(self, act: Act) -> Change:
        """The act begins on something else, so this needs no answer."""
        return self._moved("supersede", Status.USED, act=act.key.hex, was=self.status), None

    def pass_on(self, act: Act) -> Change:
        """A run of the act is handed the answer to the question."""
        return self._moved("pass_on", Status.USED, act=act.key.hex, was=self.decision), None

    def release(self) -> Change:
        """The act that used it did nothing."""
        return self._moved("release", self.decision, act="", was=None), None

    # ------------------------------------------------------------- judging

    @property
    def decision(self) -> Status:
        """Its status, without its use."""
        return self.status if self.status is not Status.USED else self.was or Status.APPROVED

    @property
    def turn(self) -> tuple[float, int, str]:
        """Where it stands among others; those of one tick of the clock by their calls, "9" before "10"."""
        return self.asked, len(self.call), self.call

    def waits(self, now: float) -> bool:
        """Whether it still waits for the user's answer."""
        return self.status is Status.PENDING and self.expires > now

    def is_consumed(self, act: Act) -> bool:
        """Whether it was for another call, which only looked the same; or a no to undo, which nobody but the user asks
        for again."""
        if not act.call.has_id:
            return self.status in (Status.USED, Status.REJECTED)
        return act.call.undoes is not None and self.status is Status.REJECTED

    def is_about(self, act: Act) -> bool:
        """Whether it is about what is shown now. A no, and a yes that was taken, are about the act."""
        if act.show is None or self.status in (Status.USED, Status.REJECTED):
            return True
        return self.digest == act.show.digest

    def edit_is_about(self, act: Act, unedited: Preview | None) -> bool:
        """True if what is shown now is what was asked about with the words of the user's edit, and nothing else.

        ``unedited``: what the arguments from before the edit would show now. It must equal what was asked about: so no
        text that differs was changed by anybody but the user.
        """
        if act.show is None or act.asked is None or unedited is None or unedited.digest != self.digest:
            return False
        before, after = meant(act.tool, act.asked), meant(act.tool, act.arguments)
        if not self.is_unseen_edit or self.arguments != after:
            return False
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return act.show.only_edits(unedited, [(_text(before.get(name)), _text(after.get(name))) for name in names])

    @property
    def is_unseen_edit(self) -> bool:
        """Whether the user changed the arguments, and what they would do was not shown yet."""
        return self.status is Status.APPROVED and self.edited is not None and not self.settled

    def is_same(self, edit: Edit | None) -> bool:
        """Whether the yes that was said is this one."""
        return self.edited == edit.arguments if edit else not self.is_unseen_edit

    def agreed_to(self) -> Mapping[str, Any] | None:
        """What the user last said yes to, if that is what has changed."""
        return self.show if self.status is Status.APPROVED else self.agreed

    def repeatable(self) -> tuple[str, ...]:
        """What a mandate for more acts like this one would be bound to; () where none can be given: for what destroys,
        for what nobody knows who will see, and where a value comes from outside, or nobody knows whether."""
        if not self.show or self.chosen_by_others or not self.thread or self.edited is not None or self.subject is None:
            return ()
        show = Preview.of(self.show)
        once = show.destroys or self.effect == "destructive" or show.audience is Audience.UNKNOWN
        return () if once else show.reached

    def refuse_yes_to_question(self, decision: str) -> None:
        """Raise `InvalidInput` for any decision about a question but a no: its answer is given on its page."""
        if self.question is not None and decision != "reject":
            raise InvalidInput(
                "This is a question, which is answered on its page and nowhere else.",
                hint="Let the user open its link. A reject declines it.",
                fix_by="user",
                reason="question",
            )

    # ------------------------------------------------------------- as others see it

    def public(self, home: str, zone: tzinfo | None) -> Approval:
        """As a person sees it: what was shown; or the arguments, of a tool that does not show, and of an edit until it
        is known what it would do. ``zone``: in which times are told."""
        show = Preview.of(self.show) if self.show and not self.is_unseen_edit else None
        rows = show_rows(show, zone) if show else argument_rows(self.arguments or self.preview or {})
        return Approval(
            id=self.id,
            tool=self.tool,
            effect=self.effect,
            preview=previewed(rows + outside_rows(self.outside)),
            expires_at=self.expires,
            agent=self.agent,
            account=self.account,
            status=self.status.value,
            reason=self.reason,
            summary=show.what if show else "",
            changed_fields=tuple(name.replace("_", " ") for name in self.changed),
            digest=self.digest,
            targets=self.repeatable(),
            link=f"{home}/approve/{self.id}" if home else "",
            request_id=self.step,
            request_link=f"{home}/asks/{self.step}" if home and self.step else "",
            kind="act" if self.question is None else "question",
        )

    def facts(self, user: User) -> OfApproval:
        """What audit rows say of it."""
        return OfApproval(
            tenant=user.tenant,
            user=user.id,
            agent=self.agent,
            tool=self.tool,
            approval_id=self.id,
            thread=self.thread,
            call_id=self.call,
            show=self.digest,
        )

    # ------------------------------------------------------------- as JSON

    def pack(self) -> dict[str, Any]:
        """As JSON for the vault; of what not every approval has, only what there is."""
        always = _ALWAYS if self.question else _ALWAYS | {"outside", "chosen_by_others"}
        found = self.pack_fields(always if self.edited is None else always | {"settled"})
        return found | {"question": self.question.pack()} if self.question else found

    @staticmethod
    def upgrade(content: dict[str, Any]) -> dict[str, Any]:
        """With a word of who chose its targets, which an old row does not say."""
        return {"chosen_by_others": bool(content.get("outside")), **content}


Change: TypeAlias = tuple[ApprovalRecord, Event | None]
"""An approval after a transition, and its audit event."""

_ALWAYS: Final = frozenset("id tool effect agent account thread call step status reason asked began expires".split())


def shown_in(act: Act) -> dict[str, Any]:
    """What an approval keeps of what the act has shown, and of which strangers have named what of it."""
    shown = {} if act.show is None else {"show": act.show.kept, "digest": act.show.digest}
    outside, by_others = tuple(shown_outside(act.outside)), is_chosen_by_others(act.outside)
    return shown | {"outside": outside, "chosen_by_others": by_others}


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


def _text(value: Any) -> str:
    """All texts and numbers in JSON, in their order, with the names in it; "" for none."""
    if isinstance(value, Mapping):
        value = [part for pair in value.items() for part in pair]
    return "\n".join(map(_text, value)) if isinstance(value, list) else "" if value is None else str(value)


def _fresh_id(key: str) -> str:
    """A new id for the row in this place, which leads back to it and cannot be guessed."""
    return f"{key.rpartition('.')[2]}-{secrets.token_hex(4)}"
