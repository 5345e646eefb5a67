"""Issues with their comments, labels, people, locks, events and sub-issues."""

from __future__ import annotations

from deputize.sandbox.github.api_repos import label, milestone
from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.people import user
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.seed import login
from deputize.sandbox.github.seed_code import issue as new_issue
from deputize.sandbox.http_types import Refused, Reply

_ISSUE = "R/issues/{issue_number}"


def rows_of(call: Call, repo: Json) -> list[Json]:
    """A repository's issues and pull requests, as they are kept."""
    rows: list[Json] = call.store["issues"][repo["full_name"]]
    return rows


def row_of(call: Call, repo: Json, number: str | int) -> Json:
    """One of them; 404 where there is none."""
    row = next((one for one in rows_of(call, repo) if str(one["number"]) == str(number)), None)
    if row is None:
        raise call.missing(("repo",) if repo["private"] else ())
    return row


def show(call: Call, repo: Json, row: Json) -> Json:
    """An issue as GitHub shows it."""
    person = call.world.person(row["user"])
    where = f"{repo['full_name']}/issues/{row['number']}"
    names = {one["name"]: one for one in repo["labels"]}
    about = next((one for one in repo["milestones"] if one["number"] == row["milestone"]), None)
    told: Json = {
        "id": repo["id"] * 1000 + row["number"],
        "node_id": f"I_{repo['id']}_{row['number']:06d}",
        "url": f"https://{HOST}/repos/{where}",
        "repository_url": f"https://{HOST}/repos/{repo['full_name']}",
        "labels_url": f"https://{HOST}/repos/{where}/labels{{/name}}",
        "comments_url": f"https://{HOST}/repos/{where}/comments",
        "events_url": f"https://{HOST}/repos/{where}/events",
        "timeline_url": f"https://{HOST}/repos/{where}/timeline",
        "html_url": f"https://github.com/{where}",
        "number": row["number"],
        "state": row["state"],
        "state_reason": row["reason"] or ("completed" if row["state"] == "closed" else None),
        "title": row["title"],
        "body": row["body"],
        "user": user(person) if person else None,
        "labels": [label(names.get(n, {"id": 1, "name": n, "color": "ededed"})) for n in row["labels"]],
        "assignee": call.user(row["assignees"][0]) if row["assignees"] else None,
        "assignees": [one for name in row["assignees"] if (one := call.user(name))],
        "milestone": milestone(call, repo, about) if about else None,
        "locked": row["locked"],
        "active_lock_reason": None,
        "author_association": association(repo, row["user"]),
        "closed_by": None,
        "performed_via_github_app": None,
        "comments": len(comments_of(call, repo, row["number"])),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "closed_at": row["closed_at"],
    }
    told |= {"type": {"id": 1, "node_id": "IT_1", "name": row["type"], "description": ""}} if row["type"] else {}
    if pull := row["pull"]:
        told |= {"pull_request": {"merged_at": pull["merged_at"]}, "draft": pull["draft"]}
        told["html_url"] = told["html_url"].replace("/issues/", "/pull/")
    return told


def association(repo: Json, email: str) -> str:
    """How somebody stands to a repository."""
    if repo["full_name"].startswith(f"{login(email)}/"):
        return "OWNER"
    return "COLLABORATOR" if login(email) in repo["members"] else "NONE"


@route("GET", "R/issues", "issues:read")
def issues(call: Call, repo: Json) -> Reply:
    """Issues and pull requests, filtered, the newest first."""
    ask = call.ask
    state, by, who = ask.one("state", "open"), ask.one("creator"), ask.one("assignee")
    wanted = [one for one in ask.one("labels").split(",") if one]
    found = [
        row
        for row in reversed(rows_of(call, repo))
        if state in ("all", row["state"])
        and by in ("", login(row["user"]))
        and (not who or (who in row["assignees"] if who != "none" else not row["assignees"]))
        and set(wanted) <= set(row["labels"])
        and ask.one("milestone") in ("", str(row["milestone"]))
        and row["updated_at"] >= ask.one("since")
    ]
    if ask.one("sort") == "updated":
        found.sort(key=lambda row: row["updated_at"], reverse=True)
    return call.page([show(call, repo, row) for row in found], accepted=("repo",) if repo["private"] else ())


@route("POST", "R/issues", "issues:write")
def create(call: Call, repo: Json) -> Reply:
    """201 with the issue. Labels and people are left out without a word for those who may not push."""
    given = call.body()
    if not isinstance(given.get("title"), str) or not given["title"].strip():
        raise call.invalid("Issue", "title", "missing_field")
    rows = rows_of(call, repo)
    row = new_issue(len(rows) + 1, call.person.email, given["title"], given.get("body"), call.now)
    if call.pushes(repo):
        if wrong := [name for name in given.get("assignees", ()) if call.who(name) is None]:
            raise call.invalid("Issue", "assignees", message=wrong[0])
        row |= {"labels": list(given.get("labels", ())), "assignees": list(given.get("assignees", ()))}
        row |= {"milestone": given.get("milestone"), "type": given.get("type")}
    rows.append(row)
    made = show(call, repo, row)
    accepted = ("repo",) if repo["private"] else ("public_repo", "repo")
    return call.reply(made, 201, accepted, [("location", made["url"])])


@route("GET", _ISSUE, "issues:read")
def issue(call: Call, repo: Json, issue_number: str) -> Reply:
    """One issue; 301 where it was moved to another repository."""
    row = row_of(call, repo, issue_number)
    if to := row.get("moved"):
        name, _, number = to.partition("#")
        url = f"https://{HOST}/repositories/{call.store['repos'][name]['id']}/issues/{number}"
        return call.reply({"message": "Moved Permanently", "url": url}, 301, more=[("location", url)])
    return call.reply(show(call, repo, row), accepted=("repo",) if repo["private"] else ())


@route("PATCH", _ISSUE, "issues:write")
def change(call: Call, repo: Json, issue_number: str) -> Reply:
    """For its author, and for people who may push."""
    row, given = row_of(call, repo, issue_number), call.body()
    if not call.pushes(repo) and row["user"] != call.person.email:
        raise Refused(call.refusal(403, "Must have admin rights to Repository."))
    if given.get("milestone") and given["milestone"] not in [one["number"] for one in repo["milestones"]]:
        raise call.invalid("Issue", "milestone")
    for name in ("title", "body", "milestone", "type"):
        if name in given:
            row[name] = given[name]
    if given.get("state") in ("open", "closed"):
        row["state"] = given["state"]
        row["closed_at"] = call.now if given["state"] == "closed" else None
        row["reason"] = given.get("state_reason")
        happened(call, row, "closed" if given["state"] == "closed" else "reopened")
    return _touched(call, repo, row)


def _touched(call: Call, repo: Json, row: Json) -> Reply:
    row["updated_at"] = call.now
    return call.reply(show(call, repo, row))


def happened(call: Call, row: Json, event: str, **more: Json) -> None:
    """Keep an event for the timeline."""
    row["events"].append({"id": call.next_id(), "event": event, "actor": call.me, "created_at": call.now, **more})


# ----------------------------------------------------------------- labels, people, lock


@route("POST", f"{_ISSUE}/labels", "issues:write", push=True)
def add_labels(call: Call, repo: Json, issue_number: str) -> Reply:
    """The labels that are there now."""
    row = row_of(call, repo, issue_number)
    for name in call.body().get("labels", ()):
        if name not in row["labels"]:
            row["labels"].append(name)
            happened(call, row, "labeled", label={"name": name})
    return call.reply(show(call, repo, row)["labels"])


@route("DELETE", f"{_ISSUE}/labels/{{name}}", "issues:write", push=True)
def remove_label(call: Call, repo: Json, issue_number: str, name: str) -> Reply:
    """404 for one that is not there."""
    row = row_of(call, repo, issue_number)
    if name not in row["labels"]:
        raise Refused(call.refusal(404, "Label does not exist"))
    row["labels"].remove(name)
    happened(call, row, "unlabeled", label={"name": name})
    return call.reply(show(call, repo, row)["labels"])


@route("POST", f"{_ISSUE}/assignees", "issues:write", push=True)
def assign(call: Call, repo: Json, issue_number: str) -> Reply:
    """Those who cannot be assigned are left out."""
    row = row_of(call, repo, issue_number)
    known = [name for name in call.body().get("assignees", ()) if name in repo["members"]]
    row["assignees"] = list(dict.fromkeys([*row["assignees"], *known]))
    return call.reply(show(call, repo, row), 201)


@route("DELETE", f"{_ISSUE}/assignees", "issues:write", push=True)
def unassign(call: Call, repo: Json, issue_number: str) -> Reply:
    """Whoever was not assigned stays so."""
    row = row_of(call, repo, issue_number)
    row["assignees"] = [name for name in row["assignees"] if name not in call.body().get("assignees", ())]
    return call.reply(show(call, repo, row))


@route("PUT", f"{_ISSUE}/lock", "issues:write", push=True)
def lock(call: Call, repo: Json, issue_number: str) -> Reply:
    """204."""
    row_of(call, repo, issue_number)["locked"] = True
    return call.none()


@route("DELETE", f"{_ISSUE}/lock", "issues:write", push=True)
def unlock(call: Call, repo: Json, issue_number: str) -> Reply:
    """204, too."""
    row_of(call, repo, issue_number)["locked"] = False
    return call.none()


# ----------------------------------------------------------------- timeline, sub-issues


@route("GET", f"{_ISSUE}/timeline", "issues:read")
def timeline(call: Call, repo: Json, issue_number: str) -> Reply:
    """What happened, with the comments in between."""
    row = row_of(call, repo, issue_number)
    told = [{**one, "actor": call.user(one["actor"])} for one in row["events"]]
    said = [{"event": "commented", **comment(call, repo, one)} for one in comments_of(call, repo, row["number"])]
    return call.page(sorted([*told, *said], key=lambda one: one["created_at"]))


@route("GET", f"{_ISSUE}/sub_issues", "issues:read")
def sub_issues(call: Call, repo: Json, issue_number: str) -> Reply:
    """The issues below this one."""
    parent = row_of(call, repo, issue_number)["number"]
    return call.page([show(call, repo, row) for row in rows_of(call, repo) if row["parent"] == parent])


@route("POST", f"{_ISSUE}/sub_issues", "issues:write", push=True)
def add_sub_issue(call: Call, repo: Json, issue_number: str) -> Reply:
    """201 with the parent."""
    parent = row_of(call, repo, issue_number)
    wanted = call.body().get("sub_issue_id")
    child = next((row for row in rows_of(call, repo) if repo["id"] * 1000 + row["number"] == wanted), None)
    if child is None:
        raise Refused(call.refusal(422, "The provided sub-issue does not exist"))
    child["parent"] = parent["number"]
    return call.reply(show(call, repo, parent), 201)


# ----------------------------------------------------------------- comments


def comments_of(call: Call, repo: Json, number: int) -> list[Json]:
    """The comments of one issue."""
    return [one for one in call.kept("comments", repo) if one["number"] == number]


def comment(call: Call, repo: Json, row: Json) -> Json:
    """A comment as GitHub shows it."""
    home = f"{repo['full_name']}/issues/{row['number']}"
    person = call.who(row["user"])
    return {
        "id": row["id"],
        "node_id": f"IC_{row['id']}",
        "url": f"https://{HOST}/repos/{repo['full_name']}/issues/comments/{row['id']}",
        "html_url": f"https://github.com/{home}#issuecomment-{row['id']}",
        "issue_url": f"https://{HOST}/repos/{home}",
        "user": user(person) if person else None,
        "body": row["body"],
        "created_at": row["at"],
        "updated_at": row["at"],
        "author_association": association(repo, f"{row['user']}@example.test"),
    }


@route("GET", "R/issues/comments", "issues:read")
def every_comment(call: Call, repo: Json) -> Reply:
    """All comments of a repository."""
    rows = [row for row in call.kept("comments", repo) if row["at"] >= call.ask.one("since")]
    rows = list(reversed(rows)) if call.ask.one("direction") == "desc" else rows
    return call.page([comment(call, repo, row) for row in rows])


@route("GET", f"{_ISSUE}/comments", "issues:read")
def comments(call: Call, repo: Json, issue_number: str) -> Reply:
    """The comments of an issue, the oldest first."""
    rows = comments_of(call, repo, row_of(call, repo, issue_number)["number"])
    return call.page([comment(call, repo, row) for row in rows if row["at"] >= call.ask.one("since")])


@route("POST", f"{_ISSUE}/comments", "issues:write")
def write(call: Call, repo: Json, issue_number: str) -> Reply:
    """201; 403 where it is locked."""
    issue = row_of(call, repo, issue_number)
    if issue["locked"] and not call.pushes(repo):
        raise Refused(call.refusal(403, "Unable to create comment because issue is locked."))
    if not str(call.body().get("body") or "").strip():
        raise call.invalid("IssueComment", "body", "missing_field")
    row = {
        "id": call.next_id(),
        "number": issue["number"],
        "user": call.me,
        "body": call.body()["body"],
        "at": call.now,
    }
    call.kept("comments", repo).append(row)
    issue["updated_at"] = call.now
    return call.reply(comment(call, repo, row), 201)


def numbered(call: Call, rows: list[Json], id: str) -> Json:
    """The row of this number; 404 where there is none."""
    row = next((one for one in rows if str(one["id"]) == id), None)
    if row is None:
        raise call.missing()
    return row


def own(call: Call, rows: list[Json], id: str, repo: Json) -> Json:
    """A comment that I may change: mine, or any where I may push."""
    row = numbered(call, rows, id)
    if row["user"] != call.me and not call.pushes(repo):
        raise Refused(call.refusal(403, "Must have admin rights to Repository."))
    return row


@route("GET", "R/issues/comments/{comment_id}", "issues:read")
def one_comment(call: Call, repo: Json, comment_id: str) -> Reply:
    """One comment, by its number."""
    return call.reply(comment(call, repo, numbered(call, call.kept("comments", repo), comment_id)))


@route("PATCH", "R/issues/comments/{comment_id}", "issues:write")
def edit(call: Call, repo: Json, comment_id: str) -> Reply:
    """The comment with its new words."""
    row = own(call, call.kept("comments", repo), comment_id, repo)
    row["body"] = call.body()["body"]
    return call.reply(comment(call, repo, row))


@route("DELETE", "R/issues/comments/{comment_id}", "issues:write")
def delete(call: Call, repo: Json, comment_id: str) -> Reply:
    """204."""
    rows = call.kept("comments", repo)
    rows.remove(own(call, rows, comment_id, repo))
    return call.none()
