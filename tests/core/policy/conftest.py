"""No coroutine of ours makes a blocking call in a test of this folder."""

from tests.support.blocking import no_coroutine_of_ours_blocks

__all__ = ["no_coroutine_of_ours_blocks"]
