"""What nobody sees on a page of a PDF is taken out of its text and counted; what somebody sees stays."""

from __future__ import annotations

import pytest

from tests.toolkits.made_files import asked, line, pdf, stream, text

SECRET = line("secret")
IMAGE = b"/XObject<</I 5 0 R/X 6 0 R/M 9 0 R>>/ExtGState<</T<</ca 0>>/H<</ca 0.4>>>>/Properties<</L 7 0 R>>"
IMAGE += b"/ColorSpace<</S[/Separation/Black/DeviceCMYK 8 0 R]/C[/ICCBased 8 0 R]>>"
MORE = (
    stream(b"\0", b"/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8"),
    stream(b"1 g " + line("secret"), b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]"),
    b"<</Type/OCG/Name(Layer)>>",
    stream(b"", b"/N 3"),
    stream(b"\0", b"/Type/XObject/Subtype/Image/Width 1/Height 1/ImageMask true/BitsPerComponent 1"),
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
    "on the next line": b"q 1 g BT /F 12 Tf 14 TL 50 700 Td (secret) ' ET Q\n",
}
SEEN = {
    "black": SECRET,
    "white on a dark box": b"q 0 0 .5 rg 0 650 600 100 re f 1 g " + SECRET + b" Q\n",
    "in an ink whose one is dark": b"q /S cs 1 scn " + SECRET + b" Q\n",
    "under a marker": SECRET + b"q /H gs 1 1 0 rg 0 650 600 100 re f Q\n",
    "on a marker": b"q 1 1 0 rg 0 650 600 100 re f 0 g " + SECRET + b" Q\n",
    "above a line": SECRET + b"q 0 g 0 701 600 1 re f Q\n",
    "white before it is black": b"q 1 g Q\n" + SECRET,
    "outlined": b"q 1 g BT 1 Tr /F 12 Tf 50 700 Td (secret) Tj ET Q\n",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_what_nobody_sees_is_left_out_and_counted(how: str) -> None:
    [part] = asked(page(HIDDEN[how]))["parts"]
    assert "sec" not in part["text"] and part["hidden"] == 6
    assert part["text"].split() == ["before", "after"]


@pytest.mark.parametrize("how", SEEN)
def test_what_somebody_sees_stays(how: str) -> None:
    [part] = asked(page(SEEN[how]))["parts"]
    assert part["text"].split() == ["before", "secret", "after"] and part["hidden"] == 0


def test_a_layer_that_is_off_is_left_out_and_one_that_is_on_is_not() -> None:
    layered = b"/OC /L BDC " + SECRET + b" EMC\n"
    assert asked(page(layered, OFF))["parts"][0]["hidden"] == 6
    assert "secret" in text(page(layered))


def test_what_a_scanner_has_read_stays_and_is_named() -> None:
    scan = b"q 600 0 0 800 0 0 cm /I Do Q BT 3 Tr /F 12 Tf 50 700 Td (scanned words) Tj ET\n"
    [part] = asked(pdf(scan, resources=IMAGE, more=MORE))["parts"]
    assert part["text"] == "scanned words" and part["doubts"] == ["text that a scanner has read"]


def test_white_text_over_a_picture_stays_and_is_named() -> None:
    [part] = asked(page(b"q 300 0 0 100 0 650 cm /I Do Q q 1 g " + SECRET + b" Q\n"))["parts"]
    assert "secret" in part["text"] and part["doubts"] == ["white text over a picture"]


def test_text_under_a_picture_with_holes_stays_and_is_named() -> None:
    [part] = asked(page(SECRET + b"q 100 0 0 50 40 690 cm /M Do Q\n"))["parts"]
    assert "secret" in part["text"] and part["doubts"] == ["something painted over text"]


def test_a_scan_without_text_says_that_it_is_one() -> None:
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
