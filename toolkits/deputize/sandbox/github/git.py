"""Commits, trees and blobs of the sandbox's repositories: enough of git to compute changes.

A commit stores its whole tree, path to content in base64; shas are git's own for blobs and similar for commits.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
Tree = dict[str, str]


def packed(text: str | bytes) -> str:
    """Encode content for a tree."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def blob_sha(content: str) -> str:
    data = base64.b64decode(content)
    return hashlib.sha1(b"blob %d\x00" % len(data) + data).hexdigest()  # noqa: S324 - git's own


def commit(
    history: dict[str, Json], tree: Mapping[str, str], parents: list[str], message: str, author: str, at: str
) -> str:
    """Add a commit to a history and return its sha."""
    row: Json = {"tree": dict(tree), "parents": parents, "message": message, "author": author, "at": at}
    sha = hashlib.sha1(json.dumps(row, sort_keys=True).encode()).hexdigest()  # noqa: S324 - git's own
    history[sha] = row
    return sha


def tree_sha(tree: Mapping[str, str]) -> str:
    return hashlib.sha1(json.dumps(dict(tree), sort_keys=True).encode()).hexdigest()  # noqa: S324 - git's own


def ancestors(history: Mapping[str, Json], sha: str) -> Iterator[str]:
    """Yield a commit and its ancestors, newest first."""
    waiting, seen = [sha], set[str]()
    while waiting:
        one = waiting.pop(0)
        if one not in seen and one in history:
            seen.add(one)
            yield one
            waiting += history[one]["parents"]


def merge_base(history: Mapping[str, Json], one: str, other: str) -> str:
    """Return the newest commit that both have."""
    theirs = set(ancestors(history, other))
    return next((sha for sha in ancestors(history, one) if sha in theirs), "")


def resolve(repo: Json, history: Mapping[str, Json], ref: str) -> str | None:
    """Return the sha of a branch, a tag, HEAD, or a sha's first 7 or more characters."""
    if ref in ("", "HEAD"):
        ref = repo["default_branch"]
    for kind, prefix in (("branches", "heads/"), ("tags", "tags/")):
        if (sha := repo[kind].get(ref.removeprefix("refs/").removeprefix(prefix))) is not None:
            return str(sha)
    found = [sha for sha in history if len(ref) >= 7 and sha.startswith(ref)]
    return found[0] if len(found) == 1 else None


def changes(before: Tree, after: Tree) -> list[Json]:
    """Return the files that differ, in GitHub's format."""
    rows = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            rows.append(_change(path, old, new))
    return rows


def _change(path: str, old: str | None, new: str | None) -> Json:
    status = "added" if old is None else "removed" if new is None else "modified"
    row: Json = {"sha": blob_sha(new or old or ""), "filename": path, "status": status}
    texts = [_text(one) for one in (old, new)]
    if None in texts:
        return row | {"additions": 0, "deletions": 0, "changes": 0}
    before, after = (str(one).splitlines() for one in texts)
    lines = list(difflib.unified_diff(before, after, lineterm="", n=3))[2:]
    added, gone = sum(x.startswith("+") for x in lines), sum(x.startswith("-") for x in lines)
    return row | {"additions": added, "deletions": gone, "changes": added + gone, "patch": "\n".join(lines)}


def _text(content: str | None) -> str | None:
    """Return a blob's text: "" if absent, None if binary."""
    try:
        text = base64.b64decode(content or "").decode()
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text


def merge(history: Mapping[str, Json], base: str, head: str) -> Tree | None:
    """Merge head's changes into base. Return None if both changed the same file."""
    root = history.get(merge_base(history, base, head), {"tree": {}})["tree"]
    ours, theirs = history[base]["tree"], history[head]["tree"]
    tree = dict(ours)
    for path in root.keys() | theirs.keys():
        if root.get(path) == theirs.get(path):
            continue
        if ours.get(path) not in (root.get(path), theirs.get(path)):
            return None
        if path in theirs:
            tree[path] = theirs[path]
        else:
            tree.pop(path, None)
    return tree
