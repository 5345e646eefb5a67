"""GraphQL documents that the tools send: constants, because all arguments are variables.

GraphQL is only used for what REST lacks: threads and their state, drafts, auto-merge, signed commits of many files,
discussions, branches by recency, and labels whose names have a slash. docs.github.com/en/graphql/reference
"""

from __future__ import annotations

from typing import Any, Final

from deputize.core import Request
from deputize.core.errors import NotFound
from deputize.core.tools.steps import Repeat
from deputize.toolkits.github.api import Page
from deputize.toolkits.github.base import Asks

BRANCHES: Final = (
    "query BranchesByRecency($owner: String!, $name: String!, $query: String, $first: Int!, $after: String) { "
    'repository(owner: $owner, name: $name) { defaultBranchRef { name } refs(refPrefix: "refs/heads/", '
    "query: $query, first: $first, after: $after, orderBy: {field: TAG_COMMIT_DATE, direction: DESC}) { nodes { name "
    "target { oid ... on Commit { committedDate messageHeadline author { user { login } } } } } "
    "pageInfo { hasNextPage endCursor } } } }"
)
MERGE_STATE: Final = (
    "query PullMergeState($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) { "
    "pullRequest(number: $number) { id isDraft mergeable mergeStateStatus reviewDecision isInMergeQueue headRefOid "
    "autoMergeRequest { mergeMethod enabledAt } } } }"
)
THREADS: Final = (
    "query ReviewThreads($owner: String!, $name: String!, $number: Int!, $first: Int!, $after: String) { "
    "repository(owner: $owner, name: $name) { pullRequest(number: $number) { reviewThreads(first: $first, "
    "after: $after) { nodes { id isResolved isOutdated path line comments(first: 20) { nodes { fullDatabaseId body "
    "createdAt url author { login } authorAssociation } totalCount } } "
    "pageInfo { hasNextPage endCursor } } } } }"
)
THREAD_COMMENTS: Final = (
    "query ReviewThreadComments($id: ID!, $first: Int!, $after: String) { node(id: $id) { "
    "... on PullRequestReviewThread { id isResolved isOutdated path line comments(first: $first, after: $after) { "
    "totalCount nodes { fullDatabaseId body createdAt url author { login } authorAssociation } "
    "pageInfo { hasNextPage endCursor } } pullRequest { number } repository { nameWithOwner } } } }"
)
THREAD: Final = (
    "query ReviewThread($id: ID!) { node(id: $id) { ... on PullRequestReviewThread { isResolved path line "
    "comments(first: 1) { nodes { body author { login } } } pullRequest { number title } "
    "repository { databaseId nameWithOwner visibility owner { __typename } } } } }"
)
RESOLVE: Final = (
    "mutation ResolveThread($threadId: ID!) { resolveReviewThread(input: {threadId: $threadId}) { "
    "thread { id isResolved } } }"
)
UNRESOLVE: Final = (
    "mutation UnresolveThread($threadId: ID!) { unresolveReviewThread(input: {threadId: $threadId}) { "
    "thread { id isResolved } } }"
)
READY: Final = (
    "mutation PullReady($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { "
    "pullRequest { number isDraft } } }"
)
DRAFT: Final = (
    "mutation PullDraft($id: ID!) { convertPullRequestToDraft(input: {pullRequestId: $id}) { "
    "pullRequest { number isDraft } } }"
)
AUTO_MERGE: Final = (
    "mutation AutoMergeOn($input: EnablePullRequestAutoMergeInput!) { enablePullRequestAutoMerge(input: $input) { "
    "pullRequest { number autoMergeRequest { mergeMethod enabledAt } } } }"
)
COMMIT: Final = (
    "mutation CommitFiles($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { "
    "commit { oid url committedDate } ref { name } } }"
)
DISCUSSIONS: Final = (
    "query Discussions($owner: String!, $name: String!, $first: Int!, $after: String, $categoryId: ID, "
    "$states: [DiscussionState!], $answered: Boolean) { repository(owner: $owner, name: $name) { id "
    "discussionCategories(first: 25) { nodes { id name slug isAnswerable } } discussions(first: $first, "
    "after: $after, categoryId: $categoryId, states: $states, answered: $answered, orderBy: {field: UPDATED_AT, "
    "direction: DESC}) { nodes { id number title url updatedAt isAnswered closed author { login } category { name } "
    "comments { totalCount } } pageInfo { hasNextPage endCursor } } } }"
)
DISCUSSION_SEARCH: Final = (
    "query DiscussionSearch($query: String!, $first: Int!, $after: String) { search(type: DISCUSSION, query: $query, "
    "first: $first, after: $after) { discussionCount nodes { ... on Discussion { id number title url updatedAt "
    "isAnswered closed author { login } category { name } comments { totalCount } repository { nameWithOwner } } } "
    "pageInfo { hasNextPage endCursor } } }"
)
DISCUSSION: Final = (
    "query Discussion($owner: String!, $name: String!, $number: Int!, $first: Int!, $after: String) { "
    "repository(owner: $owner, name: $name) { discussion(number: $number) { id number title body url createdAt closed "
    "author { login } authorAssociation category { name } answer { id } comments(first: $first, after: $after) { "
    "totalCount nodes { id body createdAt url isAnswer author { login } authorAssociation replies(first: 10) { "
    "totalCount nodes { id body createdAt author { login } } } } pageInfo { hasNextPage endCursor } } } } }"
)
DISCUSSION_CREATE: Final = (
    "mutation DiscussionCreate($input: CreateDiscussionInput!) { createDiscussion(input: $input) { "
    "discussion { id number url } } }"
)
DISCUSSION_REPLY: Final = (
    "mutation DiscussionReply($input: AddDiscussionCommentInput!) { addDiscussionComment(input: $input) { "
    "comment { id url createdAt } } }"
)
DISCUSSION_ANSWER: Final = (
    "mutation DiscussionAnswer($id: ID!) { markDiscussionCommentAsAnswer(input: {id: $id}) { "
    "discussion { number url } } }"
)
DISCUSSION_COMMENT: Final = (
    "query DiscussionComment($id: ID!, $first: Int!, $after: String) { node(id: $id) { ... on DiscussionComment { id "
    "body createdAt url isAnswer author { login } authorAssociation replies(first: $first, after: $after) { totalCount "
    "nodes { id body createdAt author { login } } pageInfo { hasNextPage endCursor } } "
    "discussion { number title repository { nameWithOwner } } } } }"
)
MEMBERS: Final = (
    "query Members($org: String!, $after: String) { organization(login: $org) { membersWithRole(first: 100, "
    "after: $after) { pageInfo { hasNextPage endCursor } nodes { login name "
    "organizationVerifiedDomainEmails(login: $org) } } } }"
)
UNLABEL: Final = (
    "mutation Unlabel($id: ID!, $labels: [ID!]!) { removeLabelsFromLabelable(input: {labelableId: $id, "
    "labelIds: $labels}) { clientMutationId } }"
)
UPDATE_LABEL: Final = (
    "mutation UpdateLabel($input: UpdateLabelInput!) { updateLabel(input: $input) { label { id name } } }"
)
DELETE_LABEL: Final = "mutation DeleteLabel($id: ID!) { deleteLabel(input: {id: $id}) { clientMutationId } }"


def graphql(document: str, repeat: Repeat = "read", **variables: Any) -> Request:
    """Return a request that sends a document. ``repeat``: the effect of sending it again."""
    name = document.partition("(")[0].split()[1]
    given = {key: value for key, value in variables.items() if value is not None}
    body = {"query": document, "operationName": name, "variables": given}
    return Request("POST", "/graphql", api="graphql", json=body, repeat=repeat)


def query(document: str, repeat: Repeat = "read", **variables: Any) -> Asks[dict[str, Any]]:
    """Send a document and return the data of its response."""
    answer = yield graphql(document, repeat, **variables)
    return dict(answer.get("data") or {})


def repo_variables(repo: str) -> dict[str, str]:
    """Return the variables that name a repository."""
    owner, _, name = repo.partition("/")
    return {"owner": owner, "name": name}


def query_repo(document: str, repo: str, **variables: Any) -> Asks[dict[str, Any]]:
    """Query a repository. Raises `NotFound` if GitHub returns none."""
    data = yield from query(document, "read", **repo_variables(repo), **variables)
    if not data.get("repository"):
        raise NotFound(
            "GitHub: not found, or not visible to this user.", hint="A tool that lists or searches finds what is there."
        )
    return dict(data["repository"])


def page_of(connection: dict[str, Any], total: int | None = None) -> Page:
    """Return a connection's nodes as a page."""
    info = connection.get("pageInfo") or {}
    following = str(info.get("endCursor") or "") if info.get("hasNextPage") else ""
    return Page([one for one in connection.get("nodes") or () if one], following, total)
