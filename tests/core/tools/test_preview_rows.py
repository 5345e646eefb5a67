"""The preview that a person reads has every row, whatever the fields are called."""

from __future__ import annotations

from typing import Any

from deputize.core import Audience, Change, Danger, Preview
from deputize.core.approvals.record import rows_by_name
from deputize.core.tools.preview import show_rows
from deputize.core.tools.untrusted import untrusted_rows


def test_preview_rows_of_one_name_are_all_kept() -> None:
    fields: dict[str, Any] = {"Status now": "everybody may edit", "Status": Change("open", "closed")}
    false: dict[str, Any] = {"seen by": "only you", "comes from": "your own notes"}
    show = Preview("Change it", audience=Audience.PUBLIC, where="the site", **fields, **false)
    preview = rows_by_name([*show_rows(show), *untrusted_rows(["eve@evil.test: a mail of eve@evil.test"])])
    assert preview == {
        "where": "the site",
        "Status now (2)": "everybody may edit",
        "Status now": "open",
        "Status": "closed",
        "seen by (2)": "only you",
        "comes from (2)": "your own notes",
        "seen by": "everybody",
        "comes from": "eve@evil.test: a mail of eve@evil.test",
    }


def test_dangers_are_warned_of_and_compared() -> None:
    plain = Preview("Change it", audience=Audience.PUBLIC, destroys=True)
    dangerous = Preview(
        "Change it", audience=Audience.PUBLIC, destroys=True, dangers=[Danger.RUNS_CODE, Danger.GIVES_ACCESS]
    )
    assert dict(show_rows(dangerous))["warning"].splitlines() == [
        "This changes code that runs by itself.",
        "This gives somebody access.",
        "What is there now will be lost.",
    ]
    assert dangerous.differs(plain) == ["dangers"]
    assert dangerous.digest != plain.digest
    assert "dangers" not in plain.kept
    assert Preview.of(dangerous.kept).digest == dangerous.digest
