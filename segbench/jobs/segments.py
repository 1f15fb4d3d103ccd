"""How many jobs a training needs if each job has a time limit."""

from __future__ import annotations

import math

MARGIN_MINUTES = 2.0
"""Reserved at the end of a job for the last step and the checkpoint, but at most a tenth of the job."""
START_MINUTES = 1.0
"""Time in which a job imports its modules, reads its checkpoint and fills its loaders."""


def jobs_needed(minutes: float, limit: float, *, start: float = START_MINUTES) -> int:
    """Return the number of jobs in which a training ends.

    Each job loses its start, and each but the last one its margin: it stops before its limit.

    Args:
        minutes: time of the training in one piece, without the start of its job; 0 or more.
        limit: time limit of a job in minutes, above 0.
        start: minutes that each job needs to start. At most half of the limit is counted, so that an
            estimate exists for every limit.

    Returns:
        1 or more.
    """
    start = min(start, limit / 2)
    whole = limit - start
    part = whole - margin(limit)
    return 1 if minutes <= whole else 1 + math.ceil((minutes - whole) / part)


def margin(limit: float) -> float:
    """Return the minutes before its limit of `limit` minutes at which a job stops."""
    return min(MARGIN_MINUTES, limit / 10)
