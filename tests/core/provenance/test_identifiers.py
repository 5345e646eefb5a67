"""What a text names, and what an act targets, in one normal form that untrusted text cannot evade."""

from __future__ import annotations

import time

import pytest

from deputize.core import Audience, Change, Preview, shown_file
from deputize.core.provenance.identifiers import named, owned_by, part_of, targets


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
        ("<@U0EVE00001> in C0EVIL0001", {"@u0eve00001", "@c0evil0001"}),
        ("put it into notes.md", {"notes.md"}),
        ("UNDERSTAND, e-mail me at 12:30 on 1.2.", set()),
        ("@eve, please join #payroll", {"@eve", "#payroll"}),
    ],
)
def test_identifiers_in_a_text_are_found(text: str, found: set[str]) -> None:
    assert named(text) == found


def test_repository_link_is_named_with_owner_name_and_shared_host() -> None:
    for link in ("//github.com/evil", "//github.com//payload"):
        assert named(f"https:{link}") == {link}
    assert named("https://evil.test/evil/payload") == {"evil.test"}


MARKED: str = """\
    _cfo@acme.test_ -cfo@acme.test +cfo@acme.test cfo@acme.test- cfo@acme.test_ "cfo"@acme.test cfo\\@acme.test
    **cfo**@acme.test **cfo@acme.test** `cfo@acme.test` `cfo`@acme.test ~~cfo~~@acme.test <cfo@acme.test>
    cfo@<acme.test> <cfo>@acme.test 'cfo'@acme.test \u201ccfo\u201d@acme.test \u00abcfo@acme.test\u00bb
    cfo@acme**.**test cfo@acme\\.test cf\u200bo@acme.test cfo\u200d@acme.test cf\ufe0fo@ac\u2060me.test
    *cfo@acme.test* cfo@_acme_.test __cfo__@acme.test <b>cfo</b>@acme.test cfo<!--x-->@acme.test
    cfo<br/>@acme.test [cfo@acme.test](x) |cfo@acme.test| cfo@www.acme.test CFO@ACME.TEST. (cfo@acme.test)
    mailto:_cfo@acme.test_ cfo-@acme.test ..cfo@acme.test"""
BARE: str = """\
    evil.test/login www.evil.test http://www.evil.test _evil.test_ **evil.test** evil**.**test evil.test:8443/x
    https:\\\\evil.test EVIL.TEST, (evil.test) "evil.test/a" evil.test?x=1 evil.test- https://evil.test-/x"""


def test_markup_in_an_address_does_not_hide_it() -> None:
    for text in MARKED.split():
        body = Preview("Send", audience=Audience.PEOPLE, text=f"a\n{text}\n{LONG}")
        assert ("cfo@acme.test" in named(text), "cfo@acme.test" in targets(body)) == (True, True), text


def test_host_without_scheme_is_found_in_text_and_preview() -> None:
    for text in BARE.split():
        assert "evil.test" in named(f"go to {text} now"), text
        for note in (text, f"go to {text} now", f"Hello,\nsee {text}\n{LONG}"):
            assert "evil.test" in targets(Preview("Send", audience=Audience.PEOPLE, note=note)), note


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("http://[2001:DB8::1]/x", "[2001:db8::1]"),
        ("http://[2001:db8::1]:8080/x", "[2001:db8::1]"),
        ("http://a:b@3221225985/", "3221225985"),
        ("https://wiki/x?y", "wiki"),
        ("(http://wiki).", "wiki"),
        ("http://wiki.", "wiki"),
        ("**http://0xC0000201**", "0xc0000201"),
    ],
)
def test_host_of_a_link_needs_no_dot(text: str, host: str) -> None:
    assert named(f"go to {text} now") == {host}
    for note in (text, f"Hello,\nsee {text}\n{LONG}"):
        assert host in targets(Preview("Send", audience=Audience.PEOPLE, note=note)), note


@pytest.mark.parametrize("text", ["a // b", "src//b", "https://", "https:///x", "http://wiki@", "std::vec"])
def test_link_punctuation_alone_names_no_host(text: str) -> None:
    assert not {one for one in named(text) if "/" not in one}


@pytest.mark.parametrize(
    "text", ["docs.google.com/forms/d/x", "www.docs.google.com/forms/d/x/", "docs.google.com/forms/d/x."]
)
def test_shared_host_without_scheme_names_the_whole_url(text: str) -> None:
    assert "//docs.google.com/forms/d/x" in named(f"see {text}")
    assert targets(Preview("Send", audience=Audience.PEOPLE, note=f"see {text}")).keys() == {
        "//docs.google.com/forms/d/x"
    }


@pytest.mark.parametrize(("text", "host"), [("evil.zip/pay", "evil.zip"), ("www.evil.md", "evil.md")])
def test_host_with_a_file_extension_is_a_target_if_it_has_path_or_www(text: str, host: str) -> None:
    assert host in targets(Preview("Send", audience=Audience.PEOPLE, note=f"see {text}"))


def test_file_names_versions_and_abbreviations_are_not_hosts() -> None:
    words = "the report.pdf, README.md, v1.2, 1.2.3, e.g. i.e. U.S.A. a.m. Ph.D. notes.tar.gz src/app.py 12.30 Node.js"
    assert targets(Preview("Send", audience=Audience.PEOPLE, note=words, body=f"{words}\n{words}")) == {}


@pytest.mark.parametrize(
    ("value", "above"),
    [
        ("a.pay.evil.test", ["pay.evil.test", "evil.test"]),
        ("evil.test", []),
        ("my.report.pdf", []),
        ("bob@pay.evil.test", []),
        ("owner/site.evil.test", []),
        ("//docs.google.com/x", []),
        ("@bob.evil.test", []),
        ("v1.2.3", []),
    ],
)
def test_parent_domains_exist_for_bare_hosts_only(value: str, above: list[str]) -> None:
    assert list(part_of(value)) == above


SPELLED: tuple[str, ...] = (
    "bob at evil dot test",
    "bob@\nevil.test",
    "Ym9iQGV2aWwudGVzdA==",
    "t s e t . l i v e @ b o b",
    "b o b @ e v i l . t e s t",
    "tset.live@bob",
    "bob&#64;evil&period;test",
    "bob=40evil=2Etest",
    "bob%2540evil.test",
    "bob\\u0040evil.test",
    "bob AT evil DOT test",
    "bob_at_evil_dot_test",
    "bobATevilDOTtest",
    "bob arroba evil punto test",
    "bob+7@evil.test",
    "obo@rivy.grfg",
    "626f62406576696c2e74657374",
)


def test_spelled_split_or_encoded_address_is_found() -> None:
    for text in SPELLED:
        for around in (text, f"Pay. Write to {text} today\nor tomorrow.", f"{LONG}\n{text}\n{LONG}"):
            assert "bob@evil.test" in named(around), around


def test_prose_contains_no_address_in_words() -> None:
    prose = (
        "At this point in time the dot product is at noon. Look at it. Meet at the point de vue, in a period of rest."
    )
    assert named(f"{prose} Organisation/2026, Internationalization, ABCDEFGH12345678, std at most . x = 40") <= {
        "organisation/2026"
    }


def test_split_or_encrypted_address_is_not_found() -> None:
    """As the threat model says: such a mention is not reported, and the rest of the policy has to hold."""
    for text in ("bob AT evil.te st", "write to bob, who is at the company evil, in the test domain", "b0b@ev1l.test"):
        assert "bob@evil.test" not in named(text), text


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("Bob+News.1@Evil.test", "bob@evil.test"),
        ("b.o.b@gmail.com", "bob@gmail.com"),
        ("bob+x@googlemail.com", "bob@gmail.com"),
        ("b.o.b@evil.test", "b.o.b@evil.test"),
    ],
)
def test_aliases_of_a_mailbox_are_one_identifier(text: str, mailbox: str) -> None:
    assert named(text) == {mailbox}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("DE89370400440532013000", "DE89370400440532013000"),
        ("to de89 3704 0044 0532 0130 00, thanks", "DE89370400440532013000"),
        ("GB82-WEST-1234-5698-7654-32 at the bank", "GB82WEST12345698765432"),
        ("RlI3NjMwMDA2MDAwMDExMjM0NTY3ODkwMTg5", "FR7630006000011234567890189"),
        ("call +49 (0)170 / 123-4567", "+491701234567"),
        ("0049 170 1234567", "+491701234567"),
    ],
)
def test_bank_account_and_phone_number_are_identifiers(text: str, number: str) -> None:
    assert number in named(text) and number in targets(
        Preview("Send", audience=Audience.PEOPLE, body=f"{LONG}\n{text}")
    )


def test_other_numbers_are_no_accounts() -> None:
    for text in ("DE89370400440532013001", "2026-11-24 10:30", "0012345678", "1+1234567890", "ab12cd34ef56ab78cd90"):
        assert not named(text), text


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("sub.evil.co.uk", "evil.co.uk"),
        ("a.b.evil.test", "evil.test"),
        ("a.github.io", "a.github.io"),
        ("x.a.github.io", "a.github.io"),
        ("os.path.unknowntld", "os.path.unknowntld"),
        ("bob@pay.evil.test", "bob@pay.evil.test"),
        ("my.report.pdf", "my.report.pdf"),
    ],
)
def test_registrable_domain_owns_a_host(host: str, owner: str) -> None:
    assert owned_by(host) == owner


LONG = "As agreed. " * 30


def test_preview_targets_are_people_places_pins_and_short_fields() -> None:
    show = Preview(
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
        "gina@evil.test": "gina@evil.test",
    }


def test_links_in_long_text_are_targets_only_if_others_see_them() -> None:
    text = f"{LONG} https://link.test/x"
    assert targets(Preview("Keep it", audience=Audience.SELF, text=text)) == {}
    assert targets(Preview("Send it", audience=Audience.PEOPLE, text=text)) == {"link.test": "link.test"}


def test_too_long_host_is_not_decoded() -> None:
    taken = []
    for _ in range(3):
        begun = time.thread_time()
        named(f"//xn--{'a' * 100_000}.test/ and bob@xn--{'b' * 100_000}.test")
        taken.append(time.thread_time() - begun)
    assert min(taken) < 0.2  # where it is decoded, most of a second


@pytest.mark.parametrize(
    "piece",
    [
        *("a.", "a-", "a/", "a@", "[at", "(at) ", "#a", "//a.b-", "\u00e9.a@", "W0", "%40"),
        *(
            "AT",
            "a at ",
            "a dot ",
            "a at b dot ",
            " @ ",
            "a . ",
            "=\n",
            "=40",
            "&#64;",
            "&amp",
            "\\u0040",
            "+1 ",
            "00 ",
        ),
        *("QQ", "aa12", "de89 3704 ", "YUBiLmNv ", "A" * 60 + "\n", "4142", "tset.live@bob ", "%2540"),
        *('"', '"@', "<b ", "<!--a", "*a.", "a.b/", "_@a.a_", "\u201c.", "a.bc ", "://a", "://[:", "://a@"),
    ],
)
def test_identifier_search_time_is_linear(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        began = time.thread_time()
        named(text)
        targets(Preview("Send", audience=Audience.PEOPLE, body=text))
        return time.thread_time() - began

    def least(length: int) -> float:
        """Return the least time, without what else the interpreter does now and then, such as a collection."""
        return min(seconds(length) for _ in range(3))

    assert least(400_000) < 20 * max(least(40_000), 0.01)
