"""Fails tests of this folder in which a coroutine of ours makes a blocking call."""

from tests.support.blocking import no_coroutine_of_ours_blocks

__all__ = ["no_coroutine_of_ours_blocks"]
