"""A provider refuses the application itself: page and log say what has to change, and users are not told to retry."""

from __future__ import annotations

import logging
from typing import Final

import pytest

from tests.core.web.web_application import World, make, path_of, press, query_of

WORDS: Final = {
    "invalid_request": ("did not accept the request", "pushed requests"),
    "invalid_scope": ("does not give this application what was asked for", "scopes"),
    "invalid_client": ("does not know this application", "client id and the secret"),
    "unauthorized_client": ("does not let this application ask", "client id"),
    "redirect_uri_mismatch": ("does not know the address", "deputize doctor shows it"),
    "invalid_redirect_uri": ("does not know the address", "deputize doctor shows it"),
    "unsupported_response_type": ("gives this application no codes", "authorization code"),
    "made_up_by_the_server": ("did not accept the request", "documentation"),
}


async def test_operator_faults_are_shown_and_logged(
    subtests: pytest.Subtests, caplog: pytest.LogCaptureFixture
) -> None:
    for error, (happened, change) in WORDS.items():
        with subtests.test(error):
            caplog.clear()
            world = await make()
            consent = await world.asked()
            url, jar = await press(world, consent)
            back = f"/callback/google?state={query_of(url)['state']}&error={error}&error_description=hush"
            with caplog.at_level(logging.WARNING, "deputize"):
                await world.send("GET", back, user="alice", cookies=jar)
            page = (await world.send("GET", path_of(consent), user="alice")).text
            assert happened in page and change in page and "people who run this application" in page
            assert "in a few minutes" not in page and "hush" not in page + caplog.text
            logged = [one.getMessage() for one in caplog.records if "refused" in one.getMessage()]
            assert len(logged) == 1 and change in logged[0] and "made_up" not in logged[0]
            assert "'google'" in logged[0] and (await world.status(consent))[0] == "failed"


async def test_temporary_failure_can_be_retried_and_is_not_logged(
    caplog: pytest.LogCaptureFixture, world: World
) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    back = f"/callback/google?state={query_of(url)['state']}&error=temporarily_unavailable"
    await world.send("GET", back, user="alice", cookies=jar)
    page = (await world.send("GET", path_of(consent), user="alice")).text
    assert "in a few minutes" in page and "refused" not in caplog.text
