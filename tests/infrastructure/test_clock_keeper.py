"""A step of the database's clock is told, and running apart is not."""

import pytest

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.bootstrap.clock_keeper import EVERY_SECONDS, ClockKeeper
from scheduler_infrastructure.clock import StoreClock
from scheduler_infrastructure.telemetry.metrics import PrometheusMetrics


class Database:
    """Answers the offsets that the test gives it; ``None`` is a store that is away."""

    def __init__(self, *offsets: float | None) -> None:
        self._offsets = list(offsets)

    async def ask(self) -> float:
        offset = self._offsets.pop(0)
        if offset is None:
            raise Unavailable("the store is away")
        return offset


async def _steps(*offsets: float | None) -> tuple[str, StoreClock]:
    metrics, clock = PrometheusMetrics(), StoreClock()
    keeper = ClockKeeper(Database(*offsets).ask, clock, metrics)
    for _ in offsets:
        await keeper.look()
    lines = metrics.text().decode().splitlines()
    return next(line for line in lines if line.startswith("orrery_clock_steps_total")), clock


@pytest.mark.parametrize(
    ("offsets", "told"),
    [
        ((0.0, 3_600.0), 1),
        ((0.0, 3_600.0, 0.0), 2),
        ((0.0, -5.1), 1),
        ((0.0, 4.9, 9.8), 0),
        ((1e9,), 0),
        ((0.0, None, None, 0.1), 0),
        ((0.0, None, 60.0), 1),
    ],
)
async def test_a_step_is_told_and_nothing_else(offsets: tuple[float | None, ...], told: int) -> None:
    series, clock = await _steps(*offsets)
    assert series == f"orrery_clock_steps_total {told}.0"
    last = [offset for offset in offsets if offset is not None][-1]
    assert clock.now().timestamp() - clock.monotonic() == pytest.approx(last, abs=0.01)


async def test_it_looks_every_other_second() -> None:
    pauses: list[float] = []

    class Over(Exception):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise Over

    with pytest.raises(Over):
        await ClockKeeper(Database(0.0, 0.0).ask, StoreClock(), PrometheusMetrics(), sleep).keep()
    assert pauses == [EVERY_SECONDS] * 3
