"""The trace of an act has what ran for it, on every thread, and nothing of the provider that played."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trace import Tracer, lines, traces


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    yield Tracer()
    threading.setprofile(None)
    sys.setprofile(None)


async def test_trace_names_the_files_of_each_step(tracer: Tracer, tmp_path: Path) -> None:
    found = {
        step: {line.split()[-1]: line.split() for line in lines(step, trace, files=True)}
        async for step, trace in traces(tracer, tmp_path)
    }
    assert [*found] == ["read", "mail, prepare", "mail, decide", "mail, act", "mail"]
    assert [step["deputize/core/deputy.py"][0] for step in found.values()] == ["1", "1", "1", "1", "3"]
    assert "deputize/toolkits/gmail/read.py" in found["read"]
    assert "deputize/toolkits/gmail/send.py" in found["mail, act"]
    writer = "deputize/core/vault/stores/sqlite/writer_thread.py"
    assert writer in found["mail, decide"] and writer not in found["read"]
    assert not any("sandbox" in file for step in found.values() for file in step)
