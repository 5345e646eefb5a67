"""Adapters, one module for each framework. They translate calls and outcomes; the core decides what is allowed."""

from deputize.adapters.acting_user import Context

__all__ = ["Context"]
