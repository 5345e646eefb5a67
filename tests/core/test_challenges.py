"""``WWW-Authenticate`` parsed by whole parameters: quoted text is never taken for a parameter."""

from __future__ import annotations

import pytest

from deputize.core.http.challenges import Challenge, bearer, challenges


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        (
            'Bearer scope="a b", resource_metadata="https://x.test/y"',
            {"scope": "a b", "resource_metadata": "https://x.test/y"},
        ),
        ("bearer scope=a", {"scope": "a"}),
        (
            'Bearer error="invalid_token", error_description="needs scope=admin, really"',
            {"error": "invalid_token", "error_description": "needs scope=admin, really"},
        ),
        (
            r'Bearer error_description="say \"scope=\\\"admin\\\"\"", scope="own"',
            {"error_description": r'say "scope=\"admin\""', "scope": "own"},
        ),
        ('Basic realm="x", Bearer scope="a b"', {"scope": "a b"}),
        ('Bearer scope="a", Basic realm="scope"', {"scope": "a"}),
        ('Negotiate abc==, Bearer\tscope = "a"', {"scope": "a"}),
        ('DPoP algs="ES256", scope="not ours"', {}),
        ('Bearer, Bearer scope="second"', {"scope": "second"}),
        ('Bearer xscope="no", SCOPE="yes", scope="late"', {"xscope": "no", "scope": "yes"}),
        ("Bearer", {}),
        ("", {}),
        (",,, ,", {}),
        ('scope="a"', {}),
        ('Bearer scope="never ends', {}),
    ],
)
def test_bearer_challenge_parameters_are_parsed(header: str, parameters: dict[str, str]) -> None:
    assert bearer(header) == parameters


def test_all_challenges_of_one_header_are_parsed() -> None:
    assert challenges('Digest realm="a, b", nonce=x, Bearer error=invalid_token') == [
        Challenge("digest", {"realm": "a, b", "nonce": "x"}),
        Challenge("bearer", {"error": "invalid_token"}),
    ]


@pytest.mark.parametrize("piece", ['"', "a=", 'a="\\', "Bearer ", ", ", '""'])
def test_long_challenge_header_is_parsed_quickly(piece: str) -> None:
    assert bearer(piece * 100_000 + ', Bearer scope="too late"') == {}
