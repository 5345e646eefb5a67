"""GitHub's tools as a user, through the whole deputy, against the sandbox; every request is recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from deputize.core import App, Call, Deputy, Secret, allow_all
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from deputize.sandbox.github import APP, GITHUB_APP
from deputize.sandbox.github.git import blob_sha, packed
from deputize.sandbox.oauth import App as Client
from deputize.toolkits.github import TOOLKIT
from tests.support.sandbox_deputy import Recorder, build, set_sleep

SITE: Final = "acme/website"
GUIDE_SHA: Final = blob_sha(packed("One\nTwo\nThree\nFour\n"))
"""The digest of docs/guide.md, as the sandbox has it on its main branch."""
GARDEN: Final = "alice/garden"
ALL: Final = ("repo", "workflow", "gist", "notifications", "read:org", "project", "user")
CLIENTS: Final = {"github": APP, "github_app": GITHUB_APP}


@dataclass
class Play:
    """A deputy over one sandbox. ``waited``: its waits, in seconds."""

    sandbox: Sandbox
    deputy: Deputy
    recorder: Recorder
    waited: list[float] = field(default_factory=list)
    calls: int = 0
    heads: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def begin(
        cls, *scopes: str, provider: str = "github", sandbox: Sandbox | None = None, trusted_authors: str = ""
    ) -> Self:
        """Connect Alice and Bob with these scopes, or with every scope of the tools."""
        sandbox = sandbox or Sandbox()
        recorder = Recorder(sandbox.transport())
        client = CLIENTS[provider]
        app = App(provider, client.client_id, Secret(client.client_secret))
        deputy = await build(
            sandbox,
            transport=recorder,
            apps=[app],
            policy=allow_all,
            toolkits=[TOOLKIT],
            trusted_authors={"github": trusted_authors} if trusted_authors else None,
        )
        play = cls(sandbox, deputy, recorder)

        async def sleep(seconds: float) -> None:
            play.waited.append(seconds)

        set_sleep(deputy, sleep)
        for user in ("alice", "bob"):
            play.give(user, scopes or (ALL if provider == "github" else ()), provider)
        return play

    def give(self, user: str, scopes: Iterable[str], provider: str = "github") -> None:
        """Give another consent of the user's."""
        email = f"{user}@example.test"
        give_grant(self.sandbox, self.deputy, user, [*scopes], provider=provider, email=email)

    async def act(self, tool: str, by: str = "alice", call: str = "", **arguments: Any) -> Any:
        """Make one act. ``call``: its id, if it may equal another one's."""
        self.calls += 1
        name = call or f"call-{self.calls}"
        given = {key.rstrip("_"): self.filled(value) for key, value in arguments.items()}
        return await self.deputy.act(f"github_{tool}", given, user=by, call=Call("thread", f"m-{name}", name))

    @property
    def store(self) -> dict[str, Any]:
        """Return what the sandbox's GitHub stores; changes take effect."""
        return self.sandbox._world.services["github"]

    def filled(self, value: Any) -> Any:
        """Replace ``$head:branch`` in arguments by the commit of the website's branch."""
        if isinstance(value, Mapping):
            return {name: self.filled(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        if isinstance(value, str) and (found := re.fullmatch(r"\$head:(.+)", value)):
            return self.heads.setdefault(found[1], self.store["repos"][SITE]["branches"].get(found[1], ""))
        return value

    @property
    def asked(self) -> list[str]:
        """Return the method and path of every request to the API."""
        seen = [one for one in self.recorder.seen if one.url.host == "api.github.com"]
        return [f"{one.method} {one.url.raw_path.decode().partition('?')[0]}" for one in seen]

    def writes(self) -> list[str]:
        """Return the requests that are no reads."""
        return [one for one in self.asked if not one.startswith("GET ") and not one.endswith("/graphql")]


def permitted(sandbox: Sandbox, *permissions: str) -> Client:
    """Return the GitHub App with other permissions."""
    client = Client(
        GITHUB_APP.client_id,
        GITHUB_APP.client_secret,
        GITHUB_APP.name,
        GITHUB_APP.redirect_uris,
        provider="github",
        permissions=permissions,
    )
    sandbox.register(client)
    return client
