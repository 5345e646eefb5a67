"""GitHub: repositories, code, issues, pull requests and their surroundings.

Each module covers one subject and declares its tools on import. ``core`` is the toolset to begin with; code, actions,
releases, inbox, repos, gists, discussions, projects and security are chosen by name.

Left out on purpose: deleting or transferring repositories, collaborators and branch protection, secrets, webhooks,
runners, and the administration of organizations.
"""

from __future__ import annotations

from deputize.toolkits.github import (  # noqa: F401 - they declare the tools
    actions,
    artifacts,
    branches,
    checks,
    comments,
    commit_files,
    commits,
    create_issue,
    create_pull,
    create_repo,
    delete,
    discussions,
    files,
    gists,
    inbox,
    issues,
    known_people,
    labels,
    merge,
    people,
    project_items,
    projects,
    pulls,
    reactions,
    releases,
    repos,
    reviews,
    run_control,
    save_gist,
    save_label,
    save_milestone,
    save_release,
    security,
    trusted_authors,
    update_issue,
    update_pull,
    write_comment,
    write_discussion,
    write_file,
)
from deputize.toolkits.github.base import GITHUB as TOOLKIT

__all__ = ["TOOLKIT"]
