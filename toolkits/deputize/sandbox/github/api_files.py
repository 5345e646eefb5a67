"""Contents: read files and directories, write a file."""

from __future__ import annotations

import base64
import binascii

from deputize.sandbox.github import git
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Refused, Reply

LARGE = 1_000_000  # bytes: larger files come without content


def load_tree(call: Call, repo: Json, ref: str) -> git.Tree:
    """Return the files at a ref. Raise 404 if there is none."""
    history = call.store["commits"][repo["full_name"]]
    sha = git.resolve(repo, history, ref)
    if sha is None:
        raise Refused(call.refusal(404, f"No commit found for the ref {ref}"))
    tree: git.Tree = history[sha]["tree"]
    return tree


@route("GET", "R/contents", "contents:read")
def root(call: Call, repo: Json) -> Reply:
    return contents(call, repo, "")


@route("GET", "R/contents/{path+}", "contents:read")
def contents(call: Call, repo: Json, path: str) -> Reply:
    """Return a file, or a directory's entries."""
    tree = load_tree(call, repo, call.ask.one("ref"))
    if path in tree:
        return _file(call, path, tree[path])
    prefix = f"{path}/" if path else ""
    below = {name.removeprefix(prefix).partition("/")[0]: name for name in tree if name.startswith(prefix)}
    if not below:
        raise call.not_found()
    return call.reply([_entry(prefix + name, tree) for name in sorted(below)])


def _entry(path: str, tree: git.Tree) -> Json:
    content = tree.get(path)
    told: Json = {"name": path.rpartition("/")[2], "path": path, "size": 0, "type": "dir", "sha": git.tree_sha(tree)}
    if content is not None:
        told |= {"type": "file", "size": len(base64.b64decode(content)), "sha": git.blob_sha(content)}
    return told


def _file(call: Call, path: str, content: str) -> Reply:
    data = base64.b64decode(content)
    if "raw" in call.ask.headers.get("accept", ""):
        kind = [("content-type", "application/vnd.github.raw+json; charset=utf-8")]
        return Reply(200, tuple(kind), data)
    told = _entry(path, {path: content}) | {"encoding": "base64", "content": content}
    if len(data) > LARGE:
        told |= {"encoding": "none", "content": ""}
    return call.reply(told)


@route("GET", "R/git/trees/{tree_sha+}", "contents:read")
def trees(call: Call, repo: Json, tree_sha: str) -> Reply:
    """Return all files of a tree."""
    tree = load_tree(call, repo, tree_sha)
    rows = [
        {"path": p, "type": "blob", "mode": "100644", "sha": git.blob_sha(c), "size": len(base64.b64decode(c))}
        for p, c in sorted(tree.items())
    ]
    return call.reply({"sha": git.tree_sha(tree), "tree": rows, "truncated": False})


@route("PUT", "R/contents/{path+}", "contents:write", push=True)
def write(call: Call, repo: Json, path: str) -> Reply:
    """Commit one file: 422 without the sha of an existing file, 409 with a wrong one."""
    body = call.body()
    if path.startswith(".github/workflows/") and not call.permissions and "workflow" not in call.covered_scopes:
        raise call.not_found(("workflow",))
    branch = body.get("branch") or repo["default_branch"]
    if branch not in repo["branches"]:
        raise Refused(call.refusal(404, f"Branch {branch} not found"))
    history = call.store["commits"][repo["full_name"]]
    head = repo["branches"][branch]
    tree = dict(history[head]["tree"])
    there = tree.get(path)
    if there is not None and not body.get("sha"):
        raise Refused(call.refusal(422, 'Invalid request.\n\n"sha" wasn\'t supplied.'))
    if (git.blob_sha(there) if there is not None else None) != body.get("sha"):
        raise Refused(call.refusal(409, f"{path} does not match {body.get('sha')}"))
    try:
        tree[path] = git.packed(base64.b64decode(str(body.get("content")), validate=True))
    except binascii.Error:
        raise Refused(call.refusal(422, "content is not valid Base64")) from None
    sha = git.commit(history, tree, [head], str(body.get("message")), call.me, call.now)
    repo["branches"][branch] = sha
    commit = {
        "sha": sha,
        "message": body.get("message"),
        "html_url": f"https://github.com/{repo['full_name']}/commit/{sha}",
    }
    return call.reply({"content": _entry(path, tree), "commit": commit}, 200 if there is not None else 201)
