"""Invisible text of a PDF page is removed from its text and counted; visible text stays."""

from __future__ import annotations

import pytest

from tests.toolkits.made_files import FONT, asked, line, pdf, stream, text

SECRET = line("secret")
IMAGE = b"/XObject<</I 5 0 R/X 6 0 R/M 9 0 R>>/ExtGState<</T<</ca 0>>/H<</ca 0.4>>>>/Properties<</L 7 0 R>>"
IMAGE = IMAGE.replace(b"/X 6", b"/Y 10 0 R/Z 11 0 R/X 6").replace(b"/L 7", b"/N 12 0 R/V 13 0 R/L 7")
IMAGE = IMAGE.replace(b"/T<<", b"/K<</SMask<<>>>>/T<<")
IMAGE += b"/ColorSpace<</S[/Separation/Black/DeviceCMYK 8 0 R]/C[/ICCBased 8 0 R]>>"
MORE = (
    stream(b"\0", b"/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8"),
    stream(b"1 g " + line("secret"), b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]"),
    b"<</Type/OCG/Name(Layer)>>",
    stream(b"", b"/N 3"),
    stream(b"\0", b"/Type/XObject/Subtype/Image/Width 1/Height 1/ImageMask true/BitsPerComponent 1"),
    stream(line("secret"), b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]/OC 7 0 R/Resources<<%b>>" % FONT),
    stream(line("secret"), b"/Type/XObject/Subtype/Form/BBox[0 0 5 5]"),
    b"<</Type/OCMD/OCGs 7 0 R>>",
    b"<</Type/OCMD/VE[/And 7 0 R[/Not 7 0 R]]>>",
)
OFF = b"/OCProperties<</OCGs[7 0 R]/D<</OFF[7 0 R]>>>>"


def page(painted: bytes, about: bytes = b"") -> bytes:
    return pdf(line("before", y=750) + painted + line("after", y=20), resources=IMAGE, more=MORE, about=about)


HIDDEN = {
    "white": b"q 1 g " + SECRET + b" Q\n",
    "white in RGB": b"q 1 1 1 rg " + SECRET + b" Q\n",
    "white in CMYK": b"q 0 0 0 0 k " + SECRET + b" Q\n",
    "white of a profile": b"q /C cs 1 1 1 sc " + SECRET + b" Q\n",
    "nearly white": b"q .98 .99 1 rg " + SECRET + b" Q\n",
    "white on a white box on a dark one": b"q 0 g 0 600 600 120 re f 1 g 0 600 600 120 re f " + SECRET + b" Q\n",
    "invisible": b"q BT 3 Tr /F 12 Tf 50 700 Td (secret) Tj ET Q\n",
    "clipped": b"q BT 7 Tr /F 12 Tf 50 700 Td (secret) Tj ET Q\n",
    "tiny": line("secret", size=0.9),
    "tiny by its matrix": b"q .1 0 0 .1 0 0 cm " + line("secret", 500, 7000, 10) + b"Q\n",
    "below the page": line("secret", y=-300),
    "above the page": line("secret", y=900),
    "right of the page": line("secret", x=700),
    "left of the page": line("secret", x=-300),
    "under a box": SECRET + b"q 1 g 0 650 600 100 re f Q\n",
    "under a black box": SECRET + b"q 0 g 40 690 100 30 re f Q\n",
    "under a picture": SECRET + b"q 100 0 0 50 40 690 cm /I Do Q\n",
    "transparent": b"q /T gs " + SECRET + b" Q\n",
    "in a form": b"/X Do\n",
    "in an array": b"q 1 g BT /F 12 Tf 50 700 Td [(sec) -20 (ret)] TJ ET Q\n",
    "clipped by a box": b"q 0 0 40 40 re W n " + SECRET + b" Q\n",
    "clipped by a path": b"q 300 300 m 301 300 l 301 301 l h W* n " + SECRET + b" Q\n",
    "clipped by two boxes": b"q 0 0 600 690 re W n 0 720 600 80 re W n " + SECRET + b" Q\n",
    "clipped by a hair": b"q 0 702 600 .5 re W n " + SECRET + b" Q\n",
    "clipped by its form": b"/Z Do\n",
    "black on black": b"q 0 g 0 650 600 100 re f " + SECRET + b" Q\n",
    "red on red": b"q 1 0 0 rg 0 650 600 100 re f " + SECRET + b" Q\n",
    "an ink on the same in RGB": b"q 0 1 1 0 k 0 650 600 100 re f 1 0 0 rg " + SECRET + b" Q\n",
    "none of an ink": b"q /S cs 0 scn " + SECRET + b" Q\n",
    "squeezed by its matrix": b"q BT /F 12 Tf .001 0 0 1 50 700 Tm (secret) Tj ET Q\n",
    "squeezed by its scale": b"q BT /F 12 Tf 1 Tz 50 700 Td (secret) Tj ET Q\n",
    "raised out of the page": b"q BT /F 12 Tf 2000 Ts 50 700 Td (secret) Tj ET Q\n",
    "on the next line": b"q 1 g BT /F 12 Tf 14 TL 50 700 Td (secret) ' ET Q\n",
}
SEEN = {
    "black": SECRET,
    "white on a dark box": b"q 0 0 .5 rg 0 650 600 100 re f 1 g " + SECRET + b" Q\n",
    "in an ink whose one is dark": b"q /S cs 1 scn " + SECRET + b" Q\n",
    "under a marker": SECRET + b"q /H gs 1 1 0 rg 0 650 600 100 re f Q\n",
    "on a marker": b"q 1 1 0 rg 0 650 600 100 re f 0 g " + SECRET + b" Q\n",
    "above a line": SECRET + b"q 0 g 0 701 600 1 re f Q\n",
    "in a clip": b"q 40 690 200 30 re W n " + SECRET + b" Q\n",
    "partly in a clip": b"q 70 690 200 30 re W n " + SECRET + b" Q\n",
    "after a clip": b"q 0 0 9 9 re W n Q " + SECRET,
    "condensed": b"q BT /F 12 Tf 60 Tz 50 700 Td (secret) Tj ET Q\n",
    "red on blue": b"q 0 0 1 rg 0 650 600 100 re f 1 0 0 rg " + SECRET + b" Q\n",
    "black on a white box on a black one": b"q 0 g 0 650 600 100 re f 1 g 0 650 600 100 re f 0 g " + SECRET + b" Q\n",
    "white before it is black": b"q 1 g Q\n" + SECRET,
    "outlined": b"q 1 g BT 1 Tr /F 12 Tf 50 700 Td (secret) Tj ET Q\n",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_invisible_pdf_text_is_removed_and_counted(how: str) -> None:
    [part] = asked(page(HIDDEN[how]))["parts"]
    assert "sec" not in part["text"] and part["hidden"] == 6
    assert part["text"].split() == ["before", "after"]


@pytest.mark.parametrize("how", SEEN)
def test_visible_pdf_text_stays(how: str) -> None:
    [part] = asked(page(SEEN[how]))["parts"]
    assert part["text"].split() == ["before", "secret", "after"] and part["hidden"] == 0


def test_text_in_a_hidden_layer_is_removed_and_in_a_visible_one_kept() -> None:
    layered = b"/OC /L BDC " + SECRET + b" EMC\n"
    assert asked(page(layered, OFF))["parts"][0]["hidden"] == 6
    assert "secret" in text(page(layered))


def test_rotated_text_in_a_clip_stays() -> None:
    turned = b"q 40 600 14 200 re W n BT /F 12 Tf 0 1 -1 0 53 650 Tm (secret) Tj ET Q\n"
    [part] = asked(page(turned))["parts"]
    assert "secret" in part["text"] and not part["hidden"]


LAYERED = {
    "a layer": b"/OC /L BDC " + SECRET + b" EMC\n",
    "a set of layers": b"/OC /N BDC " + SECRET + b" EMC\n",
    "a rule over layers": b"/OC /V BDC " + SECRET + b" EMC\n",
    "a layer around others": b"/OC /L BDC /Span BMC EMC " + SECRET + b" EMC\n",
    "a form of a layer": b"/Y Do\n",
    "a form in a layer": b"/OC /L BDC /X Do EMC\n",
}


@pytest.mark.parametrize("how", LAYERED)
@pytest.mark.parametrize("about", [OFF, OFF.replace(b"/OFF[7 0 R]", b"/BaseState/OFF")])
def test_content_of_a_hidden_layer_is_removed(how: str, about: bytes) -> None:
    assert asked(page(LAYERED[how], about))["parts"][0]["hidden"] == 6


@pytest.mark.parametrize("how", ["a layer", "a set of layers", "a form of a layer"])
def test_content_of_a_visible_layer_stays(how: str) -> None:
    on = OFF.replace(b"/OFF[7 0 R]", b"/BaseState/OFF/ON[7 0 R]")
    assert "secret" in text(page(LAYERED[how], on))


def test_text_possibly_in_the_colour_of_a_frame_stays_with_a_doubt() -> None:
    frame = b"q 0 g 0 650 600 100 re 2 652 596 96 re f* " + SECRET + b" Q\n"
    first = b"q 0 g 0 650 600 100 re f 1 g BT /F 12 Tf 50 700 Td (first) Tj 0 g (secret) Tj ET Q\n"
    for painted in (frame, first):
        [part] = asked(page(painted))["parts"]
        assert "secret" in part["text"] and part["doubts"] == ["text in the colour of a shape below it"]


def test_note_listed_beside_the_page_needs_no_position() -> None:
    note = b"<</Type/Annot/Subtype/Highlight/Contents(Please check)/Rect[0 0 0 0]>>"
    made = pdf(line("form"), more=(note,)).replace(b"/Type/Page/Parent", b"/Type/Page/Annots[5 0 R]/Parent")
    assert text(made) == "form\n[note: Please check]"


def test_text_under_a_mask_stays_with_a_doubt() -> None:
    [part] = asked(page(b"q /K gs " + SECRET + b" Q\n"))["parts"]
    assert "secret" in part["text"] and part["doubts"] == ["text under a mask"]


@pytest.mark.parametrize(
    "about",
    ["/Rect[5 5 5 90]", "/Rect[-90 5 -9 50]", "/Rect[0 0 9 9]/OC 7 0 R", "/Rect[0 0 9 9]/DA(/F 12 Tf 1 1 1 rg)"],
)
def test_hidden_fields_and_notes_are_removed(about: str) -> None:
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(IBAN)/V(secret)%b>>" % about.encode()
    note = b"<</Type/Annot/Subtype/FreeText/Contents(secret)%b>>" % about.encode()
    made = pdf(line("form"), more=(field, note, MORE[2]), about=OFF)
    [part] = asked(made.replace(b"/Type/Page/Parent", b"/Type/Page/Annots[5 0 R 6 0 R]/Parent"))["parts"]
    assert part["text"] == "form" and part["hidden"] > 12


def test_scanner_text_layer_stays_with_a_doubt() -> None:
    scan = b"q 600 0 0 800 0 0 cm /I Do Q BT 3 Tr /F 12 Tf 50 700 Td (scanned words) Tj ET\n"
    [part] = asked(pdf(scan, resources=IMAGE, more=MORE))["parts"]
    assert part["text"] == "scanned words" and part["doubts"] == ["text that a scanner has read"]


def test_white_text_over_a_picture_stays_with_a_doubt() -> None:
    [part] = asked(page(b"q 300 0 0 100 0 650 cm /I Do Q q 1 g " + SECRET + b" Q\n"))["parts"]
    assert "secret" in part["text"] and part["doubts"] == ["white text over a picture"]


def test_text_under_a_picture_with_holes_stays_with_a_doubt() -> None:
    [part] = asked(page(SECRET + b"q 100 0 0 50 40 690 cm /M Do Q\n"))["parts"]
    assert "secret" in part["text"] and part["doubts"] == ["something painted over text"]


def test_scan_without_text_is_reported() -> None:
    scan = b"q 600 0 0 800 0 0 cm /I Do Q\n"
    assert "scan" in text(pdf(scan, resources=IMAGE, more=MORE)) and text(pdf(b"", line("x"))) == "[no text]\nx"


def test_filled_fields_and_notes_are_read_and_hidden_ones_are_not() -> None:
    first = 5
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(IBAN)/V(DE89 3704)/Rect[0 0 9 9]%b>>"
    note = b"<</Type/Annot/Subtype/Text/T(Ann)/Contents(Please check)/Rect[0 0 9 9]%b>>"
    box = b"<</Type/Annot/Subtype/Widget/FT/Btn/T(Agreed)/AS/Yes/Rect[0 0 9 9]>>"
    more = (field % b"", note % b"", box, field % b"/F 2", note % b"/F 34")
    listed = b" ".join(b"%d 0 R" % (first + n) for n in range(len(more)))
    made = pdf(line("form"), more=more).replace(b"/Type/Page/Parent", b"/Type/Page/Annots[%b]/Parent" % listed)
    assert text(made).split("\n") == [
        "form",
        "[field IBAN: DE89 3704]",
        "[note by Ann: Please check]",
        "[field Agreed: x]",
    ]
