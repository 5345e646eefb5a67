"""docs/openapi.md shows what its own description generates."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from deputize.core import Deputy
from deputize.openapi.description import read
from tests.docs.blocks import block
from tests.openapi.acme import imported, make

PAGE = "docs/openapi.md"


def test_documented_description_generates_the_shown_code(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "acme.yaml").write_text(block(PAGE, "openapi: 3.1.0", "yaml"))
    made = make(read(tmp_path / "acme.yaml").root, only=["tasks"])
    assert made.module.endswith(f"\n\n\n{block(PAGE, 'def add_comment')}")
    assert imported(made.provider, "acme_provider").ACME.name == "acme" and not made.left_out


def test_deputy_accepts_toolkits_and_providers_as_documented() -> None:
    assert {"toolkits", "providers"} <= inspect.signature(Deputy.from_settings).parameters.keys()
