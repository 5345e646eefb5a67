"""Google contacts: the user's own, other contacts, and the directory of the user's organisation.

A search covers the granted lists and names the others. The user wrote the own contacts, and the organisation its
directory. Other contacts are people who wrote to the user, under names that they chose themselves.
"""

from __future__ import annotations

from deputize.toolkits.contacts import people, search, trusted_authors  # noqa: F401 - they declare the tools
from deputize.toolkits.contacts.base import CONTACTS as TOOLKIT

__all__ = ["TOOLKIT"]
