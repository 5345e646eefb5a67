"""Toolkits from OpenAPI descriptions: the generator, and the functions that generated modules call.

    deputize toolkit from-openapi acme.json --provider acme --out acme.py

A generated module is a toolkit like any other, generated once, to be read, changed and owned by a person. It imports
`deputize.core`, and the few functions of `deputize.openapi.results`. A description is untrusted text. It gets into a
module only as a literal, or as a name made by the generator. No reference to other files is fetched. A description can
make a tool's effect graver, never milder.
"""

from deputize.openapi.results import Number, Part, as_text, fitted, given, joined

__all__ = ["Number", "Part", "as_text", "fitted", "given", "joined"]
