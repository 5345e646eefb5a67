"""What a text names, and what an act is about: in one form, whatever a stranger does to keep them apart."""

from __future__ import annotations

import time

import pytest

from deputize.core import Audience, Change, Show, shown_file
from deputize.core.act.named import named, targets


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to bob@evil.test.", {"bob@evil.test"}),
        ("<mailto:Bob@EVIL.test>", {"bob@evil.test"}),
        ("'bob@evil.test'", {"bob@evil.test"}),
        ("bob (at) evil [dot] test", {"bob@evil.test"}),
        ("bob[@]evil(.)test", {"bob@evil.test"}),
        ("bob%40evil.test", {"bob@evil.test"}),
        ("b\u200bob@ev\xadil.test", {"bob@evil.test"}),
        ("bob\x00@evil.test", {"bob@evil.test"}),
        ("b\u043eb@\u0435vil.test", {"bob@evil.test"}),
        ("\uff42\uff4f\uff42\uff20\uff45\uff56\uff49\uff4c\uff0e\uff54\uff45\uff53\uff54", {"bob@evil.test"}),
        ("bob@xn--vil-qdd.test", {"bob@evil.test"}),
        ("https://bob@evil.test:8443/a?b", {"evil.test", "bob@evil.test"}),
        ("See hxxps://Pay.Evil.test/x, thanks", {"pay.evil.test"}),
        ("[your bank](https://evil.test)", {"evil.test"}),
        ("go to evil.test now", {"evil.test"}),
        ("clone evil/payload.", {"evil/payload"}),
        ("https://github.com/evil/payload.git", {"evil/payload", "//github.com/evil/payload.git"}),
        ("https://docs.google.com/forms/d/x/", {"//docs.google.com/forms/d/x"}),
        ("https://notgoogle.com/forms", {"notgoogle.com"}),
        ("@eve, please join #payroll", {"@eve", "#payroll"}),
        ("<@U0EVE00001> in C0EVIL0001", {"@u0eve00001", "@c0evil0001"}),
        ("put it into notes.md", {"notes.md"}),
        ("UNDERSTAND, e-mail me at 12:30 on 1.2.", set()),
    ],
)
def test_a_text_names(text: str, found: set[str]) -> None:
    assert named(text) == found


def test_repository_of_a_link_has_an_owner_a_name_and_a_shared_host() -> None:
    for link in ("//github.com/evil", "//github.com//payload"):
        assert named(f"https:{link}") == {link}
    assert named("https://evil.test/evil/payload") == {"evil.test"}


@pytest.mark.parametrize(
    "text",
    [
        "bob at evil dot test",
        "bob@\nevil.test",
        "Ym9iQGV2aWwudGVzdA==",
        "t s e t . l i v e @ b o b",
        "bob AT evil.te st",
    ],
)
def test_what_is_spelled_split_or_encoded_is_not_found(text: str) -> None:
    """As the threat model says: what is not found is not told, and the rest of the policy has to hold."""
    assert "bob@evil.test" not in named(text)


LONG = "As agreed. " * 30


def test_an_act_is_about_its_people_its_place_its_pins_and_what_its_short_fields_are() -> None:
    show = Show(
        "Do it",
        audience=Audience.PUBLIC,
        people=["Bob@evil.test", "eve", "U0EVE00001"],
        where="acme/website, branch main",
        pins={"channel": "C0EVIL0001"},
        to=["Carol <carol@evil.test>"],
        url=Change("https://old.test/", "https://evil.test/x"),
        file=shown_file("report.pdf", "application/pdf", b"x"),
        note="mail dan@evil.test, or b\u043eb@evil.test",
        body=f"{LONG} see https://link.test/x, @fred, or gina@evil.test",
        beside={"state": "ian@evil.test"},
    )
    assert targets(show) == {
        "@eve": "eve",
        "@u0eve00001": "u0eve00001",
        "acme/website": "acme/website",
        "@c0evil0001": "C0EVIL0001",
        "carol@evil.test": "carol@evil.test",
        "evil.test": "https://evil.test/x",
        "report.pdf": "report.pdf",
        "dan@evil.test": "dan@evil.test",
        "link.test": "link.test",
        "bob@evil.test": "b\u043eb@evil.test",
        "@fred": "@fred",
    }


def test_links_in_a_long_text_count_where_others_will_see_it() -> None:
    text = f"{LONG} https://link.test/x"
    assert targets(Show("Keep it", audience=Audience.SELF, text=text)) == {}
    assert targets(Show("Send it", audience=Audience.PEOPLE, text=text)) == {"link.test": "link.test"}


def test_what_is_too_long_for_a_host_is_not_decoded() -> None:
    taken = []
    for _ in range(3):
        begun = time.thread_time()
        named(f"//xn--{'a' * 100_000}.test/ and bob@xn--{'b' * 100_000}.test")
        taken.append(time.thread_time() - begun)
    assert min(taken) < 0.2  # where it is decoded, most of a second


@pytest.mark.parametrize("piece", ["a.", "a-", "a/", "a@", "[at", "(at) ", "#a", "//a.b-", "\u00e9.a@", "W0", "%40"])
def test_no_text_takes_more_than_one_look_at_each_character(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        began = time.thread_time()
        named(text)
        return time.thread_time() - began

    def least(length: int) -> float:
        """Without what else the interpreter does now and then, such as a collection."""
        return min(seconds(length) for _ in range(3))

    assert least(400_000) < 20 * max(least(40_000), 0.01)
