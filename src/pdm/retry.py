"""Retries of transient faults, by stamina: capped exponential with jitter, bounded in time. Owns the bounds, no I/O."""

from collections.abc import Callable
from typing import TypeVar

import stamina

from pdm.errors import Retryable

BATCH_BUDGET_S = 10.0  # < 30 s rebalance timeout − the batch itself
PAUSE_BEFORE_REWIND_S = 1.0  # a nack seeks back at once: without a pause a dead database would spin the consumer

T = TypeVar("T")


def within_budget(call: Callable[[], T], budget_s: float = BATCH_BUDGET_S) -> T:
    """Call until it stops raising Retryable; raises the last one when the budget is spent. Blocks: use a thread."""
    retrying = stamina.RetryingCaller(attempts=None, timeout=budget_s, wait_initial=0.1, wait_max=2.0, wait_jitter=0.5)
    return retrying.on(Retryable)(call)
