"""When calls are refused, when one is let through, and what counts."""

import asyncio

import pytest

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.resilience.breaker import Breaker


class Broken(Exception):
    """The other side is ill."""


class Answered(Exception):
    """The other side is well and says no."""


async def fail() -> None:
    raise Broken


async def succeed() -> str:
    return "done"


async def hang() -> None:
    await asyncio.Event().wait()


async def opened(**settings: object) -> Breaker:
    breaker = Breaker("target", failures=3, **settings)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(Broken):
            await breaker.call(fail)
    assert breaker.state == "open"
    return breaker


async def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = await opened()
    with pytest.raises(Unavailable) as refused:
        await breaker.call(succeed)
    assert 4.0 < refused.value.retry_after <= 5.0


async def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker("target", failures=2)
    for _ in range(5):
        with pytest.raises(Broken):
            await breaker.call(fail)
        assert await breaker.call(succeed) == "done"
    assert breaker.state == "closed"


async def test_a_timeout_is_a_failure() -> None:
    breaker = Breaker("target", failures=1, timeout=0.01)
    with pytest.raises(TimeoutError):
        await breaker.call(hang)
    assert breaker.state == "open"


async def test_an_answer_is_no_failure() -> None:
    breaker = Breaker("target", failures=1, exclude=[Answered])

    async def say_no() -> None:
        raise Answered

    with pytest.raises(Answered):
        await breaker.call(say_no)
    assert breaker.state == "closed"


async def test_a_cancelled_call_counts_as_nothing() -> None:
    breaker = Breaker("target", failures=2)
    with pytest.raises(Broken):
        await breaker.call(fail)
    await _cancelled(breaker)
    with pytest.raises(Broken):
        await breaker.call(fail)
    assert breaker.state == "open"


async def test_one_trial_at_a_time_decides() -> None:
    breaker = await opened(reset_after=0.0)
    go = asyncio.Event()

    async def wait_and_succeed() -> str:
        await go.wait()
        return "done"

    trial = asyncio.create_task(breaker.call(wait_and_succeed))
    async with asyncio.timeout(1):
        while breaker.state != "half-open":
            await asyncio.wait([trial], timeout=0)
    for _ in range(10):
        with pytest.raises(Unavailable):
            await breaker.call(succeed)
    go.set()
    assert await trial == "done"
    assert breaker.state == "closed"


async def test_a_failed_trial_opens_it_again() -> None:
    breaker = await opened(reset_after=0.0)
    with pytest.raises(Broken):
        await breaker.call(fail)
    assert breaker.state == "open"


async def test_a_cancelled_trial_leaves_the_decision_to_the_next() -> None:
    breaker = await opened(reset_after=0.0)
    await _cancelled(breaker)
    assert breaker.state == "half-open"
    assert await breaker.call(succeed) == "done"
    assert breaker.state == "closed"


async def test_what_began_before_it_opened_does_not_close_it() -> None:
    breaker = Breaker("target", failures=3)
    go = asyncio.Event()
    late = asyncio.create_task(breaker.call(go.wait))
    await asyncio.wait([late], timeout=0)
    for _ in range(3):
        with pytest.raises(Broken):
            await breaker.call(fail)
    go.set()
    assert await late
    assert breaker.state == "open"


async def test_calls_run_side_by_side() -> None:
    breaker = Breaker("target")
    everybody = asyncio.Barrier(5)
    async with asyncio.timeout(1):
        await asyncio.gather(*(breaker.call(everybody.wait) for _ in range(5)))


async def test_proof_from_elsewhere_closes_it() -> None:
    breaker = await opened()
    breaker.reset()
    assert await breaker.call(succeed) == "done"


async def test_a_listener_hears_every_change() -> None:
    heard: list[tuple[str, str]] = []
    breaker = await opened(reset_after=0.0, on_change=lambda name, state: heard.append((name, state)))
    await breaker.call(succeed)
    assert heard == [("target", "open"), ("target", "half-open"), ("target", "closed")]


async def _cancelled(breaker: Breaker) -> None:
    call = asyncio.create_task(breaker.call(hang))
    await asyncio.wait([call], timeout=0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
