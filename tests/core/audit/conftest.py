"""Fixtures of the audit: a folder, an audit on it and the disk beneath."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core.audit import Audit
from deputize.core.errors import StoreUnavailable
from tests.core.audit.audit_files import KEY, Disk, Make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """Build an Audit on the folder, closed after the test."""
    made: list[Audit] = []

    def begin(key: bytes = KEY, **options: Any) -> Audit:
        made.append(Audit(folder, key, **options))
        return made[-1]

    yield begin
    for audit in made:
        with contextlib.suppress(StoreUnavailable):
            audit.close()


@pytest.fixture
def audit(make: Make) -> Audit:
    """An Audit on the folder with the usual options."""
    return make()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)
