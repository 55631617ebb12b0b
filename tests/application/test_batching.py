"""Group commit: what gathers while a batch is in flight is the next batch."""

import asyncio
from collections.abc import Sequence

import pytest

from scheduler_application import batching
from scheduler_application.batching import BUSY_BATCH, LONGEST_GATHERING, Batcher
from scheduler_application.errors import Unavailable


class Work:
    """Doubles numbers, batch by batch, when the test lets it; a negative one is refused, 13 fails its whole batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self, numbers: Sequence[int]) -> list[int | BaseException]:
        self.batches.append(list(numbers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.set()
        try:
            await self.gate.wait()
            if 13 in numbers:
                raise ZeroDivisionError
            if 99 in numbers:
                raise Unavailable("the store is away")
            return [ValueError("negative") if number < 0 else number * 2 for number in numbers]
        finally:
            self.at_once -= 1


@pytest.fixture
async def work() -> Work:
    return Work()


async def submitted(batcher: Batcher[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.submit(number)) for number in numbers]


async def test_what_gathers_during_a_batch_is_the_next_one(work: Work) -> None:
    batcher = Batcher(work, limit=100)
    first = await submitted(batcher, 1)
    await work.began.wait()
    rest = await submitted(batcher, 2, 3, 4)
    work.gate.set()
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8]
    assert work.batches == [[1], [2, 3, 4]]


async def test_a_batch_is_bounded_and_lanes_bound_what_runs_at_once(work: Work) -> None:
    batcher = Batcher(work, limit=3, lanes=2)
    work.gate.set()
    tasks = await submitted(batcher, *range(1, 11))
    assert await asyncio.gather(*tasks) == [number * 2 for number in range(1, 11)]
    assert max(map(len, work.batches)) <= 3
    assert work.most_at_once <= 2


async def test_each_gets_its_own_error(work: Work) -> None:
    batcher = Batcher(work, limit=10)
    work.gate.set()
    results = await asyncio.gather(*await submitted(batcher, 1, -1, 2), return_exceptions=True)
    assert [str(result) for result in results] == ["2", "negative", "4"]


async def test_one_that_cannot_be_worked_off_fails_nobody_else(work: Work) -> None:
    batcher = Batcher(work, limit=10)
    work.gate.set()
    results = await asyncio.gather(*await submitted(batcher, 1, 13, 2), return_exceptions=True)
    assert [type(result) for result in results] == [int, ZeroDivisionError, int]
    assert work.batches == [[1, 13, 2], [1], [13], [2]]


async def test_a_store_that_is_away_is_asked_once_for_all(work: Work) -> None:
    batcher = Batcher(work, limit=10)
    work.gate.set()
    results = await asyncio.gather(*await submitted(batcher, 1, 99, 2), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    assert work.batches == [[1, 99, 2]]


async def test_a_caller_that_goes_away_takes_nothing_from_the_others(work: Work) -> None:
    batcher = Batcher(work, limit=10)
    one, two = await submitted(batcher, 1, 2)
    await work.began.wait()
    one.cancel()
    work.gate.set()
    assert await two == 4
    await batcher.idle()
    assert work.batches == [[1, 2]]


async def test_idle_waits_for_everything(work: Work) -> None:
    batcher = Batcher(work, limit=1)
    tasks = await submitted(batcher, 1, 2, 3)
    await work.began.wait()
    work.gate.set()
    await batcher.idle()
    assert all(task.done() or task for task in tasks)
    assert work.batches == [[1], [2], [3]]
    assert await asyncio.gather(*tasks) == [2, 4, 6]


async def test_after_it_was_idle_it_works_again(work: Work) -> None:
    batcher = Batcher(work, limit=10)
    work.gate.set()
    for number in range(5):
        assert await batcher.submit(number) == number * 2


async def test_more_than_may_wait_is_refused(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING", 3)
    batcher = Batcher(work, limit=1)
    first = await submitted(batcher, 1)
    await work.began.wait()
    waiting = await submitted(batcher, 2, 3, 4)
    refused = await asyncio.gather(*await submitted(batcher, 5), return_exceptions=True)
    assert isinstance(refused[0], Unavailable)
    work.gate.set()
    assert await asyncio.gather(*first, *waiting) == [2, 4, 6, 8]


async def test_after_a_large_batch_the_next_one_may_gather(work: Work) -> None:
    pauses: list[float] = []
    over = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await over.wait()

    batcher = Batcher(work, limit=100, gathering=True, sleep=pause)
    work.gate.set()
    await asyncio.gather(*await submitted(batcher, *range(20, 20 + BUSY_BATCH)))
    gathered = await submitted(batcher, 1, 2, 3)
    over.set()
    assert await asyncio.gather(*gathered) == [2, 4, 6]
    assert work.batches == [list(range(20, 20 + BUSY_BATCH)), [1, 2, 3]]
    assert 0 < pauses[0] <= LONGEST_GATHERING


async def test_after_a_small_batch_nothing_waits(work: Work) -> None:
    async def never(_seconds: float) -> None:
        raise AssertionError("an item that comes alone waits for nothing")

    batcher = Batcher(work, limit=100, gathering=True, sleep=never)
    work.gate.set()
    for number in range(3):
        assert await batcher.submit(number) == number * 2
    assert work.batches == [[0], [1], [2]]
