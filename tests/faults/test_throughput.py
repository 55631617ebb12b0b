"""Throughput that does not come back is a violation; throughput that does is a figure."""

import time

import pytest

from faults.throughput import Throughput, before_and_after


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is measured, one after the other; the last value for ever. Time passes by itself."""
    now = [1_000.0]

    async def passes(seconds: float) -> None:
        now[0] += seconds

    values: list[float] = []

    async def measured(*_: object) -> float:
        return values.pop(0) if len(values) > 1 else values[0]

    monkeypatch.setattr("faults.throughput.asyncio.sleep", passes)
    monkeypatch.setattr("faults.throughput.time.time", lambda: now[0])
    monkeypatch.setattr("faults.throughput.ended_a_second", measured)
    return values


async def measure() -> Throughput:
    async with before_and_after(None) as found:  # type: ignore[arg-type]
        found.healed_at = time.time()
    return found


async def test_as_much_as_before_is_right(ended: list[float]) -> None:
    ended += [10.0, 9.6]
    found = await measure()
    assert not found.broken
    assert found.figures == {
        "runs_a_second_before": 10.0,
        "runs_a_second_after": 9.6,
        "throughput_back_seconds": pytest.approx(0.0, abs=0.2),
    }


async def test_it_may_take_half_a_minute(ended: list[float]) -> None:
    ended += [10.0, *[5.0] * 200, 10.0]
    found = await measure()
    assert not found.broken
    assert found.back_seconds == pytest.approx(20.0, abs=1.0)


async def test_less_than_before_for_half_a_minute_is_told(ended: list[float]) -> None:
    ended += [10.0, 9.4]
    (sentence,) = (await measure()).broken
    assert sentence.startswith("I22: 9.4 runs a second")
