"""``trusted_authors = push``: texts of people who may push to their repository, and of the user.

GitHub reports for each author whether they may push, to users who may push themselves; each author is looked up once a
call (docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user). ``author_association``
is not used, because it does not contain the permission. Names in commits do not count, because anybody can write them:
outside a repository's branches, a commit counts as its author's only if GitHub has verified it. Code counts as trusted
if a branch or tag of the repository contains it; a fork's does not, although it is readable there. A repository that a
search has found counts only if the user may push too, because anybody can create one.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from deputize.core import Request, Run
from deputize.core.tools.steps import Step, Try
from deputize.core.tools.trusted_authors import Withheld
from deputize.toolkits._shared.redact_results import blanked, data_of, with_data
from deputize.toolkits.github.api import rest
from deputize.toolkits.github.base import GITHUB, Asks

MAX_LOOKUPS: Final = 40  # people and repositories per call
_AT_ONCE: Final = 10
_MAY: Final = frozenset(("admin", "maintain", "write"))
_BOTS: Final = frozenset(("copilot", "copilot-swe-agent[bot]", "copilot-pull-request-reviewer[bot]"))

NOT_PUSH: Final = "not of somebody with push access"
UNKNOWN: Final = "not known to be of somebody with push access"
QUOTED: Final = "what is quoted may be of anybody"
FOUND: Final = "in a repository that a search has found and the user may not push to"

_KEPT: Final = frozenset(
    """__typename after assoc author_association authorAssociation avatar_url before browser_download_url category
    conclusion content_type createdAt created_at cursor default_branch encoding endCursor event full_name
    fullDatabaseId html_url id isAnswer language lock_reason login mergeable_state mime_type mode nameWithOwner node_id
    object_type oid reason resource_type role_name sha side start_side startCursor state state_reason status
    subject_type type updated_at url visibility""".split()
)
"""Texts that GitHub chooses, or that say who, where and when."""
_REPOS: Final = frozenset(
    ("labels", "milestone", "base", "repository", "license", "category", "issue_field_values", "type")
)
"""What of an issue is the repository's: only who may push, or triage, chooses it."""
_PEOPLE: Final = ("user", "author", "actor")
_OF_THE_REPO = re.compile(
    r"/repos/\{owner\}/\{repo\}(?:|/(?:labels|milestones|issue-types|teams|collaborators|assignees|contributors|"
    r"languages|releases|tags|branches|actions/workflows|activity)(?:/.*)?)"
)
_CODE = re.compile(
    r"/repos/\{owner\}/\{repo\}/(?:(?:contents|readme|git/trees|git/ref)(?:/.*)?|commits(?:/\{ref\d*\})*)"
)
_PULL_FILES: Final = "/repos/{owner}/{repo}/pulls/{pull_number}/files"
_OF_CODE = re.compile(r"/search/(?:code|repositories)|/user/repos|/users/\{username\}/repos|/orgs/\{org\}/repos")
_A_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_QUOTES = re.compile(r"(?m)^[ ]{0,3}>(?! ?\[!).*(?:\n[ ]{0,3}>.*)*")
_MINE = re.compile(r"/user(?:/.*)?|/orgs/\{org\}(?:/(?:teams|members))?")


class Push:
    """The screen of one call. ``known``: by person, whether they may push, None if GitHub does not say. ``mine``: by
    repository, whether the user may. ``commits``: commits seen in the repository's own branches and tags."""

    def __init__(self, run: Run, withheld: Withheld) -> None:
        self.account, self.withheld = run.account, withheld
        self.known: dict[tuple[str, str], bool | None] = {}
        self.mine: dict[str, bool | None] = {}
        self.commits: set[str] = set()
        self.asked = 0

    def __call__(self, step: Step, answer: Any) -> Asks[Any]:
        """Return the response without the texts of others."""
        if isinstance(step, Request):
            return (yield from self._screen([step], [answer]))[0]
        if isinstance(step, list):
            return (yield from self._screen(step, answer))
        return answer

    def _screen(self, requests: list[Request], answers: list[Any]) -> Asks[list[Any]]:
        pages = [_Page(self, request, data_of(answer)) for request, answer in zip(requests, answers, strict=True)]
        yield from self._load_pull_authors(pages)
        yield from self._look_up([who for page in pages for who in page.lookups()])
        return [with_data(answer, page.filtered()) for page, answer in zip(pages, answers, strict=True)]

    def _load_pull_authors(self, pages: list[_Page]) -> Asks[None]:
        """Load the authors of pull requests whose files are read, because the file rows do not name them."""
        for page in pages:
            if page.path == _PULL_FILES:
                at = {"pull_number": page.request.at["pull_number"]}
                told = (yield Try([rest("GET R/pulls/{pull_number}", page.named, at=at)]))[0]
                found = data_of(told)
                page.author = found.get("user") if isinstance(found, dict) else None

    def _look_up(self, wanted: Iterable[tuple[str, str]]) -> Asks[None]:
        """Look up who may push. For a repository without a login: whether the user may."""
        new = [one for one in dict.fromkeys(wanted) if (one not in self.known if one[1] else one[0] not in self.mine)]
        new = new[: max(MAX_LOOKUPS - self.asked, 0)]
        self.asked += len(new)
        for start in range(0, len(new), _AT_ONCE):
            batch = new[start : start + _AT_ONCE]
            for (repo, login), told in zip(batch, (yield Try([_asks(*one) for one in batch])), strict=True):
                found = data_of(told) if told is not None and getattr(told, "status", 200) < 300 else None
                if login:
                    self.known[repo, login] = found.get("permission") in _MAY if isinstance(found, dict) else None
                else:
                    self.mine[repo] = bool((found.get("permissions") or {}).get("push")) if found else None

    def is_user(self, person: Mapping[str, Any]) -> bool:
        """Return whether this is the user: by number, which is unique forever, if GitHub returns it."""
        number, own = person.get("id"), self.account.subject.rpartition(":")[2]
        if isinstance(number, int) and own.isdecimal():
            return str(number) == own
        return _login(person).lower() == self.account.name.lower()

    def withhold_reason(self, repo: str, person: Any) -> str:
        """Return the reason why somebody's texts in a repository are withheld, "" for none."""
        if not isinstance(person, dict) or not _login(person):
            return UNKNOWN
        if self.is_user(person) or (_login(person).lower() in _BOTS and person.get("type") == "Bot"):
            return ""
        may = self.known.get((repo, _login(person)))
        return "" if may else UNKNOWN if may is None else NOT_PUSH


class _Page:
    """A response. ``named``: the repository in the request. ``searched``: True if rows may be from any repository."""

    def __init__(self, push: Push, request: Request, data: Any) -> None:
        self.push, self.request, self.data, self.path = push, request, data, request.path
        said = (request.json or {}).get("variables") or {} if isinstance(request.json, dict) else {}
        at = {**request.at, **{"owner": said.get("owner"), "repo": said.get("name")}} if said else request.at
        self.named = f"{at['owner']}/{at['repo']}" if at.get("owner") and at.get("repo") else ""
        self.author: Any = None
        self.default = self._default()

    def _default(self) -> str:
        """Return why a text without an author is withheld, or "" if only people who may push can write it."""
        if _OF_THE_REPO.fullmatch(self.path) or _MINE.fullmatch(self.path):
            return ""
        if not _CODE.fullmatch(self.path):
            return UNKNOWN
        params = self.request.params or {}
        ref = "/".join(str(one) for name, one in self.request.at.items() if re.match(r"(ref|tree_sha)\d*", name))
        return self._ref_reason(str(params.get("ref") or params.get("sha") or ref))

    def _ref_reason(self, ref: str) -> str:
        forks = ref.removeprefix("refs/").startswith("pull/")
        if forks or (_A_COMMIT.fullmatch(ref) and ref not in self.push.commits):
            return UNKNOWN
        self.push.commits |= {one for one in _shas(self.data)}
        return ""

    def lookups(self) -> Iterator[tuple[str, str]]:
        """Yield repository and login of each author whose push access must be known. A login "" means the user."""
        for repo, person in ((self.named, self.author or {}), *self._authors(self.data, self.named)):
            if repo and not self.named:
                yield repo, ""
            if repo and _login(person) and not self.push.is_user(person):
                yield repo, _login(person)

    def _authors(self, node: Any, repo: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for one in node if isinstance(node, list) else ():
            yield from self._authors(one, repo)
        if isinstance(node, dict):
            repo = _repo_of(node) or repo
            found, person = _author(node)
            if found and isinstance(person, dict):
                yield repo, person
            elif repo:
                yield repo, {}
            for one in node.values():
                yield from self._authors(one, repo) if isinstance(one, dict | list) else ()

    def filtered(self) -> Any:
        """Return the filtered response."""
        if _OF_THE_REPO.fullmatch(self.path) or _MINE.fullmatch(self.path):
            return self.data
        why = self.push.withhold_reason(self.named, self.author) if self.path == _PULL_FILES else self.default
        return self._rewrite(self.data, self.named, why)

    def _rewrite(self, node: Any, repo: str, why: str) -> Any:
        if isinstance(node, list):
            return [self._rewrite(one, repo, why) for one in node]
        if not isinstance(node, dict):
            return blanked(node, self.push.withheld.mark_for(why), _KEPT) if why else node
        repo = _repo_of(node) or repo
        found, person = _author(node)
        if found:
            why = self.push.withhold_reason(repo, person)
            if not why and self.default and _is_unverified(node):
                why = UNKNOWN
        if repo and not self.named:
            mine = self.push.mine.get(repo)
            why = (why or FOUND) if not mine else "" if _OF_CODE.fullmatch(self.path) else why
        shown = {name: self._field(name, one, repo, why) for name, one in node.items()}
        if why and node.get("encoding") == "base64" and isinstance(node.get("content"), str):
            shown["content"] = b64encode(self.push.withheld.mark_for(why).encode()).decode()
        return shown

    def _field(self, name: str, value: Any, repo: str, why: str) -> Any:
        of_repo = name in _REPOS and not (
            name == "repository" and self.request.json
        )  # GraphQL's node contains the whole result
        if of_repo and isinstance(value, dict | list) and (self.named or self.push.mine.get(repo)):
            return value
        if not isinstance(value, dict | list):
            if name == "body" and isinstance(value, str) and not why:
                return self._remove_quotes(value)
            return value if not why or name in _KEPT else blanked(value, self.push.withheld.mark_for(why), _KEPT)
        return self._rewrite(value, repo, why)

    def _remove_quotes(self, body: str) -> str:
        """Return a comment without quotes, because anybody may have written the quoted text."""
        if not _QUOTES.search(body):
            return body
        return _QUOTES.sub(f"> {self.push.withheld.mark_for(QUOTED)}", body)


def _author(node: Mapping[str, Any]) -> tuple[bool, Any]:
    """Return whether an object has an author, and the author, None if unknown. A mere name, as in a git commit, is
    unknown."""
    for name in _PEOPLE:
        if name in node and not (isinstance(node[name], dict) and not _login(node[name])):
            return True, node[name]
    return False, None


def _is_unverified(node: Mapping[str, Any]) -> bool:
    """Return whether only the commit itself names its author."""
    commit, committer = node.get("commit"), node.get("committer")
    if not isinstance(commit, dict) or "message" not in commit:
        return False
    verified = bool((commit.get("verification") or {}).get("verified"))
    return not (verified and isinstance(committer, dict) and _login(committer) == _login(node.get("author") or {}))


def _login(person: Mapping[str, Any]) -> str:
    return str(person.get("login") or "")


def _repo_of(node: Mapping[str, Any]) -> str:
    """Return an object's repository, if it names one."""
    inner = node.get("repository")
    name = (inner.get("full_name") or inner.get("nameWithOwner")) if isinstance(inner, dict) else ""
    name = name or (node.get("full_name") if "pushed_at" in node or "private" in node else "")
    if name:
        return str(name)
    found = re.search(r"/repos/([\w.-]+/[\w.-]+)(?:/|$)", str(node.get("repository_url") or ""))
    return found[1] if found else ""


def _shas(node: Any) -> Iterator[str]:
    """Yield the commits, trees and blobs in a response."""
    for one in node if isinstance(node, list) else ():
        yield from _shas(one)
    if isinstance(node, dict):
        if isinstance(node.get("sha"), str):
            yield node["sha"]
        for one in node.values():
            yield from _shas(one) if isinstance(one, dict | list) else ()


def _asks(repo: str, login: str) -> Request:
    if not login:
        return rest("GET R", repo)
    return rest("GET R/collaborators/{username}/permission", repo, at={"username": login})


GITHUB.screens["push"] = Push
