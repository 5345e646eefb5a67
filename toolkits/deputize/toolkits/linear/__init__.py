"""Linear: find issues, projects and documents, write them, and keep a team's work in order.

One module a subject; importing a module declares its tools. Linear has
one address, which takes GraphQL: the documents are constants (`documents.graphql`), arguments travel as variables and
never become part of a document.

What is created gets an id made from the act's key, so that a second try finds the first one's work.
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
    teams,
    update,
    updates,
    uploads,
)
from deputize.toolkits.linear.base import LINEAR as TOOLKIT

__all__ = ["TOOLKIT"]
