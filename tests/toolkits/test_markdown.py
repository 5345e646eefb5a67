"""Markdown of models to HTML that shows the same and does nothing."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.markdown import to_html
from tests.support.lanes import examples, sample

ALLOWED = {"p", "br", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ul", "ol", "li", "blockquote", "pre", "code", "a",
           "strong", "em", "del", "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip


def table(head: list[str], row: list[str]) -> str:
    """Return the HTML of a table of two columns, of which the second is centred."""
    box = "border:1px solid #999;padding:4px 8px;text-align:"
    cells = [
        f'<{tag} style="{box}{align}">{text}</{tag}>\n'
        for tag, texts in (("th", head), ("td", row))
        for align, text in zip(("left", "center"), texts, strict=True)
    ]
    return (
        f'<table style="border-collapse:collapse">\n<thead>\n<tr>\n{"".join(cells[:2])}</tr>\n</thead>\n'
        f"<tbody>\n<tr>\n{''.join(cells[2:])}</tr>\n</tbody>\n</table>"
    )


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Hi Bob,\nthanks", "<p>Hi Bob,<br>\nthanks</p>"),
        ("a\n\nb", "<p>a</p>\n<p>b</p>"),
        ("**b** __b__ *e* _e_", "<p><strong>b</strong> <strong>b</strong> <em>e</em> <em>e</em></p>"),
        ("~~d~~ `c*d`", "<p><del>d</del> <code>c*d</code></p>"),
        ("snake_case_name 2 * 3 * 4", "<p>snake_case_name 2 * 3 * 4</p>"),
        (r"\*not\* \_this\_", "<p>*not* _this_</p>"),
        ("# One\n### Three ###", "<h1>One</h1>\n<h3>Three</h3>"),
        ("***\n---", "<hr>\n<hr>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("1. a\n\n2. b", "<ol>\n<li>\n<p>a</p>\n</li>\n<li>\n<p>b</p>\n</li>\n</ol>"),
        ("3) c", '<ol start="3">\n<li>c</li>\n</ol>'),
        ("- a\n  - b", "<ul>\n<li>a\n<ul>\n<li>b</li>\n</ul>\n</li>\n</ul>"),
        ("text\n- a", "<p>text</p>\n<ul>\n<li>a</li>\n</ul>"),
        ("> q\n> > r", "<blockquote>\n<p>q</p>\n<blockquote>\n<p>r</p>\n</blockquote>\n</blockquote>"),
        ("```py\na < b\n```\nc", "<pre><code>a &lt; b</code></pre>\n<p>c</p>"),
        ("[site](https://a.test/?x=1&y=2)", '<p><a href="https://a.test/?x=1&amp;y=2">site</a></p>'),
        ("![pic](https://a.test/i.png)", '<p><a href="https://a.test/i.png">pic</a></p>'),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ('[x](https://a.test/"onclick="y)', '<p><a href="https://a.test/%22onclick=%22y">x</a></p>'),
        ("<b onclick=x>&amp;", "<p>&lt;b onclick=x&gt;&amp;amp;</p>"),
        ("a | b\n--|:-:\n`x` | <b>\n\nend", table(["a", "b"], ["<code>x</code>", "&lt;b&gt;"]) + "\n<p>end</p>"),
        ("| a | b |\n|---|:-:|\n| 1 |", table(["a", "b"], ["1", ""])),
        ("a | b\n--|--\n1 | 2 | 3", "<p>a | b<br>\n--|--<br>\n1 | 2 | 3</p>"),
        ("", ""),
    ],
)  # fmt: skip
def test_markdown_is_rendered_as_models_mean_it(text: str, html: str) -> None:
    assert to_html(text) == html


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert all(name in ("href", "start", "style") for name, _ in attrs)
        assert all(
            (value or "").startswith(("http://", "https://", "mailto:")) for name, value in attrs if name == "href"
        )
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


pieces = st.sampled_from(
    [
        *("**", "*", "__", "_", "`", "```\n", "~~", "[", "](https://x.test)", "![", "# ", "- ", "1. ", "> "),
        *("\n", "  ", "<b>", "&", '"', "a", "\\", "a|b\n-|-\n", "|"),
    ]
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(pieces | st.text(max_size=4), max_size=40).map("".join))
def test_html_is_balanced_with_few_elements_for_any_text(text: str) -> None:
    tags = Tags()
    tags.feed(to_html(text))
    tags.close()
    assert tags.open == []


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.text(st.sampled_from("abc<>&'\" "), min_size=1, max_size=20), max_size=6))
def test_plain_words_survive(lines: list[str]) -> None:
    text = "\n".join(f"w {line}" for line in lines)
    assert read_html(to_html(text)).text.split() == text.split()


@pytest.mark.parametrize(
    "piece",
    sample(
        [
            "`",
            "**a",
            "__a ",
            "[",
            "[a](https://x",
            "*a ",
            "> ",
            "- ",
            "- x\n  ",
            "> x\n",
            "1. x\n",
            "~~a",
            "    - x\n",
            "a|b\n-|-\n1|\n",
            "|a" * 500 + "\n" + "|-" * 500 + "\n" + "x\n" * 9_000,
        ]
    ),
)
def test_giant_text_is_rendered_quickly(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    began = time.process_time()
    to_html(text)
    assert time.process_time() - began < 8


@pytest.mark.parametrize(
    "text",
    ["> " * 200 + "deep", "- " * 200 + "deep", "".join(f"{'  ' * n}- x\n" for n in range(60)) + "deep"],
)
def test_text_nested_beyond_the_parsers_limit_is_kept(text: str) -> None:
    assert "deep" in to_html(text)


@pytest.mark.parametrize(
    "text",
    [
        "Hi\n--\nAlice",
        "[a]: https://x.test\ndefined",
        "    indented",
        "<!-- a comment -->",
        "&copy; 2026",
        "a | b\n--|--\n1 | 2 | hidden",
        "a | b\n1 | 2",
    ],
)
def test_markdown_that_would_hide_or_change_text_stays_text(text: str) -> None:
    shown = read_html(to_html(text)).text
    assert shown.split() == text.split()


def test_link_title_is_shown_and_an_empty_link_shows_its_target() -> None:
    assert to_html('[a](https://x.test "the plan")') == '<p><a href="https://x.test">a</a> (the plan)</p>'
    assert to_html("[](https://x.test)") == '<p><a href="https://x.test">https://x.test</a></p>'


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.text(st.sampled_from("ab|\\ "), max_size=9), max_size=5))
def test_no_word_of_a_table_is_lost(lines: list[str]) -> None:
    shown = read_html(to_html("\n".join(["x | y", "--|--", *lines]))).text
    assert shown.count("a") == sum(line.count("a") for line in lines)
