"""Headers of mail: headers by others are read, and values by models cannot add a header."""

from __future__ import annotations

import time
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.headers import (
    Encoded,
    Person,
    decode_words,
    ids_value,
    parse_people,
    people_value,
    person,
    single_line,
    text_value,
)
from tests.support.lanes import examples

visible = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=' "\\=?_,;:<>()@'), max_size=150).map(
    str.strip
)
hostile = st.text(st.sampled_from('\r\n\t\x00 :,;<>@"\\()=?_.a-Z0é日\u202e'), max_size=80) | st.text(max_size=80)


def written(name: str, value: Encoded) -> bytes:
    return f"{name}: {value.fold()}\r\n\r\n".encode("ascii")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),
        ("=?iso-8859-1?Q?Gr=FC=DFe_aus_K=F6ln?=", "Grüße aus Köln"),
        ("=?iso-8859-1*de?Q?Gr=FC=DFe?=", "Grüße"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("=?utf-8?b?5pel?= =?utf-8?b?5pys?=", "日本"),
        ("=?utf-8?q?=E6=97?= =?utf-8?q?=A5?=", "日"),
        ("=?gb2312?b?wqrNqA==?=", "陋通"),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?x-unknown?q?Gr=FC=DFe?=", "Grüße"),
        ("=?zlib?b?eJw=?=", "x\ufffd"),
        ("=?utf-8?b?!!!?=", ""),
        ("=?utf-8?q?un=ZZfinished=?=", "un=ZZfinished="),
        ("=?utf-8?x?nonsense?=", "=?utf-8?x?nonsense?="),
        ("=?utf-8?q?open", "=?utf-8?q?open"),
        ("Re: =?utf-8?q?Gr=C3=BC=C3=9Fe?=!", "Re: Grüße!"),
    ],
)
def test_encoded_words_are_read_by_rfc_2047_and_common_practice(value: str, read: str) -> None:
    if "zlib" in value:
        assert decode_words(value)[0] == "x"
    else:
        assert decode_words(value) == read


@settings(max_examples=examples(300), deadline=None)
@given(hostile | st.from_regex(r"(=\?[a-z0-9*-]{0,9}\?[bq]\?[^?]{0,20}\?= ?){0,4}", fullmatch=True))
def test_header_decoding_never_raises(value: str) -> None:
    assert isinstance(decode_words(value), str)
    for one in parse_people(value):
        assert isinstance(str(one), str)
    ids_value(value)


@settings(max_examples=examples(300), deadline=None)
@given(visible)
def test_text_survives_its_wire_form_in_our_and_pythons_reader(text: str) -> None:
    value = text_value(text)
    assert decode_words(value.fold()) == text
    read = message_from_bytes(written("Subject", value), policy=default)
    assert read.keys() == ["Subject"]
    assert str(read["Subject"]).split() == text.split()


@settings(max_examples=examples(300), deadline=None)
@given(hostile)
def test_text_never_becomes_a_second_header(text: str) -> None:
    wire = written("Subject", text_value(text))
    assert message_from_bytes(wire).keys() == ["Subject"]
    assert all(len(line) <= 998 for line in wire.split(b"\r\n"))
    assert wire.isascii() and b"\r\n\r\n" not in wire[:-4]


@pytest.mark.parametrize(
    "text", ["=?utf-8?q?hi=0D=0ABcc:_eve@decoy.test?=", "=?utf-8?b?aGkNCkJjYzogeEB5?=", "x =?a?q?b?= y"]
)
def test_encoded_word_in_a_text_stays_text(text: str) -> None:
    value = text_value(text)
    assert text not in value
    assert decode_words(value) == text


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(visible, max_size=5))
def test_names_survive_their_wire_form(names: list[str]) -> None:
    people = [Person(name, f"bob{at}@example.test") for at, name in enumerate(names)]
    folded = people_value(people).fold()
    assert [one.address for one in parse_people(folded.replace("\r\n", ""))] == [one.address for one in people]
    assert [one.name for one in parse_people(folded.replace("\r\n", ""))] == [" ".join([one.name]) for one in people]
    read = message_from_bytes(written("To", people_value(people)), policy=default)
    assert [one.addr_spec for one in read["To"].addresses] == [one.address for one in people] if people else True


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "é", "a\tb", "\u2028"])
def test_non_printable_text_never_becomes_a_header_value(value: str) -> None:
    with pytest.raises(InvalidInput):
        Encoded.of(value)


@pytest.mark.parametrize(
    "text", ["a\r\nBcc: eve@decoy.test", "a\nb", "a\rb", "a\x00b", "a\x85b", "a\u2028b", "a\tb", "x" * 1001, "\ud800"]
)
def test_line_break_or_control_in_model_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="subject"):
        single_line(text, "subject")


def test_emoji_sequences_and_direction_marks_may_be_written() -> None:
    assert single_line(" 👨\u200d👩\u200d👧 \u200f ", "subject") == "👨\u200d👩\u200d👧 \u200f"


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("bob@example.test", "", "bob@example.test"),
        (" bob@example.test ", "", "bob@example.test"),
        ("Bob <bob@example.test>", "Bob", "bob@example.test"),
        ("<bob@example.test>", "", "bob@example.test"),
        ('"Bob, the Builder" <bob@example.test>', "Bob, the Builder", "bob@example.test"),
        ("Builder, Bob <bob@example.test>", "Builder, Bob", "bob@example.test"),
        (r'"Bob \"B\" B" <bob@example.test>', 'Bob "B" B', "bob@example.test"),
        ("Zoë <zoe@example.test>", "Zoë", "zoe@example.test"),
        ("bob+news@sub.example.test", "", "bob+news@sub.example.test"),
        ("bob@bücher.test", "", "bob@xn--bcher-kva.test"),
        ("bob@localhost", "", "bob@localhost"),
    ],
)
def test_address_is_read_alone_or_with_a_name(text: str, name: str, address: str) -> None:
    assert person(text, "to[0]") == Person(name, address)


@pytest.mark.parametrize(
    "text",
    [
        *("", "bob", "@example.test", "bob@", "bob@@example.test", "a b@example.test", "bob@exa mple.test"),
        *("bob@example.test, eve@decoy.test", "bob@example.test;eve@decoy.test", "bob@example.test eve@decoy.test"),
        *("Bob <bob@example.test>, Eve <eve@decoy.test>", "Friends: bob@example.test, eve@decoy.test;"),
        *(
            "bob@example.test)eve@decoy.test",
            "bob@example.test(<eve@decoy.test>)",
            "<bob@example.test><eve@decoy.test>",
        ),
        *("Bob <bob@example.test> eve@decoy.test", "eve@decoy.test <bob@example.test> x", "Bob <bob@example.test"),
        *(
            "bob@example.test\r\nBcc: eve@decoy.test",
            "Bob\nBcc: eve@decoy.test <bob@example.test>",
            "b\x00b@example.test",
        ),
        *("=?utf-8?q?=0D=0ABcc?=@example.test", '"a b"@example.test', "bób@example.test", "bob@[127.0.0.1]"),
        *(".bob@example.test", "bob.@example.test", "b..b@example.test", "bob@-example.test", "bob@example..test"),
        *("x" * 65 + "@example.test", "bob@" + "x" * 64 + ".test", "bob@" + "x." * 130 + "test", "bob@\u2024.test"),
    ],
)
def test_invalid_recipient_is_refused_by_its_position(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"to\[3\]"):
        person(text, "to[3]")


@pytest.mark.parametrize(
    ("domain", "known_as"),
    [
        ("faß.de", "xn--fa-hia.de"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("BÜCHER.Example", "xn--bcher-kva.Example"),
        ("bu\u0308cher.test", "xn--bcher-kva.test"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", "xn--mgba3gch31f060k.com"),
        ("mail.例え.test", "mail.xn--r8jz45g.test"),
        ("xn--fa-hia.de", "xn--fa-hia.de"),
    ],
)
def test_international_domain_is_encoded_by_idna_2008(domain: str, known_as: str) -> None:
    assert person(f"Bob <bob@{domain}>", "to[0]").address == f"bob@{known_as}"


@pytest.mark.parametrize(
    "domain",
    ["ban\u212a.test", "example\u3002test", "x\uff45.test", "☃.test", "a\u200db\u00fc.test", "\u0130x.test", "ü" * 70],
)
def test_domain_that_idna_2008_would_map_is_refused_and_named(domain: str) -> None:
    with pytest.raises(InvalidInput, match=r"to\[0\]: .*IDNA 2008") as refused:
        person(f"bob@{domain}", "to[0]")
    assert repr(domain) in refused.value.message


@settings(max_examples=examples(300), deadline=None)
@given(hostile)
def test_accepted_recipient_is_written_as_exactly_one(text: str) -> None:
    try:
        found = person(text, "to[0]")
    except InvalidInput:
        return
    read = message_from_bytes(written("To", people_value([found])), policy=default)
    assert read.keys() == ["To"]
    assert [one.addr_spec for one in read["To"].addresses] == [found.address]


@pytest.mark.parametrize(
    ("value", "people"),
    [
        ("", []),
        ("bob@example.test", [("", "bob@example.test")]),
        ("Bob <bob@example.test>, alice@example.test", [("Bob", "bob@example.test"), ("", "alice@example.test")]),
        ('"Builder, Bob" <bob@example.test>', [("Builder, Bob", "bob@example.test")]),
        ("=?utf-8?q?Zo=C3=AB=2C_B?= <z@example.test>", [("Zoë, B", "z@example.test")]),
        ("bob@example.test (Bob)", [("Bob", "bob@example.test")]),
        ("Friends: a@example.test, b@example.test;", [("", "a@example.test"), ("", "b@example.test")]),
        ("undisclosed-recipients:;", []),
        ("Mail Delivery Subsystem", [("Mail Delivery Subsystem", "")]),
        ('"bob@example.test" <eve@decoy.test>', [("bob@example.test", "eve@decoy.test")]),
        ("bob@example.test <eve@decoy.test>", [("bob@example.test", "eve@decoy.test")]),
        ('"open <a@example.test>, b@example.test', [("open <a@example.test>, b@example.test", "")]),
    ],
)
def test_people_are_parsed_from_foreign_headers(value: str, people: list[tuple[str, str]]) -> None:
    assert parse_people(value) == people


@pytest.mark.parametrize("piece", ["(", "<", '"', '"\\', ",", "a@b.test,", "(((a", "=?utf-8?q?", "<a@b>", ":", "\\"])
def test_giant_header_is_read_quickly(piece: str) -> None:
    value = (piece * 100_000)[:100_000]
    began = time.process_time()
    parse_people(value)
    decode_words(value)
    ids_value(value)
    assert time.process_time() - began < 5


def test_message_ids_are_kept_whole_up_to_the_last_twenty() -> None:
    ids = [f"<{'x' * 100}{at}@example.test>" for at in range(30)]
    folded = ids_value(" junk\n ".join(ids)).fold()
    assert folded.split() == ids[-20:]
    assert ids_value("<a b@x> <\u00e9@x> <a\r\nBcc: eve@decoy.test> plain <>") == ""
