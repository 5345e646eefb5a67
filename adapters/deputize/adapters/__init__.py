"""Adapters, one module for each framework. They translate calls and outcomes; the core decides what is allowed."""

from deputize.adapters.host import Context

__all__ = ["Context"]
