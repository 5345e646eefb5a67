"""Who a bearer token speaks for."""

from __future__ import annotations

from deputize.sandbox.google import errors
from deputize.sandbox.http_types import Ask, Refused
from deputize.sandbox.oauth import Token
from deputize.sandbox.people import Person
from deputize.sandbox.world import World


def caller(ask: Ask, world: World) -> tuple[Person, Token]:
    """The person behind the request's token; 401 where it is unknown, expired or absent."""
    token = world.access(ask.bearer(), "google")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise Refused(errors.dead_token())
    return person, token
