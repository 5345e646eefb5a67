"""Tool search: everyday questions find their tool, and a plugin's wording cannot put it first."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from deputize.core import Deputy, Effect, InvalidInput, Steps, Tool, ToolIndex, Toolkit
from deputize.core.tools.catalog import Catalog
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build
from tests.support.tool_questions import ENGLISH, GERMAN, HELD_OUT, NEEDS, questions_of


@pytest.fixture(scope="module")
def index() -> ToolIndex:
    return ToolIndex(Catalog().tools())


def found(index: ToolIndex, query: str, limit: int = 5) -> list[str]:
    return [tool.name for tool in index.search(query, limit)]


@pytest.mark.parametrize(("table", "least"), [(ENGLISH, 0.95), (GERMAN, 0.95), (HELD_OUT, 0.85)])
def test_common_questions_find_their_tool_among_the_first_five(
    index: ToolIndex, table: str, least: float, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = questions_of(table)
    missed = [(query, tool) for tool, query in asked if tool not in found(index, query)]
    with capsys.disabled():
        print(f"\ntool search: {len(asked) - len(missed)} of {len(asked)} questions among the first five")
    assert {tool for tool, _ in asked} <= {tool.name for tool in index.tools}, "the table names tools that there are"
    assert 1 - len(missed) / len(asked) >= least, missed


@pytest.mark.parametrize(("half", "least"), [(0, 0.7), (1, 0.5)])
def test_needs_find_their_tool_among_the_first_five_if_it_exists(
    index: ToolIndex, half: int, least: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words were chosen for what the first half missed. The second was known, too, so it is no fair test of them."""
    there = {tool.name for tool in index.tools}
    asked = [(tool, query) for tool, query in questions_of(NEEDS)[half::2] if tool in there]
    missed = [(query, tool) for tool, query in asked if tool not in found(index, query)]
    with capsys.disabled():
        print(f"\ntool search: {len(asked) - len(missed)} of {len(asked)} needs among the first five, half {half + 1}")
    assert len(questions_of(NEEDS)) == 40 and len(asked) >= 11, "a tool was renamed"
    assert 1 - len(missed) / len(asked) >= least, missed


def test_search_result_does_not_depend_on_tool_order(index: ToolIndex) -> None:
    backwards = ToolIndex(reversed(index.tools))
    for _, query in questions_of(ENGLISH):
        assert found(index, query) == found(index, query) == found(backwards, query)


def test_search_finds_only_indexed_tools() -> None:
    offered = Catalog().tools("gmail", read_only=True)
    index = ToolIndex(offered)
    assert found(index, "send an email to bob") and {"gmail_send_email"}.isdisjoint(found(index, "send email", 20))
    assert found(index, "slack salesforce github", 20) == []


def test_question_without_known_words_finds_nothing(index: ToolIndex) -> None:
    for query in ("", "   ", "the of and", "xyzzy", "🎈"):
        assert index.search(query) == []


@pytest.mark.parametrize("query", ["x" * 501, None, 5])
def test_invalid_query_is_refused(index: ToolIndex, query: Any) -> None:
    with pytest.raises(InvalidInput, match="query"):
        index.search(query)


@pytest.mark.parametrize("limit", [0, -1, True, "5", 1.5])
def test_invalid_limit_is_refused_and_a_high_one_is_capped_at_twenty(index: ToolIndex, limit: Any) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        index.search("mail", limit)
    assert len(index.search("mail", 1000)) == 20


def plugin(description: str, words: tuple[str, ...] = ()) -> Tool:
    kit = Toolkit("evil", provider="", words=words)

    def do(a: str) -> Steps:
        yield from ()
        return a

    do.__doc__ = description
    kit.tool(effect=Effect.SENDS)(do)
    return kit.tools["evil_do"]


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("email send " * 500, ()),
        ("Send email. " * 50, ("email", "send") * 50),
        ("send an email write a mail message reply forward draft calendar meeting invite issue " * 30, ()),
    ],
)
def test_plugin_cannot_gain_rank_by_repeating_words(index: ToolIndex, description: str, words: tuple[str, ...]) -> None:
    attacked = ToolIndex([*index.tools, plugin(description, words)])
    for query in ("send an email to bob", "send email email email"):
        assert found(attacked, query)[0].startswith("gmail_send_"), "a name says more than what is said of it"
    once = ToolIndex([*index.tools, plugin("Send email.", words[:2])])
    assert found(attacked, "send email", 20).index("evil_do") >= found(once, "send email", 20).index("evil_do")


def test_words_late_in_a_description_are_not_indexed(index: ToolIndex) -> None:
    filler = " ".join(f"filler{number}" for number in range(40))
    assert "evil_do" in found(ToolIndex([*index.tools, plugin("Unicorns.")]), "unicorns")
    assert found(ToolIndex([*index.tools, plugin(f"{filler} unicorns")]), "unicorns") == []


def test_toolkit_synonyms_find_its_tools(index: ToolIndex) -> None:
    assert found(ToolIndex([*index.tools, plugin("Do it.", ("payroll",))]), "payroll") == ["evil_do"]


async def test_deputy_searches_the_named_toolkits() -> None:
    async with await build(Sandbox()) as deputy:
        assert isinstance(deputy, Deputy)
        query = "comment on the pull request"
        assert deputy.search_tools(query)[0].toolkit == "github"
        assert {tool.toolkit for tool in deputy.search_tools("comment", "linear", limit=20)} == {"linear"}
        assert all(tool.gravest is Effect.READS for tool in deputy.search_tools("send email", read_only=True, limit=20))
        with pytest.raises(InvalidInput, match="gmale"):
            deputy.search_tools(query, "gmale")


def test_read_more_tools_are_not_search_results(index: ToolIndex) -> None:
    assert not [name for name in found(index, "read more of the text that was cut", 20) if name.endswith("_read_more")]


def test_building_the_index_reads_no_schema_and_imports_nothing() -> None:
    code = (
        "import sys\nfrom deputize.core import ToolIndex\n"
        "class Tool:\n    follows = False\n"
        "ToolIndex([Tool()])\nassert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
