"""Google contacts: every request is valid by Google's description; granted sources are searched, the others are
named."""

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
    """Return the result of the people reader that the core uses."""
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
def test_every_request_is_described_by_google_and_allowed_by_the_grant(tool: str, arguments: dict[str, Any]) -> None:
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


def test_people_reader_requests_are_described_by_google() -> None:
    for granted in ([READONLY], [OTHER], [DIRECTORY], ALL):
        at = desk(*granted)
        read_people(at, "bob")
        for request in at.sent:
            SPEC.check(request, granted)


def test_search_covers_three_lists_and_marks_sender_chosen_names() -> None:
    found = desk().run("search", {"query": "bob"})
    assert found["items"] == [
        {"name": "Bob Brown", "nickname": "Bobby", "emails": [BOB], "source": "contact", "id": "people/c1"},
        {"name": "Bob Brown", "emails": ["bob@evil.test"], "source": "other contact", "untrusted": True},
        {"name": "Bob Brown", "emails": [BOB], "source": "directory", "id": "people/100000000000000000003"},
    ]
    assert found["truncated"] is False and "not_searched" not in found


def test_known_sender_is_not_listed_again_under_a_self_chosen_name() -> None:
    at = desk()
    at.sandbox._world.services["contacts"]["other"][ALICE] += [
        person("o2", "OTHER_CONTACT", "Bob the Boss", BOB.upper()),
        person("o3", "OTHER_CONTACT", "Bob too", BOB, "bob@evil.test"),
    ]
    names = [one["name"] for one in at.run("search", {"query": "bob"})["items"] if one["source"] == "other contact"]
    assert names == ["Bob Brown", "Bob too"]


def test_list_without_scope_is_reported_and_not_an_error() -> None:
    found = desk(READONLY).run("search", {"query": "bob"})
    assert [one["source"] for one in found["items"]] == ["contact"]
    assert found["not_searched"] == {
        "other": 'not granted; sources=["other"] asks for it',
        "directory": 'not granted; sources=["directory"] asks for it',
    }


def test_account_without_directory_is_reported() -> None:
    at = desk(READONLY, DIRECTORY)
    at.sandbox._world.services["contacts"]["directory"] = []
    assert at.run("search", {"query": "bob"})["items"][0]["source"] == "contact"
    at.before.append(lambda request: _no_domain() if "Directory" in request.path else None)
    found = at.run("search", {"query": "bob"})
    assert found["not_searched"]["directory"] == "this account has no organisation's directory"


def _no_domain() -> None:
    raise InvalidInput("Must be a G Suite domain user.")


def test_refusal_of_own_contacts_is_raised() -> None:
    at = desk(READONLY)
    at.before.append(lambda request: _no_domain() if request.params and request.params["query"] else None)
    with pytest.raises(InvalidInput):
        at.run("search", {"query": "bob"})


def test_search_finds_a_contact_just_added() -> None:
    at = desk()
    at.run("search", {"query": "dave"})
    at.sandbox._world.services["contacts"]["own"][ALICE].append(person("c3", "CONTACT", "Dave Day", "dave@x.example"))
    assert [one["name"] for one in at.run("search", {"query": "dave"})["items"]] == ["Dave Day"]


def test_own_contacts_are_paged_without_repeats() -> None:
    at = desk(READONLY)
    own = at.sandbox._world.services["contacts"]["own"][ALICE]
    own[:] = [person(f"n{n}", "CONTACT", f"Person {n:03}", f"p{n}@acme.example") for n in range(250)]
    page = at.run("search", {"limit": 100})
    names = [one["name"] for one in page["items"]]
    while page["next"] is not None and len(names) < 1000:
        page = at.run("search", {"limit": 100, "cursor": page["next"]})
        names += [one["name"] for one in page["items"]]
    assert names == sorted({f"Person {n:03}" for n in range(250)}) and page["total"] == 250


def test_more_matches_than_shown_are_reported() -> None:
    at = desk(READONLY)
    own = at.sandbox._world.services["contacts"]["own"][ALICE]
    own[:] = [person(f"n{n}", "CONTACT", f"Bob {n:03}", f"p{n}@acme.example") for n in range(40)]
    found = at.run("search", {"query": "bob"})
    assert len(found["items"]) == 30 and found["truncated"] is True
    assert len(at.run("search", {"query": "bob", "limit": 5})["items"]) == 5


def test_person_is_read_whole_without_invisible_characters() -> None:
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


def test_long_notes_are_paged_and_links_leave_room() -> None:
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


def test_people_reader_says_who_chose_a_name_and_verified_an_address() -> None:
    found = read_people(desk(), "Bob Brown")
    said = {one["where"]: (one["known"], one["verified"], one["addresses"]) for one in found["people"]}
    assert said == {
        "contact": (True, False, [BOB]),
        "other contact": (False, False, ["bob@evil.test"]),
        "directory": (True, True, [BOB]),
    }
    assert found["whole"] is True and found["not_looked"] == {}
    assert read_people(desk(READONLY), "Bob")["not_looked"] == {"other": "not granted", "directory": "not granted"}


def test_address_a_colleague_wrote_into_a_profile_is_unverified() -> None:
    at = desk(DIRECTORY)
    mallory = person("m1", "DOMAIN_PROFILE", "Mallory", "mallory@example.test")
    mallory["emailAddresses"].append(
        {"value": BOB, "metadata": {"primary": True, "source": {"type": "PROFILE", "id": "m1"}}}
    )
    at.sandbox._world.services["contacts"]["directory"].append(mallory)
    [row] = [one for one in read_people(at, "mallory")["people"] if one["name"] == "Mallory"]
    assert row["addresses"] == ["mallory@example.test"] == [row["address"]]
