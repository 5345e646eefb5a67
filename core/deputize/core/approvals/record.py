"""An approval as a state machine. Only this module reads and writes the JSON of approvals in the vault.

    pending -> approved -> used
       any  -> rejected, except a used one
       used -> its earlier status, if its act did nothing

An `ApprovalRecord` is immutable. Each transition returns a new record, with an audit event if the transition has one.
`deputize.core.approvals.repository` saves both by compare-and-swap.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import field
from datetime import tzinfo
from enum import StrEnum
from hashlib import sha256
from itertools import chain, count
from typing import Any, Final, Literal, Self, TypeAlias

from deputize.core.approvals.headline import DANGER_ROWS, OPERATOR_ROW, danger_rows, describe_act, lookalike_rows
from deputize.core.audit.common_fields import OfApproval
from deputize.core.audit.events import (
    ApprovalApproved,
    ApprovalEdited,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalUsed,
    Event,
)
from deputize.core.audit.pseudonyms import Person
from deputize.core.errors import Conflict, InvalidInput
from deputize.core.tools.act import Act
from deputize.core.tools.first_contact import first_contact_lines, first_contact_rows
from deputize.core.tools.preview import Audience, Preview, Rows, argument_rows, show_rows
from deputize.core.tools.tool import Tool
from deputize.core.tools.untrusted import is_chosen_by_others, untrusted_lines, untrusted_rows
from deputize.core.user_requests import Approval
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.grant import Account, User
from deputize.core.vault.record import Record, StoredRecord, take_fields

Reply = Literal["accept", "decline", "cancel"]
"""The user's reply to a question: answer, decline, or close without either."""


class Status(StrEnum):
    """The status of an approval."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    USED = "used"


APPROVAL_TTL: Final = 3600.0
"""Seconds for which an approval waits for a decision, unless the tool asks for another time."""
UNATTENDED_APPROVAL_TTL: Final = 345600.0
"""Default of the setting ``unattended_approval_seconds``: four days, so that Monday answers the questions of Friday."""
MAX_GENERATIONS: Final = 20
"""Generations of one question whose ids are recognized. Nothing can be approved with an older id."""
MOVES: Final[Mapping[str, frozenset[Status]]] = {
    "approve": frozenset({Status.PENDING}),
    "edit": frozenset({Status.PENDING}),
    "reject": frozenset({Status.PENDING, Status.APPROVED}),
    "reply": frozenset({Status.PENDING}),
    "dismiss": frozenset({Status.PENDING}),
    "settle": frozenset({Status.APPROVED}),
    "consume": frozenset({Status.APPROVED}),
    "supersede": frozenset({Status.PENDING, Status.APPROVED}),
    "pass_on": frozenset({Status.APPROVED, Status.REJECTED, Status.USED}),
    "release": frozenset({Status.USED}),
}
"""The statuses that each transition starts from. Any other raises `RuntimeError`, because it is a bug."""


@frozen
class Edit(Printed):
    """The user's edited arguments. ``arguments``: as the user entered them. ``meant``: as the tool validated them."""

    arguments: Mapping[str, Any]
    meant: Mapping[str, Any]

    @classmethod
    def of(cls, tool: Tool, arguments: Mapping[str, Any]) -> Edit:
        """Return these arguments as a validated edit. Raises `InvalidInput` that names each invalid field."""
        valid = tool.validate(arguments)
        try:
            plain = json.loads(json.dumps(dict(arguments)))
        except (TypeError, ValueError):
            raise InvalidInput(f"{tool.name}: the arguments must be plain JSON.", fix_by="operator") from None
        return cls(plain, meant(tool, valid))


@frozen
class Question(ValueObject):
    """A provider's question during an act: see `deputize.core.acts.elicitation`.

    ``kept``: data that the tool stored with the question. ``seconds``: how long the provider waits. ``reply``,
    ``content``: the user's reply; ``reply`` is "" before it.
    """

    kept: Mapping[str, Any]
    seconds: float
    reply: Literal[Reply, ""] = ""
    content: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def unpack(cls, stored: Mapping[str, Any]) -> Question:
        """Return the question from the approval record's ``question`` field."""
        return cls(**take_fields(cls, {**stored, **stored.get("said", {})}))

    def pack(self) -> dict[str, Any]:
        """Return the question as JSON for the approval record's ``question`` field."""
        said = {"said": {"reply": self.reply, "content": self.content}} if self.reply else {}
        return {"kept": self.kept, "seconds": self.seconds, **said}


@frozen(kw_only=True, slots=False)
class ApprovalRecord(StoredRecord):
    """An approval in the vault. Times are in Unix seconds.

    ``label``: the product's name for people, "" in old records. ``subject``: the account's subject, None in old
    records. ``call``, ``step``: ids of the tool call and of its message. ``began``: when the act was first requested.
    ``show``: the preview as `Preview.kept`; ``digest``: its digest. ``outside``, ``chosen_by_others``: the parts that
    untrusted content has named. ``first_contacts``: sentences about people to whom the user has never written, when the
    approval was requested. ``arguments``: the arguments to approve, under their public names; ``preview``: the same in
    the oldest records. ``edited``: the arguments as the user edited them; ``settled``: True after the preview of the
    edit was made. ``agreed``: the preview that the user last approved; ``changed``: the differences from it. ``shown``:
    for each generation of this question, the digest of what was shown under it (`content`), and the names of the lines
    that have changed since. ``act``: key of the act that used the approval; ``was``: its status before. ``rule``,
    ``operator_reason``, ``approvers``: of the policy's `Decision`. ``requester``: tenant and id of the user whose act
    it is; () in old records without ``approvers``. ``approver``: the same of the person who decided; only with
    ``approvers``.
    """

    KIND = "approval"
    id: str
    tool: str
    effect: str
    agent: str
    account: str
    label: str = ""
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
    first_contacts: tuple[str, ...] = field(default=(), repr=False)
    arguments: Mapping[str, Any] | None = field(default=None, repr=False)
    preview: Mapping[str, Any] | None = field(default=None, repr=False)
    edited: Mapping[str, Any] | None = field(default=None, repr=False)
    settled: bool = False
    agreed: Mapping[str, Any] | None = field(default=None, repr=False)
    changed: tuple[str, ...] = ()
    shown: Mapping[str, Any] = field(default_factory=dict, repr=False)
    question: Question | None = field(default=None, repr=False)
    act: str = ""
    was: Status | None = None
    rule: str = ""
    operator_reason: str = ""
    approvers: str = ""
    requester: tuple[str, ...] = ()
    approver: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: Record | None = field(default=None, repr=False, compare=False)

    @classmethod
    def ask(
        cls, act: Act, account: Account, key: str, now: float, life: float, old: ApprovalRecord | None, **facts: Any
    ) -> tuple[Self, Event]:
        """Return a new approval of this act that is pending for ``life`` seconds, to be stored at ``key``. ``old``: the
        record that it replaces. If that one is still open, this is the next generation of the same question."""
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
            rule=act.decision.rule if act.decision else "",
            operator_reason=act.decision.reason_line if act.decision else "",
            approvers=act.approvers,
            requester=(act.user.tenant, act.user.id),
            row=old.row if old else None,
            **facts,
        )
        asked = asked.copy_with(shown=asked.shown_after(old if old is not None and old.is_open(now) else None))
        return asked, ApprovalRequested(asked.facts(act.user), life)

    # ------------------------------------------------------------- transitions

    def may(self, transition: str) -> bool:
        """Return True if this transition is possible."""
        return self.status in MOVES[transition]

    def _move(self, transition: str, status: Status, **facts: Any) -> Self:
        if not self.may(transition):
            raise RuntimeError(f"The transition {transition} does not lead from the status {self.status}.")
        return self.copy_with(status=status, **facts)

    def approve(self, by: User, reason: str) -> Change:
        """Approve the act. Raises `RuntimeError` unless this person may: `may_be_decided_by`."""
        if self.approvers and not self.may_be_decided_by(by):
            raise RuntimeError("An act that another person must approve is approved by another person only.")
        approved = self._move("approve", Status.APPROVED, reason=reason, **self._decider(by))
        return approved, ApprovalApproved(self.facts(by))

    def edit(self, by: User, reason: str, edit: Edit) -> Change:
        """Approve the act with other arguments."""
        changed = {"edited": edit.arguments, "arguments": edit.meant, "settled": False}
        return self._move("edit", Status.APPROVED, reason=reason, **changed), ApprovalEdited(self.facts(by))

    def reject(self, by: User, reason: str) -> Change:
        """Reject the act."""
        rejected = self._move("reject", Status.REJECTED, reason=reason, **self._decider(by))
        return rejected, ApprovalRejected(self.facts(by))

    def reply(self, by: User, said: Question, now: float) -> Change:
        """Record the user's reply to the question, and keep it as long as the provider may wait."""
        accepted = said.reply == "accept"
        status, event = (Status.APPROVED, ApprovalApproved) if accepted else (Status.REJECTED, ApprovalRejected)
        return self._move("reply", status, expires=now + said.seconds, question=said), event(self.facts(by))

    def dismiss(self) -> Change:
        """Begin the next generation of the question, with the same content, because the user closed this one without a
        decision."""
        again = self._move("dismiss", self.status, id=_fresh_id(self.place.key))
        return again.copy_with(shown=again.shown_after(self)), None

    def settle(self, act: Act) -> Change:
        """Record the preview of the user's edit as approved."""
        return self._move("settle", self.status, settled=True, **preview_fields(act)), None

    def consume(self, act: Act) -> Change:
        """Record that the act uses the approval and begins."""
        used = self._move("consume", Status.USED, act=act.key.hex, was=self.status)
        return used, ApprovalUsed(self.facts(act.user))

    def supersede(self, act: Act) -> Change:
        """Close the approval, because the act begins without it."""
        return self._move("supersede", Status.USED, act=act.key.hex, was=self.status), None

    def pass_on(self, act: Act) -> Change:
        """Record that a run of the act received the reply to the question."""
        return self._move("pass_on", Status.USED, act=act.key.hex, was=self.decision), None

    def release(self) -> Change:
        """Restore the status from before the use, because the act did nothing."""
        return self._move("release", self.decision, act="", was=None), None

    # ------------------------------------------------------------- generations

    @property
    def content(self) -> str:
        """A digest of everything that the user approves: the act, its preview, the warnings, and who decides."""
        shown = self.digest or self.show
        about = (self.tool, self.effect, self.agent, self.account, self.arguments, self.preview, shown)
        warnings = (self.outside, self.chosen_by_others, self.first_contacts, self.operator_reason, self.approvers)
        plain = json.dumps([*about, *warnings, self.question and self.question.kept], sort_keys=True, default=str)
        return sha256(plain.encode()).hexdigest()

    @property
    def shown_last(self) -> str:
        """The digest of what was shown under the present id. The user may have edited it since."""
        return str(self.shown.get(generation_of(self.id), {}).get("content", self.content))

    def changed_since(self, approval_id: str) -> tuple[str, ...] | None:
        """Return the names of the lines that have changed since they were shown under this id, or None if exactly the
        same is asked now, or if it is not an id of this question."""
        then = self.shown.get(generation_of(approval_id))
        if then is None or approval_id == self.id or then["content"] == self.content:
            return None
        return _names(then["changed"])

    def is_open(self, now: float) -> bool:
        """Return True if the question still waits, or if its approval was not used. A reply to a provider's question
        closes it."""
        waits = self.status is Status.PENDING or (self.status is Status.APPROVED and self.question is None)
        return waits and self.expires > now

    def shown_after(self, old: ApprovalRecord | None) -> dict[str, Any]:
        """Return what each generation has shown, up to this one. ``old``: the generation before it, or None."""
        now = {generation_of(self.id): {"content": self.content, "changed": []}}
        if old is None:
            return now
        last = {"content": old.shown_last, "changed": []}
        before = [*{**old.shown, generation_of(old.id): old.shown.get(generation_of(old.id), last)}.items()]
        lines = Preview.of(self.show).differs(Preview.of(old.show)) if self.show and old.show else ()
        return {
            name: {**one, "changed": [*dict.fromkeys((*one["changed"], *lines))]}
            for name, one in before[1 - MAX_GENERATIONS :]
        } | now

    def refuse_changed(self, approval_id: str, decision: str) -> None:
        """Raise `Conflict` if a decision with this id is about something else than what is asked now.

        An id of an earlier generation counts if exactly the same was shown under it. A rejection counts with the id of
        any generation of this question.
        """
        is_known = approval_id == self.id or generation_of(approval_id) in self.shown
        lines = self.changed_since(approval_id)
        if is_known and (decision == "reject" or lines is None):
            return
        what, which = "has changed" if is_known else "was made again", f" ({', '.join(lines)})" if lines else ""
        raise Conflict(
            f"This request {what} since it was shown{which}. Nothing was decided.",
            hint="Show the user the request as it is now.",
            reason="changed",
        )

    # ------------------------------------------------------------- judging

    @property
    def decision(self) -> Status:
        """The status, or the status before the use if the approval is used."""
        return self.status if self.status is not Status.USED else self.was or Status.APPROVED

    @property
    def turn(self) -> tuple[float, int, str]:
        """The sort key of the approval: by time, then by call id, "9" before "10"."""
        return self.asked, len(self.call), self.call

    def owner(self, by: User) -> User:
        """Return the user whose act it is. ``by``: the person who decides, the same one unless a role is asked."""
        return User(self.requester[1], self.requester[0]) if self.approvers else by

    def may_be_decided_by(self, person: User) -> bool:
        """Return True if the approval asks a role and the person is another user of the same tenant. The caller checks
        the person's role."""
        return bool(self.approvers) and self.requester[:1] == (person.tenant,) and self.requester[1] != person.id

    def _decider(self, by: User) -> dict[str, Any]:
        return {"approver": (by.tenant, by.id) if self.may_be_decided_by(by) else ()}

    def waits(self, now: float) -> bool:
        """Return True if the approval is pending and has not expired."""
        return self.status is Status.PENDING and self.expires > now

    def is_consumed(self, act: Act) -> bool:
        """Return True if an equal call without an id used the approval, or if this is a rejected undo. Only the user
        requests an undo, so a rejection does not block the next request."""
        if not act.call.has_id:
            return self.status in (Status.USED, Status.REJECTED)
        return act.call.undoes is not None and self.status is Status.REJECTED

    def is_about(self, act: Act) -> bool:
        """Return True if the approval is for the act's current preview, and from the people whom the policy now asks.
        A rejected or used approval counts for any preview."""
        if self.status in (Status.USED, Status.REJECTED):
            return True
        return self._asks_same(act) and (act.show is None or self.digest == act.show.digest)

    def _asks_same(self, act: Act) -> bool:
        """Return True if the policy still asks the same people, and they, not the user, have decided."""
        own = self.status is Status.APPROVED and self.approvers and self.approver in ((), self.requester)
        return self.approvers == act.approvers and not own

    def edit_is_about(self, act: Act, unedited: Preview | None) -> bool:
        """Return True if the current preview differs from the approved one only by the words of the user's edit.

        ``unedited``: the current preview of the arguments before the edit. If it differs from the approved preview,
        somebody else has changed a text, and the result is False.
        """
        if act.show is None or act.asked is None or unedited is None or unedited.digest != self.digest:
            return False
        if self.approvers or act.approvers:  # who decides for another user edits nothing, and no edit replaces them
            return False
        before, after = meant(act.tool, act.asked), meant(act.tool, act.arguments)
        if not self.is_unseen_edit or self.arguments != after:
            return False
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return act.show.only_edits(unedited, [(_text(before.get(name)), _text(after.get(name))) for name in names])

    @property
    def is_grave(self) -> bool:
        """True if the act destroys something, if everybody may see its result, or if nobody knows who will."""
        show = Preview.of(self.show) if self.show else None
        if show is None or show.destroys or self.effect == "destructive":
            return True
        return show.audience in (Audience.PUBLIC, Audience.UNKNOWN)

    @property
    def is_unseen_edit(self) -> bool:
        """True if the user edited the arguments and the preview of the edit was not made yet."""
        return self.edited is not None and not self.settled

    def is_same(self, edit: Edit | None) -> bool:
        """Return True if an approval with this edit would approve the same arguments as this approval."""
        if edit:
            return self.edited == edit.arguments
        return not self.is_unseen_edit and self.shown_last == self.content

    def approved_preview(self) -> Mapping[str, Any] | None:
        """Return the preview that the user last approved, or None."""
        return self.show if self.status is Status.APPROVED else self.agreed

    def repeatable(self) -> tuple[str, ...]:
        """Return the targets of a mandate for more acts like this one, or () if no mandate is possible.

        No mandate is possible for an act that another person must approve, a destructive act, an unknown audience, or
        a value that untrusted content may have chosen.
        """
        if (
            self.approvers
            or not self.show
            or self.chosen_by_others
            or not self.thread
            or self.edited is not None
            or self.subject is None
        ):
            return ()
        show = Preview.of(self.show)
        once = show.destroys or self.effect == "destructive" or show.audience is Audience.UNKNOWN
        return () if once else show.reached

    def is_like(self, other: ApprovalRecord) -> bool:
        """Return True if a mandate made from the ``other`` approval would cover this act."""
        mine, theirs = ((one.agent, one.tool, one.subject, set(one.repeatable())) for one in (self, other))
        return mine == theirs

    def refuse_yes_to_question(self, decision: str) -> None:
        """Raise `InvalidInput` if this is a question and the decision is not a rejection. A question is answered on its
        page."""
        if self.question is not None and decision != "reject":
            raise InvalidInput(
                "This is a question. It can be answered on its page only.",
                hint="Let the user open its link. A reject declines it.",
                fix_by="user",
                reason="question",
            )

    def refuse_own_decision(self, by: User, decision: str) -> None:
        """Raise `Conflict` if a role must decide this approval and ``by`` is the user, who may only reject it. Raise
        `InvalidInput` if a member of the role edits it."""
        if not self.approvers or decision == "reject":
            return
        if not self.may_be_decided_by(by):
            raise Conflict(
                f"{waiting_words(self.tool, self.approvers)} The user who requests it cannot approve it.",
                hint="Make the same call again after the decision.",
                reason="asked_of_others",
            )
        if decision != "approve":
            raise InvalidInput(
                "An act of another user can be approved or rejected, not edited.",
                fix_by="user",
                reason="asked_of_others",
            )

    # ------------------------------------------------------------- as others see it

    def public(self, home: str, zone: tzinfo | None) -> Approval:
        """Return the public form, with the preview. ``zone``: the time zone of displayed times. The arguments replace
        the preview for a tool without previews, and for an edit whose preview was not made yet."""
        show = Preview.of(self.show) if self.show and not self.is_unseen_edit else None
        rows = show_rows(show, zone) if show else argument_rows(self.arguments or self.preview or {})
        own = [*untrusted_rows(self.outside), *first_contact_rows(self.first_contacts)]
        own += lookalike_rows(show, self.account, rows) if show else []
        own += [(OPERATOR_ROW, self.operator_reason)] if self.operator_reason else []
        missing = {*DANGER_ROWS, OPERATOR_ROW} - {name for name, _ in own} - ({"seen by"} if show else set())
        missing -= {"warning"} if show and (show.destroys or show.dangers) else set()
        preview = rows_by_name([*rows, *own], missing)
        dangers = danger_rows(preview)
        return Approval(
            id=self.id,
            tool=self.tool,
            effect=self.effect,
            preview={name: preview[name] for name in dangers} | preview,
            dangers=tuple(dangers),
            expires_at=self.expires,
            agent=self.agent,
            account=self.account,
            status=self.status.value,
            reason=self.reason,
            summary=self._summary(show),
            label=self.label,
            changed_fields=_names(self.changed),
            digest=self.digest,
            targets=self.repeatable(),
            link=f"{home}/approve/{self.id}" if home else "",
            request_id=self.step,
            request_link=f"{home}/asks/{self.step}" if home and self.step else "",
            kind="act" if self.question is None else "question",
            rule=self.rule,
            approvers=self.approvers,
            requester=self.requester[1] if self.approvers else "",
        )

    def _summary(self, show: Preview | None) -> str:
        """Return the sentence about the act, or about a foreign server's question."""
        if show is not None and self.question is not None:
            return show.what
        return describe_act(
            agent=self.agent,
            tool=self.tool,
            label=self.label,
            account=self.account,
            show=show,
            first_contacts=self.first_contacts,
        )

    def facts(self, by: User) -> OfApproval:
        """Return the fields for audit rows. ``by``: the user, or the person who decides for the user."""
        user = self.owner(by)
        return OfApproval(
            tenant=user.tenant,
            user=user.id,
            approvers=self.approvers,
            approver=Person(by.id) if self.may_be_decided_by(by) else "",
            agent=self.agent,
            tool=self.tool,
            approval_id=self.id,
            thread=self.thread,
            call_id=self.call,
            show=self.digest,
            rule=self.rule,
        )

    # ------------------------------------------------------------- as JSON

    def pack(self) -> dict[str, Any]:
        """Return the record as JSON for the vault, without empty optional fields."""
        always = _ALWAYS if self.question else _ALWAYS | {"outside", "chosen_by_others"}
        found = self.pack_fields(always if self.edited is None else always | {"settled"})
        return found | {"question": self.question.pack()} if self.question else found

    @staticmethod
    def upgrade(content: dict[str, Any]) -> dict[str, Any]:
        """Add ``chosen_by_others``, which old records lack."""
        return {"chosen_by_others": bool(content.get("outside")), **content}


Change: TypeAlias = tuple[ApprovalRecord, Event | None]
"""An approval after a transition, and its audit event."""

_ALWAYS: Final = frozenset("id tool effect agent account thread call step status reason asked began expires".split())


def waiting_words(tool: str, approvers: str) -> str:
    """Return the sentence about an act that waits for a decision. ``approvers``: the role that is asked, if any."""
    asked = f"somebody with the role {approvers}" if approvers else "the user's approval"
    return f"{tool} waits for {asked}."


def preview_fields(act: Act) -> dict[str, Any]:
    """Return the fields for the act's preview and for the parts that untrusted content has named."""
    shown = {} if act.show is None else {"show": act.show.kept, "digest": act.show.digest}
    outside, by_others = tuple(untrusted_lines(act.outside)), is_chosen_by_others(act.outside)
    firsts = first_contact_lines(act.first_contacts)
    return shown | {"outside": outside, "chosen_by_others": by_others, "first_contacts": firsts}


def rows_by_name(rows: Rows, missing: Collection[str] = ()) -> dict[str, str]:
    """Return the lines of a preview by name. If a name repeats, the last line keeps it, because deputize's own lines
    are last.

    ``missing``: names of deputize's own lines that this preview does not have. No line of the tool gets such a name.
    """
    found: dict[str, str] = {}
    for name, text in reversed(rows):
        names = chain([name] if name not in missing else [], (f"{name} ({number})" for number in count(2)))
        found[next(one for one in names if one not in found)] = text
    return dict(reversed(found.items()))


def meant(tool: Tool, valid: Mapping[str, Any]) -> dict[str, Any]:
    """Return validated arguments as JSON under their public names."""
    plain: dict[str, Any] = json.loads(json.dumps(tool.named(valid), default=str))
    return plain


def _text(value: Any) -> str:
    """Return all strings, numbers and names in a JSON value as one text, in order."""
    if isinstance(value, Mapping):
        value = [part for pair in value.items() for part in pair]
    return "\n".join(map(_text, value)) if isinstance(value, list) else "" if value is None else str(value)


def _names(lines: Collection[str]) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in lines)


def _fresh_id(key: str) -> str:
    """Return a new id that cannot be guessed: the question's own part, from its record key, and a generation."""
    return f"{key.rpartition('.')[2]}-{secrets.token_hex(4)}"


def generation_of(approval_id: str) -> str:
    """Return the part of an approval's id that differs each time the question is put."""
    return approval_id.partition("-")[2]
