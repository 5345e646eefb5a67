"""Every request of every Gmail tool against Google's own description: valid, allowed, and with no more than needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from deputize.core import Effect, Need, Request, Tool
from deputize.core.providers import GOOGLE
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.gmail_calls import CASES, UNSURE, Case, mailbox
from tests.toolkits.mailbox import COMPOSE, LABELS, MAIL, MODIFY, READONLY, SEND, SETTINGS
from tests.toolkits.tool_driver import Driver, drive

pytest.importorskip("googleapiclient")
pytest.importorskip("jsonschema")

from tests.support.discovery import Discovery
from tests.support.lanes import sample

SPEC = Discovery.of("gmail.v1")
NAMES = [f"{n}-{case.tool}" for n, case in enumerate(CASES)]
every_case = pytest.mark.parametrize("case", sample(CASES, lambda case: case.tool, ids=NAMES))


AFTER_A_LOSS = {  # looked at where the grant allows, to learn what became of a mail
    *("gmail.users.messages.list", "gmail.users.messages.get", "gmail.users.threads.get"),
    *("gmail.users.drafts.list", "gmail.users.drafts.get"),
}


def outgoing(request: Request) -> httpx.Request:
    """The request as it would leave, without a token."""
    path = request.path.format(**{name: quote(value, safe="") for name, value in request.at.items()})
    params = {name: str(v).lower() if isinstance(v, bool) else v for name, v in (request.params or {}).items()}
    query = f"?{urlencode(params, doseq=True)}" if params else ""
    return httpx.Request(request.method, f"{GOOGLE.apis.roots['gmail']}{path}{query}", json=request.json)


def tool_of(case: Case) -> Tool:
    return TOOLKIT.tools[f"gmail_{case.tool}"]


def needs_of(case: Case) -> list[Need]:
    tool = tool_of(case)
    return list(tool.needs_of(tool.validate(case.arguments)))


def asked_for(case: Case) -> frozenset[str]:
    return frozenset(need.ask for need in needs_of(case))


def requests_of(case: Case, granted: frozenset[str]) -> list[Request]:
    """What the call asks of Gmail with these scopes, whatever it ends in."""
    box = mailbox()
    case.spoil(box)
    try:
        drive(Driver(TOOLKIT, granted).start(case.tool, case.arguments), box)
    except UNSURE:
        pass
    return box.asked


def granted_for(case: Case) -> Iterable[frozenset[str]]:
    """Grants that satisfy a call: what consent would ask for, and everything broader."""
    yield asked_for(case)
    for more in (COMPOSE, READONLY, MODIFY, MAIL):
        grant = asked_for(case) | {more}
        yield grant
        if all(need.is_met_by(frozenset({more})) for need in needs_of(case)):
            yield frozenset({more})


@every_case
def test_every_request_is_one_that_google_describes_and_the_grant_allows(case: Case) -> None:
    for granted in granted_for(case):
        for request in requests_of(case, granted):
            SPEC.check(outgoing(request), granted)


def test_the_table_of_all_requests(capsys: pytest.CaptureFixture[str]) -> None:
    counts, failures = dict.fromkeys(TOOLKIT.tools, 0), 0
    for case in CASES:
        for request in requests_of(case, asked_for(case)):
            counts[f"gmail_{case.tool}"] += 1
            failures += not SPEC.accepted(outgoing(request)) & asked_for(case)
    with capsys.disabled():
        print(f"\ngmail: {len(counts)} tools, {sum(counts.values())} requests checked, failures {failures}")
    assert len(counts) == 21 and failures == 0
    assert [tool for tool, count in counts.items() if not count] == ["gmail_whoami"]  # the account says it all


@every_case
def test_with_what_was_asked_for_only_declared_methods_are_called(case: Case) -> None:
    declared = {need.method for need in needs_of(case)}
    called = {SPEC.call(outgoing(request)).id for request in requests_of(case, asked_for(case))}
    if case.spoil is not Case._field_defaults["spoil"]:
        called -= AFTER_A_LOSS
    if case.tool in ("get_settings", "manage_filter"):
        called -= {"gmail.users.labels.list"}  # for their names, where the grant happens to allow it
    if "send_as" in case.arguments:
        called -= {"gmail.users.settings.sendAs.list"}
    assert called <= declared


@every_case
def test_none_of_the_scopes_asked_for_could_be_left_out(case: Case) -> None:
    asked = asked_for(case)
    requests = [outgoing(request) for request in requests_of(case, asked)]
    for scope in asked:
        assert any(not SPEC.accepted(request) & (asked - {scope}) for request in requests)


@every_case
def test_a_call_that_reads_asks_for_reading_only(case: Case) -> None:
    tool = tool_of(case)
    if tool.effect_of(tool.validate(case.arguments)) is not Effect.READS:
        return
    allowed = {LABELS} if case.tool == "list_labels" else {READONLY}
    assert asked_for(case) <= allowed
    for request in requests_of(case, frozenset({READONLY})):
        assert request.method == "GET"
        assert READONLY in SPEC.accepted(outgoing(request))


def methods() -> dict[str, Any]:
    return {method["id"]: method for _, _, method in SPEC._routes}


@every_case
def test_a_need_accepts_what_google_accepts_and_nothing_else(case: Case) -> None:
    for need in needs_of(case):
        accepted = set(methods()[need.method]["scopes"])
        assert need.accepts <= accepted
        assert need.ask in need.accepts and need.ask != MAIL
        useful = {scope for scope in accepted if ".addons." not in scope and not scope.endswith(".metadata")}
        assert need.accepts == useful


def test_every_tool_is_covered() -> None:
    assert {f"gmail_{case.tool}" for case in CASES} == set(TOOLKIT.tools)


def test_metadata_and_the_whole_mailbox_are_never_asked_for_and_metadata_is_never_enough() -> None:
    for case in CASES:
        for need in needs_of(case):
            assert not need.ask.endswith(("gmail.metadata", "mail.google.com/"))
            assert not any(scope.endswith("gmail.metadata") for scope in need.accepts)


def test_sending_alone_suffices_to_send() -> None:
    assert asked_for(Case("send_email", {"to": ["b@x.test"], "subject": "s", "body": "b"})) == {SEND}


def test_consent_beforehand_names_the_scopes_of_the_plain_call() -> None:
    asked = {name: {need.ask for need in tool.usual_needs()} for name, tool in TOOLKIT.tools.items()}
    assert asked == {
        "gmail_whoami": set(),
        "gmail_search_emails": {READONLY},
        "gmail_get_email": {READONLY},
        "gmail_get_thread": {READONLY},
        "gmail_list_labels": {LABELS},
        "gmail_save_draft": {COMPOSE},
        "gmail_list_drafts": {READONLY},
        "gmail_send_draft": {COMPOSE},
        "gmail_delete_draft": {COMPOSE},
        "gmail_send_email": {SEND},
        "gmail_reply_email": {READONLY, SEND},
        "gmail_forward_email": {READONLY, SEND},
        "gmail_update_emails": {MODIFY},
        "gmail_manage_label": {LABELS},
        "gmail_get_attachment": {READONLY},
        "gmail_unsubscribe": {READONLY},
        "gmail_list_changes": {READONLY},
        "gmail_get_settings": {READONLY},
        "gmail_set_vacation": {SETTINGS},
        "gmail_manage_filter": {SETTINGS},
        "gmail_set_signature": {SETTINGS},
    }
