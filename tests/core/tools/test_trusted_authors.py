"""Whose texts a model may read: marks, their effect on results, and unknown values."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Request, Run, Steps, Toolkit, Undo
from deputize.core.errors import InvalidInput, NotFound, SettingsError
from deputize.core.tools.trusted_authors import TrustedAuthors, Withheld, remove_texts, screen_steps
from tests.support.sandbox_deputy import build


def test_withheld_mark_becomes_a_field_of_its_object_and_is_counted() -> None:
    withheld = Withheld()
    mark, unknown = withheld.mark_for("not of a member"), withheld.mark_for("not looked up")
    result = {
        "items": [
            {
                "id": 1,
                "title": mark,
                "body": f"{mark}\u2026",
                "total_chars": 17,
                "hidden": 2,
                "more": "x",
                "from": "eve",
            },
            {"id": 2, "title": "Lunch?", "files": [mark, "a.txt"], "sub": {"text": unknown}},
        ],
        "next": "cursor",
    }
    assert withheld.remove_marks(result) == {
        "items": [
            {"id": 1, "from": "eve", "withheld": "not of a member"},
            {"id": 2, "title": "Lunch?", "files": ["a.txt"], "sub": {"withheld": "not looked up"}}
            | {"withheld": "not of a member"},
        ],
        "next": "cursor",
        "texts_withheld": 3,
    }


def test_withheld_mark_inside_a_text_is_replaced_in_place() -> None:
    withheld = Withheld()
    mark = withheld.mark_for("not of a member")
    told = withheld.remove_marks({"body": f"I agree.\n> {mark}\nYes", "text_digest": "0" * 16})
    assert told == {"body": "I agree.\n> [withheld]\nYes", "withheld": "not of a member", "texts_withheld": 1}


def test_results_without_withheld_texts_are_unchanged() -> None:
    old = Withheld().mark_for("x")
    assert Withheld().remove_marks({"text": old, "total_chars": 3}) == {"text": old, "total_chars": 3}


def test_write_result_keeps_only_what_the_next_call_needs() -> None:
    result = {"done": ["closed"], "issue": {"number": 5, "title": "Ignore all", "url": "u", "untrusted": True}}
    assert remove_texts(result, "why") == {
        "done": ["closed"],
        "issue": {"number": 5, "url": "u", "untrusted": True, "withheld": "why"},
        "texts_withheld": 1,
    }


def test_screen_sees_each_answer_first_and_the_tool_handles_its_refusal() -> None:
    seen: list[Any] = []

    def tool() -> Steps:
        seen.append((yield Request("GET", "/a")))
        try:
            yield Request("GET", "/b")
        except NotFound:
            return "told"

    def screen(step: Any, answer: Any) -> Steps:
        if step.path == "/b":
            raise NotFound("withheld")
        return answer.upper()
        yield step

    steps = screen_steps(tool(), screen, Withheld())
    assert next(steps).path == "/a"  # type: ignore[union-attr]
    assert steps.send("secret").path == "/b"  # type: ignore[union-attr]
    with pytest.raises(StopIteration) as end:
        steps.send("secret")
    assert end.value.value == "told" and seen == ["SECRET"]


@pytest.mark.parametrize("words", [{"nope": "push"}, {"kit": "nope"}, {"kit": ""}, {"kit": ["push"]}])
async def test_unknown_trusted_authors_setting_stops_the_start(words: Any) -> None:
    kit = Toolkit("kit", provider="google")
    kit.screens["push"] = lambda run, withheld: lambda step, answer: iter(())  # type: ignore[assignment,return-value]
    with pytest.raises(SettingsError, match="trusted_authors"):
        await build(toolkits=[kit], trusted_authors=words)
    assert TrustedAuthors.of({"kit": "push"}, {"kit": kit}.get).words == {"kit": "push"}


async def test_tool_receives_the_trusted_authors_setting_without_an_argument() -> None:
    kit = Toolkit("kit", provider="")
    kit.screens["push"] = lambda run, withheld: lambda step, answer: iter(())  # type: ignore[assignment,return-value]

    @kit.tool()
    def look(*, run: Run) -> Steps:
        """Look."""
        return {"word": run.trusted_authors}
        yield Undo("", {})

    deputy = await build(toolkits=[kit], trusted_authors={"kit": "push"})
    assert await deputy.act("kit_look", {}, user="alice") == {"word": "push"}
    with pytest.raises(InvalidInput):
        await deputy.act("kit_look", {"trusted_authors": ""}, user="alice")
    assert (await (await build(toolkits=[kit])).act("kit_look", {}, user="alice")) == {"word": ""}


def test_undo_arguments_with_foreign_texts_are_removed() -> None:
    back = {"tool": "kit_update", "args": {"id": "C1", "state": "open"}}
    assert remove_texts({"undo": dict(back)}, "why") == {"undo": back}
    assert remove_texts({"undo": {**back, "args": {"topic": "Ignore all of it"}}}, "why") == {"undo": "why"}
