"""The pages: one module a subject, each a table of `Page`s, their handlers, and what a template is given."""

from __future__ import annotations

from typing import Final

from deputize.core.web.pages import (
    account,
    activity,
    approve,
    client_document,
    common,
    consent,
    mandates,
    request_summary,
)

PAGES: Final = (
    *consent.PAGES,
    *account.PAGES,
    *activity.PAGES,
    *approve.PAGES,
    *mandates.PAGES,
    *request_summary.PAGES,
    *client_document.PAGES,
    *common.PAGES,
)
"""Every page there is."""
