"""The trace of an act has all code that ran for it, on every thread, and none of the simulated provider's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deputize.core import Deputy
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
    of_act = Deputy.act.__code__.co_filename.rpartition("/deputize/core/")[2]
    assert all(f"deputize/core/{of_act}" in found[step] for step in ("read", "mail, act", "mail"))
    assert "deputize/toolkits/gmail/read.py" in found["read"]
    assert "deputize/toolkits/gmail/send.py" in found["mail, act"]
    assert "deputize/core/vault/stores/sqlite/writer.py" in found["mail, decide"]
    assert not any("sandbox" in file for step in found.values() for file in step)
