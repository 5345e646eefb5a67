"""GitHub Actions: artifacts of a run, stored as files of the user."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from deputize.core import File, Keep, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.steps import MIB
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Number, Repo
from deputize.toolkits.github.base import GITHUB, reads
from deputize.toolkits.github.job_logs import fetch_signed
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose
from deputize.toolkits.github.rows import outer, short

_ONE: Final = "R/actions/artifacts/{artifact_id}"
_LARGEST: Final = 25 * MIB  # of a file that is kept for a user
_LISTED: Final = 40  # files


def artifact_row(row: Mapping[str, Any]) -> Json:
    """Return a row for an artifact: size in bytes, and until when it exists."""
    outside = Prose()
    shown: Json = {
        "id": row.get("id"),
        "name": outside.line(str(row.get("name", "")), 100),
        "size": row.get("size_in_bytes"),
        "expired": bool(row.get("expired")),
        "expires": short(row.get("expires_at")),
    }
    return outer(shown, outside)


@GITHUB.tool(
    needs=[reads(f"GET {_ONE}", "actions:read"), reads(f"GET {_ONE}/{{archive_format}}", "actions:read")],
    toolset="actions",
)
@in_repo("this artifact")
def get_artifact(repo: Repo, artifact_id: Number) -> Steps:
    """An artifact of a workflow run, as a file (zip), with the names of what is in it."""
    at: Json = {"artifact_id": artifact_id}
    row = yield from api.get(_ONE, repo, at=at)
    size = int(row.get("size_in_bytes") or 0)
    if row.get("expired"):
        raise NotFound("GitHub: the artifact has expired and is deleted.", hint="github_control_run makes a new one.")
    if size > _LARGEST:
        raise InvalidInput(
            f"artifact_id: it has {size} bytes, and at most {_LARGEST} fit.", hint="Download it on the page of its run."
        )
    request = rest(f"GET {_ONE}/{{archive_format}}", repo, at={**at, "archive_format": "zip"}, raw=True)
    data = yield from fetch_signed(request, _LARGEST)
    name = re.sub(r"[^\w.() -]", "_", str(row.get("name") or "artifact"))[:100]
    kept = yield Keep(File(f"{name}.zip", "application/zip", data))
    return artifact_row(row) | _list_archive(data) | kept


def _list_archive(data: bytes) -> Json:
    """Return the list of an archive's files without unpacking them."""
    outside = Prose()
    try:
        inside = [one for one in zipfile.ZipFile(io.BytesIO(data)).infolist() if not one.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return {"note": "Its contents could not be listed."}
    rows = [{"name": outside.line(one.filename, 200), "size": one.file_size} for one in inside[:_LISTED]]
    cut = {"cut": [f"files: {_LISTED} of {len(inside)} are shown."]} if len(inside) > _LISTED else {}
    return {"files": rows, **cut}
