"""The story of one act, from audit rows: the request, the preview, the decision, the outcome.

Three rows have the digest of the preview: the request, the user's decision and the intent. If they are equal, the act
is the one that was approved. After an edit, the intent's digest must equal that of the row in which the approval was
used. Whether the permission still counted, the rows of the whole trail say: see
`deputize.core.audit.verify_permissions`. The proof is only as good as the rows' chains, which
`deputize.core.vault.chain_heads.verify_audit` verifies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from deputize.core.audit.rows import Row
from deputize.core.audit.verify_permissions import Misuse, PermissionCheck

Verdict = Literal[
    "same",
    "edited",
    "mandate",
    "policy",
    "different",
    "used_up",
    "not_allowed",
    "replayed",
    "not_compared",
    "nothing_done",
]
SHORTEST: Final = 8
"""Minimum characters of a digest that identify it."""
MAX_STORIES: Final = 20
"""Maximum number of stories for one word; the newest are kept."""
DISPROVED: Final[frozenset[Verdict]] = frozenset({"different", "used_up", "not_allowed"})
"""Verdicts on an act that nobody had allowed."""
_BY_MISUSE: Final[Mapping[str, Verdict]] = {
    "different": "different",
    "used_twice": "used_up",
    "beyond": "used_up",
    "late": "used_up",
}
"""The verdict by the kind of misuse."""
_OTHERS: Final[Verdict] = "not_allowed"

VERDICTS: Final[Mapping[Verdict, str]] = {
    "same": "Proved: what was approved is what was done.",
    "edited": "Proved: the act is the request with the user's edit.",
    "mandate": "Proved: the act is the one that was shown, under a mandate that the user had given and not revoked.",
    "policy": "The policy allowed it: nobody was asked.",
    "different": "DISPROVED: what was done is not what was approved.",
    "used_up": "DISPROVED: the approval had been used up, or had expired, before this act began.",
    "not_allowed": "DISPROVED: the permission did not count for this act.",
    "replayed": "Repeated after a restore of the vault, which an operator has accepted.",
    "not_compared": "Not compared: the audit has no digest of the preview, or no row of the approval.",
    "nothing_done": "Nothing was written.",
}


@dataclass(eq=False, repr=False)
class Story:
    """One act. ``rows``: the act's audit rows in order. ``given``: rows of its mandates. ``misuses``: runs of the act
    without a valid permission. ``accepted``: misuses that an operator accepted after a restore."""

    rows: list[Row]
    given: list[Row] = field(default_factory=list)
    misuses: Sequence[Misuse] = ()
    accepted: Sequence[Misuse] = ()

    def first(self, name: str) -> str:
        """Return the first value of this field in the rows, or ""."""
        return next((str(row[name]) for row in self.rows if row.get(name)), "")

    def rows_of(self, *events: str) -> list[Row]:
        """Return the rows with these events."""
        return [row for row in self.rows if row["event"] in events]

    @property
    def intent(self) -> Row | None:
        """The last intent row, written before a write, or None."""
        return next(iter(self.rows_of("act.intent")[::-1]), None)

    @property
    def outcome(self) -> str:
        """The outcome of the run that wrote: done, an error code, or "" without a row. If no run wrote: that of the
        last run."""
        intent = self.intent
        ends = [row for row in self.rows_of("act.result") if intent is None or row["ts"] >= intent["ts"]]
        found = ends[:1] if intent else ends[-1:]
        return str(found[0]["decision"]) if found else ""

    @property
    def done_digest(self) -> str:
        """The digest of the preview that was executed."""
        return str(self.intent.get("show", "")) if self.intent else ""

    def find_decision(self, intent: Row) -> Row | None:
        """Return the row of the decision that allowed a write: the user's decision, or the use of a mandate."""
        by = intent.get("answered_by")
        answers = self.rows_of("approval.approved", "approval.edited", "mandate.used")
        return next(
            (row for row in answers[::-1] if by and by in (row.get("approval_id"), row.get("mandate_id"))), None
        )

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict on the act's writes."""
        found: list[Verdict] = [self._verdict(intent) for intent in self.rows_of("act.intent")]
        found.extend(_BY_MISUSE.get(one.kind, _OTHERS) for one in self.misuses if one.proven)
        if self.accepted:
            found.append("replayed")
        gravest: tuple[Verdict, ...] = ("different", "not_allowed", "used_up", "replayed", "not_compared")
        for verdict in gravest:
            if verdict in found:
                return verdict
        return found[-1] if found else "nothing_done"

    def _verdict(self, intent: Row) -> Verdict:
        answer, done = self.find_decision(intent), intent.get("show")
        if intent.get("answered_by") in ("policy", "user_message"):
            return "policy"
        if answer is None or not done:
            return "not_compared"
        if answer["event"] == "mandate.used":
            return self._check_mandate(answer) if answer.get("show") == done else "different"
        return self._check_approval(answer, done)

    def _check_approval(self, answer: Row, done: str) -> Verdict:
        """Compare the digests of request, decision and act. For an edit, the row of its use has the new digest."""
        of_it = [row for row in self.rows if row.get("approval_id") == answer["approval_id"]]
        asked = [row for row in of_it if row["event"] == "approval.requested"]
        if not asked:
            return "not_compared"
        edits = answer["event"] == "approval.edited"
        uses = [row for row in of_it if row["event"] == "approval.used"] if edits else [answer]
        if not uses:
            return "not_compared"
        same = asked[-1].get("show") == answer.get("show") and uses[-1].get("show") == done
        return ("edited" if edits else "same") if same else "different"

    def _check_mandate(self, use: Row) -> Verdict:
        """Check that an audit row records the creation of the mandate."""
        of_it = (row for row in self.given if row["mandate_id"] == use["mandate_id"])
        return "mandate" if any(row["event"] == "mandate.given" for row in of_it) else "not_compared"


def stories(read: Callable[[], Iterable[Row]], wanted: str) -> list[Story]:
    """Return the acts that match a call id, an approval id, an act id, or the beginning of a digest. ``read``: reads
    the rows of the whole trail, by time. It is called twice, so that only the rows of these acts are in memory."""
    check, named, accepted = PermissionCheck(), list[Row](), set[str]()
    without_id = dict[str, _Call]()
    for row in read():
        check.take(row)
        accepted.update(row.get("replayed", ()))
        if row["event"] == "act.intent" and row.get("answered_by") and not row.get("call_id"):
            without_id[row["answered_by"]] = _call(row, {})
        if _is_of_act(row) and _is_named(row, wanted):
            named.append(row)
    calls = [*dict.fromkeys(_call(row, without_id) for row in named)][-MAX_STORIES:]
    if not calls:
        return []
    of_calls: dict[_Call, list[Row]] = {call: [] for call in calls}
    beside = list[Row]()
    for row in read():
        if _is_of_act(row) and (call := _call(row, without_id)) in of_calls:
            of_calls[call].append(row)
        if row["event"] in _OF_MANDATES or (row.get("undoes") and row["event"] == "act.result"):
            beside.append(row)
    misuses = check.misuses()
    return [_story(rows, beside, misuses, accepted) for rows in of_calls.values()]


_OF_MANDATES: Final = ("mandate.given", "mandate.ended")


def _is_of_act(row: Row) -> bool:
    event: str = row["event"]
    return event.startswith(("act.", "approval.", "mandate.")) and event not in _OF_MANDATES


def _is_named(row: Row, wanted: str) -> bool:
    named = (row.get("call_id"), row.get("act_id"), row.get("approval_id"))
    return bool(wanted) and (wanted in named or (len(wanted) >= SHORTEST and row.get("show", "").startswith(wanted)))


_Call = tuple[str, ...]


def _call(row: Row, without_id: Mapping[str, _Call]) -> _Call:
    """Return the call of a row. ``without_id``: by approval, the act without a call id that it allowed."""
    if not row.get("call_id") and row.get("approval_id") in without_id:
        return without_id[row["approval_id"]]
    name = str(row.get("call_id") or row.get("act_id") or row.get("approval_id") or row["seq"])
    return (*(str(row.get(part, "")) for part in ("tenant", "user", "thread", "tool")), name)


def _story(own: Sequence[Row], beside: Sequence[Row], misuses: Iterable[Misuse], accepted: set[str]) -> Story:
    acts = {row["act_id"] for row in own if row.get("act_id")}
    places = {(str(row.get("writer", "")), row["seq"]) for row in own}
    undone = [row for row in beside if row.get("undoes") in acts]
    mandates = {row["mandate_id"] for row in own if row["event"] == "mandate.used"}
    given = [row for row in beside if row.get("mandate_id") in mandates]
    found = [one for one in misuses if one.row in places]
    agreed = [one for one in found if one.replayed and one.ref in accepted]
    rows = sorted([*own, *undone], key=lambda row: int(row["ts"]))
    return Story(rows, given, [one for one in found if one not in agreed], agreed)


# ----------------------------------------------------------------- in sentences


def write_sentences(story: Story) -> Iterator[tuple[int, str]]:
    """Yield a sentence for each row, with its time in nanoseconds."""
    acts = {row["act_id"] for row in story.rows if row.get("act_id") and not row.get("undoes")}
    asked = written = ""
    for row in story.rows:
        if row.get("undoes") in acts and row["event"] == "act.result":
            yield row["ts"], f"Undone by {row.get('tool')}, the act {row.get('act_id')}: {_end_sentence(row, True)}"
            continue
        match row["event"]:
            case "approval.requested":
                again = f" again, no longer about {_digest(asked)} but" if asked else ""
                asked = str(row.get("show", ""))
                role, user = row.get("approvers"), _user_name(row)
                people = f"Others with the role {role} were asked for {user}" if role else f"{user} was asked"
                yield row["ts"], f"{people}{again} about {_digest(asked)}, by approval {row['approval_id']}."
            case "act.intent":
                written = str(row["seq"])
                yield row["ts"], f"It began to write {_digest(row.get('show', ''))}, {_permission(row)}."
            case "act.result":
                yield row["ts"], _end_sentence(row, bool(written))
                written = ""
            case "mandate.used":
                yield row["ts"], f"It used the mandate {row['mandate_id']}{_mandate(story, row)}."
            case event if event in _SAID:
                role = f", with the role {row.get('approvers')}," if row.get("approver") else ""
                person = row.get("approver") or _user_name(row)
                yield row["ts"], f"{person}{role} {_SAID[event]} {_digest(row.get('show', ''))}."
            case "approval.used":
                yield row["ts"], f"The approval of {_digest(row.get('show', ''))} was used up."


_SAID: Final = {
    "approval.approved": "approved",
    "approval.rejected": "rejected",
    "approval.edited": "approved, with other arguments,",
    "approval.too_late": "was too late to reject",
}


_WHY: Final = {
    "approval_required": "it waited for the user's approval",
    "consent_required": "it waited for the user's consent at the provider",
    "reconsent_required": "it waited for the user to connect the account again",
    "declined": "the user had rejected it",
    "policy_denied": "the policy forbids it",
}
"""Reasons why nothing was done, for frequent error codes."""


def _user_name(row: Row) -> str:
    return str(row.get("user") or "The user")


def _digest(show: str) -> str:
    return f"digest {show[:12]}" if show else "an act without a preview"


def _permission(row: Row) -> str:
    by = row.get("answered_by", "")
    if not by:
        return "and no row says what allowed it"
    if by == "user_message":
        return "allowed by the policy, because the user's own message names it"
    return f"allowed by the {'policy' if by == 'policy' else f'approval {by}' if '-' in by else f'mandate {by}'}"


def _mandate(story: Story, use: Row) -> str:
    given = [row for row in story.given if row["event"] == "mandate.given" and row["mandate_id"] == use["mandate_id"]]
    return (
        f", given for {given[0]['most']} acts by {_user_name(given[0])}" if given else ", which no row tells was given"
    )


def _end_sentence(row: Row, wrote: bool) -> str:
    decision = row.get("decision")
    if decision == "done":
        if not wrote and row.get("effect") != "reads":
            return "It was run again: the recorded outcome was returned, and nothing was done."
        return f"It was done, in {row.get('duration_ms', 0)} ms."
    if decision in ("outcome_unknown", "interrupted"):
        return "Nobody knows whether it was done." if wrote or decision == "outcome_unknown" else "It was interrupted."
    return f"Nothing was done: {_WHY.get(str(decision), decision)}."


def as_json(story: Story) -> dict[str, Any]:
    """Return the story as JSON for programs."""
    intent = story.intent
    answer = story.find_decision(intent) if intent else None
    return {
        "user": story.first("user"),
        "agent": story.first("agent"),
        "tool": story.first("tool"),
        "thread": story.first("thread"),
        "call_id": story.first("call_id"),
        "act_id": story.first("act_id"),
        "answered_by": str(intent.get("answered_by", "")) if intent else "",
        "approved": str(answer.get("show", "")) if answer else "",
        "done": story.done_digest,
        "outcome": story.outcome,
        "verdict": story.verdict,
        "misuses": [one._asdict() for one in story.misuses],
        "rows": [*story.given, *story.rows],
    }
