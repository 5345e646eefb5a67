"""Budgets: how many acts happen in a period, counted in the vault by all processes.

The record of a period names the acts that it counts. An act adds itself by compare-and-swap before it claims its ledger
record, so no more acts begin than the budget allows, even after races and crashes. A repeat of an act is counted once,
as long as the ledger has a record of the act. After that, the same call is another act. An act that was refused before
it did anything is taken out again.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from deputize.core.audit import Audit
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import BudgetReleased, BudgetSpent
from deputize.core.policy.policy import Room
from deputize.core.policy.rules import MAX_BUDGET, PERIODS, Budget
from deputize.core.tools.act import Act
from deputize.core.tools.decision import Decision
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.record import Record
from deputize.core.vault.vault import Vault

KIND: Final = "budget"
KEPT_SECONDS: Final = 3600.0
"""Seconds for which a record is kept after its period, for processes whose clocks differ."""
_ID_CHARACTERS: Final = 24


@frozen
class Use(Frozen):
    """One act in one budget. ``key``: of the period's record. ``act_id``: the act, as the record names it. ``over``:
    the decision if the budget has no room, which says when it has room again."""

    budget: Budget
    key: str
    act_id: str
    ends: float
    over: Decision


class Counters:
    """The counters of all budgets in one vault."""

    def __init__(self, vault: Vault, audit: Audit, clock: Callable[[], float], kept: float) -> None:
        """``kept``: seconds for which the ledger stores outcomes, and a repeated call is the same act."""
        self.vault, self.audit, self.clock, self.kept = vault, audit, clock, kept

    def use_of(self, budget: Budget, act: Act) -> Use:
        """Return the use of a budget by an act that begins now."""
        begins, ends = period(self.clock(), budget.every, budget.zone)
        parts = {"user": act.user.id, "agent": act.agent, "tool": act.tool.name, "tenant": act.user.tenant}
        counted = [parts["tenant"], *(f"{name}={parts[name]}" for name in budget.per)]
        if "user" not in budget.per and "tenant" not in budget.per:
            counted[0] = ""  # all tenants together
        content = json.dumps([budget.id, budget.every, begins, counted]).encode(errors="surrogatepass")
        digest = hmac.digest(self.vault.keys.index, b"budget" + content, "sha256").hex()[:40]
        key = (self.vault.key_prefix(act.user) if "user" in budget.per else "shared.") + digest
        return Use(budget, key, act.key.hex[:_ID_CHARACTERS], ends, _over(budget, ends))

    async def has_room(self, use: Use) -> bool:
        """Return True if the budget has counted this act or has room for it."""
        spent = _spent(await self.vault.get(KIND, use.key))
        return self._is_known(use, spent) or len(spent) < use.budget.max

    async def room(self, use: Use) -> Room:
        """Return the room that the budget has left in this period."""
        left = use.budget.max - len(_spent(await self.vault.get(KIND, use.key)))
        length = float(PERIODS[use.budget.every])
        return Room(use.key, use.budget.id, max(0, left), use.budget.max, use.ends, length, use.over)

    async def spend(self, use: Use, act: Act, *, beyond: bool = False) -> bool:
        """Count the act. Return False if the budget has no room. ``beyond``: True to count it in any case."""
        most = 2 * MAX_BUDGET if beyond else use.budget.max
        while True:
            row = await self.vault.get(KIND, use.key)
            spent = _spent(row)
            if self._is_known(use, spent):
                return True
            if len(spent) >= most:
                return False
            spent = {f"{name}-{at}" if name == use.act_id else name: at for name, at in spent.items()}
            content = {"expires": use.ends + KEPT_SECONDS, "spent": {**spent, use.act_id: int(self.clock())}}
            if row:
                saved = await self.vault.swap(row, content)
            else:
                owner = act.user.tenant if "user" in use.budget.per else ""  # a shared budget names nobody
                saved = await self.vault.insert(KIND, use.key, content, await self.vault.data_keys.get(owner))
            if saved is not None:
                facts = use.budget.id, act.agent, act.tool.name, len(spent) + 1, use.budget.max, round(use.ends)
                await self.audit.record(BudgetSpent(_user(act), *facts))
                return True

    def _is_known(self, use: Use, spent: Mapping[str, Any]) -> bool:
        """Return True if the record counts this act, and not an earlier one with the same call."""
        return use.act_id in spent and spent[use.act_id] > self.clock() - self.kept

    async def release(self, use: Use, act: Act) -> None:
        """Take the act out again, because it did nothing."""
        while (row := await self.vault.get(KIND, use.key)) and use.act_id in (spent := _spent(row)):
            left = {name: at for name, at in spent.items() if name != use.act_id}
            if await self.vault.swap(row, {**row.json, "spent": left}) is not None:
                await self.audit.record(BudgetReleased(_user(act), use.budget.id, act.agent, act.tool.name))
                return


def _user(act: Act) -> OfUser:
    return OfUser(tenant=act.user.tenant, user=act.user.id)


def _spent(row: Record | None) -> Mapping[str, Any]:
    return row.json.get("spent", {}) if row else {}


def period(now: float, every: str, zone: tzinfo) -> tuple[float, float]:
    """Return when the period of this moment began and when it ends, in Unix seconds. Days and weeks are of the zone."""
    local = datetime.fromtimestamp(now, zone)
    if every == "hour":
        begins = now - (local.minute * 60 + local.second + local.microsecond / 1e6)
        return round(begins), round(begins) + 3600.0
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    length = 1
    if every == "week":
        day, length = day - timedelta(days=day.weekday()), 7
    return day.timestamp(), (day + timedelta(days=length)).timestamp()


def _over(budget: Budget, ends: float) -> Decision:
    """Return the decision about an act for which the budget has no room."""
    free = datetime.fromtimestamp(ends, budget.zone)
    calls = "1 call" if budget.max == 1 else f"{budget.max} calls"
    why = (
        budget.over.reason
        or f"the budget of {calls} {'an' if budget.every == 'hour' else 'a'} {budget.every} is used up"
    )
    reason = f"{why.rstrip('.')}; free again at {free:%Y-%m-%d %H:%M %Z}."
    return Decision(budget.over.verdict, budget.id, reason, budget.over.approvers, over_budget=True)
