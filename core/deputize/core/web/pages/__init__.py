"""The pages: one module a subject, each a table of `Page`s, their handlers, and what a template is given."""

from __future__ import annotations

from typing import Final

from deputize.core.web.pages import account, approve, asks, common, consent, mandates

PAGES: Final = (*consent.PAGES, *account.PAGES, *approve.PAGES, *asks.PAGES, *mandates.PAGES, *common.PAGES)
"""Every page there is."""
