"""The people of the sandbox."""

from __future__ import annotations

from typing import NamedTuple


class Person(NamedTuple):
    """An account holder at every simulated provider; ``sub`` is the stable subject id."""

    email: str
    name: str
    sub: str


DECOY = Person("decoy@example.test", "Decoy", "100000000000000000001")
ALICE = Person("alice@example.test", "Alice Adams", "100000000000000000002")
BOB = Person("bob@example.test", "Bob Brown", "100000000000000000003")

# The decoy comes first and owns nothing, so that code that takes "the first person" fails.
SEEDED = (DECOY, ALICE, BOB)
