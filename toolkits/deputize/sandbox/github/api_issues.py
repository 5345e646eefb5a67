"""Issues with their labels, assignees, locks, timelines and sub-issues."""

from __future__ import annotations

from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.issues import (
    ISSUE_PATH,
    add_event,
    comment,
    find_issue,
    format_issue,
    issue_comments,
    load_issues,
)
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.seed import login
from deputize.sandbox.github.seed_code import issue as new_issue
from deputize.sandbox.http_types import Refused, Reply


@route("GET", "R/issues", "issues:read")
def issues(call: Call, repo: Json) -> Reply:
    """Return issues and pull requests, filtered, newest first."""
    ask = call.ask
    state, by, find_person = ask.one("state", "open"), ask.one("creator"), ask.one("assignee")
    wanted = [one for one in ask.one("labels").split(",") if one]
    found = [
        row
        for row in reversed(load_issues(call, repo))
        if state in ("all", row["state"])
        and by in ("", login(row["user"]))
        and (not find_person or (find_person in row["assignees"] if find_person != "none" else not row["assignees"]))
        and set(wanted) <= set(row["labels"])
        and ask.one("milestone") in ("", str(row["milestone"]))
        and row["updated_at"] >= ask.one("since")
    ]
    if ask.one("sort") == "updated":
        found.sort(key=lambda row: row["updated_at"], reverse=True)
    return call.page([format_issue(call, repo, row) for row in found], accepted=("repo",) if repo["private"] else ())


@route("POST", "R/issues", "issues:write")
def create(call: Call, repo: Json) -> Reply:
    """Return 201 with the issue. Ignore labels and assignees of callers without push access, as GitHub does."""
    given = call.body()
    if not isinstance(given.get("title"), str) or not given["title"].strip():
        raise call.invalid("Issue", "title", "missing_field")
    rows = load_issues(call, repo)
    row = new_issue(len(rows) + 1, call.person.email, given["title"], given.get("body"), call.now)
    if call.pushes(repo):
        if wrong := [name for name in given.get("assignees", ()) if call.find_person(name) is None]:
            raise call.invalid("Issue", "assignees", message=wrong[0])
        row |= {"labels": list(given.get("labels", ())), "assignees": list(given.get("assignees", ()))}
        row |= {"milestone": given.get("milestone"), "type": given.get("type")}
    rows.append(row)
    made = format_issue(call, repo, row)
    accepted = ("repo",) if repo["private"] else ("public_repo", "repo")
    return call.reply(made, 201, accepted, [("location", made["url"])])


@route("GET", ISSUE_PATH, "issues:read")
def issue(call: Call, repo: Json, issue_number: str) -> Reply:
    """Return one issue, or 301 if it was moved to another repository."""
    row = find_issue(call, repo, issue_number)
    if to := row.get("moved"):
        name, _, number = to.partition("#")
        url = f"https://{HOST}/repositories/{call.store['repos'][name]['id']}/issues/{number}"
        return call.reply({"message": "Moved Permanently", "url": url}, 301, more=[("location", url)])
    return call.reply(format_issue(call, repo, row), accepted=("repo",) if repo["private"] else ())


@route("PATCH", ISSUE_PATH, "issues:write")
def change(call: Call, repo: Json, issue_number: str) -> Reply:
    """Change an issue: for its author and callers with push access."""
    row, given = find_issue(call, repo, issue_number), call.body()
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
        add_event(call, row, "closed" if given["state"] == "closed" else "reopened")
    return _save(call, repo, row)


def _save(call: Call, repo: Json, row: Json) -> Reply:
    row["updated_at"] = call.now
    return call.reply(format_issue(call, repo, row))


# ----------------------------------------------------------------- labels, assignees, lock


@route("POST", f"{ISSUE_PATH}/labels", "issues:write", push=True)
def add_labels(call: Call, repo: Json, issue_number: str) -> Reply:
    """Return the issue's labels after the change."""
    row = find_issue(call, repo, issue_number)
    for name in call.body().get("labels", ()):
        if name not in row["labels"]:
            row["labels"].append(name)
            add_event(call, row, "labeled", label={"name": name})
    return call.reply(format_issue(call, repo, row)["labels"])


@route("DELETE", f"{ISSUE_PATH}/labels/{{name}}", "issues:write", push=True)
def remove_label(call: Call, repo: Json, issue_number: str, name: str) -> Reply:
    """Remove a label. Raise 404 if the issue lacks it."""
    row = find_issue(call, repo, issue_number)
    if name not in row["labels"]:
        raise Refused(call.refusal(404, "Label does not exist"))
    row["labels"].remove(name)
    add_event(call, row, "unlabeled", label={"name": name})
    return call.reply(format_issue(call, repo, row)["labels"])


@route("POST", f"{ISSUE_PATH}/assignees", "issues:write", push=True)
def assign(call: Call, repo: Json, issue_number: str) -> Reply:
    """Assign members; ignore others."""
    row = find_issue(call, repo, issue_number)
    known = [name for name in call.body().get("assignees", ()) if name in repo["members"]]
    row["assignees"] = list(dict.fromkeys([*row["assignees"], *known]))
    return call.reply(format_issue(call, repo, row), 201)


@route("DELETE", f"{ISSUE_PATH}/assignees", "issues:write", push=True)
def unassign(call: Call, repo: Json, issue_number: str) -> Reply:
    """Remove assignees; ignore others."""
    row = find_issue(call, repo, issue_number)
    row["assignees"] = [name for name in row["assignees"] if name not in call.body().get("assignees", ())]
    return call.reply(format_issue(call, repo, row))


@route("PUT", f"{ISSUE_PATH}/lock", "issues:write", push=True)
def lock(call: Call, repo: Json, issue_number: str) -> Reply:
    find_issue(call, repo, issue_number)["locked"] = True
    return call.empty_reply()


@route("DELETE", f"{ISSUE_PATH}/lock", "issues:write", push=True)
def unlock(call: Call, repo: Json, issue_number: str) -> Reply:
    find_issue(call, repo, issue_number)["locked"] = False
    return call.empty_reply()


# ----------------------------------------------------------------- timeline, sub-issues


@route("GET", f"{ISSUE_PATH}/timeline", "issues:read")
def timeline(call: Call, repo: Json, issue_number: str) -> Reply:
    """Return events and comments in order of time."""
    row = find_issue(call, repo, issue_number)
    told = [{**one, "actor": call.user(one["actor"])} for one in row["events"]]
    said = [{"event": "commented", **comment(call, repo, one)} for one in issue_comments(call, repo, row["number"])]
    return call.page(sorted([*told, *said], key=lambda one: one["created_at"]))


@route("GET", f"{ISSUE_PATH}/sub_issues", "issues:read")
def sub_issues(call: Call, repo: Json, issue_number: str) -> Reply:
    parent = find_issue(call, repo, issue_number)["number"]
    return call.page([format_issue(call, repo, row) for row in load_issues(call, repo) if row["parent"] == parent])


@route("POST", f"{ISSUE_PATH}/sub_issues", "issues:write", push=True)
def add_sub_issue(call: Call, repo: Json, issue_number: str) -> Reply:
    parent = find_issue(call, repo, issue_number)
    wanted = call.body().get("sub_issue_id")
    child = next((row for row in load_issues(call, repo) if repo["id"] * 1000 + row["number"] == wanted), None)
    if child is None:
        raise Refused(call.refusal(422, "The provided sub-issue does not exist"))
    if child["parent"] not in (None, parent["number"]) and not call.body().get("replace_parent"):
        raise Refused(call.refusal(422, "Sub issue may only have one parent"))
    child["parent"] = parent["number"]
    return call.reply(format_issue(call, repo, parent), 201)


@route("DELETE", f"{ISSUE_PATH}/sub_issue", "issues:write", push=True)
def remove_sub_issue(call: Call, repo: Json, issue_number: str) -> Reply:
    """Return 200 with the parent. Raise 404 for an issue that is not its sub-issue."""
    parent, wanted = find_issue(call, repo, issue_number), call.body().get("sub_issue_id")
    for row in load_issues(call, repo):
        if repo["id"] * 1000 + row["number"] == wanted and row["parent"] == parent["number"]:
            row["parent"] = None
            return call.reply(format_issue(call, repo, parent))
    raise call.not_found()


@route("GET", f"{ISSUE_PATH}/parent", "issues:read")
def parent_issue(call: Call, repo: Json, issue_number: str) -> Reply:
    """Return the parent issue. Raise 404 if there is none."""
    above = find_issue(call, repo, issue_number)["parent"]
    if above is None:
        raise call.not_found()
    return call.reply(format_issue(call, repo, find_issue(call, repo, above)))
