# ruff: noqa: E501 - HTML as it is sent
"""Attacks by somebody who knows the mail reader: text that Chromium does not paint, hidden by unusual means.

Each was tried against the reader; about fifty got past its first version.
"""

from __future__ import annotations

from typing import Final

from tests.toolkits.data.mails.hostile import DOT, SAID, SEEN, Hostile, by_class, by_markup, by_style

INSIDER: Final[dict[str, Hostile]] = {
    "td height overflow": by_markup(f"<table><tr><td style='height:0;overflow:hidden;display:block'>{SAID}</table>"),
    "col visibility": by_markup(f"<table><col style='visibility:collapse'><tr><td>{SAID}</table>"),
    "row collapse": by_markup(f"<table><tr style='visibility:collapse'><td>{SAID}</table>"),
    "flex child 0": by_style("display:flex", inner=f"<span style='width:0;overflow:hidden'>{SAID}</span>"),
    "flex basis": by_style("display:flex", inner=f"<div style='flex:0 0 0;min-width:0;overflow:hidden'>{SAID}</div>"),
    "flex shrink": by_style(
        "display:flex;width:100px",
        inner=f"<div style='flex:0 0 100px'>x</div><div style='min-width:0;overflow:hidden;white-space:nowrap;flex:1 1 0%'>{SAID}</div>",
    ),
    "grid 0fr": by_style(
        "display:grid;grid-template-rows:0fr", inner=f"<div style='overflow:hidden;min-height:0'>{SAID}</div>"
    ),
    "grid shorthand": by_style(
        "display:grid;grid:0px/auto;overflow:hidden", inner=f"<div style='overflow:hidden'>{SAID}</div>"
    ),
    "grid-auto-rows": by_style("display:grid;grid-auto-rows:0", inner=f"<div style='overflow:hidden'>{SAID}</div>"),
    "inherit display": by_style("display:none", inner=f"<div style='display:inherit'>{SAID}</div>"),
    "bg inherits color": by_style("background:currentColor;color:#eee"),
    "color-mix": by_style("color:color-mix(in srgb, white 100%, black)"),
    "light-dark": by_style("color:light-dark(white,black)"),
    "relative color": by_style("color:rgb(from white r g b)"),
    "system colour": by_style("color:Canvas"),
    "color hsl deg": by_style("color:hsl(0deg,0%,100%)"),
    "color space": by_style("color:color(display-p3 1 1 1)"),
    "bg gradient shorthand": by_style("background:#000 linear-gradient(#fff,#fff);color:#fff"),
    "bg image white data": by_style(
        "background:#000 url(data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=);color:#fff"
    ),
    "background-image white": by_style(
        "background-color:#000;background-image:linear-gradient(white,white);color:white"
    ),
    "inset box-shadow": by_style("color:#000;background:#fff;box-shadow:inset 0 0 0 99px #000"),
    "a color": by_class("a{color:#fff}", f"<a href=x>{SAID}</a>"),
    "link pseudo": by_class("a:link{color:#fff}", f"<a href=x>{SAID}</a>"),
    "body link attr": Hostile(f"<!doctype html><body link=white><p>{SEEN}</p><a href=x>{SAID}</a>"),
    "body text attr": Hostile(
        f"<!doctype html><body text=white><p style='color:#000'>{SEEN}</p><p style='color:inherit'>{SAID}</p>"
    ),
    "fieldset legend": by_style("visibility:hidden", tag="fieldset"),
    "size in vw": by_style("font-size:0.01vw"),
    "font size clamp": by_style("font-size:clamp(0px,1vw,0px)"),
    "font-size min": by_style("font-size:min(0px,10px)"),
    "round()": by_style("font-size:round(0.2px,1px)"),
    "abs": by_style("font-size:abs(0px)"),
    "sin": by_style("opacity:sin(0)"),
    "opacity percent": by_style("opacity:0%"),
    "opacity calc": by_style("opacity:calc(1 - 1)"),
    "opacity e": by_style("opacity:1e-9"),
    "env": by_style("font-size:env(nothing,0px)"),
    "var fallback": by_style("display:var(--nope,none)"),
    "var upper": by_style("display:VAR(--nope,none)"),
    "var indirect": by_class(":root{--A:var(--B);--B:none}.h{display:var(--A)}"),
    "registered @property": by_class(
        "@property --z{syntax:'<length>';inherits:false;initial-value:0px}.h{font-size:var(--z)}"
    ),
    "attr()": by_style("font-size:attr(data-x px,0px)"),
    "if()": by_style("display:if(media(width > 1px): none; else: block)"),
    "line-height+overflow": by_style("height:1em;line-height:3em;overflow:hidden"),
    "vertical-align": by_style("height:1em;overflow:hidden", inner=f"<span style='vertical-align:-99px'>{SAID}</span>"),
    "word-spacing": by_style("width:9px;overflow:hidden;white-space:nowrap;word-spacing:999px", inner=f"a {SAID}"),
    "float margin": by_style("float:left;margin-right:-9999px;margin-left:-9999px"),
    "negative margin neg w": by_style("margin:-9999px 0 0 0;height:0"),
    "right in relative": by_style("position:relative;right:9999px"),
    "bottom": by_style("position:relative;bottom:9999px"),
    "sticky": by_style("position:sticky;left:-9999px;right:auto;margin-left:-9999px"),
    "translate prop": by_style("translate:-9999px"),
    "translate pct": by_style("transform:translate(-3000%)"),
    "translate3d": by_style("transform:translate3d(-9999px,0,0)"),
    "skew": by_style("transform:skewX(90deg)"),
    "rotate prop": by_style("rotate:y 90deg"),
    "rotate3d": by_style("transform:rotate3d(1,0,0,90deg)"),
    "perspective": by_style("transform:perspective(1px) translateZ(2px)"),
    "scaleX": by_style("transform:scaleX(0)"),
    "scale tiny": by_style("transform:scale(.01)"),
    "scale pct": by_style("scale:0%"),
    "zoom pct": by_style("zoom:1%"),
    "matrix3d": by_style("transform:matrix3d(0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1)"),
    "offset": by_style("offset-path:path('M -9999 0 L 0 0');offset-distance:0%"),
    "clip-path path": by_style("clip-path:path('M0 0')"),
    "clip-path xywh": by_style("clip-path:xywh(0 0 0 0)"),
    "clip-path rect": by_style("clip-path:rect(0 0 0 0)"),
    "clip auto": by_style("position:absolute;clip:rect(1px,1px,1px,1px)"),
    "mask of a gradient": by_style("mask:linear-gradient(#0000,#0000)"),
    "filter invert": by_style("color:#000;background:#fff;filter:invert(50%)"),
    "neg z": Hostile(
        f"<!doctype html><html style='background:#fff'><body><div style='background:#fff'><p>{SEEN}</p><div style='position:relative;z-index:-1'>{SAID}</div></div>"
    ),
    "cover negative margin": by_markup(
        f"<div>{SAID}</div><div style='margin-top:-30px;height:40px;background:#fff;position:relative'></div>"
    ),
    "cover float": by_markup(
        f"<div style='float:left;width:100%;background:#fff;height:30px;margin-bottom:-30px;position:relative;z-index:1'></div><div>{SAID}</div>"
    ),
    "cover transform": by_markup(
        f"<div>{SAID}</div><div style='transform:translateY(-35px);height:40px;background:#fff'></div>"
    ),
    "cover outline": by_markup(
        f"<div style='overflow:hidden'>{SAID}</div><div style='outline:60px solid #fff;margin-top:10px'>x</div>"
    ),
    "cover boxshadow": by_markup(f"<div>{SAID}</div><div style='box-shadow:0 0 0 99px #fff;position:relative'>x</div>"),
    "cover grid": by_style(
        "display:grid",
        inner=f"<div style='grid-area:1/1'>{SAID}</div><div style='grid-area:1/1;background:#fff'>&nbsp;</div>",
    ),
    "cover iframe": by_markup(
        f"<div>{SAID}</div><iframe style='margin-top:-40px;background:#fff;width:900px;height:60px'></iframe>"
    ),
    "columns": by_style("columns:2;height:20px;overflow:hidden;width:300px", inner="a<br>b<br>c<br>" + SAID),
    "line-clamp": by_style(
        "display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:1;overflow:hidden",
        inner=f"a<br>b<br>{SAID}",
    ),
    "ruby": by_markup(f"<ruby>x<rt style='font-size:0'>{SAID}</rt></ruby>"),
    "max-height calc": by_style("max-height:calc(0px + 0px);overflow:clip"),
    "overflow-y only": by_style("height:0;overflow-y:hidden"),
    "contain": by_style("contain:strict"),
    "contain size": by_style("contain:size;overflow:hidden"),
    "content-visibility auto": by_style("content-visibility:hidden"),
    "display table-column": by_style("display:table-column"),
    "ins hidden=until": by_markup(f"<div hidden=until-found>{SAID}</div>"),
    "details name": by_markup(f"<details name=a><div>{SAID}</div></details>"),
    "optgroup": by_markup(f"<select><optgroup label='{SAID}'></select>"),
    "object": by_markup(f"<object data='data:text/plain,hi' type='text/plain' width=0 height=0>{SAID}</object>"),
    "audio": by_markup(f"<audio>{SAID}</audio>"),
    "canvas": by_markup(f"<canvas width=1 height=1>{SAID}</canvas>"),
    "meter": by_markup(f"<meter>{SAID}</meter>"),
    "frameset": Hostile(f"<p>{SEEN}</p><noframes>{SAID}</noframes>"),
    "script type": by_markup(f"<script type=text/plain>{SAID}</script>"),
    "xmp": by_class("xmp{display:none}", f"<xmp>{SAID}</xmp>"),
    "plaintext": by_class("plaintext{display:none}", f"<plaintext>{SAID}"),
    "textarea": by_markup(f"<textarea style='display:none'>{SAID}</textarea>"),
    "button": by_markup(f"<button style='opacity:0'>{SAID}</button>"),
    "math": by_markup(f"<math><annotation encoding=x>{SAID}</annotation></math>"),
    "svg": by_markup(f"<svg width=0 height=0><text>{SAID}</text></svg>"),
    "foreignObject": by_markup(f"<svg width=0 height=0><foreignObject><p>{SAID}</p></foreignObject></svg>"),
    "dialog css": by_class("dialog{display:none}", f"<dialog open>{SAID}</dialog>"),
    "starting": by_class("@scope (body){.h{display:none}}"),
    "container": by_class("body{container-type:inline-size}@container (min-width:1px){.h{display:none}}"),
    "media level4": by_class("@media (width>1px){.h{display:none}}"),
    "media not all": by_class("@media not all and (monochrome){.h{display:none}}"),
    "media only": by_class("@media only screen{.h{display:none}}"),
    "media or": by_class("@media (color) or (hover){.h{display:none}}"),
    "media nested": by_class("@media screen{@media (min-width:1px){.h{display:none}}}"),
    "media not paren": by_class("@media not (width<1px){.h{display:none}}"),
    "media aspect": by_class("@media (min-aspect-ratio:1/9){.h{display:none}}"),
    "media escapes": by_class(r"@m\65 dia screen{.h{display:none}}"),
    "media color": by_class("@media (color){.h{display:none}}"),
    "media min-color": by_class("@media (min-color:1){.h{display:none}}"),
    "media dyn range": by_class("@media (dynamic-range:standard){.h{display:none}}"),
    "media scripting": by_class("@media (prefers-reduced-transparency:no-preference){.h{display:none}}"),
    "media overflow": by_class("@media (color-gamut:srgb){.h{display:none}}"),
    "supports not": by_class(".h{display:none}@supports not (display:block){.h{display:block!important}}"),
    "layer important": by_class("@layer a{.h{display:none!important}}.h{display:block!important}"),
    "layer order": by_class("@layer b,a;@layer a{.h{display:none}}@layer b{.h{display:block}}"),
    "import data": by_class("@import url(data:text/css,.h%7Bdisplay:none%7D);"),
    "link data": by_markup(f"<link rel=stylesheet href='data:text/css,.h{{display:none}}'><div class=h>{SAID}</div>"),
    "style type": by_markup(f"<style type='TEXT/CSS'>.h{{display:none}}</style><div class=h>{SAID}</div>"),
    "style type weird": by_markup(
        f"<style type='text/css; charset=utf-8'>.h{{display:block!important}}</style><style>.h{{display:none}}</style><div class=h>{SAID}</div>"
    ),
    "style svg": by_markup(f"<svg><style>.h{{display:none}}</style></svg><div class=h>{SAID}</div>"),
    "style svg cdata": by_markup(f"<svg><style><![CDATA[.h{{display:none}}]]></style></svg><div class=h>{SAID}</div>"),
    "style template": by_markup(
        f"<style>.h{{display:none}}</style><template><style>.h{{display:block!important}}</style></template><div class=h>{SAID}</div>"
    ),
    "style disabled media": by_markup(
        f"<style>.h{{display:none}}</style><style media='(bogus)'>.h{{display:block}}</style><div class=h>{SAID}</div>"
    ),
    "nested svg css": by_markup(
        f"<svg width=1 height=1></svg><div style='display:none' / style='display:block'>{SAID}</div>"
    ),
    "dup attr": by_markup(f"<div style='display:none' style='display:block'>{SAID}</div>"),
    "attr entity": by_markup(f"<div style='display&colon;none'>{SAID}</div>"),
    "attr newline": by_markup(f"<div style='display:\nnone'>{SAID}</div>"),
    "attr bs": by_markup(f"<div style='d\\isplay:none'>{SAID}</div>"),
    "case": by_markup(f"<DIV STYLE='DISPLAY:NONE'>{SAID}</DIV>"),
    "sel attr ns": by_class("[*|class=h]{display:none}"),
    "sel ns star": by_class("*|div.h{display:none}"),
    "sel namespace": by_class("@namespace url(http://www.w3.org/1999/xhtml);div.h{display:none}"),
    "sel attr i": by_class("[class='H' i]{display:none}"),
    "sel nth of": by_class(":nth-child(1 of .h){display:none}"),
    "sel only": by_class("div:only-of-type{display:none}"),
    "sel empty sib": by_class("hr:empty + div{display:none}", f"<hr><div>{SAID}</div>"),
    "sel root": by_class("html:root .h{display:none}"),
    "sel not list": by_class("div:not(.a,.b){display:none}"),
    "sel lang": by_class(":lang(en){display:none}", f"<div lang=en>{SAID}</div>"),
    "sel dir": by_class("div:dir(ltr){display:none}"),
    "sel defined": by_class("div:defined{display:none}"),
    "sel read-only": by_class("div:read-only{display:none}"),
    "sel target": by_class("div:not(:target){display:none}"),
    "sel visited": by_class("div:not(:hover){display:none}"),
    "sel marker": by_class("a:any-link{display:none}", f"<a href=x>{SAID}</a>"),
    "sel optional": by_class("input:optional + div{display:none}", f"<input type=hidden><div>{SAID}</div>"),
    "sel indeterminate": by_class(
        "input:not(:indeterminate) + div{display:none}", f"<input type=hidden><div>{SAID}</div>"
    ),
    "sel valid": by_class("input:valid + div{display:none}", f"<input type=text><div>{SAID}</div>"),
    "sel enabled": by_class("input:enabled + div{display:none}", f"<input type=text><div>{SAID}</div>"),
    "sel checked": by_class("input:checked + div{display:none}", f"<input type=checkbox checked><div>{SAID}</div>"),
    "sel default": by_class("input:default + div{display:none}", f"<input type=checkbox checked><div>{SAID}</div>"),
    "sel in-range": by_class(
        "input:in-range + div{display:none}", f"<input type=number value=1 min=0><div>{SAID}</div>"
    ),
    "sel column": by_class("table:not(:focus) td{display:none}", f"<table><tr><td>{SAID}</table>"),
    "before cover": by_class(".h{position:relative}.h::before{content:'';position:absolute;inset:0;background:#fff}"),
    "details content": by_class(
        "details::details-content{display:none}", f"<details open><summary>x</summary>{SAID}</details>"
    ),
    "marquee": by_markup(f"<marquee behavior=slide loop=0 width=1 height=1>{SAID}</marquee>"),
    "size adjust": by_class(
        "@font-face{font-family:z;src:local(Arial),local('DejaVu Sans'),local('Liberation Sans');size-adjust:0%}.h{font-family:z}"
    ),
    "ascent": by_class(
        "@font-face{font-family:z;src:local('DejaVu Sans'),local('Liberation Sans');ascent-override:9999%}.h{font-family:z}"
    ),
    "text-stroke": by_style("-webkit-text-stroke:3px white;font-size:8px"),
    "text-decoration": by_style("text-decoration:line-through 20px white"),
    "text-decoration cover": by_style(
        "text-decoration-line:line-through;text-decoration-thickness:99px;text-decoration-color:#fff"
    ),
    "text-shadow cover": by_style("color:transparent;text-shadow:none"),
    "visibility var": by_style("--v:hidden;visibility:var(--v)"),
    "all": by_style("all:unset;display:none"),
    "unset hidden": by_markup(f"<div hidden style='display:bogus'>{SAID}</div>"),
    "td height clip": by_markup(
        f"<table style='table-layout:fixed;width:50px'><tr><td style='overflow:hidden;white-space:nowrap'>xxxxxxxx{SAID}</table>"
    ),
    "nowrap end": by_style("width:100px;overflow:hidden;white-space:nowrap", inner="Hello Alice, how are you?" + SAID),
    "pre": by_markup(f"<pre style='width:90px;overflow:hidden'>Hello Alice, hello{SAID}</pre>"),
    "nbsp": by_style("width:200px;overflow:hidden;white-space:nowrap", inner="Hello" + "&nbsp;" * 60 + SAID),
    "inner width": by_style(
        "width:300px;overflow:hidden", inner=f"<div style='width:3000px;text-align:right'>{SAID}</div>"
    ),
    "br many in box": by_style("max-height:30px;overflow:hidden", inner="x" + "<br>" * 5 + SAID),
    "img in box": by_style(
        "max-height:30px;overflow:hidden", inner=f"<img src='{DOT}' height=40 width=9 style='display:block'>{SAID}"
    ),
    "spacer in box": by_style("max-height:30px;overflow:hidden", inner=f"<div style='height:40px'></div>{SAID}"),
    "spacer min in box": by_style("max-height:30px;overflow:hidden", inner=f"<p style='min-height:40px'></p>{SAID}"),
    "spacer attr in box": by_style("max-height:30px;overflow:hidden", inner=f"<table height=40><tr><td></table>{SAID}"),
    "border in box": by_style(
        "max-height:30px;overflow:hidden", inner=f"<div style='border-top:40px solid #eee'></div>{SAID}"
    ),
    "body overflow": Hostile(
        f"<!doctype html><body style='height:60px;overflow:hidden'><p>{SEEN}</p><div style='height:900px'></div>{SAID}"
    ),
    "html hidden": by_class(
        "html{height:50px;overflow:hidden}body{overflow:hidden;height:50px}", f"<br><br><br><br>{SAID}"
    ),
    "float right far": by_style("width:5000px;text-align:right"),
    "table far": by_markup(f"<table width=6000><tr><td align=right>{SAID}</table>"),
    "width far margin": by_style("margin-left:3000px"),
    "margin auto inf": by_style("margin-left:99999px"),
    "white-space pre spaces": by_markup("<pre>" + " " * 900 + SAID + "</pre>"),
    "down far": by_style("margin-top:99999px"),
    "cut style2": Hostile(
        f"<p>{SEEN}</p><div class=h>{SAID}</div>" + "<i></i>" * 16000 + "<style>.h{display:none}</style>"
    ),
    "meta scheme": Hostile(
        f"<!doctype html><meta name=color-scheme content=dark><body><p>{SEEN}</p><p style='color:#121212'>{SAID}</p>"
    ),
    "bg height 0": by_style("height:0;background:#000;color:#fff"),
    "bg width 0": by_style("width:0;background:#000;color:#fff;white-space:nowrap"),
    "float out of bg": by_style("background:#000;color:#fff", inner=f"<span style='float:left'>{SAID}</span>"),
    "inline bg block": by_style("background:#000;color:#fff", tag="span", inner=f"<div>{SAID}</div>"),
    "contents bg": by_style("display:contents;background:#000;color:#fff"),
    "gradient size": by_style("background:linear-gradient(#000,#000) 0 0/1px 1px no-repeat;color:#fff"),
    "gradient stops": by_style("background:linear-gradient(#000 0%,#fff 0%);color:#fff"),
    "line blocks": by_style("line-height:0;font-size:16px", inner=f"{SAID}<br>{'&#9608;' * 40}", smudge=True),
    "wingdings": by_style("font-family:Wingdings", smudge=True),  # where that font is: else it can be read
    "shadow": by_markup(f"<div><template shadowrootmode=open><p>hello</p></template>{SAID}</div>"),
    "shadow p": by_markup(f"<div><template shadowrootmode=open></template><p>{SAID}</p></div>"),
    "columns beside": by_style("columns:40px;height:20px;width:1000px", inner="hello you there " * 30 + SAID),
    "margin-inline": by_style("margin-inline:-9999px 9999px"),
    "margin-block": by_style("margin-block:-9999px 0"),
    "padding-inline": by_style("padding-inline:3000px 0"),
    "border-left": by_style("border-left:3000px solid #fff"),
    "word-spacing without a break": by_style("word-spacing:3000px;white-space:nowrap", inner=f"a {SAID}"),
    "tab-size": by_markup(f"<pre style='tab-size:999'>\t\t\t\t\t{SAID}</pre>"),
    "td background": by_markup(f"<table><tr style='background:#000;color:#fff;display:contents'><td>{SAID}</table>"),
    "inline-block bg": by_style(
        "display:inline-block;width:1px;height:1px;background:#000;color:#fff;white-space:nowrap"
    ),
    "abs in bg": by_style("background:#000;color:#fff", inner=f"<span style='position:absolute'>{SAID}</span>"),
    "flex nowrap": by_style("display:flex;background:#000;color:#fff;height:1px"),
    "bg pad box": by_style("background:#000;background-clip:border-box;color:#fff;width:fit-content;max-height:0"),
    "bg content-box": by_style(
        "background:#000 content-box;color:#fff;width:0;padding-left:600px;direction:rtl;white-space:nowrap"
    ),
    "relative out": by_style(
        "background:#000;color:#fff", inner=f"<span style='position:relative;top:30px'>{SAID}</span>"
    ),
    "relative left": by_style(
        "background:#000;color:#fff;width:300px",
        inner=f"<span style='position:relative;left:310px;white-space:nowrap'>{SAID}</span>",
    ),
    "translate out": by_style(
        "background:#000;color:#fff", inner=f"<div style='transform:translateY(30px)'>{SAID}</div>"
    ),
    "grid bg": by_style("display:grid;grid-auto-rows:0;background:#000;color:#fff"),
    "column-gap": by_style("display:flex;gap:3000px", inner=f"<b>a</b><b>{SAID}</b>"),
    "order": by_style("display:flex;width:9000px;justify-content:flex-end"),
    "place": by_style("display:grid;width:1900px;justify-items:end"),
    "ol big": by_style("list-style-position:inside;font-size:0", tag="ol", inner=f"<li>{SAID}</li>"),
    "li marker": by_class("li::marker{font-size:900px}", f"<ul><li>{SAID}</ul>"),
    "h1 quirk": by_style("font-size:0", tag="h1"),
    "quirk left": Hostile(f"<p>{SEEN}</p><div style='position:relative;left:-9999'>{SAID}</div>"),
    "dark for everybody": Hostile(
        f"<!doctype html><html style='color-scheme:dark'><body><p>{SEEN}</p><p style='color:#121212'>{SAID}</p>"
    ),
}

_TABLE: Final = f"<table><tr><td>{SAID}</table>"
for name, html, style in (("html", " style='color:#fff'", ""), ("body", "", " style='color:#fff'")):
    INSIDER[f"table of a page coloured by {name}"] = Hostile(
        f"<html{html}><body{style}><p style='color:#000'>{SEEN}</p><div style='color:#000'>{_TABLE}</div>"
    )
for hiding, *shown in (  # what a browser ignores shows nothing again
    ("font-size:0", "10foo", "16.px", "calc(16)", "calc(16px + 1)", "calc(8px+8px)", "calc(8px * 8px)"),
    ("font-size:0", "clamp(8px,16px)", "calc(16px, 16px)", "medium medium"),
    ("overflow:hidden;height:0", "none", "normal"),
    ("overflow:hidden;max-height:0", "auto"),
    ("text-indent:-9999px", "auto", "0 foo", "0px 5px"),
    ("margin-left:-9999px", "none"),
    ("display:none", "block block", "inline table-cell", "run-in"),
    ("opacity:0", "normal", "calc(1px)"),
    ("zoom:0.01", "none", "-3"),
    ("transform:scale(0)", "scale(1) junk", "none none"),
    ("translate:-9999px", "0 0 0 0"),
    ("scale:0", "1 1 1 1"),
    ("filter:opacity(0)", "none none", "opacity(1) junk"),
    ("content-visibility:hidden", "visible auto"),
    ("color:#fff", "rgb(none,none,none)", "hwb(0,0%,100%)"),
):
    name = hiding.rpartition(";")[2].partition(":")[0]
    for one in shown:
        INSIDER[f"{hiding}, then {one}"] = by_style(f"{hiding};{name}:{one}")
for one in (
    *("junk 16px serif", "16px 16px serif", "16px/junk serif", "bold bold 16px serif", "italic oblique 16px serif"),
    *("16px a b, , c", "16px a)b"),
):
    INSIDER[f"font-size:0, then font:{one}"] = by_style(f"font-size:0;font:{one}")
for one in (
    *("#000 foo", "#000 #111", "#000 centertop", "#000 repeat repeat repeat", "#000 left left left", "#000,none"),
    *("linear-gradient(junk,#000,#000)", "linear-gradient(#000 junk,#000)", "linear-gradient(#000 5px 5px 5px,#000)"),
):
    INSIDER[f"white on background:{one}"] = by_style(f"color:#fff;background:{one}")
