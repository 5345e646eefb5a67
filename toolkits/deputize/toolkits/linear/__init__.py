"""Linear: finding and writing issues, projects and documents, and organizing a team's work.

Each module covers one subject and declares its tools on import. Linear has one address, which takes GraphQL. The
documents are constants (`documents.graphql`), and arguments are sent as variables, never inside a document.

A created object gets an id derived from the act's key, so that a retry finds the object of the first attempt.
"""

from __future__ import annotations

from deputize.toolkits.linear import (  # noqa: F401 - they declare the tools
    admin,
    archive,
    comments,
    create,
    customers,
    document_tools,
    files,
    find,
    inbox,
    initiative_edits,
    initiatives,
    issues,
    known_people,
    links,
    project_edits,
    project_milestones,
    projects,
    status_updates,
    teams,
    update,
    uploads,
)
from deputize.toolkits.linear.base import LINEAR as TOOLKIT

__all__ = ["TOOLKIT"]
