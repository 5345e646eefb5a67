"""A toolkit of your own, in one file, used through `Deputy.act`.

    python examples/own_toolkit.py             # prints a link; open it and press Allow
    python examples/own_toolkit.py --auto      # the link is followed for you

A sandbox on this machine simulates Google. In your own package, register the toolkit under the entry-point group
``deputize.toolkits``, so that it is found by name.
"""

from __future__ import annotations

import asyncio
import secrets
import sys

import httpx

from deputize.core import (
    PROVIDERS,
    App,
    Audience,
    ConsentRequired,
    Deputy,
    Effect,
    NotFound,
    Preview,
    Request,
    Secret,
    Steps,
    Toolkit,
    any_of,
)
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

LABELS = "https://www.googleapis.com/auth/gmail.labels"

TOOLKIT = Toolkit("shelves", provider="google", api="gmail", shows=True)


@TOOLKIT.tool(needs=[any_of(LABELS, method="labels.list")])
def find(prefix: str = "") -> Steps:
    """Find the user's shelves: labels they made, with ids."""
    found = yield Request("GET", "/users/me/labels")
    made = [label for label in found["labels"] if label["type"] == "user" and label["name"].startswith(prefix)]
    return [{"id": label["id"], "name": label["name"]} for label in made]


@TOOLKIT.tool(needs=[any_of(LABELS, method="labels.create")], effect=Effect.WRITES)
def add(name: str) -> Steps:
    """Add a shelf."""
    yield Preview("Add this shelf", audience=Audience.SELF, name=name)
    made = yield Request("POST", "/users/me/labels", json={"name": name})
    return {"id": made["id"], "name": made["name"]}


@TOOLKIT.tool(needs=[any_of(LABELS, method="labels.get")])
def count(id: str) -> Steps:
    """Count the conversations on a shelf; null for one that is not there."""
    try:
        label = yield Request("GET", "/users/me/labels/{id}", at={"id": id})
    except NotFound:  # a provider's refusal is raised at the yield
        return None
    return label.get("threadsTotal", 0)


async def new_deputy(google: str) -> Deputy:
    """Return a deputy in memory with this toolkit only, which uses ``google`` in place of Google."""
    vault = await Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)])
    app = App("google", GOOGLE_CLIENT_ID, Secret(GOOGLE_CLIENT_SECRET))
    providers = {"google": PROVIDERS["google"].moved_to(google)}
    return Deputy(vault, [app], pages=LocalPages, agent="example", providers=providers, toolkits=[TOOLKIT])


async def main(auto: bool) -> None:
    """Act. If the user has not consented yet, show the link, wait, and act again."""
    async with serve(Sandbox().app) as google, await new_deputy(google) as deputy:
        try:
            await deputy.act("shelves_find", {}, user="alice")
        except ConsentRequired as missing:
            print(f"Open this link and press Allow:\n  {missing.consent.link}")
            if auto:
                async with httpx.AsyncHTTPTransport() as network:
                    await Browser(network).allow(missing.consent.link)
            await deputy.wait_for_consents([missing.consent])
        shelf = await deputy.act("shelves_add", {"name": "Read later"}, user="alice")
        print("added:", shelf)
        print("shelves:", await deputy.act("shelves_find", {"prefix": "Read"}, user="alice"))
        print("conversations on it:", await deputy.act("shelves_count", {"id": shelf["id"]}, user="alice"))
        print("on one that is not there:", await deputy.act("shelves_count", {"id": "Label_99"}, user="alice"))


if __name__ == "__main__":
    asyncio.run(main(auto="--auto" in sys.argv[1:]))
