"""What tasks print: in order, without gaps, bounded, masked, and soon."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from scheduler_application.errors import Unavailable
from scheduler_application.masking import Masking
from scheduler_application.ports.logs import LogChunk
from scheduler_application.run.claim import ClaimedTask
from scheduler_worker.log_writer import CHUNK_BYTES, FLUSH_BYTES, MAX_WAITING_BYTES, AttemptLog, LogWriter
from tests.support.clock import ManualClock
from tests.support.world import Low


class _Claimed:
    """The part of a `ClaimedTask` that a log looks at."""

    project_id = "p"
    run_id = "r"
    claim_no = 1

    def __init__(self, task_run_id: str) -> None:
        self.row = self
        self.id = task_run_id


class _Store:
    """A `LogStore` that keeps chunks, and can be taken away."""

    def __init__(self) -> None:
        self.commits: list[list[LogChunk]] = []
        self.failures = 0
        self.refusals = 0
        self.tries = 0
        self._changed = asyncio.Event()

    async def append(self, chunks: Sequence[LogChunk]) -> None:
        self.tries += 1
        self._changed.set()
        if self.failures:
            self.failures -= 1
            raise Unavailable("the store is away")
        if self.refusals:
            self.refusals -= 1
            raise ValueError("no such column")
        self.commits.append(list(chunks))

    async def read(
        self, project: str, run_id: str, *, task: str | None, after: str | None, limit: int
    ) -> list[LogChunk]:
        raise AssertionError("the worker reads no logs")

    async def tried(self, times: int) -> None:
        while self.tries < times:
            self._changed.clear()
            await self._changed.wait()

    @property
    def chunks(self) -> list[LogChunk]:
        return [chunk for commit in self.commits for chunk in commit]


class _Bench:
    def __init__(self, secrets: Sequence[str], limit: int) -> None:
        self.clock = ManualClock()
        self.store = _Store()
        self.writer = LogWriter(self.store, Masking(secrets), self.clock, self.clock.sleep, Low(), limit_bytes=limit)

    def log(self, task_run_id: str = "t") -> AttemptLog:
        return self.writer.attempt(cast("ClaimedTask", cast("Any", _Claimed(task_run_id))))


@asynccontextmanager
async def _writing(secrets: Sequence[str] = (), limit: int = 10 * 1024 * 1024) -> AsyncIterator[_Bench]:
    bench = _Bench(secrets, limit)
    task = asyncio.create_task(bench.writer.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_lines_are_stored_a_quarter_of_a_second_after_they_were_printed() -> None:
    async with _writing() as bench:
        await bench.log().write("stdout", b"hello\n")
        await bench.clock.slept_on(0.25)
        assert bench.store.tries == 0
        bench.clock.advance(0.25)
        await bench.store.tried(1)
    [chunk] = bench.store.chunks
    assert (chunk.project, chunk.run_id, chunk.task_run_id, chunk.claim_no, chunk.seq) == ("p", "r", "t", 1, 1)
    assert (chunk.stream, chunk.data, chunk.at, chunk.truncated) == ("stdout", b"hello\n", bench.clock.now(), False)


async def test_much_is_stored_without_waiting_for_the_clock() -> None:
    async with _writing() as bench:
        await bench.log().write("stdout", b"x" * FLUSH_BYTES)
        await bench.store.tried(1)


async def test_many_attempts_share_a_commit() -> None:
    async with _writing() as bench:
        for number in range(20):
            await bench.log(f"t{number}").write("stdout", b"line\n")
        await bench.clock.slept_on(0.25)
        bench.clock.advance(0.25)
        await bench.store.tried(1)
    assert [len(commit) for commit in bench.store.commits] == [20]


async def test_pieces_keep_their_order_and_small_ones_become_one() -> None:
    async with _writing() as bench:
        log = bench.log()
        for stream, data in (("stdout", b"a"), ("stdout", b"b"), ("stderr", b"c"), ("stdout", b"d")):
            await log.write(stream, data)
        log.end()
        await log.stored()
    assert [(chunk.seq, chunk.stream, chunk.data) for chunk in bench.store.chunks] == [
        (1, "stdout", b"ab"),
        (2, "stderr", b"c"),
        (3, "stdout", b"d"),
    ]


async def test_the_numbers_have_no_gaps_whatever_fails_in_between() -> None:
    async with _writing() as bench:
        log = bench.log()
        for number in range(1, 6):
            bench.store.failures = 1
            await log.write("stdout", b"x" * FLUSH_BYTES)
            await bench.store.tried(number * 2 - 1)
            await bench.clock.slept_on(0.05)
            bench.clock.advance(0.05)
            await bench.store.tried(number * 2)
        log.end()
        await log.stored()
    assert [chunk.seq for chunk in bench.store.chunks] == [1, 2, 3, 4, 5]


async def test_a_chunk_is_never_larger_than_its_bound() -> None:
    async with _writing() as bench:
        log = bench.log()
        await log.write("stdout", b"x" * (3 * CHUNK_BYTES + 1))
        log.end()
        await log.stored()
    assert [len(chunk.data) for chunk in bench.store.chunks] == [CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, 1]


@pytest.mark.parametrize(
    "pieces", [[b"0123456789ABCDEF"], [b"0123456789", b"ABCDEF"], [b"012345678", b"9ABCDEF", b"G"]]
)
async def test_what_goes_over_the_bound_is_dropped_and_marked(pieces: list[bytes]) -> None:
    async with _writing(limit=10) as bench:
        log = bench.log()
        for piece in pieces:
            await log.write("stdout", piece)
        await log.write("stderr", b"never seen")
        log.end()
        await log.stored()
    assert b"".join(chunk.data for chunk in bench.store.chunks) == b"0123456789"
    assert [chunk.truncated for chunk in bench.store.chunks][-1]
    assert sum(chunk.truncated for chunk in bench.store.chunks) == 1


async def test_output_within_the_bound_is_not_marked() -> None:
    async with _writing(limit=10) as bench:
        log = bench.log()
        await log.write("stdout", b"0123456789")
        log.end()
        await log.stored()
    assert [chunk.truncated for chunk in bench.store.chunks] == [False]


async def test_a_secret_that_two_writes_share_is_hidden() -> None:
    async with _writing(secrets=["hunter2"]) as bench:
        log = bench.log()
        await log.write("stdout", b"the word is hun")
        await log.write("stderr", b"ter2 is no secret here: ")
        await log.write("stdout", b"ter2, hun")
        log.end()
        await log.stored()
    texts = {
        stream: b"".join(chunk.data for chunk in bench.store.chunks if chunk.stream == stream)
        for stream in ("stdout", "stderr")
    }
    assert texts == {"stdout": b"the word is ***, hun", "stderr": b"ter2 is no secret here: "}


async def test_a_task_waits_while_the_store_falls_behind() -> None:
    async with _writing() as bench:
        bench.store.failures = 1
        log = bench.log()
        printing = asyncio.create_task(log.write("stdout", b"x" * MAX_WAITING_BYTES))
        await bench.store.tried(1)
        assert not printing.done()
        await bench.clock.slept_on(0.05)
        bench.clock.advance(0.05)
        await printing


async def test_chunks_that_the_store_refuses_hold_up_nobody_else() -> None:
    async with _writing() as bench:
        bench.store.refusals = 1
        bad, good = bench.log("bad"), bench.log("good")
        await bad.write("stdout", b"x")
        bad.end()
        await bad.stored()
        await good.write("stdout", b"y")
        good.end()
        await good.stored()
    assert [chunk.task_run_id for chunk in bench.store.chunks] == ["good"]


async def test_an_outcome_does_not_wait_for_ever_for_its_last_lines() -> None:
    async with _writing() as bench:
        bench.store.failures = 1_000
        log = bench.log()
        await log.write("stdout", b"x")
        log.end()
        waiting = asyncio.create_task(log.stored())
        await bench.clock.slept_on(5.0)
        assert not waiting.done()
        bench.clock.advance(5.0)
        await waiting


async def test_closing_stores_what_is_left() -> None:
    async with _writing() as bench:
        await bench.log().write("stdout", b"the end")
        await bench.writer.close(5.0)
    assert [chunk.data for chunk in bench.store.chunks] == [b"the end"]
