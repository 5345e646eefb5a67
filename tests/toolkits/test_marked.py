"""Values that others can choose are in a part of a result that is marked ``untrusted``, for every tool."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from deputize.core.errors import DeputizeError
from tests.support.lanes import some_and_all
from tests.toolkits import github_calls, slack_calls
from tests.toolkits.github_play import Play
from tests.toolkits.slack_world import BOB, world

EVIL = "EVILWORD"
OF_GITHUB = ("body", "title", "message", "display_title")


NOT_MARKED = {
    *((tool, ("name",)) for tool in ("get_messages", "send_message", "upload_file")),  # of a partner
    *((tool, ("undo", "args", name)) for tool, name in (("update_channel", "topic"), ("update_message", "body"))),
    ("delete_message", ("text",)),  # the user's own
}
"""What is one value of a result of the user's own act: marking it would mark all of that result as another author's."""


def unmarked(node: Any, path: tuple[str, ...] = (), *, outside: bool = False) -> Iterator[tuple[str, ...]]:
    """Return where the word stands in unmarked text."""
    if isinstance(node, dict):
        outside = outside or node.get("untrusted") is True
        for name, value in node.items():
            yield from unmarked(value, (*path, name), outside=outside)
    elif isinstance(node, list):
        for value in node:
            yield from unmarked(value, path, outside=outside)
    elif isinstance(node, str) and EVIL in node and not outside:
        yield path


def spoilt(node: Any, names: tuple[str, ...]) -> None:
    """Put the word into every text of these names, wherever a sandbox keeps it."""
    for one in node if isinstance(node, list) else ():
        spoilt(one, names)
    if isinstance(node, dict):
        for name, value in list(node.items()):
            if name in names and isinstance(value, str):
                node[name] = f"{EVIL} {value}"
            else:
                spoilt(value, names)


@pytest.mark.parametrize("cases", some_and_all(github_calls.CASES, 8))
async def test_foreign_github_text_is_marked(cases: Sequence[Any]) -> None:
    found, seen = set(), 0
    for case in cases:
        play = await Play.begin()
        spoilt(play.store, OF_GITHUB)
        case.before(play)
        try:
            result = await play.act(case.tool, **case.arguments)
        except DeputizeError:
            continue
        seen += EVIL in json.dumps(result)
        found |= {(case.tool, path) for path in unmarked(result)}
    assert not found and seen > len(cases) // 5


@pytest.mark.parametrize("cases", some_and_all(slack_calls.CASES, 8))
async def test_foreign_slack_text_is_marked(cases: Sequence[Any]) -> None:
    found, seen = set(), 0
    for case in cases:
        async with world(*case.granted) as alice:
            store = alice.sandbox._world.services["slack"]
            store["profiles"][BOB] = {"title": EVIL, "display_name": EVIL, "real_name": EVIL, "status_text": EVIL}
            for channel in store["channels"].values():
                spoilt(channel, ("text", "topic", "purpose"))
            for file in store.get("files", {}).values():
                spoilt(file, ("title", "name"))
            case.spoil(alice)
            try:
                result = await alice.act(case.tool, **(await slack_calls.filled(alice, case.arguments)))
            except DeputizeError:
                continue
            seen += EVIL in json.dumps(result)
            found |= {(case.tool, path) for path in unmarked(result)}
    assert found <= NOT_MARKED and seen > len(cases) // 8
    assert found == NOT_MARKED or len(cases) < len(slack_calls.CASES)
