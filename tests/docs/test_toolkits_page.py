"""The statements of docs/toolkits.md on the toolkits are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deputize.core.providers import PROVIDERS
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.people import Sighting, fits, merge_rows
from deputize.core.tools.plugins import find_toolkits
from deputize.core.vault.grant import Account
from tests.docs.blocks import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "toolkits.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \| (\d+) \| ([\w, ]+) \|", PAGE, re.MULTILINE)


def test_table_lists_every_toolkit_with_its_providers_and_tools() -> None:
    kits = find_toolkits()
    assert {row[0] for row in ROWS} == set(kits)
    for name, providers, tools, toolsets in ROWS:
        kit = kits[name]
        stand_ins = {kit.provider, *(row.name for row in PROVIDERS.values() if row.stands_in_for == kit.provider)}
        assert set(providers.split(", ")) == (stand_ins if kit.provider else {"none"}), name
        assert int(tools) == len(kit.tools), name
        assert set(toolsets.split(", ")) == {tool.toolset for tool in kit.tools.values()}, name


def test_readme_counts_the_same_tools() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    counts = {name: len(kit.tools) for name, kit in find_toolkits().items()}
    assert f"{sum(counts.values())} tools:" in readme
    told = re.search(r"tools: (.*?)\. Choose", readme, re.DOTALL)
    assert told and sorted(map(int, re.findall(r"\((\d+)", told[1]))) == sorted(counts.values())


def test_every_tool_selection_name_works() -> None:
    catalog = Catalog()
    for name in re.findall(r'^\| `"([\w:]+)"` \|', PAGE, re.MULTILINE):
        assert catalog.tools(name), name
    for alias in re.findall(r"`([A-Z]\w+\.[A-Z]\w+)`", PAGE):
        assert catalog.tool(alias), alias


def test_documented_people_reader_identifies_a_person() -> None:
    [code] = blocks("docs/toolkits.md", "python")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/toolkits.md", "exec"), names)  # noqa: S102  # the page's own code
    reader = names["crm"].reads_people
    steps = reader.begin(reader.validate({"who": "Bob"}), dict)
    assert next(steps).path == "/people"
    try:
        steps.send({"items": [{"id": "7", "name": "Bob", "email": "bob@acme.example"}]})
    except StopIteration as ended:
        found = [Sighting("crm", Account("s", "alice"), one) for one in ended.value["people"]]
        [bob], certain = fits(merge_rows(found), "bob")
        assert certain and ended.value["whole"] and bob.reached_at == {"bob@acme.example"}
