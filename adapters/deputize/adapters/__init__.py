"""One module a framework. They translate calls and outcomes; what is allowed is decided in the core."""

from deputize.adapters.host import Context
from deputize.core._moved import install as _find_old_names

__all__ = ["Context"]

_find_old_names()
