"""Google contacts: every request is one that Google describes; what is granted is looked through, the rest is said."""

from __future__ import annotations

from typing import Any, Final

import pytest

from deputize.core import Tool
from deputize.core.errors import InvalidInput, NotFound
from deputize.sandbox.google.contacts import person
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.contacts import TOOLKIT
from deputize.toolkits.contacts.base import CHANGE, DIRECTORY, OTHER, READONLY, SOURCES
from tests.toolkits.google_driver import ALICE, BOB, Desk

pytest.importorskip("googleapiclient")
pytest.importorskip("jsonschema")

from tests.support.discovery import Discovery

SPEC: Final = Discovery.of("people.v1")
ALL: Final = frozenset({READONLY, OTHER, DIRECTORY})


def desk(*granted: str, who: str = ALICE) -> Desk:
    return Desk(TOOLKIT, frozenset(granted or ALL), person=who)


def read_people(at: Desk, who: str) -> Any:
    """What the reader of people that the core uses says."""
    reader: Tool | None = TOOLKIT.reads_people
    assert reader is not None
    TOOLKIT.tools["contacts_people"] = reader
    try:
        return at.run("people", {"who": who})
    finally:
        del TOOLKIT.tools["contacts_people"]


CALLS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("search", {"query": "bob"}),
    ("search", {}),
    *(("search", {"query": "bob", "sources": [one]}) for one in SOURCES),
    ("get", {"id": "people/c2"}),
]


@pytest.mark.parametrize(("tool", "arguments"), CALLS)
def test_every_request_is_one_that_google_describes_and_the_grant_allows(tool: str, arguments: dict[str, Any]) -> None:
    declared = TOOLKIT.tools[f"contacts_{tool}"]
    needs = declared.needs_of(declared.validate(arguments))
    for granted in ({need.ask for need in needs}, ALL, {CHANGE, DIRECTORY, OTHER}):
        at = desk(*granted)
        at.run(tool, arguments)
        for request in at.sent:
            SPEC.check(request, granted)
    methods = {method["id"]: set(method["scopes"]) for _, _, method in SPEC._routes}
    for need in needs:
        assert need.accepts <= methods[need.method] | {OTHER, DIRECTORY} and need.ask.endswith("readonly")
        assert not need.ask.endswith("contacts")


def test_the_requests_of_the_reader_of_people_are_described_too() -> None:
    for granted in ([READONLY], [OTHER], [DIRECTORY], ALL):
        at = desk(*granted)
        read_people(at, "bob")
        for request in at.sent:
            SPEC.check(request, granted)


def test_a_search_finds_people_in_all_three_lists_and_marks_what_strangers_chose() -> None:
    found = desk().run("search", {"query": "bob"})
    assert found["items"] == [
        {"name": "Bob Brown", "nickname": "Bobby", "emails": [BOB], "source": "contact", "id": "people/c1"},
        {"name": "Bob Brown", "emails": ["bob@evil.test"], "source": "other contact", "untrusted": True},
        {"name": "Bob Brown", "emails": [BOB], "source": "directory", "id": "people/100000000000000000003"},
    ]
    assert found["truncated"] is False and "not_searched" not in found


def test_whoever_wrote_and_is_known_is_not_told_once_more_under_a_name_of_their_own() -> None:
    at = desk()
    at.sandbox._world.services["contacts"]["other"][ALICE] += [
        person("o2", "OTHER_CONTACT", "Bob the Boss", BOB.upper()),
        person("o3", "OTHER_CONTACT", "Bob too", BOB, "bob@evil.test"),
    ]
    names = [one["name"] for one in at.run("search", {"query": "bob"})["items"] if one["source"] == "other contact"]
    assert names == ["Bob Brown", "Bob too"]


def test_what_is_not_granted_is_said_and_not_failed() -> None:
    found = desk(READONLY).run("search", {"query": "bob"})
    assert [one["source"] for one in found["items"]] == ["contact"]
    assert found["not_searched"] == {
        "other": 'not granted; sources=["other"] asks for it',
        "directory": 'not granted; sources=["directory"] asks for it',
    }


def test_who_has_no_organisation_is_told_so() -> None:
    at = desk(READONLY, DIRECTORY)
    at.sandbox._world.services["contacts"]["directory"] = []
    assert at.run("search", {"query": "bob"})["items"][0]["source"] == "contact"
    at.before.append(lambda request: _no_domain() if "Directory" in request.path else None)
    found = at.run("search", {"query": "bob"})
    assert found["not_searched"]["directory"] == "this account has no organisation's directory"


def _no_domain() -> None:
    raise InvalidInput("Must be a G Suite domain user.")


def test_a_refusal_of_the_own_contacts_is_a_refusal() -> None:
    at = desk(READONLY)
    at.before.append(lambda request: _no_domain() if request.params and request.params["query"] else None)
    with pytest.raises(InvalidInput):
        at.run("search", {"query": "bob"})


def test_the_search_sees_a_contact_that_was_just_added() -> None:
    at = desk()
    at.run("search", {"query": "dave"})
    at.sandbox._world.services["contacts"]["own"][ALICE].append(person("c3", "CONTACT", "Dave Day", "dave@x.example"))
    assert [one["name"] for one in at.run("search", {"query": "dave"})["items"]] == ["Dave Day"]


def test_own_contacts_come_page_by_page_and_each_once() -> None:
    at = desk(READONLY)
    own = at.sandbox._world.services["contacts"]["own"][ALICE]
    own[:] = [person(f"n{n}", "CONTACT", f"Person {n:03}", f"p{n}@acme.example") for n in range(250)]
    page = at.run("search", {"limit": 100})
    names = [one["name"] for one in page["items"]]
    while page["next"] is not None and len(names) < 1000:
        page = at.run("search", {"limit": 100, "cursor": page["next"]})
        names += [one["name"] for one in page["items"]]
    assert names == sorted({f"Person {n:03}" for n in range(250)}) and page["total"] == 250


def test_more_than_a_search_can_show_is_said() -> None:
    at = desk(READONLY)
    own = at.sandbox._world.services["contacts"]["own"][ALICE]
    own[:] = [person(f"n{n}", "CONTACT", f"Bob {n:03}", f"p{n}@acme.example") for n in range(40)]
    found = at.run("search", {"query": "bob"})
    assert len(found["items"]) == 30 and found["truncated"] is True
    assert len(at.run("search", {"query": "bob", "limit": 5})["items"]) == 5


def test_one_person_is_read_whole_and_without_what_cannot_be_seen() -> None:
    at = desk()
    carol = at.sandbox._world.services["contacts"]["own"][ALICE][1]
    carol["biographies"][0]["value"] += "\u200b\u202eobey"
    assert at.run("get", {"id": "people/c2"}) == {
        "name": "Carol Clark",
        "also_called": ["Carol"],
        "emails": ["carol@customer.example", "carol@home.example"],
        "phones": ["+49 30 1234567 (work)"],
        "organisation": "Customer AG",
        "title": "Head of purchasing",
        "birthday": "--05-17",
        "notes": "Met at the fair.\nLikes tea.obey",
        "id": "people/c2",
        "untrusted": True,
        "hidden_removed": 2,
    }
    for wrong in ("people/c9", "c1/../../x", ""):
        with pytest.raises((NotFound, InvalidInput)):
            at.run("get", {"id": wrong})


def test_long_notes_are_read_part_by_part_and_many_links_leave_room_for_them() -> None:
    at = desk()
    carol = at.sandbox._world.services["contacts"]["own"][ALICE][1]
    notes = "".join(f"{n}: met at the fair, 季度数据。\n" for n in range(1_500)).strip()
    carol["biographies"][0]["value"] = notes
    carol["urls"] = [{"value": f"https://example.test/{'x' * 200}/{n}"} for n in range(90)]
    shown = at.run("get", {"id": "people/c2"})
    assert tokens(shown) <= 4_000 and shown["emails"] and shown["links"]
    assert shown["left_out"] == [f"links: {len(shown['links'])} of 90 are shown"]
    read = shown["notes"]
    while "next_offset" in shown:
        shown = at.run("get", {"id": "people/c2", "offset": shown["next_offset"]})
        assert tokens(shown) <= 4_000 and "links" not in shown and shown["name"] == "Carol Clark"
        read += shown["notes"]
    assert read == notes
    with pytest.raises(InvalidInput, match="offset"):
        at.run("get", {"id": "people/c2", "offset": len(notes) + 1})


def test_the_reader_says_who_chose_a_name_and_whose_address_was_checked() -> None:
    found = read_people(desk(), "Bob Brown")
    said = {one["where"]: (one["known"], one["verified"], one["addresses"]) for one in found["people"]}
    assert said == {
        "contact": (True, False, [BOB]),
        "other contact": (False, False, ["bob@evil.test"]),
        "directory": (True, True, [BOB]),
    }
    assert found["whole"] is True and found["not_looked"] == {}
    assert read_people(desk(READONLY), "Bob")["not_looked"] == {"other": "not granted", "directory": "not granted"}


def test_an_address_that_a_colleague_wrote_into_the_profile_is_not_checked() -> None:
    at = desk(DIRECTORY)
    mallory = person("m1", "DOMAIN_PROFILE", "Mallory", "mallory@example.test")
    mallory["emailAddresses"].append(
        {"value": BOB, "metadata": {"primary": True, "source": {"type": "PROFILE", "id": "m1"}}}
    )
    at.sandbox._world.services["contacts"]["directory"].append(mallory)
    [row] = [one for one in read_people(at, "mallory")["people"] if one["name"] == "Mallory"]
    assert row["addresses"] == ["mallory@example.test"] == [row["address"]]
