"""HTML mail as a person sees it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.quotes import without_history
from tests.support.lanes import examples, sample


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Hello", "Hello"),
        ("<p>Hello  <b>Bob</b>,</p><p>bye</p>", "Hello Bob,\n\nbye"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a<br>b<br><br>c<br/>d", "a\nb\n\nc\nd"),
        ("<ul><li>one<li>two</ul>", "- one\n- two"),
        ("<ul><li><p>one</p></li><li><div>two</div></li></ul>", "- one\n\n- two"),
        ("<ul><li>one<ul><li>deep</li></ul></li><li>two</li></ul>", "- one\n\n- deep\n\n- two"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c<td>d</table>", "a | b\nc | d"),
        ("<table><tr><td></td><td>only</td><td> </td></tr></table>", "only"),
        ("<table><tr><td><table><tr><td>x</td></tr></table></td></tr></table>", "x"),
        ("<table><tr><th>a<th>b<th>c<tr><td>1<td><td>3<tr><td>4<td>5</table>", "a | b | c\n1 |  | 3\n4 | 5"),
        ("<table><tr><td><p>a</p><p>x</p><td>b<br>y<tr><td>c<td><a href=https://x.test>d</a></table>",
         "a x | b y\nc | d <https://x.test>"),
        ("<table><tr><th colspan=2>Trip<th rowspan=2>Price<tr><th>From<th><img alt=Luggage>"
         "<tr><td>BER<td>1<td>9</table>",
         "Trip | Trip | Price\nFrom | [image: Luggage] | Price\nBER | 1 | 9"),
        ("<table><tr><td rowspan=2>a<td>b<tr><td>c<tr><td>d<td>e</table>", "a | b\na | c\nd | e"),
        ("<table><tr><td>a<td rowspan=3>b<tr style='display:none'><td>x<td>y<tr><td>c<td>d</table>",
         "a | b\nc | b | d"),
        ("<table><tr><td>a<td style='display:none'>x<td>b<tr><td>c<td>d</table>", "a | b\nc | d"),
        ("<table role=presentation><tr><td>a<td><p>b<tr><td>c<td>d</table>", "a\n\nb\n\nc | d"),
        ("<blockquote>said<blockquote>before</blockquote></blockquote>", "> said\n\n> > before"),
        ("<pre>a  b\n  c</pre>", "a  b\n  c"),
        ("a &amp; b &lt;c&gt; &#39;d&#x27; &euro; &nosuch;", "a & b <c> 'd' € &nosuch;"),
        ("<h1>Title</h1>text", "Title\n\ntext"),
        ('<img src="https://decoy.test/t.gif" alt="Logo"> x <img src=y>', "[image: Logo] x"),
        ("<head><title>t</title></head><style>s</style><script>j</script><template>u</template>body", "body"),
        ("a<!-- c --><!--[if mso]>m<![endif]-->b<!DOCTYPE x><?php y ?>", "ab"),
        ("a < b and c > d", "a < b and c > d"),
        ("<p>unclosed <b>bold<p>next", "unclosed bold\n\nnext"),
        ("</div></p>stray</span>", "stray"),
        ("<a<b", ""),
        ("<s>old</s> <del>was</del> new", "~~old~~ ~~was~~ new"),
        ("<details open><summary>more</summary>seen</details>", "more\nseen"),
        ("", ""),
    ],
)  # fmt: skip
def test_html_becomes_the_lines_a_person_sees(html: str, text: str) -> None:
    assert read_html(html).text == text


@pytest.mark.parametrize(
    "hidden",
    [
        "<div style='display:none'>SECRET</div>",
        "<div style='DISPLAY : NONE !important'>SECRET</div>",
        "<p hidden>SECRET</p>",
        "<span style='visibility:hidden'>SECRET</span>",
        "<span style='opacity:0'>SECRET</span>",
        "<span style='opacity:0.0'>SECRET</span>",
        "<span style='font-size:0'>SECRET</span>",
        "<span style='font-size:1px'>SECRET</span>",
        "<span style='font-size:0.05em'>SECRET</span>",
        "<span style='font-size:.5pt'>SECRET</span>",
        "<span style='color:#fff'>SECRET</span>",
        "<span style='color:white;'>SECRET</span>",
        "<span style='color:rgb(255, 255, 255)'>SECRET</span>",
        "<span style='color:#fdfdfd'>SECRET</span>",
        "<span style='color:rgba(0,0,0,0)'>SECRET</span>",
        "<span style='color:transparent'>SECRET</span>",
        "<font color=white>SECRET</font>",
        "<div style='background:#123456'><span style='color:#123456'>SECRET</span></div>",
        "<table bgcolor='#00ff00'><tr><td><font color='#0f0'>SECRET</font></td></tr></table>",
        "<div style='background-color:black'>SECRET</div>",
        "<div style='display:none'><div style='display:block'><b>SECRET</b></div></div>",
        "<div style='color/**/:white'>SECRET</div>",
        "<div style='display:none'><img alt='SECRET' src=x></div>",
        "<div style='display:none'><p>a<p>SECRET</div>",
    ],
)
def test_invisible_html_text_is_removed_and_counted(hidden: str) -> None:
    page = read_html(f"<p>before</p>{hidden}<p>after</p>")
    assert "SECRET" not in page.text
    assert "before" in page.text and "after" in page.text
    assert page.hidden >= len("SECRET")


@pytest.mark.parametrize(
    "shown",
    [
        "<td style='font-size:0'><p style='font-size:14px'>VISIBLE</p></td>",
        "<div style='visibility:hidden'><p style='visibility:visible'>VISIBLE</p></div>",
        "<div style='background:#333'><span style='color:#fff'>VISIBLE</span></div>",
        "<table bgcolor=#333><tr><td><font color=white>VISIBLE</font></td></tr></table>",
        "<div style='background:url(x.png)'><span style='color:#fff'>VISIBLE</span></div>",
        "<div style='background:linear-gradient(red,blue)'><span style='color:white'>VISIBLE</span></div>",
        "<table><tr><td background='x.png'><font color='#ffffff'>VISIBLE</font></table>",
        "<style>.dark{color:#eee}</style><div class=dark style='background:black'>VISIBLE</div>",
        "<span style='opacity:0.9;font-size:small;color:inherit'>VISIBLE</span>",
        "<span style='color:#ccc'>VISIBLE</span>",
        "<span style='color:nonsense;font-size:;:;;display'>VISIBLE</span>",
    ],
)
def test_visible_html_text_stays(shown: str) -> None:
    page = read_html(shown)
    assert page.text == "VISIBLE"
    assert page.hidden == 0


@pytest.mark.parametrize(
    ("html", "text", "mismatch"),
    [
        ('<a href="https://example.test/a?b=1">our site</a>', "our site <https://example.test/a?b=1>", False),
        ('<a href="https://example.test/">https://example.test/</a>', "https://example.test/", False),
        ('<a href="https://example.test/">example.test</a>', "example.test <https://example.test/>", False),
        ('<a href="https://example.test">www.example.test</a>', "www.example.test <https://example.test>", False),
        ('<a href="https://login.example.test/">example.test</a>', "example.test <https://login.example.test/>", False),
        ('<a href="https://decoy.test/x">https://bank.test</a>', "https://bank.test <https://decoy.test/x>", True),
        ('<a href="https://decoy.test/x">bank.test/login</a>', "bank.test/login <https://decoy.test/x>", True),
        (
            '<a href="https://decoy.test">go to www.bank.test now</a>',
            "go to www.bank.test now <https://decoy.test>",
            True,
        ),
        ('<a href="https://bank.test.decoy.test">bank.test</a>', "bank.test <https://bank.test.decoy.test>", True),
        ('<a href="https://bank.test@decoy.test/">bank</a>', "bank <https://decoy.test/>", False),
        ('<a href="https://decoy.test/report.pdf">report.pdf</a>', "report.pdf <https://decoy.test/report.pdf>", False),
        (
            '<a href="https://b\u0430nk.test">x</a>',
            "x <https://" + "b\u0430nk.test".encode("idna").decode() + ">",
            False,
        ),
        ('<a href="javascript:alert(1)">click</a>', "click", False),
        ('<a href="data:text/html,x">click</a>', "click", False),
        ('<a href=" HTTPS://example.test ">up</a>', "up <https://example.test>", False),
        ('<a href="java\nscript:x">click</a>', "click", False),
        ('<a href="https://[broken">click</a>', "click", False),
        ('<a href="https://example.test"><img src=x alt="Shop"></a>', "[image: Shop] <https://example.test>", False),
        ('<a href="https://example.test"><img src=x></a>', "<https://example.test>", False),
        (
            '<a href="https://example.test">a <a href="https://b.test">b</a>',
            "a <https://example.test>b <https://b.test>",
            False,
        ),
        ("<a>anchor</a>", "anchor", False),
    ],
)
def test_link_shows_its_target_and_a_misleading_one_is_flagged(html: str, text: str, mismatch: bool) -> None:
    page = read_html(html)
    assert (page.text, page.mismatch) == (text, mismatch)


def test_very_long_link_is_shortened_keeping_its_host() -> None:
    page = read_html(f'<a href="https://click.example.test/track/{"x" * 900}?y=z">here</a>')
    assert page.text.startswith("here <https://click.example.test/track/xxx")
    assert len(page.text) < 150


@pytest.mark.parametrize(
    "quote",
    [
        '<div class="gmail_quote"><div class="gmail_attr">On x, Bob wrote:</div><blockquote>old</blockquote></div>',
        '<div class="x_gmail_quote x">old</div>',
        '<blockquote type="cite">old</blockquote>',
        '<div id="appendonsend"></div><hr><div id="divRplyFwdMsg">From: Bob</div><div>old</div>',
        '<div id="x_divRplyFwdMsg">From: Bob</div><div>old</div>',
        '<div class="moz-cite-prefix">Am 1.1. schrieb Bob:</div><blockquote type="cite">old</blockquote>',
        "<p>On Mon, 2 Nov 2026 at 10:00, Bob &lt;bob@example.test&gt; wrote:</p><blockquote>old</blockquote>",
        "<p>-----Original Message-----<br>From: Bob</p><p>old</p>",
    ],
)
def test_quoted_history_is_recognized_by_mail_program_markup(quote: str) -> None:
    own, cut = without_history(read_html(f"<div>my answer</div>{quote}").lines)
    assert own == "my answer"
    assert cut > 0
    own, cut = without_history(read_html(f"<div>my answer</div>{quote}<div>and below</div>").lines)
    assert ("old" in own) == (cut == 0)


def hostile_pieces() -> st.SearchStrategy[str]:
    pieces = [
        "<",
        ">",
        "/",
        "<a ",
        "href=",
        '"',
        "'",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<div hidden>",
        "</div>",
        "&",
        ";",
    ]
    more = [
        "<style>",
        "</style>",
        "<script>",
        "<td>",
        "<li>",
        "<br>",
        "<img alt=x>",
        "style='display:none'",
        "<p style='width:0;background:red;line-height:0;font:0/0 a'>",
        "<div style='max-height:-3px;overflow:hidden;transform:scale();margin:calc(1px/0)'>",
        "<style>a:not(b)::x,{} @media(){} *{color:var(--x);--x:var(--x)} p:nth-child(-n+){top:0}</style>",
        "\x00",
        "x",
        "é",
    ]
    return st.lists(st.sampled_from(pieces + more) | st.text(max_size=5), max_size=60).map("".join)


@settings(max_examples=examples(400), deadline=None)
@given(hostile_pieces())
def test_html_reader_never_raises(html: str) -> None:
    page = read_html(html)
    assert all("\n" not in line.text for line in page.lines)


PIECES = [
    *("<a ", '<a href="', "<!--", "<![", "<?", "</", "&", "<div>", "<td>", "<p>", "<br>", "<div hidden>", "<a href=x>"),
    *("<script>", "<x style='color:#", "<blockquote>", "<li>"),
]


@pytest.mark.processes
@pytest.mark.parametrize("piece", sample(PIECES))
@pytest.mark.parametrize("end", sample(["", ">"]))
def test_two_megabytes_of_html_are_read_quickly(piece: str, end: str) -> None:
    html = piece * (2_000_000 // len(piece)) + end
    began = time.process_time()
    read_html(html)
    assert time.process_time() - began < 6


@pytest.mark.sweep
def test_end_of_a_giant_page_is_omitted_with_a_note() -> None:
    assert "too long" in read_html("<p>word</p>" * 40_000).text[-60:]
    assert "too long" in read_html("word " * 500_000).text[-60:]
