"""The page on which members of a role decide about acts of others, and everybody who tries to get past it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from deputize.core import Act, Decision, User, Verdict, ask_before_sending
from deputize.core.approvals import role_requests
from deputize.core.user_requests import Approval
from deputize.core.web.app import pages_app
from tests.core.web.web_application import World, hidden, make, signed_in, values_of, words_of

ROLES = {"bob": ["finance"], "carol": ["finance"], "dave": ["operator"], "erin": ["auditor"], "alice": ["finance"]}


def finance(act: Act) -> Verdict | Decision:
    return Decision(Verdict.ASK, "big", "It costs money.", "finance") if "body" in act.arguments else Verdict.ALLOW


def held(user: User) -> list[str]:
    return ROLES.get(user.id, [])


async def waiting(**more: Any) -> tuple[World, Approval]:
    """Return an act of Alice that waits for finance, of which she is a member too."""
    world = await make(**{"roles": held, "policy": finance} | more)
    await world.connected("send")
    return world, await world.approval()


async def shown(world: World, path: str, user: str) -> tuple[str, dict[str, str], str]:
    """Return the page's words, the browser's cookies and the form's token."""
    page = await world.send("GET", path, user=user)
    assert page.status_code == 200, page.text
    return words_of(page), values_of(page), hidden(page)


async def post(world: World, path: str, user: str, decision: str = "approve", **more: Any) -> int:
    """Send the decision with the token of this user's own page at this path, and return the status."""
    _, cookies, form = await shown(world, path, user)
    sent = await world.send("POST", path, user=user, cookies=cookies, data={"form": form, "decision": decision}, **more)
    return sent.status_code


def sent(world: World) -> int:
    return len(world.sandbox.sent("alice@example.test"))


async def test_member_of_the_role_finds_the_act_and_approves_exactly_what_the_requester_sees() -> None:
    world, asked = await waiting()
    listed = await world.send("GET", "/others", user="bob")
    assert f'href="/others/{asked.id}"' in listed.text
    assert "alice asks somebody with the role finance" in words_of(listed)
    theirs, mine = [
        (await world.send("GET", path, user=user)).text
        for path, user in ((f"/others/{asked.id}", "bob"), (f"/approve/{asked.id}", "alice"))
    ]
    for part in (asked.summary, *asked.preview.values()):
        assert part in theirs and part in mine
    assert ">Approve<" in theirs and "</strong> asks somebody" in theirs
    assert await post(world, f"/others/{asked.id}", "bob") == 303
    done = await world.send("GET", f"/others/{asked.id}", user="bob")
    assert "You allowed exactly this" in words_of(done) and sent(world) == 0
    seen = await world.send("GET", f"/approve/{asked.id}", user="alice")
    assert "Somebody with the role finance allowed" in words_of(seen)
    await world.act()
    assert sent(world) == 1
    assert "Nobody asks you now" in words_of(await world.send("GET", "/others", user="carol"))


async def test_requester_sees_who_is_asked_and_cannot_approve() -> None:
    world, asked = await waiting()
    page = await world.send("GET", f"/approve/{asked.id}", user="alice")
    assert "waits for somebody with the role finance" in words_of(page)
    assert 'value="approve"' not in page.text and ">Withdraw<" in page.text and "/more" not in page.text
    assert "Waits for somebody with the role finance" in words_of(await world.send("GET", "/connections", user="alice"))
    assert await post(world, f"/approve/{asked.id}", "alice") == 303
    more = f"/approve/{asked.id}/more"
    _, cookies, _ = await shown(world, f"/approve/{asked.id}", "alice")
    for token in ("", hidden(page)):
        data = {"form": token, "most": "5", "hours": "24"}
        assert (await world.send("POST", more, user="alice", cookies=cookies, data=data)).status_code == 403
    assert (await world.approval()).id == asked.id and sent(world) == 0
    assert await post(world, f"/approve/{asked.id}", "alice", "reject") == 303
    assert (await world.send("GET", f"/others/{asked.id}", user="bob")).status_code == 200


@pytest.mark.parametrize("user", ["alice", "dave", "erin", "mallory"])
async def test_forwarded_link_opens_only_for_its_own_user(user: str) -> None:
    world, asked = await waiting()
    path = f"/others/{asked.id}"
    assert (await world.send("GET", path, user=user)).status_code == 403
    _, cookies, form = await shown(world, path, "bob")
    for place in (path, *([f"/approve/{asked.id}"] if user != "alice" else [])):
        for token in (form, ""):
            data = {"form": token, "decision": "approve"}
            refused = await world.send("POST", place, user=user, cookies=cookies, data=data)
            assert refused.status_code == 403
    assert "asks somebody" not in words_of(await world.send("GET", "/others", user=user))
    assert (await world.approval()).status == "pending" and sent(world) == 0


async def test_form_of_another_page_site_or_act_does_not_count() -> None:
    world, asked = await waiting()
    other = await world.approval("Another", "2")
    path = f"/others/{asked.id}"
    _, cookies, form = await shown(world, path, "bob")
    _, _, foreign = await shown(world, f"/others/{other.id}", "bob")
    tries: list[dict[str, Any]] = [
        {"data": {"form": foreign, "decision": "approve"}, "cookies": cookies},
        {"data": {"form": form, "decision": "approve"}},
        {"data": {"form": form, "decision": "approve"}, "cookies": cookies, "headers": {"origin": "https://evil.test"}},
        {"data": {"form": form, "decision": "edit"}, "cookies": cookies},
        {"data": {"decision": "approve"}, "cookies": cookies},
    ]
    for one in tries:
        assert (await world.send("POST", path, user="bob", **one)).status_code == 403
    signed_out = await world.send("POST", path, data={"form": form, "decision": "approve"}, cookies=cookies)
    assert signed_out.status_code == 401 and (await world.approval()).status == "pending"


async def test_changed_act_and_lost_role_need_another_decision() -> None:
    world, asked = await waiting()
    path = f"/others/{asked.id}"
    _, cookies, form = await shown(world, path, "bob")
    data = {"form": form, "decision": "approve"}
    world.deputy.policy = lambda act: Decision(Verdict.ASK, "big", "It costs even more money.", "operator")
    await world.approval()
    world.deputy.policy = lambda act: Decision(Verdict.ASK, "big", "It costs even more money.", "finance")
    again = await world.approval()
    assert (await world.send("POST", path, user="bob", cookies=cookies, data=data)).status_code == 303
    assert (await world.approval()).status == "pending"
    path = f"/others/{again.id}"
    _, cookies, form = await shown(world, path, "bob")
    before, ROLES["bob"] = ROLES["bob"], []
    try:
        refused = await world.send("POST", path, user="bob", cookies=cookies, data={**data, "form": form})
        assert refused.status_code == 403
    finally:
        ROLES["bob"] = before
    assert await post(world, path, "carol") == 303
    await world.act()
    assert sent(world) == 1


async def test_requests_of_one_step_that_others_decide_are_in_no_bundle() -> None:
    world, asked = await waiting()
    await world.approval("Another", "2")
    assert await world.deputy.pending_of_others("bob")
    page = await world.send("GET", f"/approve/{asked.id}", user="alice")
    assert "Approve all" not in page.text


async def test_many_requests_are_paged_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = await waiting()
    for number in range(2, 21):
        world.clock.now += 1
        await world.approval(f"Note {number}", str(number))
    found, more = await world.deputy.approvals.list_for_approver(User("bob"))
    assert len(found) == 20 and not more
    monkeypatch.setattr(role_requests, "REQUESTS_PER_PAGE", 8)
    page, seen = "/others", list[str]()
    while page:
        text = (await world.send("GET", page, user="bob")).text
        seen += [part.split('"')[0] for part in text.split('href="/others/')[1:]]
        page = "/others?after=" + text.split("?after=")[1].split('"')[0] if "?after=" in text else ""
    assert seen == [one.id for one in found]
    for junk in ("x", "-1", "nan", "1e400", "inf"):
        assert (await world.send("GET", f"/others?after={junk}", user="bob")).status_code == 200


async def test_pages_are_as_before_without_roles() -> None:
    world = await make()
    await world.connected("send")
    assert "Others ask you" not in (await world.send("GET", "/connections", user="alice")).text
    assert "Nobody asks you now" in words_of(await world.send("GET", "/others", user="alice"))
    world.deputy.policy = ask_before_sending
    asked = await world.approval()
    assert ">Approve<" in (await world.send("GET", f"/approve/{asked.id}", user="alice")).text


async def test_local_mode_has_no_other_people() -> None:
    world = await make(local=True, policy=finance)
    for path in ("/others", "/me/x/others"):
        assert (await world.send("GET", path)).status_code in (403, 404)


class Fresh:
    """A verifier that wants a new sign-in before each dangerous approval."""

    async def __call__(self, request: Request) -> User | None:
        return signed_in(request)

    async def step_up_link(self, request: Request, path: str) -> str:
        return f"/sign-in?step_up=1&next={path}"


async def test_approver_signs_in_again_before_a_dangerous_approval_and_the_requester_cannot() -> None:
    world, asked = await waiting()
    world.app = pages_app(world.deputy, verifier=Fresh())
    page = await world.send("GET", f"/others/{asked.id}", user="bob")
    assert f"next=/others/{asked.id}" in page.text and 'value="approve"' not in page.text
    assert await post(world, f"/others/{asked.id}", "bob") == 303
    assert (await world.approval()).status == "pending" and sent(world) == 0
    own = await world.send("GET", f"/approve/{asked.id}", user="alice")
    assert "Sign in again" not in own.text and 'value="approve"' not in own.text
