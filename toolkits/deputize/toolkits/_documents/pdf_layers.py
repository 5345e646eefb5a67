"""Layers of a PDF (optional content, ISO 32000-1, 8.11) that are switched off when the file is opened."""

from __future__ import annotations

from typing import Any

from pypdf import PdfReader
from pypdf.generic import DictionaryObject


def dictionary(value: Any) -> DictionaryObject:
    """Return the dictionary behind a reference, or an empty one."""
    found = value.get_object() if value is not None and hasattr(value, "get_object") else value
    return found if isinstance(found, DictionaryObject) else DictionaryObject()


def _array(value: Any) -> list[Any]:
    found = value.get_object() if value is not None and hasattr(value, "get_object") else value
    return list(found) if isinstance(found, list) else []


class Layers:
    """The layers that are switched off."""

    def __init__(self, reader: PdfReader) -> None:
        found = dictionary(dictionary(reader.trailer.get("/Root")).get("/OCProperties"))
        first = dictionary(found.get("/D"))
        self._off = _array(first.get("/OFF"))
        if first.get("/BaseState") == "/OFF":
            on = _array(first.get("/ON"))
            self._off += [one for one in _array(found.get("/OCGs")) if one not in on]

    def hide(self, layer: Any) -> bool:
        """True if this group, or this membership dictionary, is off. A visibility expression (VE) takes precedence."""
        about = dictionary(layer)
        if about.get("/Type") != "/OCMD":
            return bool(about) and self._is_off(layer)
        if rule := _array(about.get("/VE")):
            return not self._holds(rule, 0)
        raw = about.get("/OCGs")
        off = [self._is_off(one) for one in _array(raw) or ([raw] if dictionary(raw) else [])]
        return bool(off) and not _is_visible(str(about.get("/P", "/AnyOn")), off)

    def _is_off(self, layer: Any) -> bool:
        reference = getattr(layer, "indirect_reference", None) or layer
        return reference in self._off or layer in self._off

    def _holds(self, rule: Any, deep: int) -> bool:
        """True if an expression of ``/And``, ``/Or`` and ``/Not`` makes the content visible."""
        if not (parts := _array(rule)) or deep > 10:
            return not self._is_off(rule)
        name, *rest = parts
        said = [self._holds(one, deep + 1) for one in rest]
        return not any(said) if name == "/Not" else all(said) if name == "/And" else any(said)


def _is_visible(policy: str, off: list[bool]) -> bool:
    """Return whether content is visible under a policy. ``off``: the states of its layers."""
    match policy:
        case "/AllOn":
            return not any(off)
        case "/AnyOff":
            return any(off)
        case "/AllOff":
            return all(off)
        case _:
            return not all(off)
