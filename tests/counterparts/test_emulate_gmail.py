"""Gmail's tools against emulate that `test_emulate_acts.py` does not use: conversations, drafts, files, settings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core import App, Deputy, File, InvalidInput, NotFound, Secret, User, allow_all
from deputize.toolkits.gmail import TOOLKIT
from tests.counterparts.test_emulate_acts import PEOPLE, visit
from tests.support.called_tools import tools_called
from tests.support.emulate import BOBS_SECRET, oauth_client
from tests.support.examples import EXAMPLES
from tests.support.sandbox_deputy import GMAIL, build
from tests.support.strict_emulate import StrictTransport

pytestmark = pytest.mark.counterpart
SANDBOX_ONLY: Final = {"set_vacation", "set_signature"}  # emulate answers both with 404


@pytest.fixture
async def deputy(strict_google: StrictTransport) -> Any:
    client = oauth_client("google")
    app = App("google", client.id, Secret(client.secret))
    async with await build(transport=strict_google, apps=[app], policy=allow_all) as deputy:
        for user in PEOPLE:
            for consent in await deputy.connect(user, "google", scopes=[f"{GMAIL}modify", f"{GMAIL}settings.basic"]):
                assert await visit(deputy, strict_google, consent, PEOPLE[user]) == "granted"
        yield deputy


async def act(deputy: Deputy, tool: str, user: str = "alice", **arguments: Any) -> Any:
    return await deputy.act(f"gmail_{tool}", arguments, user=user)


async def test_attached_file_is_sent_and_received_unchanged(deputy: Deputy) -> None:
    content = bytes(range(256)) * 10
    kept = await deputy.files.keep(User("alice"), File("numbers.bin", "application/octet-stream", content))
    await act(deputy, "send_email", to=["carol@example.test"], subject="Numbers", body="x", attachments=[kept["file"]])
    [row] = (await act(deputy, "search_emails", query="in:sent subject:Numbers"))["items"]
    found = await act(deputy, "get_attachment", message_id=row["id"], part="numbers.bin")
    assert found["sha256"] == hashlib.sha256(content).hexdigest() and found["size"] == len(content)
    with pytest.raises(NotFound):
        await act(deputy, "get_attachment", "bob", message_id=row["id"], part="numbers.bin")


async def test_large_mail_is_uploaded(deputy: Deputy, strict_google: StrictTransport) -> None:
    """As a draft: emulate takes an upload to drafts.send for a mail without a draft's id, though Google's discovery
    document says that the first part is a `Draft`. The sandbox simulates that
    (`tests/toolkits/test_gmail_attacks.py`)."""
    kept = await deputy.files.keep(User("alice"), File("big.bin", "application/octet-stream", b"x" * 4_000_000))
    made = await act(
        deputy, "save_draft", to=["carol@example.test"], subject="Big", body="x", attachments=[kept["file"]]
    )
    assert [one["size"] for one in (await act(deputy, "get_email", message_id=made["id"]))["files"]] == [4_000_000]
    assert [e.status for e in strict_google.ledger if e.path.startswith("/upload/")] == [200]


async def test_history_reports_own_changes_once(deputy: Deputy) -> None:
    since = (await act(deputy, "list_changes"))["next"]
    await act(deputy, "update_emails", message_ids=["msg_alice_1"], action="star")
    found = await act(deputy, "list_changes", since=since)
    assert any(row["id"] == "msg_alice_1" and row["change"] == "labels" for row in found["items"])
    assert BOBS_SECRET not in str(found)


async def test_settings_are_read_and_a_filter_is_created_once_and_deleted(deputy: Deputy) -> None:
    assert (await act(deputy, "get_settings", section="aliases"))["items"][0]["email"] == "alice@example.test"
    wish: dict[str, Any] = {"action": "create", "from": "news@example.test", "archive": True}
    made = await act(deputy, "manage_filter", **wish)
    assert (await act(deputy, "manage_filter", **wish))["id"] == made["id"]
    listed = (await act(deputy, "get_settings", section="filters"))["items"]
    assert [row["id"] for row in listed].count(made["id"]) == 1
    await act(deputy, "manage_filter", action="delete", filter_id=made["id"])
    assert made["id"] not in [row["id"] for row in (await act(deputy, "get_settings", section="filters"))["items"]]


async def test_mail_without_unsubscribe_link_is_refused(deputy: Deputy) -> None:
    with pytest.raises(InvalidInput, match="no unsubscribe link"):
        await act(deputy, "unsubscribe", message_id="msg_alice_1")


@pytest.mark.parametrize(
    ("tool", "arguments"), [("set_vacation", {"enabled": False}), ("set_signature", {"body": "x"})]
)
async def test_unknown_objects_are_not_found(deputy: Deputy, tool: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        await act(deputy, tool, **arguments)


async def test_conversation_is_read_and_its_mail_forwarded(deputy: Deputy) -> None:
    mail = await act(deputy, "get_email", message_id="msg_alice_1")
    thread = await act(deputy, "get_thread", thread_id=mail["thread"])
    assert "numbers" in str(thread) and BOBS_SECRET not in str(thread)
    await act(deputy, "forward_email", message_id="msg_alice_1", to=["carol@example.test"], body="For you.")
    [row] = (await act(deputy, "search_emails", query="in:sent subject:Fwd"))["items"]
    sent = await act(deputy, "get_email", message_id=row["id"])
    assert "carol@example.test" in str(sent["to"]) and "For you." in sent["body"]
    with pytest.raises(NotFound):
        await act(deputy, "get_thread", "bob", thread_id=mail["thread"])


async def test_drafts_and_labels_are_listed_and_drafts_discarded(deputy: Deputy) -> None:
    made = await act(deputy, "save_draft", to=["carol@example.test"], subject="Not yet", body="x")
    assert made["draft_id"] in [row["draft_id"] for row in (await act(deputy, "list_drafts"))["items"]]
    assert (await act(deputy, "list_drafts", "bob"))["items"] == []
    await act(deputy, "delete_draft", draft_id=made["draft_id"])
    assert made["draft_id"] not in [row["draft_id"] for row in (await act(deputy, "list_drafts"))["items"]]
    assert "INBOX" in [row["id"] for row in (await act(deputy, "list_labels"))["items"]]


def test_every_tool_is_exercised_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """LangChain's standard tests show that the sandbox has them all (`tests/support/examples.py`)."""
    sandbox = {name.removeprefix("gmail_") for name in EXAMPLES["gmail"]}
    refused = {"unsubscribe"}  # reached, but no mail of emulate's names a list
    used = tools_called(TOOLKIT, __file__, Path(__file__).with_name("test_emulate_acts.py"))
    every = [name.removeprefix("gmail_") for name in TOOLKIT.tools]
    with capsys.disabled():
        print("\ntool | emulate | sandbox")
        for tool in every:
            there = "refused" if tool in refused else "yes" if tool in used else "-"
            print(f"gmail_{tool} | {there} | {'yes' if tool in sandbox else '-'}")
    assert set(every) == sandbox and set(every) - used == SANDBOX_ONLY
