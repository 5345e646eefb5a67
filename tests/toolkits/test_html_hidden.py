"""Text hidden by a mail's styles stays hidden from a model."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deputize.toolkits._shared.html import read_html

HIDDEN = {
    "class": "<style>.h{display:none}</style><p class=h>SECRET</p>",
    "class, escaped": r"<style>.h{d\69splay:n\6fne}</style><p class=h>SECRET</p>",
    "class, with comments": "<style>.h{dis/**/play:block;display/**/:none}</style><p class=h>SECRET</p>",
    "class in another case": "<style>.H{display:none}</style><p class=h>SECRET</p>",
    "combinators": "<style>div > p + p{visibility:hidden}</style><div><p></p><p>SECRET</p></div>",
    "nth-child": "<style>p:nth-child(2n){opacity:.01}</style><div><p></p><p>SECRET</p></div>",
    "forgiving list": "<style>:is(.x, :bogus, .h){display:none}</style><p class=h>SECRET</p>",
    "invalid after valid": "<p style='display:none;display:foo'>SECRET</p>",
    "important": "<style>.h{display:none!important}</style><p class=h style='display:block'>SECRET</p>",
    "media": "<style>@media (min-width:1px){.h{display:none}} @media print{.h{display:block}}</style><p class=h>SECRET",
    "off screen": "<p style='position:absolute;left:-9999px'>SECRET</p>",
    "indent": "<p style='text-indent:-999em'>SECRET</p>",
    "no height": "<div style='max-height:0;overflow:hidden'>SECRET</div>",
    "clip": "<div style='position:absolute;clip:rect(0 0 0 0)'>SECRET</div>",
    "clip-path": "<div style='clip-path:inset(50%)'>SECRET</div>",
    "dot": "<img width=1 height=1 alt='SECRET'>",
    "details": "<details><summary>more</summary>SECRET</details>",
    "scale": "<div style='transform:scale(0)'>SECRET</div>",
    "font": "<div style='font:0/0 a'>SECRET</div>",
    "variable": "<div style='--a:none;display:var(--a)'>SECRET</div>",
    "variable that nobody set": "<div style='display:var(--a, none)'>SECRET</div>",
    "length that nobody set": "<div style='position:absolute;left:var(--a,  -9999px)'>SECRET</div>",
    "units of a container": "<div style='font-size:0cqw'>SECRET</div>",
    "units of the smallest window": "<div style='position:absolute;left:-900svmax'>SECRET</div>",
    "words drawn together": "<div>before<span style='word-spacing:-999px'>SECRET</span></div>",
    "calc": "<div style='font-size:calc(1px * 0)'>SECRET</div>",
    "reopened by the parser": "<p><b style='display:none'>x</p>SECRET",
    "end tag out of scope": "<div style='display:none'><table><tr><td></div>SECRET</table>",
    "title": "<title>SECRET</title>",
    "conditional comment": "<!--[if mso]><p>SECRET</p><![endif]-->",
    "template": "<template><p>SECRET</p></template>",
    "noscript": "<noscript>SECRET</noscript>",
}


@pytest.mark.parametrize("trick", HIDDEN)
def test_text_hidden_by_styles_is_removed_and_counted(trick: str) -> None:
    page = read_html(f"<p>before</p>{HIDDEN[trick]}")
    assert "SECRET" not in page.text and "before" in page.text
    assert len("SECRET") <= page.hidden < 20


DOUBTFUL = {
    "clip-path": "<div style='clip-path:polygon(0 0,9px 0,9px 9px)'>words</div>",
    "overflow": "<div style='height:20px;overflow:hidden'>one<br>two<br>three<br>four</div>",
    "position": "<div style='position:absolute;background:#fff;top:0'>.</div><p>words</p>",
    "selector": "<style>div:has(p){display:none}</style><div><p>words</p></div>",
    "@supports": "<style>@supports (display:grid){.x{display:none}}</style><p>words</p>",
    "letter-spacing": "<div style='letter-spacing:999px;overflow:hidden'>words</div>",
    "height": "<div style='padding-top:99999px'>words</div>",
    "text-decoration": "<p>You must <span style='text-decoration:line-through'>not</span> words</p>",
    "text-decoration-line": "<p>You must <span style='text-decoration-line:line-through'>not</span> words</p>",
    "order": "<div style='display:flex'><b style='order:2'>not</b><b>words</b></div>",
    "flex-direction": "<div style='display:flex;flex-direction:row-reverse'><b>not</b><b>words</b></div>",
    "mask": "<div style='mask:url(#m)'>words</div>",
    "unicode-bidi": "<bdo dir=rtl>words</bdo>",
    "offset-path": "<div style='offset-path:circle(900px)'>words</div>",
    "color": "<div style='color:lab(100% 0 0)'>words</div>",
}


@pytest.mark.parametrize("why", DOUBTFUL)
def test_styles_that_may_hide_text_are_named(why: str) -> None:
    page = read_html(DOUBTFUL[why])
    assert why in page.doubts


def test_lines_in_a_cell_of_a_table_overflow_a_box() -> None:
    rows = "<tr><td>a<br>b<br>c<br>d<td>e<tr><td>f<td>g"
    page = read_html(f"<div style='height:40px;overflow:hidden'><table>{rows}</table></div>")
    assert page.text == "a b c d | e\nf | g" and "overflow" in page.doubts
    flat = read_html(f"<div style='height:40px;overflow:hidden'><table>{rows.replace('<br>', ' ')}</table></div>")
    assert flat.text == page.text and "overflow" not in flat.doubts


USUAL = (
    *("background:white none repeat scroll 0% 0%", "background:none repeat scroll 0 0 #fff", "background:#fff center"),
    *("background:rgba(255,255,255,0.9)", "background:transparent", "background:linear-gradient(#fff, #eee)"),
    *("background:linear-gradient(to right, #fff 0%, rgba(240,240,240,1) 100%)", "font:14px", "font:12pt/14pt Georgia"),
    *("background:linear-gradient(135deg, #fff, #eee 50%, #ddd)", "font:bold 14px/20px 'Open Sans', Arial, sans-serif"),
    *("font:normal normal 400 14px/20px Open Sans,Roboto", "font:italic small-caps bold 12px -apple-system, Arial"),
    *("width:480px;width:calc(230400px - 48000%)", "width:calc((100% - 20px)/2)", "font-size:calc(12px + 0.5vw)"),
    *("margin:0 auto;margin:none", "padding:none;height:none", "width:600;height:auto", "zoom:1", "max-width:none"),
    *("overflow:hidden auto", "display:block;display:inline-block", "transform:none"),
    "white-space:nowrap;white-space:normal",
)


@pytest.mark.parametrize("style", USUAL)
def test_common_css_declarations_hide_and_mark_nothing(style: str) -> None:
    page = read_html(f'<!doctype html><p style="{style}">Words to read</p>')
    assert (page.text, page.doubts) == ("Words to read", set())


@pytest.mark.processes
def test_html_too_complex_to_analyze_is_omitted() -> None:
    rules = "".join(f".c{n} td > a.x{n}{{display:none;color:#fff}}" for n in range(10_000))
    rows = "".join(f"<tr><td class=c{n}><a class=x{n} style='color:#333' href=x>word {n}</a>" for n in range(8_000))
    began = time.process_time()
    page = read_html(f"<style>{rules}</style><table>{rows}</table>")
    assert time.process_time() - began < 5
    assert "left out" in page.text and "word" not in page.text and page.hidden > 8_000


@pytest.mark.parametrize("bracket", ["(", "[", "{"])
def test_nested_brackets_exhaust_no_stack(bracket: str) -> None:
    for html in ("<style>.a{{color:{}}}</style>", "<p style='color:{}'>", "<style media='{}'>a{{}}</style>"):
        assert read_html(html.format(bracket * 5_000) + "<p>words</p>").text


def test_styles_after_the_analyzed_part_are_a_doubt() -> None:
    page = read_html("<p class=h>words</p>" + "<i></i>" * 16_000 + "<style>.h{display:none}</style>")
    assert "words" in page.text and "styles in the rest" in page.doubts


def rows(count: int) -> str:
    rules = "".join(f".c{n} td > a.x{n}{{color:#123;padding:2px}}" for n in range(count // 4))
    cells = "".join(f"<tr class=c{n}><td><a class=x{n} style='color:#333'>word {n}</a>" for n in range(count))
    return f"<style>{rules}</style><table>{cells}</table>"


def siblings(count: int) -> str:
    return "<p>word 99</p>" + "<i></i>" * count


@pytest.mark.parametrize(("made", "few", "many"), [(rows, 500, 2_000), (siblings, 4_000, 16_000)])
def test_html_reading_time_is_linear(made: Callable[[int], str], few: int, many: int) -> None:
    def seconds(count: int) -> float:
        began = time.process_time()
        assert "word 99" in read_html(made(count)).text
        return time.process_time() - began

    seconds(100)
    assert seconds(many) < 12 * seconds(few) + 0.2
