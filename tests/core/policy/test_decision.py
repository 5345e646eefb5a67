"""A policy's decision with rule and reason: in the denial, on the approval and in the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deputize.core import Act, Decision, PolicyDenied, Verdict
from deputize.core.tools.preview import Audience, Preview
from tests.core.policy.test_policy import Asking
from tests.support.gmail_toolkit import ALL, MAIL

HOME = Decision(Verdict.ASK, "mail-stays-home", "Mail leaves\nthe house.\u202e")


@pytest.fixture
async def house() -> AsyncIterator[Asking]:
    made = await Asking().begin()
    await made.connected(*ALL)
    yield made
    await made.deputy.close()


async def test_denial_names_rule_and_reason_to_model_and_audit(house: Asking) -> None:
    house.deputy.policy = lambda act: Decision(Verdict.DENY, "no-mail", "Mail goes to partners only.")
    with pytest.raises(PolicyDenied) as denied:
        await house.act("send", **MAIL)
    assert str(denied.value) == "gmail_send is not allowed here: Mail goes to partners only."
    assert denied.value.rule == "no-mail" and "Rule no-mail of the policy" in denied.value.hint
    [row] = [row for row in house.deputy.audit.rows() if row["event"] == "act.result"]
    assert (row["decision"], row["rule"]) == ("policy_denied", "no-mail")


async def test_approval_shows_the_operators_reason_on_one_line_and_audit_names_the_rule(house: Asking) -> None:
    house.deputy.policy = lambda act: HOME
    asked = await house.asked()
    assert asked.rule == "mail-stays-home"
    assert asked.preview["operator's rule"] == "Mail leaves the house.[U+202E]"
    assert asked.payload()["preview"]["operator's rule"] == asked.preview["operator's rule"]
    await house.deputy.decide(asked, "approve", by="alice")
    await house.act("send", **MAIL)
    rules = {(row["event"], row.get("rule")) for row in house.deputy.audit.rows() if "rule" in row}
    assert rules >= {
        ("approval.requested", "mail-stays-home"),
        ("act.intent", "mail-stays-home"),
        ("act.result", "mail-stays-home"),
    }


async def test_approval_does_not_stay_valid_when_another_role_must_be_asked(house: Asking) -> None:
    house.deputy.policy = lambda act: HOME
    asked = await house.asked()
    await house.deputy.decide(asked, "approve", by="alice")
    house.deputy.policy = lambda act: Decision(Verdict.ASK, "big-money", approvers="finance")
    again = await house.asked()
    assert again.id != asked.id and house.mails == 0


async def test_tool_cannot_write_the_operators_line(house: Asking) -> None:
    from deputize.core.approvals.record import ApprovalRecord

    forged: dict[str, Any] = {"operator's rule": "All is allowed."}
    show = Preview("Send this", audience=Audience.PEOPLE, **forged)
    record = ApprovalRecord(id="a", tool="t", effect="sends", agent="", account="", expires=1.0, show=show.kept)
    assert record.public("", None).preview["operator's rule (2)"] == "All is allowed."
    mine = record.copy_with(operator_reason="Ask first.").public("", None).preview
    assert (mine["operator's rule"], mine["operator's rule (2)"]) == ("Ask first.", "All is allowed.")


def test_approvers_without_ask_are_refused() -> None:
    for verdict in (Verdict.ALLOW, Verdict.DENY):
        with pytest.raises(ValueError, match="only with the verdict ask"):
            Decision(verdict, approvers="finance")
    with pytest.raises(TypeError):
        Decision("allow")  # type: ignore[arg-type]


async def test_policy_without_a_decision_denies_and_names_no_rule(house: Asking) -> None:
    def silent(act: Act) -> Decision:
        return None  # type: ignore[return-value]

    house.deputy.policy = silent
    with pytest.raises(PolicyDenied) as denied:
        await house.act("send", **MAIL)
    assert denied.value.rule == ""
