from __future__ import annotations

import pytest

from tapeline.checks.syntax import invalid_schedule


@pytest.mark.parametrize(
    "schedule", ["30 17 * * 1-5", "*/15 0,12 1-31/2 JAN-mar Mon-Fri", "5/2 09 * dec 0,6", "0 0 1 1 sun"]
)
def test_schedules_that_argo_takes(schedule: str) -> None:
    assert invalid_schedule(schedule) is None


@pytest.mark.parametrize(
    "schedule",
    [
        *("* * * *", "0 0 0 * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *"),
        *("0 0 * * 7", "0 0 * * 5-1", "0 20-4 * * *", "0 0 * * sat-sun", "*/0 * * * *", "1-2-3 * * * *"),
        *("0 0 l * *", "0 0 * * 1#2", "R R * * *", "0 0 * mon *", "-1 * * * *", "1, * * * *", "1.5 * * * *"),
    ],
)
def test_schedules_that_argo_refuses_or_reads_otherwise(schedule: str) -> None:
    assert invalid_schedule(schedule)
