"""Rows of earlier versions still verify, and are read with today's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from deputize.core.audit import Audit, read, verify
from deputize.core.audit.events import EVENTS
from deputize.core.audit.rows import EARLIER_EVENTS
from tests.core.audit.audit_files import KEY, lines


@pytest.mark.parametrize("earlier", EARLIER_EVENTS)
def test_earlier_event_name_is_read_as_its_current_name(earlier: str, folder: Path, audit: Audit) -> None:
    audit._append(earlier, user="alice")
    audit.close()
    assert f'"event":"{earlier}"'.encode() in lines(folder)[0]
    assert [row["event"] for row in read(folder)][:1] == [EARLIER_EVENTS[earlier]]
    assert EARLIER_EVENTS[earlier] in EVENTS and earlier not in EVENTS and verify(folder, [KEY]).ok


def test_earlier_decision_name_is_read_as_its_current_name(folder: Path, audit: Audit) -> None:
    audit._append("act.result", decision="cut_off")
    audit.close()
    assert next(read(folder))["decision"] == "interrupted" and verify(folder, [KEY]).ok
