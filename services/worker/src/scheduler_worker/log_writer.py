"""Task logs on their way to the store: masked, bounded, and committed in groups over all attempts.

What was printed is stored within a quarter of a second, or when 64 KiB have gathered; where the store falls behind,
the tasks wait.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from scheduler_application.errors import Unavailable
from scheduler_application.masking import MaskedStream, Masking
from scheduler_application.pausing import Backoff, Sleep, first_of, set_within
from scheduler_application.ports.logs import LogChunk, LogStore
from scheduler_application.ports.time import Clock, Randomness
from scheduler_application.run.claim import ClaimedTask

FLUSH_SECONDS = 0.25
FLUSH_BYTES = 64 * 1024
CHUNK_BYTES = 64 * 1024
BATCH_BYTES = 1024 * 1024
BATCH_CHUNKS = 1_000
MAX_WAITING_BYTES = 4 * 1024 * 1024
"""How much may wait for the store in all; a task that prints more waits with it."""

STORED_WITHIN_SECONDS = 5.0
"""How long an outcome waits for the last lines before it."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Piece:
    """Some output of one stream that is not stored yet; ``seq`` is given once, however often it is tried."""

    stream: str
    data: bytearray
    truncated: bool = False
    seq: int = 0


class AttemptLog:
    """The log of one attempt: a `LogSink`, then `end`, then `stored`."""

    def __init__(self, writer: "LogWriter", claimed: ClaimedTask, masking: Masking, limit: int) -> None:
        self.claimed = claimed
        self.pieces: list[_Piece] = []
        self.seq = 0
        self._writer = writer
        self._masking = masking
        self._left = limit
        self._full = False
        self._streams: dict[str, MaskedStream] = {}
        self._stored = asyncio.Event()
        self._stored.set()

    async def write(self, stream: str, data: bytes) -> None:
        if self._full:
            return
        masked = self._streams.get(stream)
        if masked is None:
            masked = self._streams[stream] = MaskedStream(self._masking)
        self._add(stream, masked.feed(data))
        await self._writer.room()

    def end(self) -> None:
        """Nothing more comes: what was held back as the possible beginning of a secret is none."""
        for stream, masked in self._streams.items():
            self._add(stream, masked.feed(b"", last=True))
        if self.pieces:
            self._writer.hurry()

    async def stored(self) -> None:
        """Returns when everything is stored, or when the store takes too long for somebody to wait."""
        if not await set_within(self._stored, STORED_WITHIN_SECONDS, self._writer.sleep):
            _log.warning("the last lines are not stored yet")

    def all_stored(self) -> None:
        self._stored.set()

    def _add(self, stream: str, data: bytes) -> None:
        if not data or self._full:
            return
        self._full = len(data) > self._left
        kept = data[: self._left]
        self._left -= len(kept)
        for start in range(0, len(kept) or 1, CHUNK_BYTES):
            self._append(stream, kept[start : start + CHUNK_BYTES])
        self.pieces[-1].truncated = self._full
        self._stored.clear()
        self._writer.gathered(self, len(kept))

    def _append(self, stream: str, data: bytes) -> None:
        last = self.pieces[-1] if self.pieces else None
        if last is not None and not last.seq and last.stream == stream and len(last.data) + len(data) <= CHUNK_BYTES:
            last.data += data
        else:
            self.pieces.append(_Piece(stream, bytearray(data)))


@dataclass(slots=True)
class _Batch:
    """What one commit stores."""

    pieces: list[tuple[AttemptLog, _Piece]] = field(default_factory=list)
    size: int = 0

    def add(self, log: AttemptLog, piece: _Piece) -> None:
        self.pieces.append((log, piece))
        self.size += len(piece.data)

    @property
    def is_full(self) -> bool:
        return self.size >= BATCH_BYTES or len(self.pieces) >= BATCH_CHUNKS


class LogWriter:
    """One per process: `run` beside everything else, `close` at the end."""

    def __init__(
        self,
        store: LogStore,
        masking: Masking,
        clock: Clock,
        sleep: Sleep,
        randomness: Randomness,
        *,
        limit_bytes: int,
    ) -> None:
        self._store = store
        self._masking = masking
        self._clock = clock
        self._randomness = randomness
        self._limit_bytes = limit_bytes
        self._dirty: dict[AttemptLog, None] = {}
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.sleep = sleep

    def attempt(self, claimed: ClaimedTask) -> AttemptLog:
        return AttemptLog(self, claimed, self._masking, self._limit_bytes)

    def gathered(self, log: AttemptLog, size: int) -> None:
        """``log`` has ``size`` more bytes to store."""
        self._dirty[log] = None
        self._waiting_bytes += size
        self._arrived.set()
        self._empty.clear()
        if self._waiting_bytes >= FLUSH_BYTES:
            self._urgent.set()
        if self._waiting_bytes >= MAX_WAITING_BYTES:
            self._roomy.clear()

    def hurry(self) -> None:
        """Somebody waits for what has gathered."""
        self._urgent.set()

    async def room(self) -> None:
        """Returns when more may be gathered."""
        await self._roomy.wait()

    async def run(self) -> None:
        """Stores what gathers, until it is cancelled."""
        while True:
            await self._arrived.wait()
            await set_within(self._urgent, FLUSH_SECONDS, self.sleep)
            self._arrived.clear()
            self._urgent.clear()
            while self._dirty:
                await self._flush(self._next_batch())

    async def close(self, within: float) -> None:
        """Waits until everything is stored, at most ``within`` seconds. `run` must be running."""
        self.hurry()
        await first_of(self._empty.wait(), self.sleep(within))

    def _next_batch(self) -> _Batch:
        batch = _Batch()
        for log in self._dirty:
            for piece in log.pieces:
                if not piece.seq:
                    log.seq += 1
                    piece.seq = log.seq
                batch.add(log, piece)
                if batch.is_full:
                    return batch
        return batch

    async def _flush(self, batch: _Batch) -> None:
        await self._append(batch)
        for log, piece in batch.pieces:
            log.pieces.remove(piece)
            if not log.pieces:
                self._dirty.pop(log, None)
                log.all_stored()
        self._waiting_bytes -= batch.size
        if self._waiting_bytes < MAX_WAITING_BYTES:
            self._roomy.set()
        if not self._dirty:
            self._empty.set()

    async def _append(self, batch: _Batch) -> None:
        backoff = Backoff(self._randomness)
        while True:
            try:
                await self._store.append(self._chunks(batch))
            except Unavailable as error:
                _log.warning("task logs are not stored yet", bytes=batch.size, reason=str(error))
                await self.sleep(backoff.next())
            except Exception:  # noqa: BLE001 - not the store's absence: these chunks would hold up all others for ever
                _log.exception("task logs were dropped", bytes=batch.size)
                return
            else:
                return

    def _chunks(self, batch: _Batch) -> Sequence[LogChunk]:
        # The time is that of storing: readers resume after a time, so nothing may appear before what they have read.
        now = self._clock.now()
        return [
            LogChunk(
                project=log.claimed.row.project_id,
                run_id=log.claimed.row.run_id,
                task_run_id=log.claimed.row.id,
                claim_no=log.claimed.row.claim_no,
                seq=piece.seq,
                stream=piece.stream,
                at=now,
                data=bytes(piece.data),
                truncated=piece.truncated,
            )
            for log, piece in batch.pieces
        ]
