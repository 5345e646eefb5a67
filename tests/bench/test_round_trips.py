"""An act on Postgres waits for few round trips: more would be felt on every network."""

from __future__ import annotations

import pytest

from tests.bench.round_trips import ACTS, acting, count, slow_server

MOST = {"read": 1, "write": 8, "approved act": 14}  # of these, two look whether the grant has ended


@pytest.mark.counterpart
async def test_acts_wait_for_no_more_round_trips_than_they_need() -> None:
    with slow_server() as slow:
        slow.delay = 0.002
        async with acting(slow) as deputy:
            for work in ACTS.values():
                await count(slow, deputy, work, 8)  # connections are opened, statements prepared
            fewest = {name: min((await count(slow, deputy, work, 6)).in_a_row) for name, work in ACTS.items()}
    assert fewest == MOST
