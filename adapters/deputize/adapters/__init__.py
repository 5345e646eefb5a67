"""One module a framework. They translate calls and outcomes; what is allowed is decided in the core."""

from deputize.core._moved import install as _find_old_names

_find_old_names()
