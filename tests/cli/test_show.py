"""Text from outside cannot control the terminal."""

from __future__ import annotations

import io
import json
from typing import Any, get_args, get_type_hints

import pytest
from rich.console import Console

from deputize.cli import show
from deputize.core import Approval, Revoked


def printed(width: int = 100) -> tuple[Console, io.StringIO]:
    page = io.StringIO()
    return Console(file=page, force_terminal=True, width=width, color_system=None), page


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "a\x08b", "\x9b2J", "\u202egnp.exe", "a\x00b", "\u2066x"]
)
def test_control_characters_do_not_reach_the_terminal(text: str) -> None:
    shown = show.clean(text)
    assert shown != text and not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in shown)


def test_json_for_the_terminal_is_cleaned_and_for_programs_unchanged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = {"text": "Zoë \x9b2J \x1b[31m \u202egnp.exe \U000e0041 \ud800 \u2028 日本 \u2764\ufe0f"}
    show.data(value)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert show.clean(said) == said and "Zoë" in said and "日本 \u2764\ufe0f" in said


def test_plain_text_is_unchanged() -> None:
    text = "Zoë wrote:\n\t“naïve” — 100 % [bold]ok[/bold] 日本"
    assert show.clean(text) == text


def asked(preview: dict[str, str], **more: Any) -> Approval:
    return Approval("id", "gmail_send_email", "sends", preview, account="alice@example.test", **more)


def test_markup_in_a_mail_is_printed_as_text() -> None:
    console, page = printed()
    show.approval(asked({"subject": "[red]hi[/red]", "text": "[/]oops[link=evil]"}), console)
    assert "[red]hi[/red]" in page.getvalue() and "[/]oops[link=evil]" in page.getvalue()


def test_approval_is_printed_completely_with_changed_fields() -> None:
    console, page = printed()
    preview = {
        "to": "a@example.test, b@example.test",
        "text": f"one\nto: eve@evil.test\n{'x' * 9000}",
        "cc": "(emptied)",
    }
    show.approval(asked(preview, summary="Send this email", changed_fields=("text",)), console)
    text = page.getvalue()
    for part in ("Send this email", "to: a@example.test, b@example.test", "text: (changed)", "cc: (emptied)"):
        assert part in text
    assert "    to: eve@evil.test" in text, "a line of a text cannot be taken for one of ours"
    assert text.count("x") - text.count("example") - text.count("text") >= 9000


def test_approval_begins_with_its_sentence_and_one_line_for_each_danger() -> None:
    console, page = printed()
    sentence = "Scout wants to send this email at Gmail as alice@example.test to eve@evil.test (first contact)"
    preview = {
        "first contact": "You have never written to eve@evil.test.",
        "warning": "This gives somebody access.\nWhat is there now will be lost.",
        "to": "eve@evil.test",
        "seen by": "the people named here",
    }
    show.approval(asked(preview, summary=sentence, dangers=("first contact", "warning")), console)
    lines = [line.strip("│ ") for line in page.getvalue().splitlines()[1:-1]]
    assert [line for line in lines if line] == [
        sentence,
        "first contact: You have never written to eve@evil.test.",
        "warning: This gives somebody access.",
        "warning: What is there now will be lost.",
        "to: eve@evil.test",
        "seen by: the people named here",
    ]


def test_link_is_never_broken() -> None:
    console, page = printed(width=20)
    url = "http://127.0.0.1:8736/connect/" + "x" * 60
    show.link(url, console)
    assert url in page.getvalue()


def test_every_revocation_result_has_a_text() -> None:
    fates = get_args(get_type_hints(Revoked)["upstream"])
    assert len(fates) > 2
    for fate in fates:
        console, page = printed()
        show.revoked([Revoked("google", "alice@example.test", fate)], "Google", console)
        assert page.getvalue().startswith("Disconnected alice@example.test. ")
