"""Which tools a name selects: a toolkit, a part of it, a single tool; and which of them a user has already allowed."""

from __future__ import annotations

import pytest

from deputize.core import Alias, Deputy, Effect, InvalidInput, Need, Request, Steps, Toolkit, UserRequired, any_of
from deputize.core.tools.catalog import Catalog
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.gmail_toolkit import READ, SEND
from tests.support.sandbox_deputy import build, connect


def kit(name: str, provider: str = "google", /, **tools: str) -> Toolkit:
    """A toolkit of tools by name, each with its toolset; names with ``send`` send, and need that scope."""
    made = Toolkit(name, provider=provider, api="gmail")

    def steps() -> Steps:
        yield Request("GET", "/x")

    for tool, toolset in tools.items():
        steps.__name__ = tool
        needs: list[Need] = [] if tool.startswith("free") else [any_of(SEND if tool.startswith("send") else READ)]
        effect = Effect.SENDS if tool.startswith("send") else Effect.READS
        made.tool(needs=needs, effect=effect, toolset=toolset, aliases=[Alias(f"Peer.{tool}")])(steps)
    return made


BIG = kit("hub", look="core", send="core", runs="actions", send_run="actions", gist="gists")
SMALL = kit("mail", look="core", send="core", more="more")
CATALOG = Catalog([BIG, SMALL, kit("one", look="core"), kit("a_b", look="core")])


def names(*chosen: str, read_only: bool = False) -> str:
    return " ".join(tool.name for tool in CATALOG.tools(*chosen, read_only=read_only))


@pytest.mark.parametrize(
    ("chosen", "tools"),
    [
        ("hub", "hub_look hub_send"),
        ("hub:core", "hub_look hub_send"),
        ("hub:actions", "hub_runs hub_send_run"),
        ("hub:all", "hub_look hub_send hub_runs hub_send_run hub_gist"),
        ("mail", "mail_look mail_send mail_more"),
        ("mail:core", "mail_look mail_send"),
        ("mail:more", "mail_more"),
        ("mail:all", "mail_look mail_send mail_more"),
        ("one", "one_look"),
        ("a_b", "a_b_look"),
        ("a_b_look", "a_b_look"),
        ("hub_gist", "hub_gist"),
        ("hub_gist mail_look", "hub_gist mail_look"),
        ("hub_send hub hub:actions hub_runs", "hub_send hub_look hub_runs hub_send_run"),
        ("hub:all hub", "hub_look hub_send hub_runs hub_send_run hub_gist"),
    ],
)
def test_selection_by_toolkit_part_or_tool_lists_each_tool_once(chosen: str, tools: str) -> None:
    assert names(*chosen.split()) == tools


def test_selection_without_names_lists_all_tools() -> None:
    assert len(CATALOG.tools()) == 10 and len(Catalog([]).tools()) == 0


def test_read_only_selection_leaves_out_writing_tools() -> None:
    assert names("hub:all", read_only=True) == "hub_look hub_runs hub_gist"
    assert names("hub_send", read_only=True) == ""
    assert {tool.gravest for tool in CATALOG.tools(read_only=True)} == {Effect.READS}


@pytest.mark.parametrize(
    "chosen",
    [
        *("", ":", "hub:", ":core", "hub:nosuch", "hub:Core", "hub:core:actions", "nosuch", "nosuch:all", "hub_nosuch"),
        *("Peer.look", "hub look", "hub,mail", "../hub", "x" * 200, "hub_gist:all", "hub_gist:core"),
    ],
)
def test_unknown_selection_is_refused_with_the_known_names(chosen: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        CATALOG.tools("hub", chosen)
    assert len(f"{caught.value} {caught.value.hint}") < 300


@pytest.mark.parametrize("chosen", ["hub:nosuch", "hub:"])
def test_unknown_part_is_refused_with_the_known_parts(chosen: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        CATALOG.tools(chosen)
    assert caught.value.hint == "There are: all, core, actions, gists."


def test_built_in_toolkits_are_selected_by_the_same_names() -> None:
    catalog = Catalog()
    whole, core = catalog.tools("gmail"), catalog.tools("gmail:core")
    assert {tool.toolkit for tool in whole} == {"gmail"} and len(whole) > len(core) > 5
    assert [tool.name for tool in catalog.tools("gmail_search_emails")] == ["gmail_search_emails"]
    with pytest.raises(InvalidInput):
        catalog.tools("nosuch")


# ------------------------------------------------------------- what the user has granted


async def ready(deputy: Deputy, *chosen: str, user: str = "alice", read_only: bool = False) -> str:
    """Return the names of the selected tools that the user could use at once."""
    return " ".join(tool.name for tool in await deputy.authorized_tools(user, *chosen, read_only=read_only))


async def test_authorized_tools_are_those_the_users_grants_allow() -> None:
    sandbox, other = Sandbox(), kit("other", "slack", look="core")
    deputy = await build(sandbox, toolkits=[kit("mail", look="core", send="core", free="core"), other])
    assert await ready(deputy) == ""
    await connect(deputy, sandbox, "readonly")
    assert await ready(deputy) == "mail_look mail_free" and await ready(deputy, user="bob") == ""
    await connect(deputy, sandbox, "send")
    assert await ready(deputy, "mail") == "mail_look mail_send mail_free"
    assert await ready(deputy, "mail", read_only=True) == "mail_look mail_free"
    assert await ready(deputy, "mail_send", "other") == "mail_send"
    await deputy.revoke("alice", "google")
    assert await ready(deputy) == ""
    await deputy.close()


async def test_broader_grant_authorizes_a_narrower_tool() -> None:
    sandbox = Sandbox()
    narrow = Toolkit("mail", provider="github", api="github")

    @narrow.tool(needs=[any_of("public_repo")])
    def look() -> Steps:
        """Look."""
        yield Request("GET", "/x")

    hub = next(app for app in apps() if app.provider == "github")
    deputy = await build(sandbox, toolkits=[narrow], apps=[hub])
    assert await ready(deputy) == ""
    give_grant(sandbox, deputy, "alice", ["repo"], provider="github", email="alice@example.test")
    assert await ready(deputy) == "mail_look"
    await deputy.close()


async def test_authorized_tools_without_user_are_refused() -> None:
    deputy = await build(toolkits=[SMALL])
    with pytest.raises(UserRequired):
        await deputy.authorized_tools(None)
    await deputy.close()
