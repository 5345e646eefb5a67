"""One module a framework. They translate calls and outcomes; what is allowed is decided in the core."""

from deputize.adapters.host import Context

__all__ = ["Context"]
