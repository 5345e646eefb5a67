"""Forms of an HTML page, as a browser would submit them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(frozen=True)
class Field:
    """One control. ``kind`` is the input's type, or button, select or textarea; ``on``: whether it is sent."""

    name: str
    value: str = field(repr=False)
    kind: str
    on: bool


@dataclass
class Form:
    """A form: its target and its controls."""

    method: str
    action: str = field(repr=False)
    fields: list[Field] = field(default_factory=list)

    def offers(self, name: str) -> list[str]:
        """Return the values that controls of this name can have."""
        return [control.value for control in self.fields if control.name == name]

    def data(self) -> list[tuple[str, str]]:
        """Return the data that Enter would submit, without any button."""
        return [(control.name, control.value) for control in self.fields if control.on and control.kind != "button"]


def forms_of(page: str) -> list[Form]:
    """Return the forms of an HTML page, in order."""
    parser = _Forms()
    parser.feed(page)
    parser.close()
    return parser.forms


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._select = ""
        self._textarea = ""
        self._typed = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("method", "get").upper(), given.get("action", ""))
            self.forms.append(self._open)
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "textarea":
            self._textarea, self._typed = given.get("name", ""), ""
        elif tag == "option" and self._select:
            self._add(Field(self._select, given.get("value", ""), "select", "selected" in given))
        elif tag in ("input", "button") and given.get("name"):
            self._add(_control(tag, given))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = ""
        elif tag == "textarea" and self._textarea:
            self._add(Field(self._textarea, self._typed, "textarea", on=True))
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        self._typed += data

    def _add(self, control: Field) -> None:
        if self._open is not None:
            self._open.fields.append(control)


def _control(tag: str, given: dict[str, str]) -> Field:
    kind = "button" if tag == "button" else given.get("type", "text").lower()
    kind = "button" if kind in ("submit", "image", "reset") else kind
    ticks = kind in ("checkbox", "radio")
    value = given.get("value", "on" if ticks else "")
    return Field(given["name"], value, kind, on="disabled" not in given and (not ticks or "checked" in given))
