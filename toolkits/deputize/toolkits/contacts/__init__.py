"""Google contacts: the user's own, other contacts, and the directory of the user's organisation.

What is granted of the three is looked through, and what is not is said. Own contacts are the user's words, the
directory the organisation's; in other contacts are people who wrote to the user, under names of their own choice.
"""

from __future__ import annotations

from deputize.toolkits.contacts import people, search, trusted_authors  # noqa: F401 - they declare the tools
from deputize.toolkits.contacts.base import CONTACTS as TOOLKIT

__all__ = ["TOOLKIT"]
