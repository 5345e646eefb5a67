"""Toolkits from OpenAPI descriptions: what writes them, and what those that were written call.

    deputize toolkit from-openapi acme.json --provider acme --out acme.py

A generated module is a toolkit like any other, made once, to be read, changed and owned by a person. It imports
`deputize.core`, and from here the few functions of `deputize.openapi.results`. A description is somebody else's text:
nothing of it gets into a module but as a literal, or as a name that was made here; nothing that it refers to is
fetched; it can make a tool graver, never milder.
"""

from deputize.openapi.results import Number, Part, as_text, fitted, given, joined

__all__ = ["Number", "Part", "as_text", "fitted", "given", "joined"]
