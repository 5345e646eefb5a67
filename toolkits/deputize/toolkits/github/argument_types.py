"""Types of arguments that become part of a path: only names that GitHub allows and that cannot change other parts.

Each is checked when the arguments are validated, before any request; the engine checks and encodes every segment again.
Each part of a path or branch with slashes becomes one segment. The rules are git-check-ref-format(1)'s and GitHub's.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

_OWNER: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_NAME: Final = r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"
_REPO: Final = re.compile(rf"(?:{_OWNER}/)?{_NAME}")
_URL: Final = re.compile(rf"https://github\.com/({_OWNER}/[A-Za-z0-9._-]{{1,100}})/?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REF: Final = re.compile(r"[^\x00-\x20\x7f-\x9f\ud800-\udfff~^:?*\[\\]+")
_LARGEST: Final = 2**53 - 1


def _repo(text: str) -> str:
    url = _URL.fullmatch(text.strip())
    name = (url[1] if url else text.strip()).removesuffix(".git")
    if not _REPO.fullmatch(name):
        raise ValueError("write owner/name, as in octocat/hello")
    return name


def _owner(text: str) -> str:
    if not re.fullmatch(_OWNER, text.strip().removeprefix("@")):
        raise ValueError("not a login")
    return text.strip().removeprefix("@")


def _person(text: str) -> str:
    return text if text in ("@me", "none") else _owner(text)


def is_login(text: str) -> bool:
    """Return whether a text is a login, ``@me`` or a team; otherwise it is a person's name or address."""
    return "/" in text or text == "@me" or re.fullmatch(_OWNER, text) is not None


def _assignee(text: str) -> str:
    return _name_of_a_person(text) or _person(text)


def _name_of_a_person(text: str) -> str:
    """Return a name with blanks, or an address, or "" for any other text."""
    name = text.strip().removeprefix("@")
    return name if ("@" in name or " " in name) and not _CONTROL.search(name) and len(name) <= 200 else ""


def _reviewer(text: str) -> str:
    if "/" not in text and (name := _name_of_a_person(text)):
        return name
    owner, slash, team = text.strip().removeprefix("@").partition("/")
    if slash and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,254}", team):
        raise ValueError("a team is org/slug")
    return _owner(owner) + slash + team


def ref_of(text: str) -> str:
    """Return a branch, tag or sha. Raises `ValueError` if git does not allow it."""
    parts = text.split("/")
    wrong = not _REF.fullmatch(text) or len(text.encode()) > 255 or ".." in text or "@{" in text
    wrong = wrong or text.startswith("-") or text.endswith(".") or text == "@"
    if wrong or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts):
        raise ValueError("not a branch, tag or sha")
    return text


def _short(text: str) -> str:
    if text.startswith("refs/"):
        raise ValueError("the short name, without refs/")
    return ref_of(text)


def _head(text: str) -> str:
    owner, colon, ref = text.rpartition(":")
    return _owner(owner) + colon + ref_of(ref) if colon else ref_of(text)


def _path(text: str) -> str:
    text = text.removeprefix("/").removesuffix("/")
    if not text:
        return ""
    if len(text.encode(errors="replace")) > 4096 or _CONTROL.search(text) or "\\" in text:
        raise ValueError("not a path in a repository")
    if any(part in ("", ".", "..") or part != part.strip() for part in text.split("/")):
        raise ValueError("not a path in a repository")
    return text


def _new_path(text: str) -> str:
    path = _path(text)
    if not path or any(part.lower() == ".git" for part in path.split("/")):
        raise ValueError("not a path that can be written")
    return path


def label_of(text: str) -> str:
    """Return a label's name. Raises `ValueError` for an invalid name."""
    text = text.strip()
    if not text or text in (".", "..") or _CONTROL.search(text) or len(text) > 100:
        raise ValueError("not a label")
    return text


def is_awkward(label: str) -> bool:
    """Return whether a path segment cannot contain this name, so that GraphQL is used with its id."""
    return bool(set(label) & set("/\\%"))


def _plain(text: str) -> str:
    """Return a word of a query: one line, without quotes."""
    if _CONTROL.search(text) or '"' in text:
        raise ValueError("no quotes and no line ends")
    return text.strip()


def inline_schema(model: type[BaseModel]) -> WithJsonSchema:
    """Return a model's schema without references, which some models' APIs refuse."""
    return WithJsonSchema(model.model_json_schema())


def _matching(pattern: str, wrong: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(wrong)
        return text

    return AfterValidator(check)


def _number(value: int) -> int:
    if not 0 < value <= _LARGEST:
        raise ValueError("a positive number")
    return value


def _workflow(text: str) -> str:
    text = text.strip()
    if not text or "/" in text or "\\" in text or text in (".", "..") or _CONTROL.search(text):
        raise ValueError("a workflow's file, name or id")
    return text


RepoName = Annotated[str, AfterValidator(_repo)]
Repo = Annotated[RepoName, Field(description="owner/name")]
Owner = Annotated[str, AfterValidator(_owner)]
Login = Annotated[str, AfterValidator(_owner)]
Person = Annotated[str, AfterValidator(_person)]
Reviewer = Annotated[str, AfterValidator(_reviewer)]
Ref = Annotated[str, AfterValidator(ref_of)]
Branch = Annotated[str, AfterValidator(_short)]
Head = Annotated[str, AfterValidator(_head)]
Path = Annotated[str, AfterValidator(_path)]
NewPath = Annotated[str, AfterValidator(_new_path)]
Label = Annotated[str, AfterValidator(label_of)]
Word = Annotated[str, AfterValidator(_plain)]
Sha = Annotated[
    str,
    _matching(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", "a whole sha of 40 hexadecimal digits, as results give it"),
]
Gist = Annotated[str, _matching(r"[0-9a-f]{20,40}", "a gist's id")]
Node = Annotated[str, _matching(r"[A-Za-z0-9_=-]{8,200}", "an id, as an earlier result gave it")]
Thread = Annotated[str, _matching(r"[0-9]{1,20}", "a notification's thread_id")]
Number = Annotated[int, AfterValidator(_number)]
Workflow = Annotated[str, AfterValidator(_workflow)]
When = Annotated[str, Field(description="-7d, last Friday or ISO")]
At = Annotated[Ref, Field(description="branch, tag or sha; else the default branch")]
Logins = Annotated[list[Person], Field(description="logins, or @me")]
Assignees = Annotated[list[Annotated[str, AfterValidator(_assignee)]], Field(description="logins, names or @me")]
Milestone = Annotated[Word, Field(description="title or number")]
Unmoved = Annotated[Sha, Field(description="refused if it is another by now")]
NewName = Annotated[str, _matching(_NAME, "letters, digits, - _ and . only")]
