"""OCSF events, judged by the published JSON schema: every audit event with all of its fields and with the fewest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_type_hints

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from deputize.core.audit import Audit
from deputize.core.audit.common_fields import Facts
from deputize.core.audit.cursor import GenuineRow
from deputize.core.audit.events import EVENTS, ActResult, ChainAnchor, Event
from deputize.core.audit.ocsf import EVENT_CLASSES, OCSF_VERSION, WITHHELD, anchor_in, ocsf_event, ocsf_line
from deputize.core.audit.rows import Key, age_of, parse_row

CLASSES = {3004: "entity_management", 6003: "api_activity"}
KEY = b"k" * 32


@cache
def judge(class_uid: int) -> Draft202012Validator:
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION))
    return Draft202012Validator(schemas.get_class_schema(CLASSES[class_uid], profiles=[]))


def faults(event: Mapping[str, Any]) -> list[str]:
    return [f"{'/'.join(map(str, one.path))}: {one.message}" for one in judge(event["class_uid"]).iter_errors(event)]


def example(hint: Any, name: str) -> Any:
    """Return a value of this type: a word that names its field."""
    kinds = [one for one in (get_args(hint) or (hint,)) if one is not type(None)]
    kind = kinds[0]
    if isinstance(kind, type) and issubclass(kind, Facts):
        return filled(kind)
    if kind in (bool, int, float):
        return kind(7)
    return f"{name}-value" if kind is str else [f"{name}-1", f"{name}-2"]


def filled(kind: type[Facts], *, whole: bool = True) -> Facts:
    hints = get_type_hints(kind)
    names = kind.form if whole else kind.needed
    return kind(**{name: example(hints[name], name) for name in names})


def written(event: Event) -> GenuineRow:
    audit = Audit(None, KEY)
    audit.write(event)
    line = audit._sink.lines[0]  # type: ignore[attr-defined]
    row = parse_row(line)
    assert row is not None
    return GenuineRow(row, line.rstrip(b"\n"))


def test_every_event_has_an_ocsf_class() -> None:
    assert not EVENTS.keys() - EVENT_CLASSES.keys(), "add the event to deputize.core.audit.ocsf.EVENT_CLASSES"


@pytest.mark.parametrize("whole", [True, False])
def test_every_event_is_valid_by_the_published_schema(whole: bool) -> None:
    for name, kind in EVENTS.items():
        made = written(filled(kind, whole=whole))  # type: ignore[arg-type]
        event = json.loads(ocsf_line(made))
        assert faults(event) == [], name
        assert event["metadata"]["uid"] == f"{made.writer}.0"


def test_every_field_is_exported_or_withheld() -> None:
    for name, kind in EVENTS.items():
        made = written(filled(kind))  # type: ignore[arg-type]
        text = ocsf_line(made).decode()
        for field, value in made.row.items():
            if field in ("ts", "writer", "seq", "event", "prev"):
                continue
            exported = json.dumps(value, separators=(",", ":")).strip("[]") in text
            assert exported == (field not in WITHHELD), f"{name}.{field}"


def test_judge_refuses_a_wrong_event() -> None:
    event = ocsf_event(written(filled(ActResult)))  # type: ignore[arg-type]
    wrongs: list[dict[str, Any]] = [{"actor": None}, {"activity_id": 77}, {"secret": "x"}, {"time": "now"}, {"api": {}}]
    for wrong in wrongs:
        assert faults({**event, **wrong})
    assert faults({name: value for name, value in event.items() if name != "src_endpoint"})


@pytest.mark.parametrize(
    ("decision", "status", "severity"),
    [
        ("done", "Success", 1),
        ("policy_denied", "Failure", 2),
        ("provider_unavailable", "Failure", 1),
        ("approval_required", "Other", 1),
        ("outcome_unknown", "Other", 3),
        ("interrupted", "Other", 3),
    ],
)
def test_outcome_of_a_call_is_the_status(decision: str, status: str, severity: int) -> None:
    call = {"user": "u_1", "tool": "gmail_send_email", "effect": "sends", "provider": "google"}
    audit = Audit(None, KEY)
    audit._append("act.result", **call, decision=decision, duration_ms=12)
    line = audit._sink.lines[0]  # type: ignore[attr-defined]
    event = ocsf_event(GenuineRow(parse_row(line) or {}, line))
    assert (event["status"], event["severity_id"], event["status_code"]) == (status, severity, decision)
    assert (event["activity_id"], event["api"]["operation"], event["duration"]) == (1, "gmail_send_email", 12)


def test_hostile_values_stay_in_one_event_on_one_line() -> None:
    hostile = 'x"\n{"class_uid":6003}\r\x00\x85\u2028\u202e]\\"' * 3
    call = {name: hostile for name in ("user", "tool", "thread", "run", "call_id", "agent", "provider", "tenant")}
    audit = Audit(None, KEY)
    audit._append("act.result", **call, decision=hostile, duration_ms=1, act_id="9" * 10_000)
    line = audit._sink.lines[0]  # type: ignore[attr-defined]
    made = ocsf_line(GenuineRow(parse_row(line) or {}, line.rstrip(b"\n")))
    assert len(made.splitlines()) == 1 and made.isascii() and len(made) < 30_000
    event = json.loads(made)
    assert faults(event) == [] and event["actor"]["user"]["uid"] == hostile
    assert not any(byte < 32 or byte == 127 for byte in made)


def test_anchor_carries_the_row_that_verify_needs() -> None:
    made = written(ChainAnchor())
    raw = anchor_in(ocsf_line(made).decode())
    assert raw is not None and age_of(parse_row(raw.encode() + b"\n") or {}, raw.encode() + b"\n", [Key(KEY)]) == 0
    assert anchor_in(ocsf_line(written(filled(ActResult))).decode()) == ""  # type: ignore[arg-type]
    assert anchor_in("Oct 1 host {") is None
