"""Salesforce: finding, reading and changing records, logging activities, running reports.

Checked against its documentation and deputize's own sandbox only: no live org and no counterpart was available. The
tools live in `deputize.toolkits.salesforce`. Queries are built from parts that are checked one by one, never from text;
objects of setup and identity are out of reach, in queries of the model's own too.

Leads are not converted: there is no REST call for it, and the SOAP call requires the user's token in its body.
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
