"""A truncated text is read to its end by its references, which open nothing else and nobody else's data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deputize.core import (
    Act,
    ConsentRequired,
    Continuation,
    Deputy,
    Effect,
    InvalidInput,
    PolicyDenied,
    Request,
    Steps,
    Toolkit,
    User,
    Verdict,
    any_of,
)
from deputize.core.tools.catalog import Catalog
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from tests.support.sandbox_deputy import build

READ, MODIFY = (f"https://www.googleapis.com/auth/gmail.{name}" for name in ("readonly", "modify"))
TEXT = "".join(f"line {n}\n" for n in range(400))
PART = 1_000
KIT = Toolkit("gmail", provider="google", cuts=True)
OTHER = Toolkit("notes", provider="google", api="gmail", cuts=True)


@KIT.tool(needs=[any_of(READ, MODIFY, method="x")])
def get(id: str, offset: int = 0, raw: bool = False) -> Steps:
    """Read a part of a long text."""
    yield Request("GET", "/users/me/profile")
    told: dict[str, Any] = {"text": TEXT[offset : offset + PART], "raw": raw}
    return told | (
        {"more": Continuation("gmail_get", id=id, raw=raw).at(offset + PART)} if offset + PART < len(TEXT) else {}
    )


@KIT.tool(needs=[any_of(READ, MODIFY, method="x")])
def rows() -> Steps:
    """Rows with excerpts, in lists within objects."""
    yield Request("GET", "/users/me/profile")
    row = {"text": TEXT[:10], "more": Continuation("gmail_get", id="a&b=c/../d", offset=10)}
    return [{"rows": [[row], {"one": dict(row)}]}]


@KIT.tool(needs=[any_of(MODIFY, method="x")], effect=Effect.WRITES, shows=False)
def throw(id: str) -> Steps:
    """Throw something away."""
    yield Request("POST", "/users/me/messages/{id}/trash", at={"id": id})


@OTHER.tool(needs=[any_of(READ, MODIFY, method="x")])
def leak() -> Steps:
    """A result with references that its toolkit has no business with."""
    yield Request("GET", "/users/me/profile")
    return {
        "foreign": Continuation("gmail_get", id="1"),
        "writes": Continuation("gmail_throw", id="1"),
        "itself": Continuation("notes_read_more", ref="x"),
        "unknown": Continuation("nosuch_tool", id="1"),
    }


class Watch:
    """A policy that records the acts it is asked about, and refuses when ``closed``."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.closed = False

    def __call__(self, act: Act) -> Verdict:
        self.acts.append(act)
        return Verdict.DENY if self.closed else Verdict.ALLOW


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def deputy(watch: Watch) -> AsyncIterator[Deputy]:
    sandbox = Sandbox()
    async with await build(sandbox, toolkits=[KIT, OTHER], policy=watch) as deputy:
        for user in ("alice", "bob"):
            give_grant(sandbox, deputy, user, [READ], provider="google", email=f"{user}@example.test")
        yield deputy


async def read(deputy: Deputy, tool: str = "gmail_read_more", user: str = "alice", **arguments: Any) -> Any:
    return await deputy.act(tool, arguments, user=user)


async def test_cut_text_is_read_to_its_end_by_continuations(deputy: Deputy, watch: Watch) -> None:
    told = await read(deputy, "gmail_get", id="1", raw=True)
    whole = told["text"]
    while "more" in told:
        told = await read(deputy, ref=told["more"])
        assert told["raw"] is True
        whole += told["text"]
    assert whole == TEXT
    assert {act.tool.name for act in watch.acts} == {"gmail_get"}, "the policy judges the call itself"


async def test_cursor_overrides_the_start_of_a_continuation(deputy: Deputy) -> None:
    ref = (await read(deputy, "gmail_get", id="1"))["more"]
    assert (await read(deputy, ref=ref, cursor=3000))["text"] == TEXT[3000:]
    assert (await read(deputy, ref=f" {ref}\n", cursor="3000"))["text"] == TEXT[3000:]
    for nothing in ("", None):
        assert (await read(deputy, ref=ref, cursor=nothing))["text"] == TEXT[PART : 2 * PART]
    with pytest.raises(InvalidInput, match="offset"):
        await read(deputy, ref=ref, cursor="the end")


async def test_every_continuation_in_a_result_is_sealed(deputy: Deputy) -> None:
    [told] = await read(deputy, "gmail_rows")
    [[first], second] = told["rows"]
    assert type(first["more"]) is str and first["more"] == second["one"]["more"]
    assert first["more"].startswith("gmail_get?id=a%26b%3Dc%2F..%2Fd&offset=10.")
    assert (await read(deputy, ref=first["more"]))["text"] == TEXT[10:1010]


@pytest.mark.parametrize(
    "change",
    [
        lambda ref: ref[:-1] + ("a" if ref[-1] != "a" else "b"),
        lambda ref: ref.replace("id=1", "id=2"),
        lambda ref: ref.replace("gmail_get", "gmail_rows"),
        lambda ref: ref.partition(".")[0],
        lambda ref: f"{ref}&user=bob",
        lambda ref: ref * 1_000,
        lambda ref: "",
        lambda ref: "gmail_get?id=1.aaaaaaaaaa",
        lambda ref: "gmail_get?id=1.\u212b\udcff",
    ],
)
async def test_unknown_continuation_is_refused(deputy: Deputy, change: Any) -> None:
    ref = (await read(deputy, "gmail_get", id="1"))["more"]
    with pytest.raises(InvalidInput, match="ref: not a reference"):
        await read(deputy, ref=change(ref))


async def test_continuation_with_a_long_path_is_followed(deputy: Deputy) -> None:
    ref = (await read(deputy, "gmail_get", id="\u00e9/" * 1_300))["more"]
    assert (await read(deputy, ref=ref))["text"] == TEXT[PART : 2 * PART]


async def test_continuation_of_another_user_is_refused(deputy: Deputy) -> None:
    ref = (await read(deputy, "gmail_get", id="1"))["more"]
    with pytest.raises(InvalidInput, match="ref: not a reference"):
        await read(deputy, user="bob", ref=ref)
    assert await read(deputy, ref=ref)


@pytest.mark.parametrize("name", ["foreign", "writes", "itself", "unknown"])
async def test_continuation_opens_only_its_toolkits_reads(deputy: Deputy, name: str) -> None:
    told = await read(deputy, "notes_leak")
    for tool in ("notes_read_more", "gmail_read_more"):
        if (tool, name) != ("gmail_read_more", "foreign"):
            with pytest.raises(InvalidInput):
                await read(deputy, tool, ref=told[name])


async def test_continuation_is_followed_under_policy_grant_and_account(deputy: Deputy, watch: Watch) -> None:
    told = await deputy.act("gmail_get", {"id": "1"}, user="alice", account="alice@example.test")
    await read(deputy, ref=told["more"])
    assert watch.acts[-1].account == "alice@example.test"
    watch.closed = True
    with pytest.raises(PolicyDenied):
        await read(deputy, ref=told["more"])
    watch.closed = False
    await deputy.revoke("alice")
    [blocked] = await deputy.check_calls(
        [("gmail_read_more", {"ref": told["more"]}, watch.acts[-1].call)], user="alice"
    )
    assert isinstance(blocked, ConsentRequired)


async def test_continuation_is_valid_after_a_restart(deputy: Deputy) -> None:
    ref = (await read(deputy, "gmail_get", id="1"))["more"]
    async with await build(Sandbox(), vault=deputy.vault, toolkits=[KIT]) as again:
        called = again.resolver.references.call(User("alice"), ref)
    assert (called.tool, called.arguments) == ("gmail_get", {"id": "1", "offset": "1000", "raw": "false"})


def test_read_more_tool_is_listed_after_the_tools_it_continues() -> None:
    catalog = Catalog([KIT, OTHER])
    assert [tool.name for tool in catalog.tools("gmail")] == [
        "gmail_get",
        "gmail_rows",
        "gmail_throw",
        "gmail_read_more",
    ]
    assert [tool.name for tool in catalog.tools("gmail_get", "gmail_read_more")] == ["gmail_get", "gmail_read_more"]
    assert [tool.name for tool in catalog.tools("gmail_get")] == ["gmail_get"]
    assert [tool.name for tool in catalog.tools("gmail", "notes", read_only=True)][2:] == [
        "gmail_read_more",
        "notes_leak",
        "notes_read_more",
    ]
    writes = Toolkit("only", provider="google", cuts=True)
    writes.tool(effect=Effect.WRITES, shows=False)(throw)
    assert [tool.name for tool in Catalog([writes]).tools("only")] == ["only_throw"]
