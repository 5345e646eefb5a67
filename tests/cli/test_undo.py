"""``deputize undo``: which acts can be undone, and undoing one after an approval."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Act, Deputy, Verdict
from tests.cli.conftest import Command, Provider, connected
from tests.support.undo_toolkit import KIT


@pytest.fixture
def starring(home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the settings of a deputy whose toolkit stars mails."""
    settings = connected(home, provider, "gmail.modify")
    monkeypatch.setattr(Deputy, "from_settings", partial(Deputy.from_settings, toolkits=[KIT]))
    return settings


def ask_to_undo(act: Act) -> Verdict:
    return Verdict.ASK if act.call.undoes else Verdict.ALLOW


def starred(provider: Provider) -> list[str]:
    return [mail.id for mail in provider.sandbox.mailbox("alice@example.test").mails("STARRED")]


@pytest.mark.processes
def test_act_is_undone_only_after_confirmation(cli: Command, provider: Provider, starring: dict[str, Any]) -> None:
    settings = starring | {"DEPUTIZE_POLICY": f"{__name__}:ask_to_undo"}
    before = starred(provider)
    mail = next(one.id for one in provider.sandbox.mailbox("alice@example.test").mails() if one.id not in before)
    done = cli("act", "gmail_star", json.dumps({"id": mail}), **settings)
    assert done.exit_code == 0 and mail in starred(provider), done.stderr
    act = re.search(r"To undo it: deputize undo (\w+)", done.stderr)[1]  # type: ignore[index]
    listed = cli("undo", **settings).stdout
    assert act in listed and "labels: STARRED" in " ".join(listed.split())
    [told] = json.loads(cli("undo", "--json", **settings).stdout)
    assert (told["id"], told["tool"], told["account"]) == (act, "gmail_star", "alice@example.test")
    assert (told["what"], told["where"], told["about"]) == ("Star a mail", "Inbox", "labels: STARRED · Inbox")
    assert "STARRED" not in cli("audit", **settings).stdout + cli("audit", "--json", **settings).stdout
    unanswered = cli("undo", act, stdin="", **settings)
    assert "star a mail" in unanswered.stderr and mail in starred(provider)
    refused = cli("undo", act, stdin="n\n", **settings)
    assert refused.exit_code == 1 and "[declined]" in refused.stderr and mail in starred(provider)
    undone = cli("undo", act, stdin="y\n", **settings)
    assert undone.exit_code == 0 and "STARRED" not in json.loads(undone.stdout)["labels"], undone.stderr
    assert starred(provider) == before
    told = [line for line in cli("audit", **settings).stdout.splitlines() if "gmail_star" in line and "done" in line]
    assert [(f"act {act}" in line, f"undoes {act}" in line) for line in told] == [(True, False), (False, True)]


def test_undo_without_undoable_acts_says_so(cli: Command, starring: dict[str, Any]) -> None:
    assert "Nothing can be undone now." in cli("undo", **starring).stdout
    unknown = cli("undo", "0123456789ab", **starring)
    assert unknown.exit_code == 1 and "[not_found]" in unknown.stderr and "24 hours" in unknown.stderr
