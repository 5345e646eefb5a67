"""Check of a whole trail: each act that wrote had a permission, and the permission still counted.

    approval   for one act, of this user and tool; not after a rejection; with the digest that was shown; by another
               person, if a role was asked
    mandate    for ``most`` acts until ``valid_until``, of its agent, tools and targets; not after its end
    grant      not after the account was disconnected or lost, until a new consent

Rows arrive in the order of their times, those of one writer in its own order. The clocks of two writers may differ, so
the check relies on times only where nothing else orders two rows. Approvals and mandates change by compare-and-swap in
the vault, so their rows contradict each other in any order. A grant's generation grows with each write, so an act with
a later generation than the revocation had a new consent. A call that had begun before a revocation or a mandate's end
may still write. Times of two writers count only if they differ by more than `CLOCK_MARGIN`, and not if one of their
clocks was ever set back.

A row that is missing proves nothing: it may be older than the retention period, or its program was killed. The memory
that a check takes grows with the number of approvals and mandates, not with the number of rows.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from deputize.core.audit.compressed_file import DamagedFile
from deputize.core.audit.reader import files_of, lines_of
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import Part, Trail

BY_POLICY: Final = frozenset({"policy", "user_message"})
"""Permissions of the policy, alone or because the user's own message names the act. They have no row of their own."""
STAYS_USED: Final = frozenset({"done", "outcome_unknown", "interrupted"})
"""Outcomes after which an act may have happened, so that its approval stays used."""
LATE: Final = 60 * 10**9
"""Nanoseconds after a mandate's expiry in which the row of a use may still be written."""
CLOCK_MARGIN: Final = 5 * 10**9
"""Nanoseconds by which the clocks of two programs may differ, and in which one sees what the other has revoked."""
_RELEVANT: Final = re.compile(
    rb'"event":"(?:act\.intent|approval\.|mandate\.|consent\.(?:granted|partial)|ledger\.save_failed'
    rb"|grant\.(?:obtained|lost|revoked|snapshot|carried|restored)"
    rb'|vault\.(?:restored|recreated|begun_anew)|database\.)|"answered_by":"'
)
_KEPT: Final = ("event", "ts", "tenant", "user", "pseudonym", "tool", "show", "approvers", "approver")
_CONSENTS: Final = frozenset({"consent.granted", "consent.partial", "grant.obtained"})
_RESTORES: Final = frozenset({"vault.restored", "vault.recreated", "database.failed_over"})
"""Events after which the vault may have forgotten what had happened."""

Place: TypeAlias = tuple[str, int]
"""A row: its writer and its number."""
_Account: TypeAlias = tuple[str, str, str, str, str]
"""Tenant, user, provider, app, and the account as the audit names it."""
_Call: TypeAlias = tuple[str, str, str]
"""Thread, call id and tool."""


class Misuse(NamedTuple):
    """An act without a permission that still counted.

    ``kind``: ``used_twice`` (an approval, by a second act or run), ``beyond`` (more acts than a mandate allows),
    ``late`` (after a mandate's expiry), ``outside`` (another agent, tool, user or target than allowed), ``after_no``,
    ``after_end`` (of a mandate, or of the account's connection), ``different`` (not what was shown), ``own_approval``
    (another person had to approve it, and the user did, or nobody is named). ``permission``:
    the id of the approval or mandate, or ``policy``. ``act``: the act's id, or its call's. ``row``: the row of the act.
    ``since``: time of what the row contradicts, UTC ns. ``ts``: time of the row. ``proven``: False if lost rows or
    wrong clocks explain it too. ``replayed``: True if the vault was restored between the two.
    """

    kind: str
    permission: str
    act: str
    row: Place
    detail: str
    since: int
    ts: int
    proven: bool = True
    replayed: bool = False

    @property
    def ref(self) -> str:
        """The name of exactly this misuse, by which an operator can accept it after a restore."""
        return f"{self.kind}:{self.row[0]}:{self.row[1]}"


class _Run:
    """A run of an act that began to write, or an approved read."""

    __slots__ = (
        *("account", "act", "agent", "began", "by", "call", "decision"),
        *("generation", "reads", "row", "show", "ts", "unsaved", "who"),
    )

    def __init__(self, row: Row) -> None:
        self.row: Place = (_text(row, "writer"), row["seq"])
        self.ts = self.began = int(row["ts"])
        self.call, self.act, self.by = _call(row), _act(row), _text(row, "answered_by")
        self.agent, self.who, self.show = row.get("agent"), _user(row), _text(row, "show")
        self.account = _account(row) if "organisation" not in row else None
        self.generation = row.get("grant_gen")
        self.decision, self.unsaved, self.reads = "", False, row["event"] == "act.result"

    def __str__(self) -> str:
        return _act_words(self.call[2], self.act, self.call[1], self.ts)

    def end(self, row: Row) -> None:
        """Add the outcome, and when the call had begun."""
        self.decision = _text(row, "decision")
        duration = row.get("duration_ms", 0)
        self.began = min(self.ts, int(row["ts"]) - (int(duration) + 1) * 10**6)

    @property
    def may_have_acted(self) -> bool:
        """True unless the outcome says that nothing was done."""
        return self.decision in {"", *STAYS_USED}

    def began_after(self, ts: int, writer: str) -> bool:
        """Return True if the call began after a row of this writer and time."""
        return bool(self.began > ts + (0 if self.decision and writer == self.row[0] else CLOCK_MARGIN))


class _Use:
    """A use of an approval or a mandate. ``state``: ``open``, ``released`` or ``done``."""

    __slots__ = ("act", "call", "reached", "row", "show", "state", "ts")

    def __init__(self, row: Row) -> None:
        self.row, self.ts = (_text(row, "writer"), row["seq"]), row["ts"]
        self.call, self.show, self.act, self.state = _call(row), _text(row, "show"), "", "open"
        self.reached: Sequence[str] = row.get("reached", ())


class _Permission:
    """The rows about one approval or mandate."""

    __slots__ = ("answer", "asked", "ended", "given", "runs", "uses")

    def __init__(self) -> None:
        self.asked: Row | None = None
        self.answer: Row | None = None
        self.given: Row | None = None
        self.ended: tuple[int, str] | None = None
        self.uses: list[_Use] = []
        self.runs: list[_Run] = []

    def find_use(self, run: _Run) -> _Use | None:
        """Return the newest row of a use by this run's call, or None if there is none."""
        fits = (use for use in reversed(self.uses) if use.call == run.call and use.act in ("", run.act))
        return next(fits, None)


class PermissionCheck:
    """The check of rows that arrive one by one. ``resolve``: replaces the pseudonyms in a row by ids. Only ids are
    compared, because one user can have two pseudonyms."""

    def __init__(self, resolve: Callable[[Row], Row] | None = None) -> None:
        self._resolve = resolve
        self._permissions: dict[str, _Permission] = {}
        self._settled: dict[str, tuple[str, str, int]] = {}
        self._open: dict[tuple[str, str], _Run] = {}
        self._ends: dict[_Account, tuple[int, int, str]] = {}
        self._before_restore: dict[_Account, tuple[int, int, str]] = {}
        self._restores: list[int] = []
        self._last: dict[str, int] = {}
        self._set_back: set[str] = set()
        self._found: list[tuple[Misuse, str]] = []
        self._unsaved: set[tuple[str, str]] = set()

    # ------------------------------------------------------------- rows

    def take(self, row: Row) -> None:
        """Add a row."""
        event, writer, ts = row["event"], _text(row, "writer"), int(row["ts"])
        if ts < self._last.get(writer, ts) - CLOCK_MARGIN:
            self._set_back.add(writer)
        self._last[writer] = ts
        row = self._resolve(row) if self._resolve else row
        if event == "act.intent":
            self._begin(_Run(row))
        elif event == "act.result":
            self._end(row)
        elif event.startswith("approval."):
            self._take_approval(event, row)
        elif event.startswith("mandate."):
            self._take_mandate(event, row)
        elif event in _RESTORES:
            self._restores.append(ts)
            self._before_restore, self._ends = (self._ends, {}) if event == "vault.restored" else ({}, self._ends)
            self._ends = {} if event == "vault.recreated" else self._ends
        elif event.startswith(("grant.", "consent.")):
            self._take_grant(event, row)
        elif event == "ledger.save_failed":
            self._unsaved.add((writer, _text(row, "tool")))

    def _take_approval(self, event: str, row: Row) -> None:
        found = self._permission(_text(row, "approval_id"))
        if event == "approval.requested":
            found.asked = _brief(row)
        elif event in ("approval.approved", "approval.edited"):
            found.answer = _brief(row)
        elif event == "approval.rejected":
            found.ended = (row["ts"], _text(row, "writer"))
        elif event == "approval.used":
            found.uses.append(_Use(row))
        elif event == "approval.released":
            _release(found, row)

    def _take_mandate(self, event: str, row: Row) -> None:
        found = self._permission(_text(row, "mandate_id"))
        if event == "mandate.given":
            found.given = row
        elif event == "mandate.ended":
            found.ended = (row["ts"], _text(row, "writer"))
        elif event == "mandate.used":
            found.uses.append(_Use(row))
        elif event == "mandate.released":
            _release(found, row)

    def _take_grant(self, event: str, row: Row) -> None:
        account, generation = _account(row), row.get("grant_gen")
        if account is None or not isinstance(generation, int):
            return
        end = (generation, row["ts"], _text(row, "writer"))
        if event in ("grant.revoked", "grant.lost") or (event == "grant.snapshot" and row.get("revoked") is True):
            self._ends[account] = max(self._ends.get(account, end), end, key=lambda one: one[0])
        elif event == "grant.restored":
            before = self._before_restore.pop(account, None)
            if before and generation <= before[0]:
                self._ends[account] = (generation, *before[1:])
        elif event in _CONSENTS and account in self._ends:
            since = self._ends[account][1]
            if any(since <= ts <= row["ts"] for ts in self._restores):  # else the generation tells
                del self._ends[account]

    def _permission(self, name: str) -> _Permission:
        found = self._permissions.get(name)
        if found is None:
            found = self._permissions[name] = _Permission()
            if name in self._settled:
                act, tool, ts = self._settled.pop(name)
                use = _Use({"seq": -1, "ts": ts, "tool": tool})
                use.act, use.state = act, "done"
                found.uses.append(use)
        return found

    def _begin(self, run: _Run) -> None:
        self._open[run.row[0], run.act] = run
        if not run.by or run.by in BY_POLICY:
            return
        found = self._permission(run.by)
        found.runs.append(run)
        if (use := found.find_use(run)) is None:  # its row is missing
            use = _Use({"seq": run.row[1], "ts": run.ts, "writer": run.row[0]})
            use.call = run.call
            found.uses.append(use)
        use.act = run.act
        use.state = "open" if use.state == "released" else use.state

    def _end(self, row: Row) -> None:
        by = _text(row, "answered_by")
        run = self._open.pop(place := (_text(row, "writer"), _act(row)), None)
        if run and run.by != by:  # a second call of this act was cut off while it waited for the first
            self._open[place] = run
            return
        if run is None:
            if not by or by in BY_POLICY or row.get("effect") != "reads":
                return
            run = _Run(row)  # an approved read has no other row
            self._permission(by).runs.append(run)
        run.end(row)
        run.unsaved = (run.row[0], run.call[2]) in self._unsaved
        self._check_grant(run)
        if found := self._permissions.get(run.by):
            if (use := found.find_use(run)) and use.state == "open":
                use.act, use.state = run.act, "done" if run.may_have_acted else "released"
            if self._is_flawless(run, found):
                del self._permissions[run.by]
                self._settled[run.by] = (run.act, run.call[2], run.ts)

    def _is_flawless(self, run: _Run, found: _Permission) -> bool:
        """Return True if the rows of an approval prove its only act, so that they need not be kept in memory."""
        return bool(
            run.decision == "done"
            and not run.unsaved
            and len(found.uses) == len(found.runs) == 1
            and (found.asked and found.answer and not found.ended)
            and not [*self._judge_approval(run.by, found)]
        )

    # ------------------------------------------------------------- judgement

    def misuses(self) -> list[Misuse]:
        """Return all misuses after the last row, by time."""
        for run in self._open.values():
            self._check_grant(run)
        found = [one._replace(proven=self._set_back.isdisjoint((one.row[0], by))) for one, by in self._found]
        for name, permission in self._permissions.items():
            judged = self._judge_approval if "-" in name else self._judge_mandate
            found += judged(name, permission)
        return sorted((self._with_restore(one) for one in found), key=lambda one: (one.ts, one.kind))

    def _with_restore(self, found: Misuse) -> Misuse:
        return found._replace(replayed=any(found.since <= ts <= found.ts for ts in self._restores))

    def _check_grant(self, run: _Run) -> None:
        end = self._ends.get(run.account) if run.account else None
        if end is None or not run.may_have_acted or not isinstance(run.generation, int) or run.generation > end[0]:
            return
        if run.began_after(end[1], end[2]):
            at = run.account[2] if run.account else ""
            said = f"{run} began after its account at {at} had been disconnected or lost at {_time(end[1])}"
            self._found.append((self._misuse("after_end", run.by, run, said, end[1]), end[2]))

    def _judge_approval(self, name: str, found: _Permission) -> Iterator[Misuse]:
        acted = sorted((run for run in found.runs if run.may_have_acted), key=lambda run: run.ts)
        uses = sorted((use for use in found.uses if use.state != "released"), key=lambda use: use.ts)
        for use in uses[1:]:
            said = f"approval {name} is for one act, but {_use_words(uses[0])} used it, and then {_use_words(use)}"
            yield Misuse("used_twice", name, use.act, _row_of(use, acted), said, uses[0].ts, use.ts)
        if len(uses) < 2:
            yield from self._find_repeats(name, acted, uses)
        for run in acted:
            used = found.find_use(run)
            if found.ended and (used is None or used.state != "released"):
                said = f"{run} began under approval {name}, which was rejected at {_time(found.ended[0])}"
                yield self._misuse("after_no", name, run, said, found.ended[0])
            yield from self._compare(name, run, used, found)

    def _find_repeats(self, name: str, acted: Sequence[_Run], uses: Sequence[_Use]) -> Iterator[Misuse]:
        """Yield the runs of another act than the approval's, and of its act after it was done and recorded as done."""
        for number, run in enumerate(acted):
            holder = uses[0].act if uses and uses[0].act else acted[0].act
            again = run.decision == "done" and any(
                one.decision == "done" and not one.reads and not one.unsaved for one in acted[:number]
            )
            if again or run.act != holder:
                first = next((one for one in acted if one.act == holder), None)
                said = f"approval {name} is for one act, but {first or f'act {holder}'} used it, and then {run}"
                yield self._misuse("used_twice", name, run, said, first.ts if first else run.ts)

    def _compare(self, name: str, run: _Run, use: _Use | None, found: _Permission) -> Iterator[Misuse]:
        """Yield a misuse if the act is not what was shown, or of another user or tool than the approval."""
        asked, answer = found.asked, found.answer
        row = answer or asked
        if answer and (role := (asked or answer).get("approvers") or answer.get("approvers")):
            approver = answer.get("approver")
            if not approver or approver in (answer.get("user"), answer.get("pseudonym"), run.who[1]):
                said = f"{run} began under approval {name}, for which {role} was asked, and no other person approved it"
                yield self._misuse("own_approval", name, run, said, answer["ts"])
        if row and (row.get("tool") != run.call[2] or not _same_user(_user(row), run.who)):
            said = f"{run} began under approval {name}, which is for {row.get('tool')} of {row.get('user')}"
            yield self._misuse("outside", name, run, said, row["ts"])
        shown = [str(one.get("show", "")) for one in (asked, answer) if one]
        done = [use.show if use and use.show else "", run.show]
        edited = answer is not None and answer["event"] == "approval.edited"
        if run.show and any(len({*same} - {""}) > 1 for same in ([shown, done] if edited else [[*shown, *done]])):
            said = (
                f"{run} is digest {run.show[:12]}, but approval {name} showed digest {shown[-1][:12] if shown else ''}"
            )
            yield self._misuse("different", name, run, said, row["ts"] if row else run.ts)

    def _judge_mandate(self, name: str, found: _Permission) -> Iterator[Misuse]:
        uses = sorted((use for use in found.uses if use.state != "released"), key=lambda use: use.ts)
        acted, given = [run for run in found.runs if run.may_have_acted], found.given or {}
        for number, use in enumerate(uses if given else (), 1):
            since, until = uses[0].ts, int(given["valid_until"] if "valid_until" in given else use.ts) * 10**9
            wrong = []
            if number > int(given.get("most", number)):
                wrong.append(("beyond", since, f"is for {given['most']} acts, all used before"))
            if use.ts > until + LATE:
                wrong.append(("late", until, f"expired at {_time(until)}"))
            if beside := _count_outside(use.reached, given.get("targets")):
                wrong.append(("outside", since, f"does not name {beside} of its targets"))
            for kind, ts, what in wrong:
                said = f"{_use_words(use)} began under mandate {name}, which {what}"
                proven = kind != "late" or use.row[0] not in self._set_back
                yield Misuse(kind, name, use.act, _row_of(use, acted), said, ts, use.ts, proven)
        for run in acted:
            yield from self._judge_mandated(name, run, found)

    def _judge_mandated(self, name: str, run: _Run, found: _Permission) -> Iterator[Misuse]:
        given, use = found.given, found.find_use(run)
        if given is not None:
            allowed = {
                "agent": given.get("agent") == run.agent,
                "tool": run.call[2] in given.get("tools", run.call),
                "user": _same_user(_user(given), run.who),
            }
            if wrong := [what for what, right in allowed.items() if not right]:
                said = f"{run} began under mandate {name}, which is for another {' and '.join(wrong)}"
                yield self._misuse("outside", name, run, said, given["ts"])
        fresh = use is None or use.row[0] == run.row[0]  # else another run was allowed, and this one finishes it
        if found.ended and fresh and run.began_after(*found.ended):
            said = f"{run} began under mandate {name}, which the user had ended at {_time(found.ended[0])}"
            proven = self._set_back.isdisjoint((run.row[0], found.ended[1]))
            yield self._misuse("after_end", name, run, said, found.ended[0])._replace(proven=proven)
        if use and use.show and run.show and use.show != run.show:
            said = f"{run} is digest {run.show[:12]}, but mandate {name} was used for digest {use.show[:12]}"
            yield self._misuse("different", name, run, said, use.ts)

    def _misuse(self, kind: str, name: str, run: _Run, said: str, since: int) -> Misuse:
        return Misuse(kind, name, run.act, run.row, said, since, run.ts)


def find_misuses(trail: Trail, ring: Sequence[Key], resolve: Callable[[Row], Row] | None = None) -> list[Misuse]:
    """Return the misuses in a trail. Only rows made with a key of the ring count. ``resolve``: as in
    `PermissionCheck`."""
    check = PermissionCheck(resolve)
    for row in _read_relevant(files_of(trail).values(), ring):
        check.take(row)
    return check.misuses()


# ----------------------------------------------------------------- reading


def _read_relevant(chains: Iterable[Sequence[Part]], ring: Sequence[Key]) -> Iterator[Row]:
    """Yield the rows that matter here, by time. Only chains whose times overlap are open at once."""
    waiting = sorted(((_first_time(parts), parts) for parts in chains), key=lambda one: one[0], reverse=True)
    heap: list[tuple[int, int, Row, Iterator[Row]]] = []
    numbers = count()
    while waiting or heap:
        rows: Iterator[Row]
        if waiting and (not heap or waiting[-1][0] <= heap[0][0]):
            rows = _relevant_rows(waiting.pop()[1], ring)
        else:
            _, _, row, rows = heapq.heappop(heap)
            yield row
        if following := next(rows, None):
            heapq.heappush(heap, (following["ts"], next(numbers), following, rows))


def _first_time(parts: Sequence[Part]) -> int:
    for _, line in _lines(parts):
        if row := parse_row(line):
            return int(row["ts"])
    return 0


def _relevant_rows(parts: Sequence[Part], ring: Sequence[Key]) -> Iterator[Row]:
    for _, line in _lines(parts):
        if line.endswith(b"\n") and _RELEVANT.search(line):
            row = parse_row(line)
            if row and age_of(row, line, ring) is not None:
                yield row


def _lines(parts: Sequence[Part]) -> Iterator[tuple[int, bytes]]:
    for part in parts:
        try:
            yield from lines_of(part)
        except DamagedFile:  # a finding of its own
            continue


# ----------------------------------------------------------------- rows and words


def _text(row: Row, name: str) -> str:
    return str(row.get(name, ""))


def _brief(row: Row) -> Row:
    """Return the fields that `PermissionCheck` keeps of an approval's row."""
    return {name: row[name] for name in _KEPT if name in row}


def _call(row: Row) -> _Call:
    return _text(row, "thread"), _text(row, "call_id"), _text(row, "tool")


def _act(row: Row) -> str:
    """Return the act's id, or in rows without one the call's."""
    return _text(row, "act_id") or "/".join(_call(row)[:2])


def _user(row: Row) -> tuple[str, str, bool]:
    """Return the tenant, the user, and True if that is the user's id."""
    return _text(row, "tenant"), _text(row, "user"), "pseudonym" in row


def _same_user(one: tuple[str, str, bool], other: tuple[str, str, bool]) -> bool:
    """Return False if these are certainly two users: one user can have two pseudonyms."""
    return one[0] == other[0] and (one[1] == other[1] or not (one[2] and other[2]))


def _account(row: Row) -> _Account | None:
    """Return the account of a row about a grant, or None."""
    at = (*_user(row)[:2], _text(row, "provider"), _text(row, "app"), _text(row, "account_hash"))
    return at if at[-1] else None


def _release(found: _Permission, row: Row) -> None:
    """Mark the newest use by this call as released."""
    use = next((use for use in reversed(found.uses) if use.call == _call(row) and use.state == "open"), None)
    if use:
        use.state = "released"


def _row_of(use: _Use, acted: Sequence[_Run]) -> Place:
    """Return the row of the act that used a permission, or the row of the use if there is no act."""
    return next((run.row for run in acted if run.act == use.act and run.row[0] == use.row[0]), use.row)


def _count_outside(reached: Sequence[str], targets: Sequence[str] | None) -> int:
    """Return the number of entries of ``reached`` that are not targets of the mandate. An entry is a list of digests,
    of which one must be a digest of a target. Skips the note that replaces the end of a long list."""
    known = {digest for target in targets or () for digest in target.split("|")}
    return sum(known.isdisjoint(one.split("|")) for one in reached if " " not in one) if targets else 0


def _use_words(use: _Use) -> str:
    """Return the act of a use, as in messages."""
    return _act_words(use.call[2], use.act, use.call[1], use.ts)


def _act_words(tool: str, act: str, call: str, ts: int) -> str:
    named = f"act {act}" if act and "/" not in act else f"call {call}" if call else "without an id"
    return f"{tool or 'an act'} ({named}) at {_time(ts)}"


def _time(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"
