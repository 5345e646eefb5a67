"""Salesforce: finding, reading and changing records, logging activities, running reports.

Checked only against Salesforce's documentation and deputize's own sandbox, because no live org was available. Queries
are built from parts that are checked one by one, never from text. Objects of setup and identity are out of reach, also
in queries that the model writes.

Leads are not converted: there is no REST call for it, and the SOAP call requires the user's token in the request body.
"""

from __future__ import annotations

from deputize.toolkits.salesforce import (  # noqa: F401 - they declare the tools
    activities,
    change,
    create,
    delete,
    describe,
    files,
    find,
    known_people,
    query,
    record,
    reports,
)
from deputize.toolkits.salesforce.base import SALESFORCE as TOOLKIT

__all__ = ["TOOLKIT"]
